//go:build unix

package kerneltest

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

const keyUpdate = 24 // HandshakeType (RFC 9846, section 4)

// receiveSide is the receiving direction.
type receiveSide struct {
	conn    *Conn
	refusal error
	busy    atomic.Int32

	installed
	in      []byte   // what TCP received and nobody has looked at
	eof     bool     // and then the stream ends
	reset   error    // in this way, and not with a FIN
	list    []opened // unprotected, and not yet read to the end
	dead    bool     // no more records are found
	pending bool     // Linux waits for new keys
}

// opened is a record that was unprotected.
type opened struct {
	typ     byte
	content []byte
	begun   bool // some of it was read
}

// maxIn is how much is taken off the real socket.
const maxIn = 1 << 19

// errWait says that there is nothing to receive yet.
var errWait error = syscall.EAGAIN

// enable is the socket option that gives keys.
func (s *receiveSide) enable(k *keyschedule.TrafficKeys) error {
	if s.refusal != nil {
		return s.refusal
	}
	if s.conn.noRX13 && k.Suite.Version == keyschedule.VersionTLS13 {
		return syscall.EPROTONOSUPPORT
	}
	if err := s.conn.missing(k.Suite); err != nil {
		return err
	}
	if s.busy.Load() > 0 {
		panic("kerneltest: keys for the receiving direction while somebody receives")
	}
	other := s.conn.tx.suite()
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{"TlsRxSw", "TlsCurrRxSw"}
	if s.prot != nil {
		names = []string{"TlsRxRekeyOk"}
	}
	if err := s.give(s.conn, other, k); err != nil {
		return err
	}
	s.pending = false
	s.conn.count(1, names...)
	return nil
}

// refresh sets the keys that are in force again.
func (s *receiveSide) refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prot == nil {
		return syscall.EBUSY
	}
	if err := s.conn.refusedAgain(s.prot.suite, s.prot.suite); err != nil {
		return err
	}
	s.conn.count(1, "TlsRxRekeyOk")
	s.pending = false
	return nil
}

// receive is one recvmsg, with or without room for a record's type. It waits
// until there is something, with the real socket's deadline.
func (s *receiveSide) receive(p []byte, typed bool) (r kernel.Received, err error) {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	raw, err := s.conn.tcp.SyscallConn()
	if err != nil {
		return r, err
	}
	var result error
	err = raw.Read(func(fd uintptr) bool {
		if s.conn.isClosed() {
			return true
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fill(int(fd))
		r, result = s.take(p, typed)
		return result != errWait
	})
	var op *net.OpError
	switch {
	case s.conn.isClosed():
		return kernel.Received{}, net.ErrClosed
	case errors.As(err, &op):
		return kernel.Received{}, op.Err
	case err != nil:
		return kernel.Received{}, err
	}
	return r, result
}

// take is recvmsg without waiting.
func (s *receiveSide) take(p []byte, typed bool) (kernel.Received, error) {
	switch {
	case s.prot == nil:
		return s.takePlain(p)
	case s.conn.rules == kernel.RulesFreeBSD:
		return s.takeFreeBSD(p, typed)
	}
	return s.takeLinux(p, typed)
}

func (s *receiveSide) takePlain(p []byte) (kernel.Received, error) {
	if len(s.in) == 0 {
		return kernel.Received{}, s.end()
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return kernel.Received{N: n}, nil
}

// fill takes what there is off the real socket.
func (s *receiveSide) fill(fd int) {
	buf := make([]byte, 64<<10)
	for !s.eof && len(s.in) < maxIn {
		n, err := syscall.Read(fd, buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return
		case err != nil || n == 0:
			s.eof, s.reset = true, err
			return
		case !s.dead:
			s.in = append(s.in, buf[:n]...)
		}
	}
}

// end is what recvmsg says after the last byte: nothing at the end of the
// stream, an error once after a reset, and otherwise that there may be more.
func (s *receiveSide) end() error {
	if !s.eof {
		return errWait
	}
	err := s.reset
	s.reset = nil
	return err
}

// unread reports whether received bytes would be lost by closing.
func (s *receiveSide) unread() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.in) > 0
}

// whole returns the next record if it is there to its end. The errors are
// about its header.
func (s *receiveSide) whole() (rec []byte, err error) {
	if len(s.in) < headerLen {
		return nil, errWait
	}
	if err := s.checkHeader(); err != nil {
		return nil, err
	}
	n := headerLen + s.fragmentLen()
	if len(s.in) < n {
		return nil, errWait
	}
	return s.in[:n], nil
}

func (s *receiveSide) fragmentLen() int { return int(s.in[3])<<8 | int(s.in[4]) }

// checkHeader judges as the kernels do, which do not look at the type, but
// FreeBSD does under TLS 1.3.
func (s *receiveSide) checkHeader() error {
	n, freeBSD := s.fragmentLen(), s.conn.rules == kernel.RulesFreeBSD
	switch {
	case freeBSD && s.prot.tls13() && s.in[0] != typeData:
		return syscall.EINVAL
	case freeBSD && (s.in[1] != 3 || s.in[2] != 3):
		return syscall.EINVAL
	case n > s.prot.maxFragment():
		return syscall.EMSGSIZE
	case n < s.prot.overhead() && freeBSD:
		return syscall.EMSGSIZE
	case n < s.prot.overhead():
		return syscall.EBADMSG
	case s.in[1] != 3 || s.in[2] != 3:
		return syscall.EINVAL
	}
	return nil
}

// drop forgets the first n bytes of what TCP received.
func (s *receiveSide) drop(n int) { s.in = s.in[n:] }
