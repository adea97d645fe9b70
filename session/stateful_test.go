package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/keyschedule"
)

// spyStore is a MemoryStore that remembers what it learns and does what a test
// tells it to before each call.
type spyStore struct {
	*MemoryStore
	before func(ctx context.Context) error

	mu    sync.Mutex
	seen  []string // keys and values
	ttls  []time.Duration
	calls int
}

func newSpy() *spyStore { return &spyStore{MemoryStore: NewMemoryStore(100)} }

func (s *spyStore) note(ctx context.Context, seen ...string) error {
	s.mu.Lock()
	s.seen = append(s.seen, seen...)
	s.calls++
	s.mu.Unlock()
	if s.before == nil {
		return nil
	}
	return s.before(ctx)
}

func (s *spyStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.note(ctx, key); err != nil {
		return nil, err
	}
	return s.MemoryStore.Get(ctx, key)
}

func (s *spyStore) TakeOnce(ctx context.Context, key string) ([]byte, error) {
	if err := s.note(ctx, key); err != nil {
		return nil, err
	}
	return s.MemoryStore.TakeOnce(ctx, key)
}

func (s *spyStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.note(ctx, key, string(value)); err != nil {
		return err
	}
	s.ttls = append(s.ttls, ttl)
	return s.MemoryStore.Put(ctx, key, value, ttl)
}

// server is a Stateful whose errors fail the test.
func server(t *testing.T, store Store) *Stateful {
	return &Stateful{Store: store, Budget: 10 * time.Second, OnError: func(err error) { t.Errorf("OnError: %v", err) }}
}

func handleOf(t *testing.T, s *Stateful, ring *KeyRing, state *State) []byte {
	t.Helper()
	handle, err := s.Conn(ring).Seal(t.Context(), state)
	if err != nil || len(handle) != handleLen {
		t.Fatalf("handle of %d bytes, %v", len(handle), err)
	}
	return handle
}

func TestStatefulTickets(t *testing.T) {
	for _, state := range []*State{full13(), small13(), small12()} {
		store, ring := newSpy(), new(KeyRing)
		a, b := server(t, store), server(t, store)
		handle := handleOf(t, a, ring, state)
		other := uint16(keyschedule.VersionTLS12 + keyschedule.VersionTLS13 - state.Version)
		if s := a.Conn(ring).Open(t.Context(), other, handle); s != nil {
			t.Error("opens for the other version")
		}
		if got := b.Conn(ring).Open(t.Context(), state.Version, handle); !reflect.DeepEqual(got, state) {
			t.Errorf("got %+v, want %+v", got, state)
		}
		again := a.Conn(ring).Open(t.Context(), state.Version, handle)
		if (again != nil) != (state.Version == keyschedule.VersionTLS12) {
			t.Errorf("version %#x opens again: %v", state.Version, again)
		}
		for _, seen := range store.seen {
			if strings.Contains(seen, string(state.Secret.Bytes()[:16])) || strings.Contains(seen, string(handle)) ||
				strings.Contains(seen, fmt.Sprintf("%x", handle)) {
				t.Error("the store learns a secret")
			}
		}
	}
}

// TestStatefulRetry offers a handle a second time, as a client does after a
// HelloRetryRequest: on its own connection that works, until it gets a ticket.
func TestStatefulRetry(t *testing.T) {
	s, ring := server(t, newSpy()), new(KeyRing)
	handle := handleOf(t, s, ring, small13())
	c := s.Conn(ring)
	for range 2 {
		if c.Open(t.Context(), keyschedule.VersionTLS13, handle) == nil {
			t.Fatal("not resumed")
		}
	}
	if s.Conn(ring).Open(t.Context(), keyschedule.VersionTLS13, handle) != nil {
		t.Error("resumed by another connection")
	}
	if _, err := c.Seal(t.Context(), small13()); err != nil {
		t.Fatal(err)
	}
	if c.Open(t.Context(), keyschedule.VersionTLS13, handle) != nil {
		t.Error("resumed after the handshake")
	}
}

func TestStatefulSessionIDs(t *testing.T) {
	store, ring := newSpy(), new(KeyRing)
	s, id, state := server(t, store), bytes.Repeat([]byte{7}, 32), small12()
	if err := s.Conn(ring).Put(t.Context(), id, state); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := server(t, store).Conn(ring).Get(t.Context(), id)
		if err != nil || !reflect.DeepEqual(got, state) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if got := s.Conn(ring).Open(t.Context(), state.Version, id); got != nil {
		t.Error("a session ID is a ticket")
	}
	if got, err := s.Conn(ring).Get(t.Context(), []byte("unknown")); got != nil || err != nil {
		t.Errorf("unknown: %v, %v", got, err)
	}
}

func TestStatefulLifetime(t *testing.T) {
	tests := []struct{ server, state, want time.Duration }{
		{0, 7 * 24 * time.Hour, 24 * time.Hour},
		{0, time.Hour, time.Hour},
		{time.Minute, time.Hour, time.Minute},
		{30 * 24 * time.Hour, 30 * 24 * time.Hour, 7 * 24 * time.Hour},
		{0, 0, 24 * time.Hour},
	}
	for _, test := range tests {
		store, state := newSpy(), small12()
		s := server(t, store)
		s.Lifetime, state.Lifetime = test.server, test.state
		handleOf(t, s, new(KeyRing), state)
		if store.ttls[0] != test.want {
			t.Errorf("%v: kept for %v", test, store.ttls[0])
		}
	}
}

// TestStatefulHostileStore checks that what a store makes up, changes, cuts or
// puts in another place is no session, and no error either.
func TestStatefulHostileStore(t *testing.T) {
	store, ring, ctx := NewMemoryStore(0), new(KeyRing), t.Context()
	s := server(t, store)
	mine, victim := handleOf(t, s, ring, small12()), handleOf(t, s, ring, small12())
	key := storeKey(kindTicket12, string(mine))
	good, err := store.Get(ctx, key)
	if good == nil || err != nil {
		t.Fatal(err)
	}
	swapped, err := store.Get(ctx, storeKey(kindTicket12, string(victim)))
	if swapped == nil || err != nil {
		t.Fatal(err)
	}
	unbound := mustSeal(t, ring, small12())
	foreign, err := sealFor(key, new(KeyRing), small12())
	if err != nil {
		t.Fatal(err)
	}
	bad := [][]byte{{}, swapped, unbound, foreign, append(bytes.Clone(good), 0), bytes.Repeat([]byte{0}, 1<<20)}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 4
		bad = append(bad, changed, good[:i])
	}
	for i, b := range bad {
		if err := store.Put(ctx, key, b, time.Hour); err != nil {
			t.Fatal(err)
		}
		if s.Conn(ring).Open(ctx, keyschedule.VersionTLS12, mine) != nil {
			t.Errorf("content %d authenticates", i)
		}
	}
	if err := store.Put(ctx, key, good, time.Hour); err != nil {
		t.Fatal(err)
	}
	if s.Conn(ring).Open(ctx, keyschedule.VersionTLS12, mine) == nil {
		t.Error("the right content does not open")
	}
}

// TestStatefulBrokenStore has the store fail, hang with an ear for its context,
// and hang for good: no call takes longer than the budget allows or fails, and
// OnError hears of it.
func TestStatefulBrokenStore(t *testing.T) {
	broken := errors.New("broken")
	release := make(chan struct{})
	defer close(release)
	tests := map[string]struct {
		before func(context.Context) error
		want   error
	}{
		"fails":          {func(context.Context) error { return broken }, broken},
		"hangs":          {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded},
		"hangs for good": {func(context.Context) error { <-release; return broken }, context.DeadlineExceeded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			store, ring := newSpy(), new(KeyRing)
			s := server(t, store)
			handle := handleOf(t, s, ring, small13())
			var errs []error
			store.before, s.Budget = test.before, 5*time.Millisecond
			s.OnError = func(err error) { errs = append(errs, err) }
			start, c := time.Now(), s.Conn(ring)
			for range 5 {
				if c.Open(t.Context(), keyschedule.VersionTLS13, handle) != nil {
					t.Error("resumed")
				}
				if h, err := c.Seal(t.Context(), small13()); h != nil || err != nil {
					t.Errorf("Seal: %x, %v", h, err)
				}
				if err := c.Put(t.Context(), []byte("id"), small12()); err != nil {
					t.Errorf("Put: %v", err)
				}
				if got, err := c.Get(t.Context(), []byte("id")); got != nil || err != nil {
					t.Errorf("Get: %v, %v", got, err)
				}
			}
			// Twice the budget, and a lot for a machine with much to do.
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v", took)
			}
			if len(errs) == 0 || !errors.Is(errs[0], test.want) {
				t.Errorf("OnError: %v", errs)
			}
			// A connection that has ended is not the store's fault.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			errs = nil
			if s.Conn(ring).Open(ctx, keyschedule.VersionTLS13, handle) != nil || errs != nil {
				t.Errorf("OnError of a connection that ended: %v", errs)
			}
		})
	}
}

// TestStatefulHangingCalls checks that calls that hang do not add up.
func TestStatefulHangingCalls(t *testing.T) {
	release := make(chan struct{})
	store, ring := newSpy(), new(KeyRing)
	store.before = func(context.Context) error { <-release; return nil }
	var busy bool
	s := &Stateful{Store: store, Budget: time.Microsecond, OnError: func(err error) { busy = errors.Is(err, ErrStoreBusy) }}
	for range maxStoreCalls + 10 {
		s.Conn(ring).Open(t.Context(), keyschedule.VersionTLS13, make([]byte, handleLen))
	}
	if n := s.calls.n.Load(); n != maxStoreCalls || !busy {
		t.Errorf("%d calls hang, busy: %v", n, busy)
	}
	close(release)
	for deadline := time.Now().Add(10 * time.Second); s.calls.n.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls are left", s.calls.n.Load())
		}
	}
}

func TestStatefulRefuses(t *testing.T) {
	store, ring := newSpy(), new(KeyRing)
	s := server(t, store)
	for _, handle := range [][]byte{nil, make([]byte, handleLen-1), make([]byte, 200)} {
		if s.Conn(ring).Open(t.Context(), keyschedule.VersionTLS13, handle) != nil {
			t.Error("resumed")
		}
	}
	if store.calls != 0 {
		t.Error("the store is asked for what is no handle")
	}
	large := small13()
	large.PeerChain = [][]byte{make([]byte, maxTicket)}
	many := small13()
	many.Extra = make([][]byte, maxList)
	for _, state := range []*State{large, many} {
		if handle, err := s.Conn(ring).Seal(t.Context(), state); handle != nil || err != nil {
			t.Errorf("a session that is too large: %x, %v", handle, err)
		}
	}
	s.Rand = strings.NewReader("")
	if _, err := s.Conn(ring).Seal(t.Context(), small13()); err == nil {
		t.Error("there is a handle without randomness")
	}
}

func TestStoresDoNotPrint(t *testing.T) {
	ring := new(KeyRing)
	for _, v := range []any{&Stateful{}, (&Stateful{}).Conn(ring), &ClientStore{Keys: ring}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, v); got != "redacted" {
				t.Errorf("%T prints %q", v, got)
			}
		}
	}
}

func clientStore(t *testing.T, store Store, ring *KeyRing, c *clock) *ClientStore {
	return &ClientStore{
		Store: store, Keys: ring, Time: c.now, Budget: 10 * time.Second,
		OnError: func(err error) { t.Errorf("OnError: %v", err) },
	}
}

// numbered returns a TLS 1.3 session that is told from others by a number.
func numbered(n int) *State {
	s := small13()
	s.AgeAdd = uint32(n)
	return s
}

func TestClientStore(t *testing.T) {
	store, ring, c := newSpy(), &KeyRing{}, newClock()
	ring.SetKeys([][32]byte{{1}})
	cs := clientStore(t, store, ring, c)
	for i := range maxPerServer + 2 {
		cs.Put("a", numbered(i))
	}
	cs.Put("b", numbered(100))
	cs.Put("b", small12())
	for i := maxPerServer + 1; i > 1; i-- {
		if got := cs.Take("a"); got == nil || got.AgeAdd != uint32(i) {
			t.Errorf("got %v, want number %d", got, i)
		}
	}
	if got := cs.Take("a"); got != nil {
		t.Errorf("one session too many: %v", got)
	}
	if got := cs.Take("b"); got == nil || got.AgeAdd != 100 {
		t.Errorf("the session of TLS 1.3: %v", got)
	}
	for range 2 {
		if got := cs.Take("b"); !reflect.DeepEqual(got, small12()) {
			t.Errorf("the session of TLS 1.2: %v", got)
		}
	}
	cs.Put("b", numbered(1))
	cs.Put("b", nil)
	if got := cs.Take("b"); got != nil {
		t.Errorf("after all were dropped: %v", got)
	}
	for _, seen := range store.seen {
		if strings.Contains(seen, string(bytes.Repeat([]byte{0xA7}, 16))) {
			t.Error("the store learns a secret")
		}
	}
}

// TestClientStoreRestart has another process find what this one has put.
func TestClientStoreRestart(t *testing.T) {
	store, c := newSpy(), newClock()
	ring := func(key byte) *KeyRing {
		r := new(KeyRing)
		r.SetKeys([][32]byte{{key}})
		return r
	}
	first := clientStore(t, store, ring(1), c)
	for i := range 3 {
		first.Put("a", numbered(i))
	}
	if got := clientStore(t, store, ring(2), c).Take("b"); got != nil {
		t.Errorf("another server: %v", got)
	}
	seen := make(map[uint32]bool)
	for range 3 {
		s := clientStore(t, store, ring(1), c).Take("a")
		if s == nil || seen[s.AgeAdd] {
			t.Fatalf("got %v after %v", s, seen)
		}
		seen[s.AgeAdd] = true
	}
	first.Put("a", numbered(1))
	if got := clientStore(t, store, ring(2), c).Take("a"); got != nil {
		t.Errorf("with another key: %v", got)
	}
	first.Put("a", numbered(1))
	c.add(time.Hour + time.Second)
	if got := clientStore(t, store, ring(1), c).Take("a"); got != nil {
		t.Errorf("expired: %v", got)
	}
	first.Put("a", numbered(1))
	if n := store.Len(); n != 0 {
		t.Errorf("what has expired is kept: %d values", n)
	}
}

func TestClientStoreBroken(t *testing.T) {
	store, ring := newSpy(), new(KeyRing)
	store.before = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	var errs []error
	cs := &ClientStore{Store: store, Keys: ring, Budget: time.Millisecond, OnError: func(err error) { errs = append(errs, err) }}
	s := numbered(1)
	s.CreatedAt = time.Now()
	cs.Put("a", s)
	if cs.Take("a") != nil || len(errs) == 0 || !errors.Is(errs[0], context.DeadlineExceeded) {
		t.Errorf("OnError: %v", errs)
	}
}

func TestClientStoreFlood(t *testing.T) {
	store := NewMemoryStore(50)
	cs := clientStore(t, store, new(KeyRing), newClock())
	for i := range 2000 {
		cs.Put(fmt.Sprint("server", i), small13())
		if store.Len() > 50 {
			t.Fatalf("%d sessions", store.Len())
		}
	}
	if cs.Take("server1999") == nil {
		t.Error("the newest session is gone")
	}
}

// FuzzStored opens anything that a store may return.
func FuzzStored(f *testing.F) {
	store, ring := NewMemoryStore(0), new(KeyRing)
	s := &Stateful{Store: store}
	handle, err := s.Conn(ring).Seal(f.Context(), full13())
	if err != nil {
		f.Fatal(err)
	}
	key := storeKey(kindTicket13, string(handle))
	good, err := store.Get(f.Context(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := store.Put(t.Context(), key, b, time.Hour); err != nil {
			t.Fatal(err)
		}
		got := s.Conn(ring).Open(t.Context(), keyschedule.VersionTLS13, handle)
		if (got != nil) != bytes.Equal(b, good) {
			t.Errorf("%d bytes open: %v", len(b), got)
		}
	})
}
