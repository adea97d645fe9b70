package handshake

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// client12State is what only the TLS 1.2 machine of a client needs.
type client12State struct {
	session12   *session.State // offered
	serverHello *serverHello
	verified    bool // the chain was verified
	preMaster   []byte
	share       []byte // for ClientKeyExchange
	master      *keyschedule.MasterSecret
	read, write *keyschedule.TrafficKeys // until ChangeCipherSpec
	newTicket   []byte
	ticketLife  time.Duration
}

func (c *client12State) wipe() {
	clear(c.preMaster)
	if c.master != nil {
		c.master.Wipe()
	}
	if c.write != nil {
		c.write.Wipe()
	}
	if c.read != nil {
		c.read.Wipe()
	}
}

// onServerHello12 (RFC 5246, section 7.4.1.3).
func (c *clientHandshake) onServerHello12(m *serverHello, raw message) (waitState, error) {
	c.noteServerHello12(m)
	switch {
	case len(m.renegotiationInfo) > 0:
		return 0, alert.Errorf(alert.HandshakeFailure, "initial ServerHello with a non-empty renegotiation_info")
	case c.cfg.PSKOnly:
		return 0, alert.Errorf(alert.HandshakeFailure, "only pre-shared keys are allowed, and server selected TLS 1.2")
	}
	if err := checkALPN(c.hello.alpn, m.alpn); err != nil {
		return 0, err
	}
	if err := c.noteCertificateTypes(m.certificateTypes); err != nil {
		return 0, err
	}
	c.transcript.Start(c.neg.Suite.Hash)
	c.transcript.Add(raw.raw)
	if len(m.sessionID) > 0 && bytes.Equal(m.sessionID, c.hello.sessionID) {
		return c.resume12()
	}
	return client12WaitCert, c.checkServerType()
}

// noteServerHello12 notes what ServerHello settles.
func (c *clientHandshake) noteServerHello12(m *serverHello) {
	c.serverHello = m
	c.neg.ALPN = m.alpn
	c.neg.SCTs = m.scts
	c.neg.ExtendedMasterSecret = m.extendedMasterSecret
}

// resume12 goes on with the session that the server recognised.
func (c *clientHandshake) resume12() (waitState, error) {
	s, m := c.session12, c.serverHello
	switch {
	case s == nil:
		return 0, alert.Errorf(alert.IllegalParameter, "server resumes a session that was not offered")
	case s.CipherSuite != c.neg.Suite.ID:
		return 0, alert.Errorf(alert.IllegalParameter, "server resumes a session with another cipher suite")
	case !m.extendedMasterSecret:
		return 0, alert.Errorf(alert.HandshakeFailure, "server resumes without extended_master_secret")
	}
	c.neg.Resumed = true
	if err := c.resumePeer(s); err != nil {
		return 0, err
	}
	c.neg.Group = NamedGroup(s.Group)
	c.master = keyschedule.ResumeMasterSecret(c.neg.Suite.Hash, &s.Secret)
	c.peer = verifiedBySession(c.master)
	return c.waitTicket(), nil
}

// waitTicket is the state before the server's ChangeCipherSpec.
func (c *clientHandshake) waitTicket() waitState {
	if c.serverHello.ticketSupported {
		return client12WaitNST
	}
	return client12WaitCCS
}

// onCertificate12. With OCSP stapling, the chain is judged once the staple,
// which comes next, is there too.
func (c *clientHandshake) onCertificate12(m *certificate12, raw message) (waitState, error) {
	if len(m.chain) == 0 {
		return 0, alert.Errorf(alert.DecodeError, "server sent no certificate")
	}
	if err := c.parsePeer(m.chain); err != nil {
		return 0, err
	}
	if !authFits(c.neg.Suite.Auth, c.neg.PeerKey) {
		return 0, alert.Errorf(alert.IllegalParameter, "server's certificate does not fit %s", c.neg.Suite.Name)
	}
	c.transcript.Add(raw.raw)
	if c.serverHello.ocspStapling {
		return client12WaitStatusSKE, nil
	}
	return client12WaitSKE, c.verifyChain12()
}

// authFits reports whether a key is of the suite's kind. Ed25519 goes with the
// ECDSA suites (RFC 8422, section 5.10).
func authFits(auth keyschedule.Auth, key crypto.PublicKey) bool {
	_, isRSA := key.(*rsa.PublicKey)
	return isRSA == (auth == keyschedule.AuthRSA)
}

func (c *clientHandshake) verifyChain12() error {
	if c.verified {
		return nil
	}
	c.verified = true
	return c.verifyPeer()
}

func (c *clientHandshake) onCertificateStatus(m *certificateStatus, raw message) (waitState, error) {
	c.neg.OCSPStaple = m.ocsp
	c.transcript.Add(raw.raw)
	return client12WaitSKE, c.verifyChain12()
}

// onServerKeyExchange checks the server's signature over its share and makes
// ours (RFC 8422, section 5.4).
func (c *clientHandshake) onServerKeyExchange(m *serverKeyExchange, raw message) (waitState, error) {
	if err := c.verifyChain12(); err != nil {
		return 0, err
	}
	if !c.cfg.hasGroup(versionTLS12, m.group) {
		return 0, alert.Errorf(alert.IllegalParameter, "server selected group %v, which was not offered", m.group)
	}
	signed := keyExchangeSigned(&c.hello.random, &c.serverHello.random, m)
	var err error
	if c.peer, err = c.verifyPeerSignature(c.hello.signatureSchemes, m.scheme, signed, m.signature); err != nil {
		return 0, err
	}
	c.share, c.preMaster, err = c.cfg.provider().KeyExchange(m.group).Encapsulate(c.cfg.Rand, m.public)
	if err != nil {
		return 0, err
	}
	c.neg.Group = m.group
	c.transcript.Add(raw.raw)
	return client12WaitCRSHD, nil
}

// keyExchangeSigned is what the signature of ServerKeyExchange covers.
func keyExchangeSigned(clientRandom, serverRandom *[32]byte, m *serverKeyExchange) []byte {
	b := make([]byte, 0, 256)
	b = append(b, clientRandom[:]...)
	b = append(b, serverRandom[:]...)
	return m.appendParams(b)
}

func (c *clientHandshake) onCertificateRequest12(m *certificateRequest12, raw message) (waitState, error) {
	c.certRequest12 = m
	c.transcript.Add(raw.raw)
	return client12WaitSHD, nil
}

// onServerHelloDone sends our flight.
func (c *clientHandshake) onServerHelloDone(_ *serverHelloDone, raw message) (waitState, error) {
	if _, err := c.in.aligned(); err != nil {
		return 0, err // it is our turn
	}
	c.transcript.Add(raw.raw)
	if c.cfg.VerifyConnection != nil {
		if err := c.cfg.VerifyConnection(&c.neg); err != nil {
			return 0, alert.Wrap(alert.BadCertificate, err)
		}
	}
	cert, scheme, err := c.sendClientCertificate12()
	if err != nil {
		return 0, err
	}
	c.send(LevelInitial, (&clientKeyExchange{public: c.share}).append)
	c.deriveMaster12()
	if cert != nil {
		if err := c.sendCertificateVerify12(cert, scheme); err != nil {
			return 0, err
		}
	}
	c.transcript.Forget()
	c.sendFinished12()
	return c.waitTicket(), nil
}

// sendClientCertificate12 queues our certificate if the server asked for one.
func (c *clientHandshake) sendClientCertificate12() (*Certificate, SignatureScheme, error) {
	r := c.certRequest12
	if r == nil {
		return nil, 0, nil
	}
	cert, err := c.clientCertificate(&CertificateRequestInfo{
		AcceptableCAs:    r.certificateAuthorities,
		SignatureSchemes: r.schemes(),
		CertificateType:  c.ownType,
		Version:          versionTLS12,
	})
	if err != nil {
		return nil, 0, err
	}
	var scheme SignatureScheme
	if len(cert.Chain) > 0 {
		if scheme, err = selectScheme(versionTLS12, cert, r.schemes()); err != nil {
			return nil, 0, err
		}
	}
	c.send(LevelInitial, func(b []byte) []byte { return appendCertificate12(b, cert, c.ownType) })
	if len(cert.Chain) == 0 {
		return nil, 0, nil
	}
	return cert, scheme, nil
}

func (c *clientHandshake) sendCertificateVerify12(cert *Certificate, scheme SignatureScheme) error {
	sig, err := sign(c.cfg.Rand, cert.PrivateKey, scheme, c.transcript.Messages())
	if err != nil {
		return alert.Wrap(alert.InternalError, err)
	}
	c.neg.LocalCertificate, c.neg.LocalSignatureScheme = cert, scheme
	c.send(LevelInitial, (&certificateVerify{scheme: scheme, signature: sig}).append)
	return nil
}

// deriveMaster12 makes the master secret of a full handshake; with
// extended_master_secret it covers the transcript so far.
func (c *clientHandshake) deriveMaster12() {
	c.master = c.masterSecret12(c.preMaster, c.hello.random, c.serverHello.random)
}

// masterSecret12 derives the master secret and wipes what it comes from.
func (e *Engine) masterSecret12(preMaster []byte, clientRandom, serverRandom [32]byte) *keyschedule.MasterSecret {
	defer clear(preMaster)
	if e.neg.ExtendedMasterSecret {
		return keyschedule.NewExtendedMasterSecret(e.neg.Suite.Hash, preMaster, e.working().transcript.Sum())
	}
	return keyschedule.NewMasterSecret(e.neg.Suite.Hash, preMaster, clientRandom[:], serverRandom[:])
}

// sendFinished12 queues ChangeCipherSpec and Finished, and keeps the reading
// keys for the server's.
func (c *clientHandshake) sendFinished12() {
	c.deriveKeys12()
	c.cfg.logSecret("CLIENT_RANDOM", &c.hello.random, &c.master.Secret)
	verify := c.master.ClientVerifyData(c.transcript.Sum())
	c.sendChangeCipherSpec()
	c.installWrite12(c.write)
	c.write = nil
	c.send(LevelApplication, (&finished{verifyData: verify}).append)
	c.noteTLSUnique(verify)
}

// deriveKeys12 makes the keys of both directions, once.
func (c *clientHandshake) deriveKeys12() {
	if c.write == nil && c.read == nil {
		c.write, c.read = c.master.Keys(c.neg.Suite, c.hello.random[:], c.serverHello.random[:])
	}
}

// noteTLSUnique keeps the first Finished of a handshake for channel binding,
// which is safe only with extended_master_secret (RFC 7627, section 5.4).
func (e *Engine) noteTLSUnique(verify []byte) {
	if e.neg.ExtendedMasterSecret && e.neg.TLSUnique == nil {
		e.neg.TLSUnique = verify
	}
}

func (c *clientHandshake) onNewSessionTicket12(m *newSessionTicket12, raw message) (waitState, error) {
	if len(m.ticket) <= maxTicketLen {
		c.newTicket = m.ticket
	}
	c.ticketLife = time.Duration(m.lifetimeHint) * time.Second
	c.transcript.Add(raw.raw)
	return client12WaitCCS, nil
}

// onClientCCS moves a client's reading to the new keys.
func (e *Engine) onClientCCS(message) (waitState, error) {
	aligned, err := e.in.aligned()
	if err != nil {
		return 0, err
	}
	c := e.client
	c.deriveKeys12() // resumed: our own flight comes after the server's
	c.installRead12(aligned, c.read)
	c.read = nil
	return client12WaitFinished, nil
}

// onFinished12 ends the handshake. A resumed one still owes our own Finished.
func (c *clientHandshake) onFinished12(m *finished, raw message) (waitState, error) {
	if _, err := c.in.aligned(); err != nil {
		return 0, err
	}
	fin, err := verifyFinished(m.verifyData, c.master.ServerVerifyData(c.transcript.Sum()))
	if err != nil {
		return 0, err
	}
	c.noteTLSUnique(m.verifyData)
	c.transcript.Add(raw.raw)
	if c.neg.Resumed {
		if c.cfg.VerifyConnection != nil {
			if err := c.cfg.VerifyConnection(&c.neg); err != nil {
				return 0, alert.Wrap(alert.BadCertificate, err)
			}
		}
		c.sendFinished12()
	}
	c.storeSession12()
	c.finish12(c.master, c.hello.random, c.serverHello.random)
	c.wipe()
	return client12Connected, c.establish(c.peer, fin)
}

// storeSession12 reports the session if the server gave it a ticket or a name.
func (c *clientHandshake) storeSession12() {
	named := len(c.serverHello.sessionID) > 0 && !c.neg.Resumed
	if !c.cfg.AcceptSessions || !c.neg.ExtendedMasterSecret || (len(c.newTicket) == 0 && !named) {
		return
	}
	s := c.newSession()
	s.Secret = c.master.Secret
	s.Ticket = c.newTicket
	if len(c.newTicket) == 0 {
		s.SessionID = c.serverHello.sessionID
	}
	if s.Lifetime = c.ticketLife; s.Lifetime == 0 || s.Lifetime > maxTicketLifetime {
		s.Lifetime = maxTicketLifetime
	}
	c.emit(StoreSession{Session: s})
}

// finish12 keeps the exporter, which is safe only with extended_master_secret,
// and drops the rest.
func (e *Engine) finish12(master *keyschedule.MasterSecret, clientRandom, serverRandom [32]byte) {
	if e.neg.ExtendedMasterSecret {
		e.post.exporter = master.Exporter(clientRandom, serverRandom)
	}
	master.Wipe()
}

// onHelloRequest refuses renegotiation (RFC 5246, section 7.4.1.1).
func (e *Engine) onHelloRequest(*helloRequest) error {
	return alert.Errorf(alert.NoRenegotiation, "server asks for renegotiation")
}
