package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// kernelFlags say which directions of a connection the kernel shall take.
type kernelFlags struct {
	Kernel   string `enum:"auto,off,require" default:"auto" help:"Let the kernel encrypt what is sent: auto, off, or require, which refuses to go on without (default: ${default})."`
	KernelRX string `name:"kernel-rx" enum:"auto,off,require" default:"off" help:"Let the kernel decrypt what is received: auto, off or require (default: ${default})."`
}

const (
	kernelOff     = "off"
	kernelRequire = "require"
)

var kernelModes = map[string]kernel.Mode{"auto": kernel.Auto, kernelOff: kernel.Off, kernelRequire: kernel.Require}

// policy returns what the flags say to a Config.
func (f kernelFlags) policy() kernel.Policy {
	return kernel.Policy{TX: kernelModes[f.Kernel], RX: kernelModes[f.KernelRX]}
}

// off reports whether nothing of the kernel is wanted.
func (f kernelFlags) off() bool { return f.Kernel == kernelOff && f.KernelRX == kernelOff }

// check fails where the kernel is required and has no TLS: no connection could
// be made.
func (f kernelFlags) check() error {
	if f.Kernel != kernelRequire && f.KernelRX != kernelRequire {
		return nil
	}
	if r := kernel.Probe(); !r.Available {
		return noKernel(r)
	}
	return nil
}

func noKernel(r *kernel.Report) error { return fmt.Errorf("no kernel TLS here: %s", r.Reason) }

// describe says what will become of connections here.
func (f kernelFlags) describe(r *kernel.Report) string {
	switch {
	case f.off():
		return "off"
	case !r.Available:
		return "not here: " + r.Reason
	}
	return fmt.Sprintf("%s; sending: %s; receiving: %s", r.System, sendingWords[f.Kernel], receivingWords[f.KernelRX])
}

// What the modes of the flags mean, in words.
var (
	sendingWords = map[string]string{
		"auto":        "user space, and the kernel from the first large file or stream on",
		kernelOff:     "user space",
		kernelRequire: "the kernel, or the connection ends",
	}
	receivingWords = map[string]string{
		"auto":        "the kernel if it can change keys, else user space",
		kernelOff:     "user space",
		kernelRequire: "the kernel, or the connection ends",
	}
)

// placed says where a direction's records are protected, and since when if that
// is the kernel.
func placed(d tls.DirectionOffload) string {
	if d.Where == tls.UserSpace {
		return d.Where.String()
	}
	return d.String()
}

// surprises tells of what the kernel was meant to send and did not, each reason
// once.
type surprises struct {
	w     io.Writer
	mutex sync.Mutex
	told  map[string]bool
}

// largeResponse is what the kernel takes connections over for.
const largeResponse = 16 << 10

// look looks at the sending side of a connection that has answered with so many
// bytes.
func (s *surprises) look(d tls.DirectionOffload, protocol string, bytes int64) {
	if d.Where != tls.UserSpace || bytes < largeResponse {
		return
	}
	reason := d.Reason
	if protocol == "HTTP/2.0" {
		reason = "HTTP/2 cuts files into frames (--http1.1 lets the kernel send them)"
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.told[reason] {
		return
	}
	s.told[reason] = true
	fmt.Fprintf(s.w, "kernel TLS: sent in user space by %s: %s\n", protocol, reason)
}
