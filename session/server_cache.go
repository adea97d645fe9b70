package session

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// ServerCache keeps a server's sessions by an identifier: a TLS 1.2 session ID
// (RFC 5246, section 7.3), or a ticket that is a handle. The least recently
// used go first when it is full, and none is kept for longer than the cache's
// lifetime or its own. All methods may be called concurrently. They do not
// block, and ignore their context: stores on other machines need it.
type ServerCache struct {
	// Time returns the current time; nil means [time.Now]. It must not change
	// once the cache is used.
	Time func() time.Time

	mu       sync.Mutex
	capacity int
	ttl      time.Duration
	order    *list.List // of *serverSession, most recently used first
	sessions map[string]*list.Element
}

// defaultServerCapacity needs some ten megabytes without client certificates.
const defaultServerCapacity = 20000

type serverSession struct {
	id    string
	state *State
	until time.Time
}

// NewServerCache returns a cache for so many sessions, each for so long. A
// capacity of less than one means 20000, a lifetime of zero or less 24 hours
// (RFC 5246, appendix F.1.4).
func NewServerCache(capacity int, ttl time.Duration) *ServerCache {
	if capacity < 1 {
		capacity = defaultServerCapacity
	}
	if ttl <= 0 {
		ttl = unspecifiedLifetime
	}
	return &ServerCache{capacity: capacity, ttl: ttl, order: list.New(), sessions: make(map[string]*list.Element)}
}

// Put keeps a copy of s under id, instead of what was there before.
func (c *ServerCache) Put(_ context.Context, id []byte, s *State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.sessions[string(id)])
	if len(c.sessions) >= c.capacity {
		c.remove(c.order.Back())
	}
	c.sessions[string(id)] = c.order.PushFront(&serverSession{
		id:    string(id),
		state: s.Clone(),
		until: c.now().Add(c.ttl),
	})
	return nil
}

// Get returns a copy of the session under id, or nil if there is none.
func (c *ServerCache) Get(_ context.Context, id []byte) (*State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.sessions[string(id)]
	if e == nil {
		return nil, nil
	}
	session, now := e.Value.(*serverSession), c.now()
	if !now.Before(session.until) || session.state.Expired(now) {
		c.remove(e)
		return nil, nil
	}
	c.order.MoveToFront(e)
	return session.state.Clone(), nil
}

// Delete forgets the session under id.
func (c *ServerCache) Delete(_ context.Context, id []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.sessions[string(id)])
}

// Len returns the number of sessions in the cache.
func (c *ServerCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

func (c *ServerCache) now() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

func (c *ServerCache) remove(e *list.Element) {
	if e == nil {
		return
	}
	session := c.order.Remove(e).(*serverSession)
	session.state.Wipe()
	delete(c.sessions, session.id)
}
