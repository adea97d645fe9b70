package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

// Stateful keeps a server's sessions in a [Store]. What clients get is a random
// handle: a TLS 1.3 ticket, a TLS 1.2 ticket, or, where the client takes none, a
// TLS 1.2 session ID. A TLS 1.3 handle works once, in all servers that share the
// store (RFC 9846, appendix C.4). The exported fields must not change once it is
// used.
//
// The store gets sessions sealed, by the keys that tickets would be sealed with.
// A store that is slow, down or hostile costs its clients a full handshake and
// nothing else: see Budget and OnError.
type Stateful struct {
	redact.Value

	// Store is where the sessions are. It must not be nil.
	Store Store
	// Lifetime is how long a session is kept; 0 means 24 hours. Keys that rotate
	// may end it sooner.
	Lifetime time.Duration
	// Budget is how long a handshake waits for the store in all, once for the
	// sessions that its client offers and once for those that it gets; 0 means 2
	// milliseconds. What takes longer is given up: the handshake is a full one,
	// or its client gets no ticket.
	Budget time.Duration
	// Rand gives the handles. It must be safe for concurrent use. Nil means
	// crypto/rand.
	Rand io.Reader
	// OnError is told what goes wrong with the store or the keys, because no
	// handshake fails for it; nil means nobody is. It is called by concurrent
	// handshakes, which wait for it.
	OnError func(error)

	calls storeCalls
}

const (
	storeBudget = 2 * time.Millisecond
	handleLen   = 32

	kindTicket13 = "ticket13:"
	kindTicket12 = "ticket12:"
	kindID12     = "id12:"
)

// Conn returns a view of s for one handshake, with the keys that seal sessions
// for the store. Servers that share the store must share the keys too.
func (s *Stateful) Conn(keys *KeyRing) *StatefulConn { return &StatefulConn{s: s, keys: keys} }

func (s *Stateful) rand() io.Reader {
	if s.Rand != nil {
		return s.Rand
	}
	return rand.Reader
}

func (s *Stateful) budget() time.Duration {
	if s.Budget > 0 {
		return s.Budget
	}
	return storeBudget
}

func (s *Stateful) ttl(state *State) time.Duration {
	ttl := s.Lifetime
	if ttl <= 0 {
		ttl = unspecifiedLifetime
	}
	if state.Lifetime > 0 {
		ttl = min(ttl, state.Lifetime)
	}
	return min(ttl, maxLifetime)
}

// report tells OnError what went wrong, unless it is the connection that ended.
func (s *Stateful) report(ctx context.Context, what string, err error) {
	if err != nil && s.OnError != nil && ctx.Err() == nil {
		s.OnError(fmt.Errorf("session: %s: %w", what, err))
	}
}

// StatefulConn is a [Stateful] at work for one handshake. Its methods must not
// be called concurrently. They implement what the engine needs of a server.
type StatefulConn struct {
	redact.Value

	s       *Stateful
	keys    *KeyRing
	asking  time.Duration // spent on sessions that the client offers
	keeping time.Duration // spent on sessions that it gets

	// What was taken last, sealed, and its key: after a HelloRetryRequest the
	// client offers it again (RFC 9846, section 4.2.2).
	takenKey string
	taken    []byte
}

// Seal keeps a copy of state and returns its handle. It returns nil if there is
// to be no ticket: because of what [KeyRing.Seal] returns nil for, or because
// the store failed.
func (c *StatefulConn) Seal(ctx context.Context, state *State) ([]byte, error) {
	c.takenKey, c.taken = "", nil // the ClientHello is settled
	handle := make([]byte, handleLen)
	if _, err := io.ReadFull(c.s.rand(), handle); err != nil {
		return nil, alert.Errorf(alert.InternalError, "handle of a session: %w", err)
	}
	if !c.keep(ctx, storeKey(ticketKind(state.Version), string(handle)), state) {
		return nil, nil
	}
	return handle, nil
}

// Open returns the session of a handle that a client of this version offers, or
// nil if there is none. One of TLS 1.3 is used up then.
func (c *StatefulConn) Open(ctx context.Context, version uint16, handle []byte) *State {
	if len(handle) != handleLen {
		return nil // not ours: the store need not be asked
	}
	key := storeKey(ticketKind(version), string(handle))
	if version != keyschedule.VersionTLS13 {
		return c.find(ctx, key, c.s.Store.Get)
	}
	if key == c.takenKey {
		return c.unseal(ctx, key, c.taken)
	}
	return c.find(ctx, key, c.s.Store.TakeOnce)
}

// Put keeps a copy of state under a TLS 1.2 session ID. It never fails: without
// the store there is no session to resume.
func (c *StatefulConn) Put(ctx context.Context, id []byte, state *State) error {
	c.keep(ctx, storeKey(kindID12, string(id)), state)
	return nil
}

// Get returns the session of a TLS 1.2 session ID, or nil if there is none. It
// never fails.
func (c *StatefulConn) Get(ctx context.Context, id []byte) (*State, error) {
	return c.find(ctx, storeKey(kindID12, string(id)), c.s.Store.Get), nil
}

func ticketKind(version uint16) string {
	if version == keyschedule.VersionTLS13 {
		return kindTicket13
	}
	return kindTicket12
}

// keep puts state into the store, and reports whether it is there.
func (c *StatefulConn) keep(ctx context.Context, key string, state *State) bool {
	sealed, err := sealFor(key, c.keys, state)
	if sealed == nil || err != nil {
		c.s.report(ctx, "sealing a session", err)
		return false
	}
	ttl := c.s.ttl(state)
	_, err = withinBudget(ctx, c.s, &c.keeping, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.s.Store.Put(ctx, key, sealed, ttl)
	})
	c.s.report(ctx, "keeping a session", err)
	return err == nil
}

// find gets a session out of the store with one of its methods.
func (c *StatefulConn) find(ctx context.Context, key string, get func(context.Context, string) ([]byte, error)) *State {
	sealed, err := withinBudget(ctx, c.s, &c.asking, func(ctx context.Context) ([]byte, error) { return get(ctx, key) })
	if sealed == nil || err != nil {
		c.s.report(ctx, "looking up a session", err)
		return nil
	}
	c.takenKey, c.taken = key, sealed
	return c.unseal(ctx, key, sealed)
}

func (c *StatefulConn) unseal(ctx context.Context, key string, sealed []byte) *State {
	state, err := openFrom(key, c.keys, sealed)
	c.s.report(ctx, "opening a session", err)
	return state
}

// withinBudget calls f with what is left of the budget after spent.
func withinBudget[T any](ctx context.Context, s *Stateful, spent *time.Duration, f func(context.Context) (T, error)) (T, error) {
	start := time.Now()
	defer func() { *spent += time.Since(start) }()
	return within(ctx, s.Store, &s.calls, s.budget()-*spent, f)
}
