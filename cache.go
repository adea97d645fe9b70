package tls

import (
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/file"
)

// ClientSessionCache keeps a client's sessions by a key that names the server.
// It is used by concurrent connections.
//
// A TLS 1.3 session is for one connection only. After Get returned one, the
// client drops what is left under the key by putting nil there; the caches of
// this package do not need that, and so can keep several.
type ClientSessionCache interface {
	// Get returns a session, if there is one.
	Get(sessionKey string) (session *ClientSessionState, ok bool)
	// Put adds a session; nil removes what is there.
	Put(sessionKey string, cs *ClientSessionState)
}

// NewLRUClientSessionCache returns a cache for so many sessions, 64 if capacity
// is less than 1. It gives out each TLS 1.3 session once.
func NewLRUClientSessionCache(capacity int) ClientSessionCache {
	return &ownSessionCache{session.NewClientCache(capacity)}
}

// NewFileClientSessionCache returns a cache in a directory, which it makes: its
// sessions outlive the process, and several processes may share it. It gives out
// each TLS 1.3 session once, to one of them. The sessions are sealed under key,
// which must be random and secret: who has both can resume them. The directory
// must be private to its user, or else it is refused. What goes wrong with it
// later means that no session is resumed.
func NewFileClientSessionCache(dir string, key [32]byte) (ClientSessionCache, error) {
	store, err := file.OpenStore(dir, 0)
	if err != nil {
		return nil, err
	}
	ring := new(session.KeyRing)
	ring.SetKeys([][32]byte{key})
	return &ownSessionCache{&session.ClientStore{Store: store, Keys: ring}}, nil
}

// ownSessionCache is a cache of this package: what it gives out is no longer in
// it, if it must be used once only.
type ownSessionCache struct {
	sessions interface {
		Take(key string) *session.State
		Put(key string, s *session.State)
	}
}

func (c *ownSessionCache) Get(key string) (*ClientSessionState, bool) {
	s := c.sessions.Take(key)
	if s == nil {
		return nil, false
	}
	return &ClientSessionState{session: newSessionState(s)}, true
}

func (c *ownSessionCache) Put(key string, cs *ClientSessionState) {
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
