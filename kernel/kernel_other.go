package kernel

import (
	"errors"
	"net"
	"runtime"
)

// Probe returns what this system's kernel can do with TLS.
func Probe() *Report {
	return &Report{System: runtime.GOOS + " " + runtime.GOARCH, Reason: runtime.GOOS + " has no kernel TLS"}
}

// Stat returns the kernel's counters of TLS by name, or errors.ErrUnsupported
// where it has none.
func Stat() (map[string]uint64, error) { return nil, errors.ErrUnsupported }

func openTCP(*net.TCPConn) (System, error) {
	return nil, &Refusal{Op: "open", Reason: runtime.GOOS + " has no kernel TLS"}
}
