package session

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

// ClientStore is what a [ClientCache] is, in a [Store]: its sessions outlive the
// process, and several processes can share them. A TLS 1.3 session comes out of
// it once only, for all of them. All methods may be called concurrently; the
// exported fields must not change once it is used.
type ClientStore struct {
	redact.Value

	// Store is where the sessions are. It must not be nil.
	Store Store
	// Keys seals the sessions for the store. It must not be nil, and its keys
	// must live as long as the sessions shall: see [KeyRing.SetKeys].
	Keys *KeyRing
	// Time returns the current time; nil means [time.Now].
	Time func() time.Time
	// Budget is how long one call waits for the store; 0 means 100 milliseconds.
	Budget time.Duration
	// OnError is told what goes wrong with the store or the keys; nil means
	// nobody is. It is called concurrently.
	OnError func(error)

	calls storeCalls
	// newest counts, for all servers whose key has one hash, the TLS 1.3 sessions
	// that were put: the last one is most likely the newest. Other processes
	// count for themselves.
	newest [64]atomic.Uint32
}

const (
	defaultClientBudget = 100 * time.Millisecond

	kindClient13 = "client13:"
	kindClient12 = "client12:"
)

// Put adds a copy of s to the sessions of the server that key names: beyond the
// newest few, one of them makes room. A nil s drops all of them.
func (c *ClientStore) Put(key string, s *State) {
	ctx, cancel := c.context()
	defer cancel()
	switch {
	case s == nil:
		c.drop(ctx, key)
	case s.Version == keyschedule.VersionTLS13:
		c.put(ctx, slotKey(key, c.counter(key).Add(1)), s)
	default:
		c.put(ctx, storeKey(kindClient12, key), s)
	}
}

// Take returns a session of the server that key names, one of TLS 1.3 if there
// is any, or nil. A TLS 1.3 session is no longer in the store then.
func (c *ClientStore) Take(key string) *State {
	ctx, cancel := c.context()
	defer cancel()
	newest := c.counter(key).Load()
	for i := range uint32(maxPerServer) {
		if s := c.get(ctx, slotKey(key, newest-i), c.Store.TakeOnce); s != nil {
			return s
		}
	}
	return c.get(ctx, storeKey(kindClient12, key), c.Store.Get)
}

// slotKey is where the n-th session of a server goes.
func slotKey(key string, n uint32) string {
	return storeKey(kindClient13, key) + ":" + strconv.Itoa(int(n%maxPerServer))
}

func (c *ClientStore) counter(key string) *atomic.Uint32 {
	sum := sha256.Sum256([]byte(key))
	return &c.newest[int(sum[0])%len(c.newest)]
}

func (c *ClientStore) put(ctx context.Context, key string, s *State) {
	ttl := c.ttl(s)
	if ttl <= 0 {
		return
	}
	sealed, err := sealFor(key, c.Keys, s)
	if sealed == nil || err != nil {
		c.report("sealing a session", err)
		return
	}
	_, err = call(ctx, &c.calls, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.Store.Put(ctx, key, sealed, ttl)
	})
	c.report("keeping a session", err)
}

// get returns what is under key, if it can be used still.
func (c *ClientStore) get(ctx context.Context, key string, get func(context.Context, string) ([]byte, error)) *State {
	sealed, err := call(ctx, &c.calls, func(ctx context.Context) ([]byte, error) { return get(ctx, key) })
	if sealed == nil || err != nil {
		c.report("looking up a session", err)
		return nil
	}
	s, err := openFrom(key, c.Keys, sealed)
	if s == nil || err != nil {
		c.report("opening a session", err)
		return nil
	}
	if s.Expired(c.now()) {
		s.Wipe()
		return nil
	}
	return s
}

func (c *ClientStore) drop(ctx context.Context, key string) {
	_, err := call(ctx, &c.calls, func(ctx context.Context) (struct{}, error) {
		for i := range uint32(maxPerServer) {
			if err := c.Store.Delete(ctx, slotKey(key, i)); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, c.Store.Delete(ctx, storeKey(kindClient12, key))
	})
	c.report("dropping a session", err)
}

// ttl is how long s can be used still.
func (c *ClientStore) ttl(s *State) time.Duration {
	life := min(s.Lifetime, maxLifetime)
	if life == 0 && s.Version == keyschedule.VersionTLS12 {
		life = unspecifiedLifetime
	}
	return life - c.now().Sub(s.CreatedAt)
}

func (c *ClientStore) context() (context.Context, context.CancelFunc) {
	if c.Budget > 0 {
		return context.WithTimeout(context.Background(), c.Budget)
	}
	return context.WithTimeout(context.Background(), defaultClientBudget)
}

func (c *ClientStore) now() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

func (c *ClientStore) report(what string, err error) {
	if err != nil && c.OnError != nil {
		c.OnError(fmt.Errorf("session: %s: %w", what, err))
	}
}
