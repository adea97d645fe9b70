package session

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/go-handoff/tls/keyschedule"
)

// ClientCache keeps a client's sessions, by a key that names the server. The
// least recently used go first when it is full. A TLS 1.3 session comes out of
// it once only, so that nobody can link two connections by their ticket
// (RFC 9846, appendix C.4); the newest few of each server are kept. A TLS 1.2
// session stays. All methods may be called concurrently.
type ClientCache struct {
	// Time returns the current time; nil means [time.Now]. It must not change
	// once the cache is used.
	Time func() time.Time

	mu       sync.Mutex
	capacity int
	size     int        // states in all servers
	order    *list.List // of *clientServer, most recently used first
	servers  map[string]*list.Element
	spare    *clientServer // one that was removed: where each session is used at once, servers come and go
}

const (
	defaultClientCapacity = 64
	// maxPerServer is how many states of one server are worth keeping: what a
	// client may need for connections that it opens at the same time.
	maxPerServer = 4
)

// clientServer is what is known of one server, oldest session first.
type clientServer struct {
	key    string
	states []*State
}

// NewClientCache returns a cache for so many sessions; less than one means 64.
func NewClientCache(capacity int) *ClientCache {
	if capacity < 1 {
		capacity = defaultClientCapacity
	}
	return &ClientCache{capacity: capacity, order: list.New(), servers: make(map[string]*list.Element)}
}

// Put adds a copy of s, as [State.Share] makes it, to the sessions of the server
// that key names. A nil s drops all of them.
func (c *ClientCache) Put(key string, s *State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == nil {
		c.remove(c.servers[key])
		return
	}
	e := c.servers[key]
	if e == nil {
		e = c.order.PushFront(c.newServer(key))
		c.servers[key] = e
	}
	c.order.MoveToFront(e)
	server := e.Value.(*clientServer)
	if s.Version != keyschedule.VersionTLS13 {
		c.drop(server, func(old *State) bool { return old.Version != keyschedule.VersionTLS13 })
	}
	server.states = append(server.states, s.Share())
	c.size++
	if len(server.states) > maxPerServer {
		c.dropOldest(server)
	}
	if c.size > c.capacity {
		c.evict()
	}
}

// Take returns the newest session of the server that key names, or nil. A TLS
// 1.3 session is no longer in the cache then.
func (c *ClientCache) Take(key string) *State {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.servers[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	server, now := e.Value.(*clientServer), c.now()
	c.drop(server, func(s *State) bool { return s.Expired(now) })
	var s *State
	if n := len(server.states); n > 0 {
		s = server.states[n-1]
		if s.Version == keyschedule.VersionTLS13 {
			server.states[n-1] = nil
			server.states = server.states[:n-1]
			c.size--
		} else {
			s = s.Share()
		}
	}
	if len(server.states) == 0 {
		c.remove(e)
	}
	return s
}

// Len returns the number of sessions in the cache.
func (c *ClientCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

func (c *ClientCache) now() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

// evict makes room for one session.
func (c *ClientCache) evict() {
	e := c.order.Back()
	server := e.Value.(*clientServer)
	c.dropOldest(server)
	if len(server.states) == 0 {
		c.remove(e)
	}
}

func (c *ClientCache) dropOldest(server *clientServer) {
	oldest := server.states[0]
	c.drop(server, func(s *State) bool { return s == oldest })
}

// drop wipes and removes those sessions of a server that match.
func (c *ClientCache) drop(server *clientServer, match func(*State) bool) {
	n := len(server.states)
	server.states = slices.DeleteFunc(server.states, func(s *State) bool {
		if !match(s) {
			return false
		}
		s.Wipe()
		return true
	})
	c.size -= n - len(server.states)
}

// remove removes a server with all its sessions.
func (c *ClientCache) remove(e *list.Element) {
	if e == nil {
		return
	}
	server := c.order.Remove(e).(*clientServer)
	c.drop(server, func(*State) bool { return true })
	delete(c.servers, server.key)
	server.key, c.spare = "", server
}

// newServer returns a server without sessions.
func (c *ClientCache) newServer(key string) *clientServer {
	server := c.spare
	if server == nil {
		server = new(clientServer)
	}
	server.key, c.spare = key, nil
	return server
}
