//go:build unix

package redis

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tls "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// earlyServer is a server of a fleet that accepts early data.
type earlyServer struct {
	addr     string
	store    *Store
	accepted atomic.Int64 // connections whose early data it has read
	errs     sync.Map     // of the anti-replay defence, by text
}

// earlyBudget is more than the default, because the machine has other things to do.
const earlyBudget = 100 * time.Millisecond

func startEarlyServer(t *testing.T, redis *sessiontest.Server, cert tls.Certificate) *earlyServer {
	t.Helper()
	client := newClient(t, redis)
	s := &earlyServer{store: NewStore(client, "")}
	config := &tls.Config{
		Certificates: []tls.Certificate{cert},
		TicketKeys:   &session.KeyRing{Source: NewRing(client, "ring"), KEK: kek, Budget: time.Second},
		AntiReplay: &session.AntiReplay{Store: s.store, Budget: earlyBudget, OnError: func(err error) {
			s.errs.Store(err.Error(), err)
		}},
		MaxEarlyData: 1000,
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(tls.Server(raw, config)) })
		}
	})
	s.addr = l.Addr().String()
	return s
}

// serve reads early data, and answers when the handshake is complete.
func (s *earlyServer) serve(c *tls.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(loadTimeout))
	buf := make([]byte, 100)
	if n, err := c.ReadEarlyData(buf); n > 0 && err == nil {
		s.accepted.Add(1)
	}
	if c.Handshake() == nil {
		_, _ = c.Write([]byte{1})
	}
}

// has reports whether the defence has failed like this.
func (s *earlyServer) has(target error) (found bool) {
	s.errs.Range(func(_, err any) bool {
		found = found || errors.Is(err.(error), target)
		return !found
	})
	return found
}

// recorded is a connection that keeps what is written first.
type recorded struct {
	net.Conn
	mu     sync.Mutex
	flight []byte
	closed bool // no more is kept
}

func (r *recorded) Write(b []byte) (int, error) {
	r.mu.Lock()
	if !r.closed {
		r.flight = append(r.flight, b...)
	}
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// sendEarly sends early data, and returns the first flight and whether it was
// accepted. The connection must succeed.
func sendEarly(t *testing.T, config *tls.Config, addr string) (flight []byte, accepted bool) {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorded{Conn: raw}
	c := tls.Client(r, config)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(loadTimeout))
	_, err = c.WriteEarlyData([]byte("early data"))
	if err != nil && !errors.Is(err, tls.ErrNoEarlyData) {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.closed, flight = true, bytes.Clone(r.flight)
	r.mu.Unlock()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("the connection fails: %v", err)
	}
	return flight, c.EarlyData().Accepted
}

// replay sends a recorded first flight, and waits for the server's answer to it.
func replay(t *testing.T, flight []byte, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(loadTimeout))
	if _, err := c.Write(flight); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Errorf("the server does not answer a replay by a handshake: %v", err)
	}
}

// TestEarlyDataReplay records first flights and plays them again: at the server
// that has accepted them, at another one, after a restart, and while Redis is
// stopped, dead, or has forgotten everything.
func TestEarlyDataReplay(t *testing.T) {
	forEachServer(t, func(t *testing.T, redis *sessiontest.Server) {
		cert, roots := loadCertificate(t)
		a, b := startEarlyServer(t, redis, cert), startEarlyServer(t, redis, cert)
		age(t, a.store)
		config := &tls.Config{RootCAs: roots, ServerName: loadName, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
		sendEarly(t, config, a.addr) // for a session
		flight, accepted := sendEarly(t, config, b.addr)
		if !accepted {
			t.Fatal("early data is not accepted at another server of the fleet")
		}
		again := startEarlyServer(t, redis, cert) // as after a restart
		servers := []*earlyServer{a, b, again}
		count := func() (n int64) {
			for _, s := range servers {
				n += s.accepted.Load()
			}
			return n
		}
		replays := func(when string, flights ...[]byte) {
			t.Helper()
			before := count()
			for _, s := range servers {
				for _, flight := range flights {
					replay(t, flight, s.addr)
				}
			}
			if n := count() - before; n != 0 {
				t.Errorf("%s: %d replays are accepted", when, n)
			}
		}
		replays("at once", flight)

		// Each of the following is a ClientHello that no server has seen.
		fresh := func(when string) []byte {
			t.Helper()
			flight, accepted := sendEarly(t, config, a.addr)
			if accepted {
				t.Errorf("%s: early data is accepted", when)
			}
			return flight
		}
		redis.Pause()
		stopped := fresh("while Redis is stopped")
		replays("while Redis is stopped", flight, stopped)
		redis.Continue()
		redis.Kill()
		dead := fresh("while Redis is dead")
		replays("while Redis is dead", flight, dead)
		redis.Restart() // it keeps nothing
		forgotten := fresh("after Redis has lost all marks")
		replays("after Redis has lost all marks", flight, stopped, dead, forgotten)
		if !a.has(session.ErrMarksLost) {
			t.Error("nobody is told that marks are lost")
		}

		// It recovers by itself, when what was lost would have expired.
		age(t, a.store)
		flight, accepted = sendEarly(t, config, a.addr)
		if !accepted {
			t.Error("early data is not accepted later")
		}
		replays("later", flight)
	})
}
