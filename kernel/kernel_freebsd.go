package kernel

import (
	"errors"
	"net"
	"runtime"
)

func probe() (*Report, error) {
	return &Report{System: runtime.GOOS + " " + runtime.GOARCH, Reason: runtime.GOOS + " has no kernel TLS"}, nil
}

// Stat returns the kernel's counters of TLS by name, or errors.ErrUnsupported
// where it has none.
func Stat() (map[string]uint64, error) { return nil, errors.ErrUnsupported }

func openTCP(*net.TCPConn) (System, error) { return nil, errors.ErrUnsupported }
