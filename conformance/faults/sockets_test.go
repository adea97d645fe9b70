package faults

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is how much later both ends' deadlines are than a fault by which
	// bytes may go missing for good.
	patience = 250 * time.Millisecond
	// limit is the deadline without one: a test that gets there hangs.
	limit = 20 * time.Second
	// pause is how long what is delayed comes later.
	pause = 2 * time.Millisecond
)

// proxy passes on what goes between two sockets of TCP, but for a fault.
type proxy struct {
	fault
	hit   chan struct{} // closed when the fault is there
	ends  [2]net.Conn
	conns [2]*net.TCPConn // to the end that sends in this direction
}

func (p *proxy) deadline(d time.Duration) {
	for _, end := range p.ends {
		_ = end.SetDeadline(time.Now().Add(d))
	}
}

// overTCP connects two ends through a proxy with a fault.
func overTCP(t testing.TB, f fault) (ends [2]net.Conn, p *proxy, stop func()) {
	t.Helper()
	p = &proxy{fault: f, hit: make(chan struct{})}
	for _, d := range directions {
		ends[d], p.conns[d] = tcpPair(t)
		p.ends[d] = ends[d]
	}
	p.deadline(limit)
	done := make(chan struct{}, 2)
	for _, d := range directions {
		go func() { p.pump(d); done <- struct{}{} }()
	}
	return ends, p, func() {
		for range directions {
			<-done
		}
		for _, d := range directions {
			ends[d].Close()
			p.conns[d].Close()
		}
	}
}

func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// pump passes one direction on until it ends.
func (p *proxy) pump(d direction) {
	from, to := p.conns[d], p.conns[d.other()]
	buf := make([]byte, 1<<15)
	for offset := 0; ; {
		n, err := from.Read(buf)
		at := p.offset - offset
		offset += n
		switch {
		case p.kind != none && p.direction == d && at >= 0 && at < n:
			close(p.hit)
			if !p.kind.harmless() {
				p.deadline(patience)
			}
			if !p.strike(from, to, buf[:n], at) {
				return
			}
		case n > 0:
			_, _ = to.Write(buf[:n]) // a receiver that is gone does not stop the sender
		}
		switch {
		case err == io.EOF:
			_ = to.CloseWrite()
			return
		case errors.Is(err, syscall.ECONNRESET):
			hangUp(to)
			return
		case err != nil:
			return
		}
	}
}

// hangUp resets a connection.
func hangUp(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// strike lets the fault happen at b[at], and reports whether the direction goes
// on.
func (p *proxy) strike(from, to *net.TCPConn, b []byte, at int) bool {
	write := func(b []byte) { _, _ = to.Write(b) }
	switch p.kind {
	case drop:
		write(b[:at])
		_, _ = from.Close(), to.Close()
		return false
	case reset:
		write(b[:at])
		hangUp(from)
		hangUp(to)
		return false
	case truncate, stall:
		write(b[:at])
		if p.kind == truncate {
			_ = to.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, from)
		return false
	case delay:
		write(b[:at])
		time.Sleep(pause)
		write(b[at:])
	case split:
		write(b[:at])
		b = b[at:]
		for range min(splitBytes, len(b)) {
			time.Sleep(pause / splitBytes)
			write(b[:1])
			b = b[1:]
		}
		write(b)
	case merge:
		write(p.more(from, b))
	default:
		write(p.change(b, at))
	}
	return true
}

// more returns b with what comes within the pause.
func (p *proxy) more(from *net.TCPConn, b []byte) []byte {
	_ = from.SetReadDeadline(time.Now().Add(pause))
	buf := make([]byte, 1<<15)
	for {
		n, err := from.Read(buf)
		b = append(b, buf[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = from.SetReadDeadline(time.Time{})
			return b
		}
		if err != nil {
			return b // and the next Read fails again
		}
	}
}

// tcpMatrix is a matrix over sockets. Most of it waits, so that many can do it
// at once.
func (s *setup) tcpMatrix(t *testing.T, step int, c *counts) {
	const atOnce = 16
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			s.matrix(t, v.id, step, atOnce, func(version uint16, f fault) (bool, [2]*outcome) {
				ends, p, stop := overTCP(t, f)
				o := s.converse(ends, version)
				stop()
				select {
				case <-p.hit:
					return true, o
				default:
					return false, o
				}
			}, c)
		})
	}
}

// TestSockets has some of the conversations over TCP.
func TestSockets(t *testing.T) {
	noGoroutineLeft(t)
	s := alone
	s.sockets = true
	var c counts
	s.tcpMatrix(t, max(61, *stride), &c)
	t.Logf("\n%s", c.table())
}
