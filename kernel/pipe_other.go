//go:build !linux

package kernel

import (
	"errors"
	"syscall"
)

// Pipe is a pipe of the system to splice through. Only Linux has splice.
type Pipe struct{}

// NewPipe returns a new pipe, or errors.ErrUnsupported where there is no splice.
func NewPipe() (*Pipe, error) { return nil, errors.ErrUnsupported }

// Close closes the pipe, and loses what is in it.
func (p *Pipe) Close() {}

// Len returns how many bytes are in the pipe.
func (p *Pipe) Len() int { return 0 }

// SpliceTo moves n bytes of the pipe to a socket.
func (p *Pipe) SpliceTo(syscall.RawConn, int) (int, error) { return 0, errors.ErrUnsupported }

// Fill moves what arrives on a socket into the pipe.
func (p *Pipe) Fill(syscall.RawConn, int) (int, error) { return 0, errors.ErrUnsupported }
