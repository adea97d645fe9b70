package handshake

import (
	"encoding/binary"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

const (
	// maxPostHandshake is how many handshake messages a peer may send in a row
	// without any application data between them.
	maxPostHandshake = 32
	// maxTicketLen bounds the tickets that a client keeps: a ClientHello must have
	// room for them.
	maxTicketLen = 1 << 15
	// maxTickets is how many tickets a server sends at most; more are of no use
	// to anybody.
	maxTickets = 16
	// maxKeyUpdates is the number of epochs that a sender may go through
	// (RFC 9846, section 4.7.3).
	maxKeyUpdates = 1<<48 - 1
	// maxTicketLifetime is the longest lifetime that counts (RFC 9846, section
	// 4.7.1).
	maxTicketLifetime = 7 * 24 * time.Hour
)

// exporter is what either version's exporter can do.
type exporter interface {
	Export(label string, context []byte, n int) ([]byte, error)
	Wipe()
}

// postHandshake is what the engine keeps for the rest of the connection.
type postHandshake struct {
	read, write     keyschedule.TrafficSecret
	writeN          uint64 // epochs of our direction
	exporter        exporter
	sessions        *sessionSecrets // nil where none will begin any more
	messages        uint8           // handshake messages since the last application data
	requestedUpdate bool
	peerClosed      bool
}

// sessionSecrets are what sessions of a connection begin with.
type sessionSecrets struct {
	redact.Value
	resumption     keyschedule.Secret
	pskFingerprint []byte // of the external key in State.ExternalPSK
}

// secrets returns where sessions' secrets are.
func (p *postHandshake) secrets() *sessionSecrets {
	if p.sessions == nil {
		p.sessions = &sessionSecrets{}
	}
	return p.sessions
}

// fingerprint returns that of the external key in State.ExternalPSK, if it is known.
func (p *postHandshake) fingerprint() []byte {
	if p.sessions == nil {
		return nil
	}
	return p.sessions.pskFingerprint
}

func (p *postHandshake) wipe() {
	p.read.Wipe()
	p.write.Wipe()
	if p.sessions != nil {
		p.sessions.resumption.Wipe()
	}
	if p.exporter != nil {
		p.exporter.Wipe()
		p.exporter = nil
	}
}

// Progress tells the engine that application data arrived. Handshake messages
// after the handshake are bounded between two calls of it.
func (e *Engine) Progress() { e.post.messages = 0 }

func (e *Engine) countPostHandshake() error {
	if e.post.messages++; e.post.messages > maxPostHandshake {
		return alert.Errorf(alert.UnexpectedMessage, "%d handshake messages in a row without application data", e.post.messages)
	}
	return nil
}

// onKeyUpdate moves the reading side to the next epoch (RFC 9846, section 4.7.3).
func (e *Engine) onKeyUpdate(m *keyUpdate) error {
	aligned, err := e.in.aligned()
	if err != nil {
		return err
	}
	if e.post.requestedUpdate {
		e.post.requestedUpdate = false
		e.post.messages-- // we have asked for this one
	}
	next := e.post.read.Next(e.neg.Suite.Hash)
	e.post.read.Wipe()
	e.post.read = next
	e.installRead(aligned, LevelApplication, &e.post.read)
	e.emit(PeerKeyUpdate{Requested: m.request == updateRequested})
	return nil
}

// UpdateWriteKeys queues a KeyUpdate and the keys that follow it. Callers use
// it before the AEAD's limit (see [keyschedule.Suite.RecordLimit]) and to
// answer a [PeerKeyUpdate].
func (e *Engine) UpdateWriteKeys() error { return e.updateWriteKeys(updateNotRequested) }

// PeerClosed tells the engine that the peer has sent close_notify, and so can
// answer nothing any more (RFC 9846, section 6.1).
func (e *Engine) PeerClosed() { e.post.peerClosed = true }

// RequestKeyUpdate is [Engine.UpdateWriteKeys] that asks the peer to do the
// same. While the peer has not answered an earlier request, and after
// PeerClosed, it asks for nothing but still changes our keys.
func (e *Engine) RequestKeyUpdate() error {
	if e.post.requestedUpdate || e.post.peerClosed {
		return e.updateWriteKeys(updateNotRequested)
	}
	return e.updateWriteKeys(updateRequested)
}

func (e *Engine) updateWriteKeys(request keyUpdateRequest) error {
	switch {
	case e.err != nil:
		return e.err
	case !e.established:
		return alert.Errorf(alert.InternalError, "KeyUpdate before the handshake is complete")
	case e.neg.Version != versionTLS13:
		return alert.Errorf(alert.InternalError, "TLS 1.2 has no KeyUpdate")
	case e.post.writeN >= maxKeyUpdates:
		return alert.Errorf(alert.InternalError, "too many key updates")
	}
	if request == updateRequested {
		e.post.requestedUpdate = true
	}
	e.queueMessage(LevelApplication, (&keyUpdate{request: request}).append)
	next := e.post.write.Next(e.neg.Suite.Hash)
	e.post.write.Wipe()
	e.post.write = next
	e.post.writeN++
	e.installWrite(LevelApplication, &e.post.write)
	return nil
}

// onNewSessionTicket13 gives the caller a session to resume (RFC 9846, section
// 4.7.1).
func (e *Engine) onNewSessionTicket13(m *newSessionTicket13) error {
	if !e.cfg.AcceptSessions || m.lifetime == 0 || len(m.ticket) > maxTicketLen {
		return nil
	}
	if e.neg.ExternalPSK != nil && e.post.fingerprint() == nil {
		return nil // the engine was suspended, and has left behind what the session is bound to
	}
	s := e.newSession()
	s.Secret = keyschedule.ResumptionPSKFrom(e.neg.Suite.Hash, &e.post.secrets().resumption, m.nonce)
	s.Ticket = m.ticket
	s.AgeAdd = m.ageAdd
	s.Lifetime = min(time.Duration(m.lifetime)*time.Second, maxTicketLifetime)
	s.MaxEarlyData, s.EarlyData = m.maxEarlyData, m.maxEarlyData > 0
	e.emit(StoreSession{Session: s})
	return nil
}

// newSession returns a session of this connection, without its secret and
// ticket.
func (e *Engine) newSession() *session.State {
	s := &session.State{
		Version:              e.neg.Version,
		CipherSuite:          e.neg.Suite.ID,
		CreatedAt:            e.cfg.Time(),
		ExtendedMasterSecret: e.neg.ExtendedMasterSecret,
		ServerName:           e.neg.ServerName,
		ALPN:                 e.neg.ALPN,
		SignatureScheme:      uint16(e.neg.SignatureScheme),
		Group:                uint16(e.neg.Group),
		OCSPStaple:           e.neg.OCSPStaple,
		SCTs:                 e.neg.SCTs,
	}
	for _, c := range e.neg.PeerCertificates {
		s.PeerChain = append(s.PeerChain, c.Raw)
	}
	s.PeerRawKey = e.neg.PeerRawKey
	s.PSKIdentity, s.PSKHash = e.neg.ExternalPSK, e.post.fingerprint()
	return s
}

// sendsTickets reports whether there will be tickets: if the client can use any.
func (s *serverHandshake) sendsTickets() bool {
	return s.cfg.Tickets != nil && contains(s.hello.pskModes, pskModeDHEKE)
}

// sendTickets queues a server's session tickets. The resumption secret covers
// the client's Finished, which a server that asks for no certificate can
// compute before it arrives: then tickets travel with the first flight.
func (s *serverHandshake) sendTickets(resumption *keyschedule.Secret) error {
	for i := range min(max(1, s.cfg.TicketCount), maxTickets) {
		if err := s.sendTicket(resumption, byte(i)); err != nil {
			return err
		}
	}
	return nil
}

func (s *serverHandshake) sendTicket(resumption *keyschedule.Secret, nonce byte) error {
	state := s.newSession()
	state.Secret = keyschedule.ResumptionPSKFrom(s.neg.Suite.Hash, resumption, []byte{nonce})
	defer state.Secret.Wipe()
	state.Lifetime = maxTicketLifetime
	state.MaxEarlyData = s.cfg.MaxEarlyData
	state.EarlyData = s.cfg.MaxEarlyData > 0
	var both struct { // one allocation
		newSessionTicket13
		nonce  [1]byte
		ageAdd [4]byte
	}
	if err := s.cfg.random(both.ageAdd[:]); err != nil {
		return err
	}
	both.nonce[0] = nonce
	m := &both.newSessionTicket13
	*m = newSessionTicket13{
		lifetime:     uint32(maxTicketLifetime / time.Second),
		ageAdd:       binary.BigEndian.Uint32(both.ageAdd[:]),
		nonce:        both.nonce[:],
		maxEarlyData: s.cfg.MaxEarlyData,
	}
	state.AgeAdd = m.ageAdd
	ticket, err := s.cfg.Tickets.Seal(s.ctx, &s.neg, state)
	if err != nil {
		return alert.Errorf(alert.InternalError, "sealing a session ticket: %w", err)
	}
	if len(ticket) == 0 {
		return nil
	}
	m.ticket = ticket
	if !state.EarlyData {
		m.maxEarlyData = 0
	}
	s.queueMessage(LevelApplication, m.append)
	return nil
}
