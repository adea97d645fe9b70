//go:build unix

package kerneltest

import (
	"bytes"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

// sendSide is the sending direction. What it accepts it protects at once, puts
// into a queue, and from there a goroutine moves it to the real TCP
// socket, as the kernel would to the network.
type sendSide struct {
	conn     *Conn
	refusal  error
	capacity int
	busy     atomic.Int32

	installed
	changed  sync.Cond
	queue    []byte
	updating bool // a KeyUpdate was sent, and the keys are the old ones
	fin      bool // no more will be queued
	closing  bool
	err      error // of the real socket
	deadline time.Time
	timer    *time.Timer
	done     chan struct{} // closed when the goroutine has ended
}

func (s *sendSide) init(c *Conn) {
	s.conn, s.capacity = c, defaultSendBuffer
	s.changed.L = &s.mu
}

// enable is the socket option that gives keys.
func (s *sendSide) enable(k *keyschedule.TrafficKeys) error {
	if s.refusal != nil {
		return s.refusal
	}
	if err := s.conn.missing(k.Suite); err != nil {
		return err
	}
	if s.busy.Load() > 0 {
		panic("kerneltest: keys for the sending direction while somebody sends")
	}
	other := s.conn.rx.suite()
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{"TlsTxRekeyOk"}
	first := s.prot == nil
	if first {
		names = []string{"TlsTxSw", "TlsCurrTxSw"}
	}
	if err := s.give(s.conn, other, k); err != nil {
		return err
	}
	if first {
		s.start()
	}
	s.updating = false
	s.conn.count(1, names...)
	return nil
}

// start begins to move the queue.
func (s *sendSide) start() {
	_ = s.conn.tcp.SetWriteDeadline(time.Time{}) // deadlines are of writers, not of TCP
	s.done = make(chan struct{})
	go s.transmit()
}

// transmit moves the queue until it will stay empty.
func (s *sendSide) transmit() {
	defer close(s.done)
	for {
		chunk, ok := s.next()
		if !ok {
			return
		}
		n, err := s.conn.tcp.Write(chunk)
		s.mu.Lock()
		s.queue = s.queue[n:]
		if err != nil {
			s.err, s.queue = err, nil
		}
		s.changed.Broadcast()
		s.mu.Unlock()
	}
}

// next waits for what is to be moved. It reports false after the last.
func (s *sendSide) next() ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 {
		if s.fin && !s.closing {
			_ = s.conn.tcp.CloseWrite()
		}
		if s.fin {
			return nil, false
		}
		s.changed.Wait()
	}
	return bytes.Clone(s.queue[:min(len(s.queue), maxContent)]), true
}

// write sends application data, cut into records. What it returns was
// accepted, whatever the error says.
func (s *sendSide) write(p []byte) (n int, err error) {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	return s.records(typeData, p)
}

// records cuts p into records. An empty p is none.
func (s *sendSide) records(typ byte, p []byte) (n int, err error) {
	for n < len(p) {
		k := min(len(p)-n, maxContent)
		if err := s.record(typ, p[n:n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// control is one sendmsg with a type.
func (s *sendSide) control(typ byte, p []byte) (n int, err error) {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	if !s.on() {
		panic("kerneltest: control record on a direction without keys")
	}
	if s.conn.rules == kernel.RulesFreeBSD && len(p) == 0 {
		return 0, syscall.EINVAL
	}
	if s.conn.rules == kernel.RulesFreeBSD && len(p) > maxContent {
		return 0, syscall.EMSGSIZE
	}
	return s.records(typ, p)
}

// record waits for room and queues one record.
func (s *sendSide) record(typ byte, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.ready(); err != nil {
			return err
		}
		if len(s.queue) < s.capacity {
			break
		}
		s.changed.Wait()
	}
	if s.updating {
		panic("kerneltest: a record under the old keys after a KeyUpdate")
	}
	if s.prot.seq == 1<<64-1 && s.conn.rules == kernel.RulesLinux {
		s.conn.fail(syscall.EBADMSG)
		return syscall.EBADMSG
	}
	s.queue = append(s.queue, s.prot.seal(typ, content)...)
	s.updating = s.prot.tls13() && typ == typeHandshake && isKeyUpdate(content)
	s.changed.Broadcast()
	return nil
}

// isKeyUpdate reports whether b is the message (RFC 9846, section 4.7.3).
func isKeyUpdate(b []byte) bool {
	return len(b) == 5 && bytes.HasPrefix(b, []byte{keyUpdate, 0, 0, 1})
}

// ready returns why nothing can be sent.
func (s *sendSide) ready() error {
	switch {
	case s.conn.isClosed():
		return net.ErrClosed
	case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
		return os.ErrDeadlineExceeded
	case s.err != nil:
		return s.errno()
	case s.fin || s.conn.isDropped():
		return syscall.EPIPE
	case s.conn.rules == kernel.RulesFreeBSD:
		return s.conn.takeError()
	}
	return s.conn.pendingError()
}

// errno returns the real socket's error as a system call would.
func (s *sendSide) errno() error {
	if op, ok := s.err.(*net.OpError); ok {
		if call, ok := op.Err.(*os.SyscallError); ok {
			return call.Err
		}
		return op.Err
	}
	return s.err
}

func (s *sendSide) setDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	if s.timer != nil {
		s.timer.Stop()
	}
	if !t.IsZero() {
		s.timer = time.AfterFunc(time.Until(t), s.changed.Broadcast)
	}
	s.changed.Broadcast()
	if s.prot == nil {
		return s.conn.tcp.SetWriteDeadline(t)
	}
	return nil
}

// unsent returns how many bytes are in the queue of TCP, without what exceeds it.
func (s *sendSide) unsent() (int, error) {
	if s.conn.isClosed() {
		return 0, net.ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(len(s.queue), s.capacity), nil
}

// shutdown ends the queue.
func (s *sendSide) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

func (s *sendSide) end() {
	if s.conn.rules == kernel.RulesLinux {
		s.queue = s.queue[:min(len(s.queue), s.capacity)]
	}
	s.fin = true
	s.changed.Broadcast()
}

// orphanTime is how long a closed connection goes on to deliver what it has.
const orphanTime = 5 * time.Second

// close ends the queue and then the connection. It does not wait for the peer.
func (s *sendSide) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.prot == nil {
		return s.conn.tcp.Close()
	}
	s.closing = true
	s.end()
	_ = s.conn.tcp.SetWriteDeadline(time.Now().Add(orphanTime))
	if len(s.queue) > 0 {
		go s.finish()
		return nil
	}
	s.mu.Unlock()
	err := s.finish()
	s.mu.Lock()
	return err
}

// finish closes the real socket when the queue is delivered.
func (s *sendSide) finish() error {
	<-s.done
	return s.conn.tcp.Close()
}
