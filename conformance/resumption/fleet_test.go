package resumption

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/file"
)

// sharing says what the servers of a fleet share.
type sharing int

const (
	nothing sharing = iota // each makes its own keys and remembers for itself
	memory                 // all of it: they are in one process
	files                  // what is in files: each is a process of its own
)

// fleet is what servers of ours share that resume each other's sessions.
type fleet struct {
	t       testing.TB
	form    form
	sharing sharing
	dir     string
	ring    session.RingSource
	store   session.Store
	cache   *session.ServerCache
	shift   atomic.Int64 // how far the clock of the keys is ahead, in nanoseconds
	ended   atomic.Bool
}

func newFleet(t testing.TB, f form, s sharing) *fleet {
	// A ring may still be at its file when the test has ended: such a directory
	// is removed with all others.
	dir, err := os.MkdirTemp(scratch, "fleet")
	if err != nil {
		t.Fatal(err)
	}
	fl := &fleet{
		t: t, form: f, sharing: s, dir: dir,
		ring: new(session.MemoryRing), store: session.NewMemoryStore(0), cache: session.NewServerCache(0, 0),
	}
	t.Cleanup(func() { fl.ended.Store(true) })
	return fl
}

// keyTime is the clock of the keys.
func (f *fleet) keyTime() time.Time { return time.Now().Add(time.Duration(f.shift.Load())) }

// start returns the Config of a server that begins now. Budgets are large: the
// machine may have much to do.
func (f *fleet) start() *tls.Config {
	cfg := &tls.Config{
		Certificates: []tls.Certificate{server.cert}, NextProtos: []string{protocol},
		MinVersion: f.form.version, MaxVersion: f.form.version,
	}
	if f.sharing != nothing {
		cfg.TicketKeys = f.newRing()
	}
	switch f.form.kind {
	case handle, stored:
		cfg.ServerSessions = &session.Stateful{Store: f.openStore(), Budget: limit, OnError: f.failed}
	case cached:
		cfg.ServerSessionCache = f.openCache()
	}
	return cfg
}

func (f *fleet) failed(err error) {
	if !f.ended.Load() {
		f.t.Errorf("the server's sessions: %v", err)
	}
}

func (f *fleet) newRing() *session.KeyRing {
	ring := &session.KeyRing{Source: f.ring, KEK: [32]byte{1}, Budget: limit, Time: f.keyTime, OnError: f.failed}
	if f.sharing == files {
		ring.Source = file.NewRing(filepath.Join(f.dir, "ring"))
	}
	return ring
}

func (f *fleet) openStore() session.Store {
	switch f.sharing {
	case memory:
		return f.store
	case files:
		store, err := file.OpenStore(filepath.Join(f.dir, "store"), 0)
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { store.Close() })
		return store
	}
	return session.NewMemoryStore(0)
}

// openCache returns a cache of session IDs, which are shared in memory only.
func (f *fleet) openCache() *session.ServerCache {
	if f.sharing == memory {
		return f.cache
	}
	return session.NewServerCache(0, 0)
}

// rotate makes a server of the fleet rotate the keys so many times.
func (f *fleet) rotate(cfg *tls.Config, times int) {
	f.t.Helper()
	for range times {
		if err := cfg.TicketKeys.Rotate(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
}

// pass lets time pass for a server's keys, of which it makes use after each step.
func (f *fleet) pass(cfg *tls.Config, step time.Duration, steps int) {
	f.t.Helper()
	for range steps {
		f.shift.Add(int64(step))
		if err := cfg.TicketKeys.Refresh(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	}
}

// damaging has a server tell its clients other names for their sessions than
// those that it knows them by: what such a client stores is damaged.
func (f *fleet) damaging(cfg *tls.Config, d damage) {
	keys, stateful, cache := cfg.TicketKeys, cfg.ServerSessions, cfg.ServerSessionCache
	cfg.ServerSessions = nil
	switch f.form.kind {
	case sealed:
		cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			ticket, err := cfg.EncryptTicket(cs, ss)
			return d.apply(ticket), err
		}
	case handle:
		cfg.WrapSession = func(_ tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			state, err := stateOf(ss)
			if err != nil {
				return nil, err
			}
			handle, err := stateful.Conn(keys).Seal(context.Background(), state)
			return d.apply(handle), err
		}
	case stored:
		cfg.ServerSessionCache = renaming{stateful.Conn(keys), d}
	case cached:
		cfg.ServerSessionCache = renaming{cache, d}
	}
}

// stateOf returns the session as package session has it.
func stateOf(ss *tls.SessionState) (*session.State, error) {
	b, err := ss.Bytes()
	if err != nil {
		return nil, err
	}
	return session.ParseState(b)
}

// renaming keeps sessions under damaged IDs.
type renaming struct {
	tls.ServerSessionCache
	damage
}

func (r renaming) Put(ctx context.Context, id []byte, s *session.State) error {
	return r.ServerSessionCache.Put(ctx, r.apply(append([]byte(nil), id...)), s)
}
