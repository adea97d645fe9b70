package handshake

import (
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// clientSchedule13 is a client's part of the TLS 1.3 key schedule.
type clientSchedule13 struct {
	psk            *offeredPSK // the one that the server chose
	early          bool        // early data was accepted
	handshake      keyschedule.Handshake
	client, server keyschedule.TrafficSecret // of the handshake
	sentCCS        bool
}

func (s *clientSchedule13) wipe() {
	s.handshake.Wipe()
	s.client.Wipe()
	s.server.Wipe()
}

// onServerHello13 agrees on keys (RFC 9846, sections 4.2.3 and 7.1).
func (c *clientHandshake) onServerHello13(m *serverHello, raw message) (waitState, error) {
	aligned, err := c.in.aligned()
	if err != nil {
		return 0, err
	}
	if c.retrySuite != nil && c.retrySuite != c.neg.Suite {
		return 0, alert.Errorf(alert.IllegalParameter, "server changed the cipher suite after HelloRetryRequest")
	}
	if err := c.choosePSK(m); err != nil {
		return 0, err
	}
	secret, err := c.sharedSecret(m)
	if err != nil {
		return 0, err
	}
	defer clear(secret)
	c.transcript.Start(c.neg.Suite.Hash)
	c.transcript.Forget()
	c.transcript.Add(raw.raw)
	c.neg.ExtendedMasterSecret = true

	var psk []byte
	if p := c.schedule.psk; p != nil {
		psk = p.secret.Bytes()
	}
	next := keyschedule.NewEarly(c.neg.Suite.Hash, psk).Handshake(secret)
	c.schedule.handshake = *next
	next.Wipe()
	c.handshakeKeys(aligned)
	return clientWaitEE, nil
}

// choosePSK notes which of the offered keys the server selected.
func (c *clientHandshake) choosePSK(m *serverHello) error {
	if m.selectedIdentity == nil {
		if c.cfg.PSKOnly {
			return alert.Errorf(alert.HandshakeFailure, "server selected none of the pre-shared keys")
		}
		return nil
	}
	i := int(*m.selectedIdentity)
	if i >= len(c.psks) || c.psks[i].hash != c.neg.Suite.Hash {
		return alert.Errorf(alert.IllegalParameter, "server selected pre-shared key %d, which was not offered for this hash", i)
	}
	p := &c.psks[i]
	c.schedule.psk = p
	if p.session == nil {
		c.neg.ExternalPSK, c.post.secrets().pskFingerprint = p.name, p.fingerprint
		return nil
	}
	c.neg.Resumed = true
	return c.resumePeer(p.session)
}

// sharedSecret completes the key exchange. A PSK without one (psk_ke) is never
// offered, so that the share must be there.
func (c *clientHandshake) sharedSecret(m *serverHello) ([]byte, error) {
	switch {
	case m.keyShare == nil && c.schedule.psk != nil:
		return nil, alert.Errorf(alert.IllegalParameter, "server selected a pre-shared key alone, which psk_key_exchange_modes did not offer")
	case m.keyShare == nil:
		return nil, alert.Errorf(alert.MissingExtension, "ServerHello without key_share")
	case c.keyFor(m.keyShare.group) == nil, c.retryGroup != 0 && c.retryGroup != m.keyShare.group:
		return nil, alert.Errorf(alert.IllegalParameter, "server selected group %v, for which no share was offered", m.keyShare.group)
	}
	c.neg.Group = m.keyShare.group
	return c.keyFor(m.keyShare.group).Decapsulate(m.keyShare.data)
}

// handshakeKeys hands out the keys of the handshake level. Ours are held back
// while early data goes on, until it is known whether EndOfEarlyData must
// follow it.
func (c *clientHandshake) handshakeKeys(aligned alignedProof) {
	s := &c.schedule
	sum := c.transcript.Sum()
	s.client = s.handshake.ClientHandshakeTrafficSecret(sum)
	s.server = s.handshake.ServerHandshakeTrafficSecret(sum)
	c.cfg.logSecret("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &c.hello.random, &s.client.Secret)
	c.cfg.logSecret("SERVER_HANDSHAKE_TRAFFIC_SECRET", &c.hello.random, &s.server.Secret)
	c.installRead(aligned, LevelHandshake, &s.server)
	if !c.hello.earlyData {
		c.writeHandshakeKeys()
	}
}

func (c *clientHandshake) writeHandshakeKeys() {
	c.compatCCS()
	c.installWrite(LevelHandshake, &c.schedule.client)
}

// onEncryptedExtensions (RFC 9846, section 4.4.1).
func (c *clientHandshake) onEncryptedExtensions(m *encryptedExtensions, raw message) (waitState, error) {
	if err := checkExtensions(inEncryptedExtensions, m.extensions, c.hello.has); err != nil {
		return 0, err
	}
	if err := checkALPN(c.hello.alpn, m.alpn); err != nil {
		return 0, err
	}
	c.neg.ALPN = m.alpn
	if err := c.noteCertificateTypes(m.certificateTypes); err != nil {
		return 0, err
	}
	c.transcript.Add(raw.raw)
	if err := c.earlyDataVerdict(m.earlyData); err != nil {
		return 0, err
	}
	if c.schedule.psk != nil {
		c.peer = c.verifiedByPSK()
		return clientWaitFinished, nil
	}
	return clientWaitCertCR, c.checkServerType()
}

// earlyDataVerdict takes the server's answer to offered early data.
func (c *clientHandshake) earlyDataVerdict(accepted bool) error {
	if !c.hello.earlyData {
		return nil
	}
	if !accepted {
		c.emit(EarlyDataRejected{})
		c.writeHandshakeKeys()
		return nil
	}
	p := c.schedule.psk
	if p != &c.psks[0] || p.session.CipherSuite != c.neg.Suite.ID || p.session.ALPN != c.neg.ALPN {
		return alert.Errorf(alert.IllegalParameter, "server accepted early data for another session than it resumes")
	}
	c.schedule.early, c.neg.EarlyData = true, true
	c.emit(EarlyDataAccepted{})
	return nil
}

// onCertificateRequest13 (RFC 9846, section 4.4.2).
func (c *clientHandshake) onCertificateRequest13(m *certificateRequest13, raw message) (waitState, error) {
	if len(m.context) > 0 {
		return 0, alert.Errorf(alert.IllegalParameter, "CertificateRequest with a context during the handshake")
	}
	c.transcript.Add(raw.raw)
	c.certRequest = m
	return clientWaitCert, nil
}

func (c *clientHandshake) onCertificate13(m *certificate13, raw message) (waitState, error) {
	if len(m.entries) == 0 {
		return 0, alert.Errorf(alert.DecodeError, "server sent no certificate")
	}
	if err := c.takeCertificate13(m, c.hello.has); err != nil {
		return 0, err
	}
	c.transcript.Add(raw.raw)
	return clientWaitCV, nil
}

func (c *clientHandshake) onCompressedCertificate(m *compressedCertificate, raw message) (waitState, error) {
	inner, err := c.decompress(m, c.hello.compressCertificate)
	if err != nil {
		return 0, err
	}
	return c.onCertificate13(inner, raw)
}

func (c *clientHandshake) onCertificateVerify13(m *certificateVerify, raw message) (waitState, error) {
	signed := signedContent13(serverSignatureContext, c.transcript.Sum())
	var err error
	c.peer, err = c.verifyPeerSignature(c.hello.signatureSchemes, m.scheme, signed, m.signature)
	if err != nil {
		return 0, err
	}
	c.transcript.Add(raw.raw)
	return clientWaitFinished, nil
}

// onFinished13 ends the handshake: it sends our last flight and hands out the
// application keys.
func (c *clientHandshake) onFinished13(m *finished, raw message) (waitState, error) {
	aligned, err := c.in.aligned()
	if err != nil {
		return 0, err
	}
	hash := c.neg.Suite.Hash
	var room [keyschedule.MaxSecretLen]byte
	fin, err := verifyFinished(m.verifyData, c.schedule.server.VerifyData(hash, room[:0], c.transcript.Sum()))
	if err != nil {
		return 0, err
	}
	if c.cfg.VerifyConnection != nil {
		if err := c.cfg.VerifyConnection(&c.neg); err != nil {
			return 0, alert.Wrap(alert.BadCertificate, err)
		}
	}
	c.transcript.Add(raw.raw)
	main := c.schedule.handshake.Main()
	defer main.Wipe()
	serverFinished := c.transcript.Sum()
	if err := c.sendSecondFlight13(); err != nil {
		return 0, err
	}
	c.applicationKeys(main, serverFinished, &c.hello.random)
	c.post.secrets().resumption = main.ResumptionMainSecret(c.transcript.Sum())
	c.installRead(aligned, LevelApplication, &c.post.read)
	c.installWrite(LevelApplication, &c.post.write)
	c.wipe()
	return clientConnected, c.establish(c.peer, fin)
}

// sendSecondFlight13 queues EndOfEarlyData, Certificate, CertificateVerify and
// Finished, as far as each is due.
func (c *clientHandshake) sendSecondFlight13() error {
	if c.schedule.early {
		c.send(LevelEarly, (&endOfEarlyData{}).append)
		c.writeHandshakeKeys()
	}
	if c.certRequest != nil {
		if err := c.sendClientCertificate13(); err != nil {
			return err
		}
	}
	var room [keyschedule.MaxSecretLen]byte
	verify := c.schedule.client.VerifyData(c.neg.Suite.Hash, room[:0], c.transcript.Sum())
	c.send(LevelHandshake, (&finished{verifyData: verify}).append)
	return nil
}

func (c *clientHandshake) sendClientCertificate13() error {
	r := c.certRequest
	cert, err := c.clientCertificate(&CertificateRequestInfo{
		AcceptableCAs:    r.certificateAuthorities,
		SignatureSchemes: r.signatureSchemes,
		CertificateType:  c.ownType,
		Version:          versionTLS13,
	})
	if err != nil {
		return err
	}
	want := certificateWants{context: r.context, ocsp: r.ocspStapling, scts: r.scts, compress: r.compressCertificate}
	return c.sendCertificate13(cert, want, clientSignatureContext, r.signatureSchemes)
}

// clientCertificate asks the caller for a certificate and makes sure that it
// can sign; an empty one means none. That is also what a server gets that asks for
// a type that we did not offer, as one does that does not know the extension (RFC
// 9846, section 4.5.1).
func (c *clientHandshake) clientCertificate(info *CertificateRequestInfo) (*Certificate, error) {
	if c.cfg.GetClientCertificate == nil || !contains(orX509(c.cfg.CertificateTypes), c.ownType) {
		return &Certificate{}, nil
	}
	cert, err := c.cfg.GetClientCertificate(c.ctx, info)
	if err != nil {
		return nil, alert.Wrap(alert.InternalError, err)
	}
	switch {
	case cert == nil || len(cert.Chain) == 0:
		return &Certificate{}, nil
	case cert.Type != c.ownType:
		return nil, alert.Errorf(alert.InternalError, "server asks for %v, and we have %v", c.ownType, cert.Type)
	}
	return cert, nil
}

// resumePeer restores what the session knows of the peer.
func (c *clientHandshake) resumePeer(s *session.State) error {
	if err := c.restorePeer(s); err != nil || c.cfg.VerifyResumed == nil {
		return err
	}
	var err error
	c.neg.VerifiedChains, err = c.cfg.VerifyResumed(s)
	return alert.Wrap(alert.BadCertificate, err)
}
