package kernel

import (
	"bytes"
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

func probe() (*Report, error) {
	release, _ := unix.Sysctl("kern.osrelease")
	p, err := newProber("freebsd "+release+" "+runtime.GOARCH, openTCP)
	if err != nil {
		return p.report, err
	}
	defer p.close()
	if err := p.suites(); err != nil {
		return p.report, err
	}
	r := p.report
	if off := turnedOff(); !r.Available && off != "" {
		r.Reason = off
	}
	r.Rekey = Support{Reason: "FreeBSD sets the keys of a direction once"}
	none := Support{Reason: "FreeBSD has no such thing"}
	r.NoPad, r.SpliceRX, r.MaxPayload = none, none, none
	r.DeviceOffload = Support{Reason: "FreeBSD tells it of each connection, not before"}
	return r, nil
}

// turnedOff says why the administrator's settings leave no kernel TLS, or "".
func turnedOff() string {
	// Some releases have a bool here and some an integer.
	on, err := unix.SysctlRaw("kern.ipc.tls.enable")
	switch {
	case errors.Is(err, unix.ENOENT):
		return "the kernel was built without option KERN_TLS"
	case err == nil && len(bytes.Trim(on, "\x00")) == 0:
		return "kernel TLS is turned off: sysctl kern.ipc.tls.enable=1"
	}
	return ""
}

// Stat returns the kernel's counters of TLS by name, or errors.ErrUnsupported
// where it has none. FreeBSD's are below the sysctl kern.ipc.tls.stats.
func Stat() (map[string]uint64, error) { return nil, errors.ErrUnsupported }
