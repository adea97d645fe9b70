//go:build !unix

package tls

import (
	"net"
	"syscall"
)

// rawConn returns nil: here nobody can wait for a socket without receiving from it.
func rawConn(net.Conn) syscall.RawConn { return nil }

// receive is never called.
func (*inbound) receive(net.Conn, int) (int, error) { panic("tls: no raw connection") }
