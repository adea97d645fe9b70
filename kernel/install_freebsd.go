package kernel

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls/keyschedule"
)

// Options of level IPPROTO_TCP, from netinet/tcp.h.
const (
	optTXEnable = 39
	optTXMode   = 40
	optRXEnable = 41
	optRXMode   = 42
)

// The modes that optTXMode and optRXMode tell.
const (
	modeNone  = 0
	modeIfnet = 2 // a network device does it; and modeIfnet+1, with all of TCP
)

// Control messages, from sys/ktls.h, and the ioctl that tells how much is on
// its way.
const (
	cmsgLevel   = unix.IPPROTO_TCP
	cmsgSetType = 1
	cmsgGetType = 2 // with a struct tls_get_record, which begins with the type
	ioctlUnsent = 0x40047677
)

// freebsdSocket is the System of a TCP socket on FreeBSD.
type freebsdSocket struct{ socket }

func openTCP(tcp *net.TCPConn) (System, error) {
	s := new(freebsdSocket)
	if err := s.init(tcp); err != nil {
		return nil, &Refusal{Op: "open", Reason: err.Error(), Err: err}
	}
	return s, nil
}

// Rules implements [System].
func (*freebsdSocket) Rules() Rules { return RulesFreeBSD }

// Report implements [System].
func (*freebsdSocket) Report() *Report { return Probe() }

// EnableTX implements [System].
func (s *freebsdSocket) EnableTX(k *keyschedule.TrafficKeys) error {
	return os.NewSyscallError(nameEnableTX, s.enable(optTXEnable, k))
}

// EnableRX implements [System].
func (s *freebsdSocket) EnableRX(k *keyschedule.TrafficKeys) error {
	return os.NewSyscallError(nameEnableRX, s.enable(optRXEnable, k))
}

func (s *freebsdSocket) enable(option int, k *keyschedule.TrafficKeys) error {
	e, ok := newTLSEnable(k)
	if !ok {
		return syscall.EINVAL
	}
	// The kernel follows pointers that the garbage collector does not know to be
	// in its hands.
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(e.cipherKey)
	pinner.Pin(e.iv)
	return s.control(func(fd int) error {
		return setsockopt(fd, unix.IPPROTO_TCP, option, unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)))
	})
}

// VerifyTX implements [System]. The kernel does not say which suite it has.
func (s *freebsdSocket) VerifyTX(*keyschedule.Suite) error {
	return os.NewSyscallError(nameTXMode, s.verify(optTXMode))
}

// VerifyRX implements [System].
func (s *freebsdSocket) VerifyRX(*keyschedule.Suite) error {
	return os.NewSyscallError(nameRXMode, s.verify(optRXMode))
}

func (s *freebsdSocket) verify(option int) error {
	mode, err := s.mode(option)
	if err == nil && mode == modeNone {
		err = syscall.EINVAL
	}
	return err
}

func (s *freebsdSocket) mode(option int) (mode int, err error) {
	err = s.control(func(fd int) (err error) {
		mode, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option)
		return err
	})
	return mode, err
}

// NextTX implements [System].
func (*freebsdSocket) NextTX() (uint64, error) { return 0, errors.ErrUnsupported }

// NextRX implements [System].
func (*freebsdSocket) NextRX() (uint64, error) { return 0, errors.ErrUnsupported }

// RefreshRX implements [System].
func (*freebsdSocket) RefreshRX() error { return errors.ErrUnsupported }

// Device implements [System].
func (s *freebsdSocket) Device() (tx, rx bool) {
	txMode, _ := s.mode(optTXMode)
	rxMode, _ := s.mode(optRXMode)
	return txMode >= modeIfnet, rxMode >= modeIfnet
}
