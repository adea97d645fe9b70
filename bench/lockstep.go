package bench

import (
	"errors"
	"io"
	"net"
	"time"
)

// side is an end of a connection.
type side int

const (
	client side = iota
	server
)

func (s side) other() side { return 1 - s }

func (s side) String() string { return [...]string{"client", "server"}[s] }

// lockstep is a connection in memory of which one end runs at a time: it goes on
// until it waits for the other one. So what happens between two turns belongs
// to one end, and can be measured for that end alone.
type lockstep struct {
	ends [2]lockstepEnd
	turn func(from side) // called by the end that gives its turn away
}

// lockstepEnd is one end. Only the end that has the turn touches either's
// fields.
type lockstepEnd struct {
	link          *lockstep
	side          side
	in            []byte
	turns         chan struct{}
	begun, waits  bool
	closed        bool
	writes, reads int
}

var errStuck = errors.New("bench: both ends wait for each other")

// newLockstep returns a connection. turn may be nil. The client begins.
func newLockstep(turn func(from side)) *lockstep {
	l := &lockstep{turn: turn}
	for s := range l.ends {
		l.ends[s] = lockstepEnd{link: l, side: side(s), turns: make(chan struct{}, 1), waits: true}
	}
	l.ends[client].waits = false
	l.ends[client].turns <- struct{}{}
	return l
}

// run calls both functions, each with its end, in turns, until both returned.
func (l *lockstep) run(f [2]func(net.Conn) error) error {
	results := make(chan error)
	for s := range l.ends {
		go func() {
			e := &l.ends[s]
			<-e.turns
			e.begun = true
			err := f[s](e)
			e.closed = true
			e.give()
			results <- err
		}()
	}
	return errors.Join(<-results, <-results)
}

// give passes the turn on, if the other end is there to take it.
func (e *lockstepEnd) give() {
	if e.link.turn != nil {
		e.link.turn(e.side)
	}
	other := &e.link.ends[e.side.other()]
	if other.waits {
		other.waits = false
		other.turns <- struct{}{}
	}
}

func (e *lockstepEnd) Read(b []byte) (int, error) {
	other := &e.link.ends[e.side.other()]
	for len(e.in) == 0 {
		if other.closed {
			return 0, io.EOF
		}
		if other.begun && other.waits && len(other.in) == 0 {
			return 0, errStuck
		}
		e.waits = true
		e.give()
		<-e.turns
	}
	e.reads++
	n := copy(b, e.in)
	e.in = e.in[:copy(e.in, e.in[n:])]
	return n, nil
}

func (e *lockstepEnd) Write(b []byte) (int, error) {
	e.writes++
	other := &e.link.ends[e.side.other()]
	other.in = append(other.in, b...)
	return len(b), nil
}

func (e *lockstepEnd) Close() error {
	e.closed = true
	return nil
}

func (*lockstepEnd) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }
func (*lockstepEnd) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}
}
func (*lockstepEnd) SetDeadline(time.Time) error      { return nil }
func (*lockstepEnd) SetReadDeadline(time.Time) error  { return nil }
func (*lockstepEnd) SetWriteDeadline(time.Time) error { return nil }
