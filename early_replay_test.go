package tls

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/file"
)

// recorded returns the first flight of a client that has a session of server's:
// ClientHello and early data, as they were on the wire. Nobody has seen them.
func recorded(t *testing.T, client, server *Config) []byte {
	t.Helper()
	ticketFor(t, client, server)
	a, b := net.Pipe()
	defer b.Close()
	wire := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(b)
		wire <- b
	}()
	c := Client(a, client)
	mustWriteEarly(t, c, "transfer")
	c.Close()
	return <-wire
}

// play sends a first flight to a server, and returns what its application sees.
func play(t *testing.T, flight []byte, server *Config) (seen string, state EarlyDataState) {
	a, b := sockets(t)
	defer a.Close()
	s := Server(b, server)
	defer s.Close()
	deadline := time.Now().Add(20 * time.Second)
	if err := errors.Join(a.SetDeadline(deadline), b.SetDeadline(deadline)); err != nil {
		t.Error(err)
		return "", EarlyDataState{}
	}
	sent := do(func() error {
		_, err := a.Write(flight)
		// Whoever replays can say no more: the answer tells nothing.
		err = errors.Join(err, a.(*net.TCPConn).CloseWrite())
		_, _ = io.Copy(io.Discard, a)
		return err
	})
	seen, early := readEarly(s)
	err := s.Handshake()
	if early == nil && seen != "" || err == nil {
		t.Errorf("a replay looks complete: %q, %v; handshake %v", seen, early, err)
	}
	s.Close()
	if err := sent(); err != nil {
		t.Error(err)
	}
	return seen, s.EarlyData()
}

// wantPlayed plays a flight and demands that it is accepted, or not.
func wantPlayed(t *testing.T, what string, flight []byte, server *Config, want bool) {
	t.Helper()
	seen, state := play(t, flight, server)
	if accepted := seen == "transfer"; accepted != want || state.Accepted != want || !state.Offered || !want && seen != "" {
		t.Errorf("%s: saw %q, %+v", what, seen, state)
	}
}

// fleet makes servers that share ticket keys and what remembers early data, in
// files: each call is a server that was just started.
type fleet struct {
	t     *testing.T
	dir   string
	zone  string
	store func(t *testing.T) session.Store // nil for files
}

func newFleet(t *testing.T) *fleet {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &fleet{t: t, dir: dir}
}

func (f *fleet) server() *Config {
	f.t.Helper()
	ring := &session.KeyRing{Source: file.NewRing(filepath.Join(f.dir, "ring")), KEK: [32]byte{9}, Zone: f.zone}
	if err := ring.Refresh(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	var store session.Store
	if f.store != nil {
		store = f.store(f.t)
	} else {
		store = openFileStore(f.t, filepath.Join(f.dir, "store"))
	}
	return earlyServer(func(c *Config) {
		c.TicketKeys = ring
		c.AntiReplay = &session.AntiReplay{Store: store, Budget: time.Minute, OnError: func(err error) {
			if !errors.Is(err, session.ErrMarksLost) {
				f.t.Logf("store: %v", err)
			}
		}}
	})
}

// TestReplay plays a first flight again and again.
func TestReplay(t *testing.T) {
	t.Run("own keys", func(t *testing.T) {
		server := earlyServer()
		flight := recorded(t, cachingClient(), server)
		wantPlayed(t, "first", flight, server, true)
		for range 3 {
			wantPlayed(t, "again", flight, server, false)
		}
		wantPlayed(t, "clone", flight, server.Clone(), false)
		// A ticket of keys that are not here: there is nothing to accept.
		wantPlayed(t, "other", flight, earlyServer(), false)
	})
	t.Run("clone before", func(t *testing.T) {
		server := earlyServer()
		flight := recorded(t, cachingClient(), server)
		wantPlayed(t, "clone", flight, server.Clone(), true)
		wantPlayed(t, "first", flight, server, false)
	})
	t.Run("fleet", func(t *testing.T) {
		f := newFleet(t)
		a, b := f.server(), f.server()
		flight := recorded(t, cachingClient(), a)
		wantPlayed(t, "another server", flight, b, true)
		wantPlayed(t, "same server", flight, b, false)
		wantPlayed(t, "server of the ticket", flight, a, false)
		wantPlayed(t, "restarted server", flight, f.server(), false)
	})
	t.Run("zone", func(t *testing.T) {
		f := newFleet(t)
		flight := recorded(t, cachingClient(), f.server())
		f.zone = "elsewhere"
		wantPlayed(t, "other zone", flight, f.server(), false)
		f.zone = ""
		wantPlayed(t, "same zone", flight, f.server(), true)
	})
	t.Run("restart with a store in memory", func(t *testing.T) {
		f := newFleet(t)
		f.store = func(*testing.T) session.Store { return session.NewMemoryStore(0) }
		before := f.server()
		seen := recorded(t, cachingClient(), before)
		wantPlayed(t, "before", seen, before, true)
		unseen := recorded(t, cachingClient(), before)
		time.Sleep(2 * time.Millisecond) // tickets know their time to the millisecond
		after := f.server()
		wantPlayed(t, "after", seen, after, false)
		wantPlayed(t, "after, not seen before", unseen, after, false)
		fresh := recorded(t, cachingClient(), after)
		wantPlayed(t, "after, new ticket", fresh, after, true)
		wantPlayed(t, "after, new ticket again", fresh, after, false)
	})
}

// TestReplayBrokenStore plays a flight that nobody has seen to servers whose
// store fails: it is not accepted, and nothing hangs.
func TestReplayBrokenStore(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	hang := func() error {
		select {
		case <-release:
		case <-time.After(10 * time.Second):
		}
		return nil
	}
	full := session.NewMemoryStore(1)
	if ok, err := full.Add(t.Context(), "mark", time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	stores := map[string]session.Store{
		"down":  brokenStore{call: func() error { return errors.New("down") }},
		"hangs": brokenStore{call: hang},
		"lost":  brokenStore{call: func() error { return session.ErrMarksLost }},
		"full":  full,
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			client := cachingClient()
			good := f.server()
			flight := recorded(t, client, good)
			bad := f.server()
			var told atomic.Int32
			bad.AntiReplay = &session.AntiReplay{Store: store, OnError: func(error) { told.Add(1) }}
			start := time.Now()
			wantPlayed(t, "first", flight, bad, false)
			ticketFor(t, client, good)
			if r := tryEarly(t, client, bad); r.client.Accepted || !r.client.Offered || !r.state.DidResume {
				t.Errorf("an honest client: %+v", r)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if told.Load() != 2 {
				t.Errorf("OnError was told %d times", told.Load())
			}
			wantPlayed(t, "by the good server", flight, good, true)
		})
	}
}

// TestReplayRace plays one flight at many servers at once.
func TestReplayRace(t *testing.T) {
	f := newFleet(t)
	servers := []*Config{f.server(), f.server(), f.server()}
	flight := recorded(t, cachingClient(), servers[0])
	var accepted atomic.Int32
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			if seen, _ := play(t, flight, servers[i%len(servers)]); seen != "" {
				accepted.Add(1)
			}
		})
	}
	all.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("accepted %d times", n)
	}
}

// TestReplayHandles plays a flight to servers whose tickets are handles that work
// once, and whose store gives back what was taken: that of another time.
func TestReplayHandles(t *testing.T) {
	sessions := session.NewMemoryStore(0)
	returning := givesBack{sessions}
	f := newFleet(t)
	server := func(store session.Store) *Config {
		c := f.server()
		c.ServerSessions = &session.Stateful{Store: store, Budget: time.Minute}
		return c
	}
	flight := recorded(t, cachingClient(), server(sessions))
	wantPlayed(t, "first", flight, server(returning), true)
	wantPlayed(t, "given back", flight, server(sessions), false)
	wantPlayed(t, "taken", flight, server(sessions), false)
}

// givesBack is a store that was restored while it was used.
type givesBack struct{ session.Store }

func (g givesBack) TakeOnce(ctx context.Context, key string) ([]byte, error) {
	return g.Get(ctx, key)
}

// TestReplayChanged changes the early data of a recorded flight, and its
// ClientHello.
func TestReplayChanged(t *testing.T) {
	server := earlyServer()
	for _, at := range []struct {
		name string
		from func(n int) int
	}{
		{"random", func(int) int { return 5 + 4 + 2 + 10 }},
		{"early data", func(n int) int { return n - 10 }},
	} {
		flight := recorded(t, cachingClient(), server)
		flight[at.from(len(flight))] ^= 1
		if seen, _ := play(t, flight, server); seen != "" {
			t.Errorf("%s changed: saw %q", at.name, seen)
		}
	}
}

// TestAntiReplayOwn refuses one for a single process where keys are shared.
func TestAntiReplayOwn(t *testing.T) {
	server := earlyServer()
	server.TicketKeys = &session.KeyRing{Source: new(session.MemoryRing), KEK: [32]byte{1}}
	server.AntiReplay = session.NewAntiReplay(0)
	c, s := pair(t, sockets, clientConfig(), server)
	_, err := handshakes(c, s)
	if ce := (*ConfigError)(nil); !errors.As(err, &ce) || ce.Field != "AntiReplay" {
		t.Errorf("server: %v", err)
	}
}
