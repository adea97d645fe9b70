package kernel

import (
	"github.com/go-handoff/tls/keyschedule"
)

// Rules says whose rules a kernel follows.
type Rules uint8

// The kernels that have TLS.
const (
	RulesLinux Rules = iota + 1
	RulesFreeBSD
)

// String returns the kernel's name.
func (r Rules) String() string {
	switch r {
	case RulesLinux:
		return "Linux"
	case RulesFreeBSD:
		return "FreeBSD"
	}
	return "unknown"
}

// System is one TCP socket as its kernel shows it. It is thin: a method is a
// system call or two, with EINTR handled, and waits with the socket's own
// deadlines. Errors are the system's errno or what the poller says
// (os.ErrDeadlineExceeded, net.ErrClosed), not wrapped. What the kernel cannot
// do is errors.ErrUnsupported.
//
// Linux's and FreeBSD's are in this package, over a net.TCPConn; models of them
// are in package kerneltest.
type System interface {
	Rules() Rules
	// Report returns what this kernel can do.
	Report() *Report

	// EnableTX and EnableRX give the kernel the keys of a direction, and do not
	// consume them. Where a kernel can replace keys, they do that too.
	EnableTX(k *keyschedule.TrafficKeys) error
	EnableRX(k *keyschedule.TrafficKeys) error
	// VerifyTX and VerifyRX return nil if the kernel has the direction already,
	// under suite as far as it can tell.
	VerifyTX(suite *keyschedule.Suite) error
	VerifyRX(suite *keyschedule.Suite) error
	// NextTX and NextRX return the number of the next record.
	NextTX() (uint64, error)
	NextRX() (uint64, error)
	// RefreshRX sets the receiving keys that are in force again, with the live
	// record number.
	RefreshRX() error

	// Receive is one recvmsg with room for the record's type. It waits until
	// there is something to receive.
	Receive(p []byte) (Received, error)
	// SendControl is one sendmsg of one record of type typ. It waits until
	// there is room for it.
	SendControl(typ byte, b []byte) (int, error)
	// SocketError reads, and so clears, the socket's pending error.
	SocketError() error
	// Unsent returns how many bytes the peer's TCP has not yet acknowledged, or
	// 0 if the kernel can hold back none of the records it has accepted.
	Unsent() (int, error)
	// Device reports which directions a network device has taken over.
	Device() (tx, rx bool)
}

// Received is what one recvmsg returned. If there was no control message, Typed
// is false and Type means nothing. EOR says that a record ended.
type Received struct {
	N          int
	Type       byte
	Typed, EOR bool
}
