package handshake

import (
	"crypto/x509"
	"errors"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/certs"
	"github.com/go-handoff/tls/keyschedule"
)

// certificateWants is how the peer wants our certificate.
type certificateWants struct {
	context    []byte
	ocsp, scts bool
	compress   []certCompressionAlg
}

// sendCertificate13 queues Certificate, compressed if both sides like, and
// CertificateVerify (RFC 9846, sections 4.5.1 and 4.5.2). A certificate without
// a chain is sent as an empty list, which proves nothing.
func (e *Engine) sendCertificate13(cert *Certificate, want certificateWants, sigContext string, peer []SignatureScheme) error {
	m := &certificate13{context: want.context, entries: make([]certificateEntry, 0, len(cert.Chain))}
	for i, der := range cert.Chain {
		entry := certificateEntry{data: der}
		if i == 0 && want.ocsp {
			entry.ocspStaple = cert.OCSPStaple
		}
		if i == 0 && want.scts {
			entry.scts = cert.SCTs
		}
		m.entries = append(m.entries, entry)
	}
	if len(cert.Chain) == 0 {
		e.send(LevelHandshake, m.append)
		return nil
	}
	compressed, err := e.compressed(m, want.compress)
	if err != nil {
		return err
	}
	scheme, err := selectScheme(versionTLS13, cert, peer)
	if err != nil {
		return err
	}
	if compressed != nil {
		e.send(LevelHandshake, compressed.append)
	} else {
		e.send(LevelHandshake, m.append)
	}
	sig, err := sign(e.cfg.Rand, cert.PrivateKey, scheme, signedContent13(sigContext, e.working().transcript.Sum()))
	if err != nil {
		return alert.Wrap(alert.InternalError, err)
	}
	e.neg.LocalCertificate, e.neg.LocalSignatureScheme = cert, scheme
	e.send(LevelHandshake, (&certificateVerify{scheme: scheme, signature: sig}).append)
	return nil
}

// compressed returns what to send in place of m, nil if the peer likes none of our
// algorithms.
func (e *Engine) compressed(m *certificate13, peer []certCompressionAlg) (*compressedCertificate, error) {
	z := e.cfg.compressor(peer)
	if z == nil {
		return nil, nil
	}
	return z.compress(m.append(nil)[messageHeaderLen:])
}

// decompress opens a CompressedCertificate (RFC 8879, section 4).
func (e *Engine) decompress(m *compressedCertificate, offered []certCompressionAlg) (*certificate13, error) {
	z := e.cfg.decompressor(m.alg)
	if z == nil || !contains(offered, m.alg) {
		return nil, alert.Errorf(alert.IllegalParameter, "certificate compressed by %v, which was not offered", m.alg)
	}
	body, err := z.decompress(m)
	if err != nil {
		return nil, err
	}
	e.neg.CertificateCompression = true
	inner, err := parseCertificate13(body)
	return inner, alert.Wrap(alert.BadCertificate, err)
}

// takeCertificate13 checks the extensions of a peer's certificates, parses the
// chain and has it verified.
func (e *Engine) takeCertificate13(m *certificate13, offered func(uint16) bool) error {
	if len(m.context) > 0 {
		return alert.Errorf(alert.IllegalParameter, "certificate with a request context during the handshake")
	}
	if e.peerType == RawPublicKey && len(m.entries) > 1 {
		return alert.Errorf(alert.DecodeError, "%d raw public keys", len(m.entries))
	}
	chain := make([][]byte, 0, len(m.entries))
	for i, entry := range m.entries {
		if err := checkExtensions(inCertificate, entry.extensions, offered); err != nil {
			return err
		}
		if i == 0 {
			e.neg.OCSPStaple, e.neg.SCTs = entry.ocspStaple, entry.scts
		}
		chain = append(chain, entry.data)
	}
	if err := e.parsePeer(chain); err != nil {
		return err
	}
	return e.verifyPeer()
}

// parsePeer parses what the peer showed, in the form that was agreed on.
func (e *Engine) parsePeer(chain [][]byte) error {
	if e.peerType == RawPublicKey {
		return e.parseRawKey(chain[0])
	}
	return e.parseChain(chain)
}

// parseChain parses the peer's certificates and refuses keys that nothing here
// can verify with, or that may not sign (RFC 9846, section 4.5.1.2).
func (e *Engine) parseChain(chain [][]byte) error {
	for _, der := range chain {
		cert, err := certs.Parse(der)
		if err != nil {
			return alert.Errorf(alert.DecodeError, "peer's certificate: %w", err)
		}
		e.neg.PeerCertificates = append(e.neg.PeerCertificates, cert)
	}
	leaf := e.neg.PeerCertificates[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return alert.Errorf(alert.UnsupportedCertificate, "peer's certificate is not for digital signatures")
	}
	return e.takeKey(leaf.PublicKey)
}

// verifyPeer lets the caller judge the peer's certificates.
func (e *Engine) verifyPeer() error {
	if e.cfg.VerifyPeer == nil {
		return nil
	}
	chains, err := e.cfg.VerifyPeer(&PeerCertificates{
		Chain:      e.neg.PeerCertificates,
		Key:        e.neg.PeerKey,
		OCSPStaple: e.neg.OCSPStaple,
		SCTs:       e.neg.SCTs,
		Version:    e.neg.Version,
		ServerName: e.neg.ServerName,
	})
	if err != nil {
		return alert.Wrap(certificateAlert(err), err)
	}
	e.neg.VerifiedChains = chains
	return nil
}

// certificateAlert finds the alert that says best what is wrong with a
// certificate (RFC 9846, section 6.2).
func certificateAlert(err error) alert.Description {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return alert.UnknownCA
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return alert.CertificateExpired
	}
	return alert.BadCertificate
}

// applicationKeys derives the application secrets of both directions and the
// exporter over the transcript up to the server's Finished.
func (e *Engine) applicationKeys(main *keyschedule.Main, transcriptHash []byte, clientRandom *[32]byte) {
	client := main.ClientApplicationTrafficSecret(transcriptHash)
	server := main.ServerApplicationTrafficSecret(transcriptHash)
	exporter := main.ExporterMainSecret(transcriptHash)
	e.cfg.logSecret("CLIENT_TRAFFIC_SECRET_0", clientRandom, &client.Secret)
	e.cfg.logSecret("SERVER_TRAFFIC_SECRET_0", clientRandom, &server.Secret)
	e.cfg.logSecret("EXPORTER_SECRET", clientRandom, exporter.Secret())
	e.post.exporter = exporter
	if e.client != nil {
		e.post.read, e.post.write = server, client
	} else {
		e.post.read, e.post.write = client, server
	}
}
