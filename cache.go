package tls

import (
	"github.com/go-handoff/tls/session"
)

// ClientSessionCache keeps a client's sessions by a key that names the server.
// It is used by concurrent connections.
//
// A TLS 1.3 session is for one connection only. After Get returned one, the
// client drops what is left under the key by putting nil there; the cache of
// [NewLRUClientSessionCache] does not need that, and so can keep several.
type ClientSessionCache interface {
	// Get returns a session, if there is one.
	Get(sessionKey string) (session *ClientSessionState, ok bool)
	// Put adds a session; nil removes what is there.
	Put(sessionKey string, cs *ClientSessionState)
}

// NewLRUClientSessionCache returns a cache for so many sessions, 64 if capacity
// is less than 1. It gives out each TLS 1.3 session once.
func NewLRUClientSessionCache(capacity int) ClientSessionCache {
	return &lruSessionCache{session.NewClientCache(capacity)}
}

type lruSessionCache struct{ sessions *session.ClientCache }

func (c *lruSessionCache) Get(key string) (*ClientSessionState, bool) {
	s := c.sessions.Take(key)
	if s == nil {
		return nil, false
	}
	return &ClientSessionState{session: newSessionState(s)}, true
}

func (c *lruSessionCache) Put(key string, cs *ClientSessionState) {
	if cs == nil {
		c.sessions.Put(key, nil)
		return
	}
	s, err := cs.session.copy()
	if err != nil {
		return // an empty session is of no use to anybody
	}
	defer s.Wipe()
	c.sessions.Put(key, s)
}
