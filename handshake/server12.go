package handshake

import (
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// server12State is what only the TLS 1.2 machine of a server needs.
type server12State struct {
	random    [32]byte
	sessionID []byte
	session   *session.State // being resumed
	scheme    SignatureScheme
	key       PrivateKey
	master    *keyschedule.MasterSecret
	read      *keyschedule.TrafficKeys // until ChangeCipherSpec
	write     *keyschedule.TrafficKeys // until ours
	tickets   bool                     // a NewSessionTicket is due
}

func (s *server12State) wipe() {
	if s.session != nil {
		s.session.Wipe()
	}
	if s.master != nil {
		s.master.Wipe()
	}
	for _, k := range [...]*keyschedule.TrafficKeys{s.read, s.write} {
		if k != nil {
			k.Wipe()
		}
	}
}

// onClientHello12 (RFC 5246, section 7.4.1.2).
func (s *serverHandshake) onClientHello12(m *clientHello, raw message) (waitState, error) {
	if _, err := s.in.aligned(); err != nil {
		return 0, err
	}
	switch {
	case !contains(m.compressionMethods, 0):
		return 0, alert.Errorf(alert.IllegalParameter, "ClientHello without the null compression method")
	case len(m.renegotiationInfo) > 0:
		return 0, alert.Errorf(alert.HandshakeFailure, "initial ClientHello with a non-empty renegotiation_info")
	case m.pointFormats != nil && !contains(m.pointFormats, pointFormatUncompressed):
		return 0, alert.Errorf(alert.IllegalParameter, "client does not take uncompressed points")
	case s.cfg.PSKOnly:
		return 0, alert.Errorf(alert.HandshakeFailure, "only pre-shared keys are allowed, and client speaks TLS 1.2")
	}
	s.neg.ExtendedMasterSecret = m.extendedMasterSecret
	if err := s.serverRandom(&s.random); err != nil {
		return 0, err
	}
	s.transcript.Add(raw.raw)
	if err := s.findSession12(); err != nil {
		return 0, err
	}
	if s.session != nil {
		return s.resume12()
	}
	return s.respond12()
}

// findSession12 looks for the session that the client wants to resume. What
// cannot be resumed is passed over.
func (s *serverHandshake) findSession12() error {
	if s.cfg.Tickets == nil {
		return nil
	}
	var state *session.State
	var err error
	ids := s.cfg.Tickets.SessionIDs()
	switch {
	case len(s.hello.sessionTicket) > 0:
		state, err = s.cfg.Tickets.Open(s.ctx, &s.neg, s.hello.sessionTicket)
	case len(s.hello.sessionID) > 0 && ids != nil:
		state, err = ids.Get(s.ctx, s.hello.sessionID)
	}
	if err != nil {
		return alert.Wrap(alert.InternalError, err)
	}
	if state == nil || !s.resumable12(state) {
		return nil
	}
	if !s.neg.ExtendedMasterSecret {
		return alert.Errorf(alert.HandshakeFailure, "client resumes a session without its extended_master_secret")
	}
	chains, ok := s.resumptionAllowed(state)
	if !ok {
		return nil
	}
	s.session, s.neg.VerifiedChains = state, chains
	return s.restorePeer(state)
}

// resumable12 checks what RFC 5246, and RFC 6066 in section 3, demand of a
// session. One without extended_master_secret is never resumed (RFC 7627,
// section 5.3).
func (s *serverHandshake) resumable12(state *session.State) bool {
	if state.Version != versionTLS12 || state.Expired(s.cfg.Time()) || !state.ExtendedMasterSecret || !s.belongs(state) {
		return false
	}
	s.neg.Suite = s.suiteWith(func(suite *keyschedule.Suite) bool { return suite.ID == state.CipherSuite })
	return s.neg.Suite != nil
}

// resume12 queues the short flight.
func (s *serverHandshake) resume12() (waitState, error) {
	s.neg.Resumed = true
	types := s.serverType()
	s.cert = nil // it was asked for only to compare it
	s.neg.Group = NamedGroup(s.session.Group)
	s.sessionID = s.hello.sessionID
	s.transcript.Start(s.neg.Suite.Hash)
	s.transcript.Forget()
	s.sendServerHello12(types)
	s.master = keyschedule.ResumeMasterSecret(s.neg.Suite.Hash, &s.session.Secret)
	s.peer = verifiedBySession(s.master)
	s.deriveKeys12()
	return server12WaitCCS, s.sendFinished12()
}

// respond12 queues the full flight, ServerHello to ServerHelloDone.
func (s *serverHandshake) respond12() (waitState, error) {
	if err := s.selectCertificate(); err != nil {
		return 0, err
	}
	group, err := s.selectParameters12()
	if err != nil {
		return 0, err
	}
	if err := s.nameSession(); err != nil {
		return 0, err
	}
	types, err := s.selectCertificateTypes()
	if err != nil {
		return 0, err
	}
	s.transcript.Start(s.neg.Suite.Hash)
	s.sendServerHello12(types)
	s.send(LevelInitial, func(b []byte) []byte { return appendCertificate12(b, s.cert, s.cert.Type) })
	if s.stapling12() {
		s.send(LevelInitial, (&certificateStatus{ocsp: s.cert.OCSPStaple}).append)
	}
	if err := s.sendServerKeyExchange(group); err != nil {
		return 0, err
	}
	next := server12WaitCKE
	if s.cfg.ClientAuth != NoClientCert {
		next = server12WaitCert
		s.send(LevelInitial, (&certificateRequest12{
			certificateTypes:       []uint8{certTypeRSASign, certTypeECDSASign},
			signatureSchemes:       s.cfg.signatureSchemes(),
			certificateAuthorities: s.cfg.ClientCAs,
		}).append)
	} else if s.peer, err = verifiedAnonymous(s.cfg.ClientAuth); err != nil {
		return 0, err
	}
	s.send(LevelInitial, (&serverHelloDone{}).append)
	return next, nil
}

// selectParameters12 chooses suite, group and signature scheme for the
// certificate.
func (s *serverHandshake) selectParameters12() (NamedGroup, error) {
	s.neg.Suite = s.suiteWith(func(suite *keyschedule.Suite) bool { return authFits(suite.Auth, s.cert.PrivateKey.Public()) })
	if s.neg.Suite == nil {
		return 0, alert.Errorf(alert.HandshakeFailure, "no cipher suite in common that fits the certificate: client offers %s", brief(s.hello.cipherSuites))
	}
	var err error
	if s.scheme, err = selectScheme(versionTLS12, s.cert, s.hello.signatureSchemes); err != nil {
		return 0, err
	}
	offered := s.hello.supportedGroups
	if !s.hello.has(extSupportedGroups) {
		// RFC 8422, section 4: the choice is ours; every client has this one.
		offered = []NamedGroup{Secp256r1}
	}
	for g := range s.cfg.groupsFor(versionTLS12) {
		if contains(offered, g) {
			return g, nil
		}
	}
	return 0, alert.Errorf(alert.HandshakeFailure, "no key exchange group in common: client offers %s", brief(s.hello.supportedGroups))
}

// nameSession gives the session an ID if it will be remembered by one: tickets
// come first where the client takes them.
func (s *serverHandshake) nameSession() error {
	t := s.cfg.Tickets
	if t == nil || !s.neg.ExtendedMasterSecret {
		return nil
	}
	s.tickets = s.hello.ticketSupported
	if s.tickets || t.SessionIDs() == nil {
		return nil
	}
	s.sessionID = make([]byte, 32)
	return s.cfg.random(s.sessionID)
}

func (s *serverHandshake) stapling12() bool {
	return s.hello.ocspStapling && s.cert != nil && len(s.cert.OCSPStaple) > 0
}

func (s *serverHandshake) sendServerHello12(types certificateTypes) {
	m := &serverHello{
		legacyVersion:        versionTLS12,
		random:               s.random,
		sessionID:            s.sessionID,
		cipherSuite:          s.neg.Suite.ID,
		extendedMasterSecret: s.neg.ExtendedMasterSecret,
		ticketSupported:      s.tickets,
		secureRenegotiation:  s.hello.secureRenegotiation,
		alpn:                 s.neg.ALPN,
		ocspStapling:         s.stapling12(),
		serverNameAck:        s.hello.serverName != "" && !s.neg.Resumed,
		certificateTypes:     types,
	}
	if s.hello.pointFormats != nil {
		m.pointFormats = offeredFormats
	}
	if s.hello.scts && s.cert != nil {
		m.scts = s.cert.SCTs
	}
	s.send(LevelInitial, m.append)
}

// sendServerKeyExchange signs our share (RFC 8422, section 5.4).
func (s *serverHandshake) sendServerKeyExchange(g NamedGroup) error {
	key, err := s.cfg.provider().KeyExchange(g).Generate(s.cfg.Rand)
	if err != nil {
		return alert.Errorf(alert.InternalError, "making a key share for %v: %w", g, err)
	}
	s.key, s.neg.Group = key, g
	m := &serverKeyExchange{group: g, public: key.Share(), scheme: s.scheme}
	m.signature, err = sign(s.cfg.Rand, s.cert.PrivateKey, s.scheme, keyExchangeSigned(&s.hello.random, &s.random, m))
	if err != nil {
		return alert.Wrap(alert.InternalError, err)
	}
	s.neg.LocalCertificate, s.neg.LocalSignatureScheme = s.cert, s.scheme
	s.send(LevelInitial, m.append)
	return nil
}

func (s *serverHandshake) onCertificate12(m *certificate12, raw message) (waitState, error) {
	if len(m.chain) == 0 {
		var err error
		if s.peer, err = verifiedAnonymous(s.cfg.ClientAuth); err != nil {
			// TLS 1.2 has no certificate_required.
			return 0, alert.Errorf(alert.HandshakeFailure, "client sent no certificate")
		}
		s.transcript.Add(raw.raw)
		return server12WaitCKE, nil
	}
	if err := s.parsePeer(m.chain); err != nil {
		return 0, err
	}
	if err := s.verifyPeer(); err != nil {
		return 0, err
	}
	s.transcript.Add(raw.raw)
	return server12WaitCKE, nil
}

func (s *serverHandshake) onClientKeyExchange(m *clientKeyExchange, raw message) (waitState, error) {
	preMaster, err := s.key.Decapsulate(m.public)
	if err != nil {
		return 0, err
	}
	s.transcript.Add(raw.raw)
	s.master = s.masterSecret12(preMaster, s.hello.random, s.random)
	s.deriveKeys12()
	if s.neg.PeerKey != nil {
		return server12WaitCV, nil
	}
	s.transcript.Forget()
	return server12WaitCCS, nil
}

func (s *serverHandshake) deriveKeys12() {
	s.read, s.write = s.master.Keys(s.neg.Suite, s.hello.random[:], s.random[:])
	s.cfg.logSecret("CLIENT_RANDOM", &s.hello.random, &s.master.Secret)
}

func (s *serverHandshake) onCertificateVerify12(m *certificateVerify, raw message) (waitState, error) {
	var err error
	s.peer, err = s.verifyPeerSignature(s.cfg.signatureSchemes(), m.scheme, s.transcript.Messages(), m.signature)
	if err != nil {
		return 0, err
	}
	s.transcript.Forget()
	s.transcript.Add(raw.raw)
	return server12WaitCCS, nil
}

// onServerCCS moves a server's reading to the new keys.
func (e *Engine) onServerCCS(message) (waitState, error) {
	aligned, err := e.in.aligned()
	if err != nil {
		return 0, err
	}
	s := e.server
	s.installRead12(aligned, s.read)
	s.read = nil
	return server12WaitFinished, nil
}

// sendFinished12 queues NewSessionTicket, ChangeCipherSpec and Finished.
func (s *serverHandshake) sendFinished12() error {
	if s.tickets {
		if err := s.sendTicket12(); err != nil {
			return err
		}
	}
	verify := s.master.ServerVerifyData(s.transcript.Sum())
	s.sendChangeCipherSpec()
	s.installWrite12(s.write)
	s.write = nil
	s.send(LevelApplication, (&finished{verifyData: verify}).append)
	s.noteTLSUnique(verify)
	return nil
}

// sendTicket12 queues the ticket that ServerHello promised. An empty one says
// that there is none after all (RFC 5077, section 3.3).
func (s *serverHandshake) sendTicket12() error {
	state := s.session12()
	defer state.Wipe()
	ticket, err := s.cfg.Tickets.Seal(s.ctx, &s.neg, state)
	if err != nil {
		return alert.Errorf(alert.InternalError, "sealing a session ticket: %w", err)
	}
	s.send(LevelInitial, (&newSessionTicket12{lifetimeHint: uint32(maxTicketLifetime / time.Second), ticket: ticket}).append)
	return nil
}

func (s *serverHandshake) session12() *session.State {
	state := s.newSession()
	state.Secret = s.master.Secret
	state.Lifetime = maxTicketLifetime
	return state
}

// onFinished12 ends the handshake; a full one still owes our own Finished.
func (s *serverHandshake) onFinished12(m *finished, raw message) (waitState, error) {
	if _, err := s.in.aligned(); err != nil {
		return 0, err
	}
	fin, err := verifyFinished(m.verifyData, s.master.ClientVerifyData(s.transcript.Sum()))
	if err != nil {
		return 0, err
	}
	s.noteTLSUnique(m.verifyData)
	s.transcript.Add(raw.raw)
	if s.cfg.VerifyConnection != nil {
		if err := s.cfg.VerifyConnection(&s.neg); err != nil {
			return 0, alert.Wrap(alert.BadCertificate, err)
		}
	}
	if !s.neg.Resumed {
		if err := s.sendFinished12(); err != nil {
			return 0, err
		}
		if err := s.rememberSession(); err != nil {
			return 0, err
		}
	}
	s.finish12(s.master, s.hello.random, s.random)
	s.wipe()
	return server12Connected, s.establish(s.peer, fin)
}

// rememberSession puts a session that was given an ID into the cache.
func (s *serverHandshake) rememberSession() error {
	if s.sessionID == nil {
		return nil
	}
	state := s.session12()
	defer state.Wipe()
	if err := s.cfg.Tickets.SessionIDs().Put(s.ctx, s.sessionID, state); err != nil {
		return alert.Errorf(alert.InternalError, "remembering a session: %w", err)
	}
	return nil
}

// onRenegotiation refuses a ClientHello on an established connection.
func (e *Engine) onRenegotiation(*clientHello) error {
	return alert.Errorf(alert.NoRenegotiation, "client asks for renegotiation")
}
