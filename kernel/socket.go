package kernel

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// Socket is a TCP connection whose records the kernel protects, or will. It
// does no locking: the methods of the sending direction exclude one another,
// and each other use of that direction of the connection, and so do those of
// the receiving one. The two directions are independent, and TX, RX, NextTX,
// NextRX, Device and Report may be called at any time.
type Socket struct {
	sys    System
	report *Report // when it was opened: a later probe may fail
	tx, rx direction

	// Of the receiving direction:
	typ    byte  // of the record that goes on in the next Receive
	inside bool  // there is one
	err    error // why nothing can be received any more

	sendErr error // why no control record can be sent any more
}

// direction is what is known of one direction.
type direction struct {
	installed atomic.Bool
	suite     *keyschedule.Suite
}

// Open returns the Socket of conn. That is a *net.TCPConn on a system that has
// kernel TLS, or a connection with a method
//
//	KernelTLS() System
//
// which has a kernel of its own, as the models of package kerneltest do. It
// changes nothing. For all else the error is a [*Refusal].
func Open(conn net.Conn) (*Socket, error) {
	if c, ok := conn.(interface{ KernelTLS() System }); ok {
		return newSocket(c.KernelTLS()), nil
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, &Refusal{Op: "open", Reason: "the connection is not a TCP socket of this process"}
	}
	if r := Probe(); !r.Available {
		return nil, &Refusal{Op: "open", Reason: r.Reason}
	}
	sys, err := openTCP(tcp)
	if err != nil {
		return nil, err
	}
	return newSocket(sys), nil
}

func newSocket(sys System) *Socket { return &Socket{sys: sys, report: sys.Report()} }

// Refusal is the error that says why something is not done by the kernel.
type Refusal struct {
	Op     string // what was tried
	Reason string // in words, with advice where there is some
	Err    error  // the system's errno, if it was the system that refused
}

func (r *Refusal) Error() string { return "kernel tls: " + r.Op + ": " + r.Reason }

// Unwrap returns the errno, for errors.Is.
func (r *Refusal) Unwrap() error { return r.Err }

// ErrNoRekey says that the kernel cannot replace the keys of a direction.
var ErrNoRekey = errors.New("kernel tls: this kernel cannot replace keys")

// Report returns what the socket's kernel can do.
func (s *Socket) Report() *Report { return s.report }

// TX reports whether the kernel protects what is sent.
func (s *Socket) TX() bool { return s.tx.installed.Load() }

// RX reports whether the kernel unprotects what is received.
func (s *Socket) RX() bool { return s.rx.installed.Load() }

// InstallTX gives the kernel the keys of the sending direction, to go on with
// record k.Seq. All that was protected in user space must have been written
// before. If it succeeds the keys are the kernel's, for good, and k is wiped.
// A [*Refusal] leaves everything as it was, and k with the caller.
func (s *Socket) InstallTX(k *keyschedule.TrafficKeys) error {
	return s.install(&s.tx, "install TX", k, s.report.TX(k.Suite), s.sys.EnableTX)
}

// InstallRX gives the kernel the keys of the receiving direction, to go on with
// record k.Seq. No byte of that record may have been read, and nobody may be
// reading. Otherwise it is as InstallTX.
func (s *Socket) InstallRX(k *keyschedule.TrafficKeys) error {
	return s.install(&s.rx, "install RX", k, s.report.RX(k.Suite), s.sys.EnableRX)
}

func (s *Socket) install(d *direction, op string, k *keyschedule.TrafficKeys, can Support, enable func(*keyschedule.TrafficKeys) error) error {
	if d.installed.Load() {
		return &Refusal{Op: op, Reason: "the kernel has this direction already"}
	}
	if !can.OK {
		return &Refusal{Op: op, Reason: can.Reason}
	}
	if err := enable(k); err != nil {
		return refuse(s.sys.Rules(), op, err)
	}
	k.Wipe()
	d.suite = k.Suite
	d.installed.Store(true)
	return nil
}

// AdoptTX notes that the kernel has the sending direction already, under suite:
// the socket came from another process. It is a [*Refusal] if the kernel says
// otherwise.
func (s *Socket) AdoptTX(suite *keyschedule.Suite) error {
	return s.adopt(&s.tx, "adopt TX", suite, s.sys.VerifyTX)
}

// AdoptRX is AdoptTX for the receiving direction.
func (s *Socket) AdoptRX(suite *keyschedule.Suite) error {
	return s.adopt(&s.rx, "adopt RX", suite, s.sys.VerifyRX)
}

// Inside returns the type of the record of which Receive has given the beginning
// and not yet the end, and whether there is one. It is for another process to go
// on with, by GoOnInside: FreeBSD's kernel says the type only once.
func (s *Socket) Inside() (typ byte, ok bool) { return s.typ, s.inside }

// GoOnInside makes the next Receive go on within a record of type typ.
func (s *Socket) GoOnInside(typ byte) { s.typ, s.inside = typ, true }

func (s *Socket) adopt(d *direction, op string, suite *keyschedule.Suite, verify func(*keyschedule.Suite) error) error {
	if err := verify(suite); err != nil {
		return refuse(s.sys.Rules(), op, err)
	}
	d.suite = suite
	d.installed.Store(true)
	return nil
}

// RekeyTX replaces the keys of the sending direction, after a KeyUpdate was
// sent as the last record under the old ones (RFC 9846, section 4.7.3). It wipes
// k in any case. Where the kernel cannot replace keys it fails with
// [ErrNoRekey], which callers that look at [Report] first do not see. After any
// error the direction is of no more use: the peer expects new keys.
func (s *Socket) RekeyTX(k *keyschedule.TrafficKeys) error {
	return s.rekey(&s.tx, "rekey TX", k, s.sys.EnableTX)
}

// RekeyRX replaces the keys of the receiving direction, after a KeyUpdate was
// received and before anything else is. Otherwise it is as RekeyTX.
func (s *Socket) RekeyRX(k *keyschedule.TrafficKeys) error {
	return s.rekey(&s.rx, "rekey RX", k, s.sys.EnableRX)
}

func (s *Socket) rekey(d *direction, op string, k *keyschedule.TrafficKeys, enable func(*keyschedule.TrafficKeys) error) error {
	defer k.Wipe()
	switch {
	case !d.installed.Load():
		return &Refusal{Op: op, Reason: "the kernel does not have this direction"}
	case k.Suite.ID != d.suite.ID:
		return &Refusal{Op: op, Reason: "the keys are for " + k.Suite.Name + ", the connection uses " + d.suite.Name}
	case d.suite.Version != keyschedule.VersionTLS13, !s.report.Rekey.OK:
		return ErrNoRekey
	}
	err := enable(k)
	if errors.Is(err, errBusy) || errors.Is(err, errAlready) {
		return ErrNoRekey
	}
	if err != nil {
		return refuse(s.sys.Rules(), op, err)
	}
	return nil
}

// NextTX returns the number of the next record to be sent, or
// errors.ErrUnsupported where the kernel does not tell.
func (s *Socket) NextTX() (uint64, error) { return s.sys.NextTX() }

// NextRX returns the number of the next record to be received, or
// errors.ErrUnsupported where the kernel does not tell. A record that was read
// in part is counted already.
func (s *Socket) NextRX() (uint64, error) { return s.sys.NextRX() }

// Device reports which directions a network device has taken over from the
// kernel's software. It is false where that cannot be told.
func (s *Socket) Device() (tx, rx bool) { return s.sys.Device() }

// Receive reads into p, which must not be empty, from the one record that comes
// next, or on Linux from several records of application data in a row. typ is
// the records' type, n how many bytes there are, and more says that the record
// goes on in the next call. After several records, which are of application
// data, more may be false though the last one goes on. An empty record has n 0
// and no error.
//
// At the end of the stream err is io.EOF; whether the peer meant to end there,
// its close_notify must have said before. After a record that does not
// authenticate, or is no record, err carries the alert that the peer is owed,
// now and for ever. What the poller says (os.ErrDeadlineExceeded,
// net.ErrClosed) changes nothing.
//
// A record of type handshake that is a KeyUpdate must be followed by RekeyRX
// before the next Receive.
func (s *Socket) Receive(p []byte) (typ byte, n int, more bool, err error) {
	if s.err != nil {
		return 0, 0, false, s.err
	}
	r, err := s.sys.Receive(p)
	if err != nil && errors.Is(err, ErrKeyExpired) {
		if err = s.unblock(); err == nil {
			r, err = s.sys.Receive(p)
		}
	}
	if err != nil {
		return 0, 0, false, s.receiveError("recvmsg", err)
	}
	return s.received(r)
}

// unblock makes receiving possible after Linux took a record for a KeyUpdate. If
// it really had been one, the keys would have been replaced before; but any
// fragment of a handshake message that begins with the same byte looks like one.
// Setting the keys that are in force lifts the block.
func (s *Socket) unblock() error {
	if err := s.sys.RefreshRX(); err != nil {
		return errors.Join(ErrKeyExpired, err)
	}
	return nil
}

// received applies the two kernels' rules to what recvmsg returned.
func (s *Socket) received(r Received) (typ byte, n int, more bool, err error) {
	switch {
	case r.Typed:
		s.typ = r.Type
	case r.N == 0:
		return 0, 0, false, io.EOF
	case s.inside: // FreeBSD says the type once for each record
	default:
		s.err = alert.Errorf(alert.InternalError, "kernel returned %d bytes without a record type", r.N)
		return 0, 0, false, s.err
	}
	// A record without content ends with its one recvmsg.
	s.inside = !r.EOR && r.N > 0
	return s.typ, r.N, s.inside, nil
}

// receiveError judges an error of the system call of that name. What says that
// the stream is broken stays: Linux reports some of these once, and then waits
// for ever.
func (s *Socket) receiveError(call string, err error) error {
	if errors.Is(err, ErrKeyExpired) {
		s.err = alert.Errorf(alert.UnexpectedMessage, "kernel waits for new keys and there are none: %w", err)
		return s.err
	}
	if broken := refusedRecord(err); broken != nil {
		s.err = broken
		return s.err
	}
	return os.NewSyscallError(call, err)
}

// refusedRecord returns what an error says about a record, nil if it is about
// something else.
func refusedRecord(err error) error {
	switch {
	case errors.Is(err, errBadMessage):
		return alert.Errorf(alert.BadRecordMAC, "record does not authenticate: %w", err)
	case errors.Is(err, errMessageSize):
		return alert.Errorf(alert.RecordOverflow, "record of a length that is not allowed, or that the stream ended in: %w", err)
	case errors.Is(err, errInvalid):
		return alert.Errorf(alert.ProtocolVersion, "record with a version that is not the connection's: %w", err)
	}
	return nil
}

// MaxControl is how many bytes one record can carry (RFC 9846, section 5.1).
const MaxControl = 1 << 14

// SendControl sends b, of 1 to [MaxControl] bytes, as one record of type typ. It
// sends all of it or, if it returns an error, nothing; or else nothing can be
// sent after it.
func (s *Socket) SendControl(typ byte, b []byte) error {
	if s.sendErr != nil {
		return s.sendErr
	}
	if len(b) == 0 || len(b) > MaxControl {
		return alert.Errorf(alert.InternalError, "control record of %d bytes", len(b))
	}
	n, err := s.sys.SendControl(typ, b)
	if err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	if n != len(b) {
		s.sendErr = alert.Errorf(alert.InternalError, "kernel took %d bytes of a record of %d", n, len(b))
	}
	return s.sendErr
}

// PeerClosed reports whether a [*Refusal] came because the peer has closed its
// side of the connection already: kernels take keys for open connections only.
func PeerClosed(err error) bool { return errors.Is(err, errNotConn) }

// ReceivingFailed returns what receiving has failed with, if err, of sending, says
// that it has, and nil otherwise: Linux tells it to both directions, until
// [Socket.ClearError]. The error carries the alert that the peer is owed.
func (s *Socket) ReceivingFailed(err error) error {
	broken := refusedRecord(err)
	if broken == nil || !s.RX() {
		return nil
	}
	// All but one of these numbers may also be about what was sent.
	if !errors.Is(err, errBadMessage) && refusedRecord(s.sys.SocketError()) == nil {
		return nil
	}
	return broken
}

// ClearError makes a socket whose receiving direction failed able to send the
// alert about it: Linux refuses to send until the error was read.
func (s *Socket) ClearError() { _ = s.sys.SocketError() }

// Bounds on the pause between two looks at the queue.
const (
	minPause = 50 * time.Microsecond
	maxPause = 5 * time.Millisecond
)

// Drain waits until TCP has all that was sent, at most until deadline, and then
// fails with os.ErrDeadlineExceeded. Closing a socket before, or shutting it
// down, can lose the last record, which Linux may hold protected and not yet in
// TCP's queue. The last write must have been accepted whole; it pushes what is
// held. Where the kernel does not tell what it holds, Drain waits until the
// peer's TCP has acknowledged everything.
func (s *Socket) Drain(deadline time.Time) error {
	pause, waited := minPause, false
	for empty := false; ; {
		n, err := s.sys.Unsent()
		if err != nil {
			return os.NewSyscallError("unsent", err)
		}
		// When the queue has emptied while we waited, a held record may be
		// about to enter it: only a queue that stays empty is.
		if n == 0 && (empty || !waited) {
			return nil
		}
		empty = n == 0
		left := time.Until(deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		time.Sleep(min(pause, left))
		pause, waited = min(2*pause, maxPause), true
	}
}
