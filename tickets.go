package tls

import (
	"context"
	"errors"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/session"
)

// SessionState is a session that can be resumed (RFC 9846, section 2.2). It
// holds its secret.
type SessionState struct {
	guard

	// Extra is carried along with the session, in Bytes and in tickets. What
	// shares it must append only, and recognise its own entries.
	Extra [][]byte
	// EarlyData says whether the session may be used for early data. Setting it
	// to false, in WrapSession, UnwrapSession or a client's cache, prevents that.
	EarlyData bool

	state *session.State
}

func newSessionState(s *session.State) *SessionState {
	return &SessionState{Extra: s.Extra, EarlyData: s.EarlyData, state: s}
}

// ParseSessionState parses what [SessionState.Bytes] returned.
func ParseSessionState(data []byte) (*SessionState, error) {
	s, err := session.ParseState(data)
	if err != nil {
		return nil, err
	}
	return newSessionState(s), nil
}

// Bytes encodes the session, secret included, for [ParseSessionState]. The
// format is this package's own.
func (s *SessionState) Bytes() ([]byte, error) {
	state, err := s.copy()
	if err != nil {
		return nil, err
	}
	defer state.Wipe()
	return state.Bytes()
}

// copy returns the session with what the application changed in it.
func (s *SessionState) copy() (*session.State, error) {
	if s == nil || s.state == nil {
		return nil, errors.New("tls: empty SessionState")
	}
	state := s.state.Share()
	state.Extra, state.EarlyData = s.Extra, s.EarlyData
	return state, nil
}

// ClientSessionState is what a [ClientSessionCache] keeps: a session and its
// ticket.
type ClientSessionState struct {
	guard
	session *SessionState
}

// ResumptionState returns the ticket and the session, for a cache that stores
// them elsewhere.
func (cs *ClientSessionState) ResumptionState() (ticket []byte, state *SessionState, err error) {
	if cs == nil || cs.session == nil {
		return nil, nil, nil
	}
	return cs.session.state.Ticket, cs.session, nil
}

// NewResumptionState puts together again what
// [ClientSessionState.ResumptionState] returned.
func NewResumptionState(ticket []byte, state *SessionState) (*ClientSessionState, error) {
	s, err := state.copy()
	if err != nil {
		return nil, err
	}
	s.Ticket = ticket
	return &ClientSessionState{session: newSessionState(s)}, nil
}

// SetSessionTicketKeys sets the keys of a server's tickets: the first one seals,
// all of them open. It takes the place of TicketKeys and of automatic rotation,
// and may be called while the Config is in use. With MaxEarlyData, AntiReplay must
// have been set, or else handshakes fail from then on. It panics if keys is empty.
func (c *Config) SetSessionTicketKeys(keys [][32]byte) {
	if len(keys) == 0 {
		panic("tls: keys must have at least one key")
	}
	ring := c.newKeyRing()
	ring.SetKeys(keys)
	c.mutex.Lock()
	c.setKeys = ring
	c.mutex.Unlock()
}

func (c *Config) newKeyRing() *session.KeyRing {
	return &session.KeyRing{Time: c.Time, Rand: c.Rand}
}

// explicitKeyRing returns the keys that were set, by SetSessionTicketKeys,
// TicketKeys or SessionTicketKey, or nil.
func (c *Config) explicitKeyRing() *session.KeyRing {
	c.mutex.RLock()
	ring := c.setKeys
	c.mutex.RUnlock()
	switch {
	case ring != nil:
		return ring
	case c.TicketKeys != nil:
		return c.TicketKeys
	case c.SessionTicketKey == [32]byte{}:
		return nil
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.setKeys == nil {
		c.setKeys = c.newKeyRing()
		c.setKeys.SetKeys([][32]byte{c.SessionTicketKey})
	}
	return c.setKeys
}

// keyRing returns the keys that were set, or else those that rotate by
// themselves, which are made when they are first needed.
func (c *Config) keyRing() *session.KeyRing {
	if ring := c.explicitKeyRing(); ring != nil {
		return ring
	}
	c.mutex.RLock()
	ring := c.rotating
	c.mutex.RUnlock()
	if ring != nil {
		return ring
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.rotating == nil {
		c.replays = session.NewAntiReplay(0) // before the keys, so that it sees all their tickets
		c.replays.Time = c.Time
		c.rotating = c.newKeyRing()
	}
	return c.rotating
}

// ownAntiReplay returns what remembers early data with tickets of ring, if that
// is the one that rotates by itself; otherwise nil.
func (c *Config) ownAntiReplay(ring *session.KeyRing) *session.AntiReplay {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	if ring != c.rotating {
		return nil
	}
	return c.replays
}

// sharesSessions reports whether others may know the sessions, though nobody has
// the keys.
func (c *Config) sharesSessions() bool {
	if c.WrapSession != nil || c.UnwrapSession != nil {
		return true
	}
	if c.ServerSessions == nil {
		return false
	}
	_, ok := c.ServerSessions.Store.(*session.MemoryStore)
	return !ok
}

// EncryptTicket seals a session with the Config's ticket keys. It can serve as
// WrapSession, or in one.
func (c *Config) EncryptTicket(_ ConnectionState, ss *SessionState) ([]byte, error) {
	state, err := ss.copy()
	if err != nil {
		return nil, err
	}
	defer state.Wipe()
	return c.keyRing().Seal(state)
}

// DecryptTicket opens what [Config.EncryptTicket] sealed. It returns nil,
// without an error, for what it cannot open. It can serve as UnwrapSession, or
// in one.
func (c *Config) DecryptTicket(identity []byte, _ ConnectionState) (*SessionState, error) {
	state, err := c.keyRing().Open(identity)
	if state == nil || err != nil {
		return nil, err
	}
	return newSessionState(state), nil
}

// tickets is a server's session tickets as the engine sees them.
type tickets struct{ *binding }

// Seal makes the ticket of s (RFC 9846, section 4.7.1; RFC 5077).
func (t tickets) Seal(ctx context.Context, conn *handshake.State, s *session.State) ([]byte, error) {
	switch {
	case t.stateful != nil:
		return t.stateful.Seal(ctx, s)
	case t.cfg.WrapSession == nil:
		return t.keys.Seal(s)
	}
	ss := newSessionState(s.Clone())
	ticket, err := t.cfg.WrapSession(t.conn.stateFor(conn), ss)
	s.EarlyData = s.EarlyData && ss.EarlyData
	return ticket, fromCallback(err)
}

// Open returns the session of a ticket, or nil.
func (t tickets) Open(ctx context.Context, conn *handshake.State, ticket []byte) (*session.State, error) {
	switch {
	case t.stateful != nil:
		return t.stateful.Open(ctx, conn.Version, ticket), nil
	case t.cfg.UnwrapSession == nil:
		return t.keys.Open(ticket)
	}
	ss, err := t.cfg.UnwrapSession(ticket, t.conn.stateFor(conn))
	if ss == nil || err != nil {
		return nil, fromCallback(err)
	}
	s, err := ss.copy()
	return s, fromCallback(err)
}

// SessionIDs returns the cache of TLS 1.2 session IDs, or nil.
func (t tickets) SessionIDs() handshake.SessionIDs {
	if t.stateful != nil {
		return t.stateful
	}
	return t.cfg.ServerSessionCache
}

// resumes reports whether this client keeps sessions.
func (b *binding) resumes() bool {
	return !b.cfg.SessionTicketsDisabled && b.cfg.ClientSessionCache != nil && b.sessionKey() != ""
}

// sessionKey names the server in the client's cache.
func (b *binding) sessionKey() string {
	if b.cfg.ServerName != "" {
		return b.cfg.ServerName
	}
	if addr := b.conn.conn.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// loadSession takes a session for this connection from the client's cache, or
// returns nil. What cannot be used any more is dropped.
func (b *binding) loadSession() *session.State {
	cache, key := b.cfg.ClientSessionCache, b.sessionKey()
	s := takeSession(cache, key)
	if s == nil {
		return nil
	}
	var err error
	chains := b.stillGood(s)
	if chains == nil {
		chains, err = b.verifyResumed(s)
	}
	// Without a certificate, nobody vouches for the name.
	anonymous := len(chains) == 0 && s.PeerRawKey == nil && s.PSKIdentity == nil && !b.cfg.InsecureSkipVerify
	if err != nil || anonymous || s.Expired(b.cfg.time()) {
		cache.Put(key, nil)
		return nil
	}
	b.resumedChains = chains
	b.conn.forgetSession = func(failed bool) {
		s.Wipe()
		if failed {
			cache.Put(key, nil)
		}
	}
	return s
}

// takeSession takes a session out of a client's cache; the caller owns it.
func takeSession(cache ClientSessionCache, key string) *session.State {
	if own, ok := cache.(*ownSessionCache); ok {
		return own.sessions.Take(key)
	}
	cs, ok := cache.Get(key)
	if !ok || cs == nil {
		return nil
	}
	s, err := cs.session.copy()
	if err != nil {
		return nil
	}
	if s.Version == VersionTLS13 {
		cache.Put(key, nil) // used once only; our own cache takes it out
	}
	return s
}

// storeSession puts a session that the server sent into the client's cache.
func (b *binding) storeSession(s *session.State) {
	if !b.conn.adopted {
		s.VerifiedChains, s.VerifiedRoots = b.conn.engine.State().VerifiedChains, b.cfg.RootCAs
	}
	if own, ok := b.cfg.ClientSessionCache.(*ownSessionCache); ok {
		own.sessions.Put(b.sessionKey(), s)
		s.Wipe() // it has a copy
		return
	}
	b.cfg.ClientSessionCache.Put(b.sessionKey(), &ClientSessionState{session: newSessionState(s)})
}
