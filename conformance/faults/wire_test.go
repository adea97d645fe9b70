package faults

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// direction is one of the two of a connection, by who sends.
type direction int

const (
	fromClient direction = iota
	fromServer
)

var directions = []direction{fromClient, fromServer}

func (d direction) String() string   { return [...]string{"client to server", "server to client"}[d] }
func (d direction) other() direction { return 1 - d }

// kind is a kind of fault.
type kind int

const (
	none     kind = iota
	drop          // the connection is closed, in both directions
	truncate      // this direction ends; the other goes on
	reset         // the connection is reset
	stall         // nothing more comes in this direction
	delay         // what comes next comes when both ends wait for it
	split         // bytes come one by one
	merge         // a flight comes with the next one, if there can be one
	flipBit       // a bit is another
	flipByte      // all bits of a byte are others
	lose          // a byte is missing
	repeat        // a byte comes twice
)

var faultKinds = []kind{drop, truncate, reset, stall, delay, split, merge, flipBit, flipByte, lose, repeat}

func (k kind) String() string {
	return [...]string{"none", "drop", "truncate", "reset", "stall", "delay", "split", "merge", "flip a bit", "flip a byte", "lose a byte", "repeat a byte"}[k]
}

// harmless faults are what TCP does every day: all must arrive all the same.
func (k kind) harmless() bool { return k == none || k == delay || k == split || k == merge }

// forges reports whether bytes are not those that were sent.
func (k kind) forges() bool { return k >= flipBit }

// fault happens to the byte at offset of a direction.
type fault struct {
	kind      kind
	direction direction
	offset    int
}

// change returns b, of which b[i] is the byte in question, as it arrives.
func (f fault) change(b []byte, i int) []byte {
	b = append([]byte(nil), b...)
	switch f.kind {
	case flipBit:
		b[i] ^= 1 << (f.offset % 8)
	case flipByte:
		b[i] ^= 0xff
	case lose:
		b = append(b[:i], b[i+1:]...)
	case repeat:
		b = append(b[:i+1], b[i:]...)
	}
	return b
}

// splitBytes is how many bytes come one by one after a split.
const splitBytes = 8

// stream is what was sent in one direction.
type stream struct {
	sent   int    // bytes that the sender wrote
	log    []byte // the same bytes
	ready  []byte // what the receiver can read
	held   []byte // what comes when both wait
	lone   int    // so many bytes come one by one
	before int    // after so many
	fin    bool   // nothing comes after that
	lost   bool   // nothing arrives any more
}

// wire is a connection in memory with a fault.
type wire struct {
	mutex   sync.Mutex
	changed sync.Cond
	fault   fault
	hit     bool
	streams [2]stream
	waiting [2]bool // the end that sends in this direction reads, and has nothing
	closed  [2]bool // by it
	dropped bool
	reset   bool
	expired bool // all deadlines have passed
}

func newWire(f fault) *wire {
	w := &wire{fault: f}
	w.changed.L = &w.mutex
	return w
}

// end is one end of a wire.
type end struct {
	*wire
	direction // of what it sends
}

func (w *wire) ends() (client, server *end) { return &end{w, fromClient}, &end{w, fromServer} }

func (e *end) Write(b []byte) (int, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	switch {
	case e.closed[e.direction]:
		return 0, net.ErrClosed
	case e.reset:
		return 0, &net.OpError{Op: "write", Net: "wire", Err: syscall.ECONNRESET}
	case e.dropped:
		return 0, &net.OpError{Op: "write", Net: "wire", Err: syscall.EPIPE}
	}
	s := &e.streams[e.direction]
	at := e.fault.offset - s.sent
	s.sent += len(b)
	s.log = append(s.log, b...)
	if e.fault.kind == none || e.fault.direction != e.direction || at < 0 || at >= len(b) {
		at = -1
	}
	e.send(s, b, at)
	e.changed.Broadcast()
	return len(b), nil
}

// send passes b on. The fault is at b[at], if it is in there.
func (w *wire) send(s *stream, b []byte, at int) {
	switch {
	case s.lost || s.fin:
		return
	case at < 0 && len(s.held) > 0:
		s.held = append(s.held, b...)
		return
	case at < 0:
		s.ready = append(s.ready, b...)
		return
	}
	w.hit = true
	switch w.fault.kind {
	case drop, truncate, reset, stall:
		s.ready = append(s.ready, b[:at]...)
		w.cut(s)
	case delay:
		s.ready, s.held = append(s.ready, b[:at]...), append(s.held, b[at:]...)
	case merge:
		s.held = append(s.held, b...)
	case split:
		s.before, s.lone = len(s.ready)+at, splitBytes
		s.ready = append(s.ready, b...)
	default:
		s.ready = append(s.ready, w.fault.change(b, at)...)
	}
}

func (w *wire) cut(s *stream) {
	switch w.fault.kind {
	case drop:
		w.dropped, w.streams[0].fin, w.streams[1].fin = true, true, true
	case truncate:
		s.fin = true
	case reset:
		w.reset = true
	case stall:
		s.lost = true
	}
}

func (e *end) Read(b []byte) (int, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	s := &e.streams[e.direction.other()]
	for {
		switch {
		case e.closed[e.direction]:
			return 0, net.ErrClosed
		case len(s.ready) > 0 && len(b) > 0:
			return s.take(b), nil
		case len(b) == 0:
			return 0, nil
		case e.reset:
			return 0, &net.OpError{Op: "read", Net: "wire", Err: syscall.ECONNRESET}
		case s.fin && len(s.held) == 0:
			return 0, io.EOF
		case e.expired:
			return 0, &net.OpError{Op: "read", Net: "wire", Err: os.ErrDeadlineExceeded}
		}
		e.waiting[e.direction] = true
		if e.quiet() {
			e.goOn()
		} else {
			e.changed.Wait()
		}
		e.waiting[e.direction] = false
	}
}

// take moves what is ready to b, but not across a split.
func (s *stream) take(b []byte) int {
	n := len(s.ready)
	switch {
	case s.before > 0:
		n = s.before
	case s.lone > 0:
		n = 1
		s.lone--
	}
	n = copy(b, s.ready[:min(n, len(s.ready))])
	s.before = max(0, s.before-n)
	s.ready = s.ready[n:]
	return n
}

// quiet reports whether nothing will happen any more: each end waits, or has
// closed.
func (w *wire) quiet() bool {
	for _, d := range directions {
		in := &w.streams[d.other()]
		arrives := len(in.ready) > 0 || in.fin && len(in.held) == 0 || w.reset
		if !w.closed[d] && (!w.waiting[d] || arrives) {
			return false
		}
	}
	return true
}

// goOn delivers what is held, or else lets time pass.
func (w *wire) goOn() {
	held := false
	for d := range w.streams {
		s := &w.streams[d]
		held = held || len(s.held) > 0
		s.ready, s.held = append(s.ready, s.held...), nil
	}
	w.expired = !held
	w.changed.Broadcast()
}

// CloseWrite is what a connection of TCP has, too.
func (e *end) CloseWrite() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if s := &e.streams[e.direction]; !s.lost {
		s.fin = true
	}
	e.changed.Broadcast()
	return nil
}

func (e *end) Close() error {
	_ = e.CloseWrite()
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.closed[e.direction] {
		return net.ErrClosed
	}
	e.closed[e.direction] = true
	e.changed.Broadcast()
	return nil
}

func (e *end) LocalAddr() net.Addr              { return address(e.direction.String()) }
func (e *end) RemoteAddr() net.Addr             { return address(e.direction.other().String()) }
func (e *end) SetDeadline(time.Time) error      { return nil }
func (e *end) SetReadDeadline(time.Time) error  { return nil }
func (e *end) SetWriteDeadline(time.Time) error { return nil }

type address string

func (a address) Network() string { return "wire" }
func (a address) String() string  { return string(a) }
