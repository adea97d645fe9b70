package kernel

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls/keyschedule"
)

// Options of level SOL_TLS, from linux/tls.h.
const (
	optTX           = 1
	optRX           = 2
	optExpectNoPad  = 4
	optTXMaxPayload = 5
)

const ulpName = "tls"

// infoHeaderLen is how many bytes getsockopt can be asked for in place of the
// whole state of a direction: the version and the cipher, and no keys.
const infoHeaderLen = 4

// Control messages, from linux/tls.h, and the ioctl that tells how much is on
// its way.
const (
	cmsgLevel   = unix.SOL_TLS
	cmsgSetType = 1
	cmsgGetType = 2
	ioctlUnsent = unix.TIOCOUTQ
)

// linuxSocket is the System of a TCP socket on Linux.
type linuxSocket struct {
	socket

	// options excludes getsockopt and setsockopt of level SOL_TLS from one
	// another, which kernels without the fix of CVE-2023-28466 do not.
	options sync.Mutex
	hasULP  bool
	tx, rx  infoLayout // of the keys that are installed
}

func openTCP(tcp *net.TCPConn) (System, error) {
	s, err := newLinuxSocket(tcp)
	if err != nil {
		return nil, &Refusal{Op: "open", Reason: err.Error(), Err: err}
	}
	var protocol int
	err = s.control(func(fd int) (err error) {
		protocol, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		return err
	})
	if err != nil {
		return nil, &Refusal{Op: "open", Reason: err.Error(), Err: err}
	}
	if protocol != unix.IPPROTO_TCP {
		return nil, &Refusal{Op: "open", Reason: "the connection uses Multipath TCP: turn it off with net.ListenConfig.SetMultipathTCP(false)"}
	}
	return s, nil
}

func newLinuxSocket(tcp *net.TCPConn) (*linuxSocket, error) {
	s := new(linuxSocket)
	return s, s.init(tcp)
}

func (*linuxSocket) Rules() Rules    { return RulesLinux }
func (*linuxSocket) Report() *Report { return Probe() }

// EnableTX implements [System].
func (s *linuxSocket) EnableTX(k *keyschedule.TrafficKeys) error {
	return s.enable(optTX, nameSetTX, &s.tx, k)
}

// EnableRX implements [System].
func (s *linuxSocket) EnableRX(k *keyschedule.TrafficKeys) error {
	return s.enable(optRX, nameSetRX, &s.rx, k)
}

func (s *linuxSocket) enable(option int, name string, layout *infoLayout, k *keyschedule.TrafficKeys) error {
	var info cryptoInfo
	if !info.set(k) {
		return os.NewSyscallError(name, syscall.EINVAL)
	}
	defer info.wipe()
	s.options.Lock()
	defer s.options.Unlock()
	err := s.control(func(fd int) error {
		if err := s.setULP(fd); err != nil {
			return os.NewSyscallError(nameULP, err)
		}
		return os.NewSyscallError(name, setsockopt(fd, unix.SOL_TLS, option, info.bytes()))
	})
	if errors.Is(err, syscall.ENOENT) {
		forgetProbe() // a module is gone, or the probe is wrong
	}
	if err == nil {
		*layout = info.layout
	}
	return err
}

// setULP gives the socket to the TLS module, which leaves it a plain TCP socket
// until it gets keys.
func (s *linuxSocket) setULP(fd int) error {
	if s.hasULP {
		return nil
	}
	err := unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP, ulpName)
	if err == unix.EEXIST {
		name, nameErr := unix.GetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP)
		if nameErr == nil && name == ulpName {
			err = nil
		}
	}
	s.hasULP = err == nil
	return err
}

// VerifyTX implements [System].
func (s *linuxSocket) VerifyTX(suite *keyschedule.Suite) error {
	return s.verify(optTX, nameVerifyTX, &s.tx, suite)
}

// VerifyRX implements [System].
func (s *linuxSocket) VerifyRX(suite *keyschedule.Suite) error {
	return s.verify(optRX, nameVerifyRX, &s.rx, suite)
}

func (s *linuxSocket) verify(option int, name string, layout *infoLayout, suite *keyschedule.Suite) error {
	s.options.Lock()
	defer s.options.Unlock()
	var c cryptoInfo
	err := s.control(func(fd int) error { return getTLS(fd, option, c.b[:infoHeaderLen]) })
	if err == nil && !c.isFor(suite) {
		err = syscall.EINVAL
	}
	if err == nil {
		*layout = infoLayouts[suite.Cipher]
	}
	return os.NewSyscallError(name, err)
}

// NextTX implements [System].
func (s *linuxSocket) NextTX() (uint64, error) { return s.next(optTX, &s.tx) }

// NextRX implements [System].
func (s *linuxSocket) NextRX() (uint64, error) { return s.next(optRX, &s.rx) }

func (s *linuxSocket) next(option int, layout *infoLayout) (uint64, error) {
	s.options.Lock()
	defer s.options.Unlock()
	c := cryptoInfo{layout: *layout}
	defer c.wipe()
	err := s.control(func(fd int) error { return getTLS(fd, option, c.bytes()) })
	if err != nil {
		return 0, err
	}
	return c.next(), nil
}

// RefreshRX implements [System].
func (s *linuxSocket) RefreshRX() error {
	s.options.Lock()
	defer s.options.Unlock()
	c := cryptoInfo{layout: s.rx}
	defer c.wipe()
	return s.control(func(fd int) error {
		if err := getTLS(fd, optRX, c.bytes()); err != nil {
			return err
		}
		return setsockopt(fd, unix.SOL_TLS, optRX, c.bytes())
	})
}

// Unsent implements [System].
func (s *linuxSocket) Unsent() (n int, err error) {
	err = s.control(func(fd int) (err error) {
		if hasRoom(fd) {
			return nil
		}
		n, err = unix.IoctlGetInt(fd, ioctlUnsent)
		return err
	})
	return n, err
}

// hasRoom reports whether the socket's buffer takes any record that the kernel
// holds back: it does so only when the buffer is full, and accepts no more than
// one record, beside some small ones, beyond that. A connection that was reset
// has nothing in its buffer, though it has bytes that nobody acknowledged.
func hasRoom(fd int) bool {
	var memory [unix.SK_MEMINFO_VARS]uint32
	b := unsafe.Slice((*byte)(unsafe.Pointer(&memory)), unsafe.Sizeof(memory))
	if getsockopt(fd, unix.SOL_SOCKET, unix.SO_MEMINFO, b) != nil {
		return false
	}
	queued := memory[unix.SK_MEMINFO_WMEM_QUEUED]
	return queued == 0 || queued+4*MaxControl <= memory[unix.SK_MEMINFO_SNDBUF]
}

// getTLS reads an option of level SOL_TLS.
func getTLS(fd, option int, b []byte) error { return getsockopt(fd, unix.SOL_TLS, option, b) }

func getsockopt(fd, level, option int, b []byte) error {
	n := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
