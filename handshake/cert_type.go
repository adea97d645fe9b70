package handshake

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// CertificateType is how a side shows its public key (RFC 7250, section 7).
type CertificateType uint8

// The types. OpenPGP certificates must not be used any more (RFC 9846, section
// 4.5.1).
const (
	X509         CertificateType = 0
	RawPublicKey CertificateType = 2
)

func (t CertificateType) String() string {
	switch t {
	case X509:
		return "X509"
	case RawPublicKey:
		return "RawPublicKey"
	}
	return fmt.Sprintf("certificate_type(%d)", uint8(t))
}

// certificateTypes are a server's answers to client_certificate_type and
// server_certificate_type, nil where it gives none.
type certificateTypes struct{ client, server *CertificateType }

func readCertificateTypes(r *wire.Reader) []CertificateType {
	return convertBytes[CertificateType](r.Vec8(1, maxVec8))
}

func appendCertificateTypes(b []byte, v []CertificateType) []byte {
	return wire.AppendVec8(b, convertBytes[byte](v))
}

// orX509 is what a list means that may not be there.
func orX509(list []CertificateType) []CertificateType {
	if len(list) == 0 {
		return onlyX509
	}
	return list
}

var onlyX509 = []CertificateType{X509}

// offerTypes returns what to send of a list: nothing if it says what is
// understood anyway (RFC 7250, section 4.1).
func offerTypes(list []CertificateType) []CertificateType {
	if slices.Equal(orX509(list), onlyX509) {
		return nil
	}
	return list
}

// takesPeerOf reports whether what the peer has shown in a session, if anything, is
// of a type that is accepted.
func (c *Config) takesPeerOf(s *session.State) bool {
	switch {
	case s.PeerRawKey != nil:
		return len(s.PeerChain) == 0 && contains(orX509(c.PeerCertificateTypes), RawPublicKey)
	case len(s.PeerChain) > 0:
		return contains(orX509(c.PeerCertificateTypes), X509)
	}
	return true
}

// serverType answers server_certificate_type with what s.cert is, also where a
// session is resumed whose handshake has shown it.
func (s *serverHandshake) serverType() (answer certificateTypes) {
	if s.cert != nil && contains(s.hello.serverCertificateTypes, s.cert.Type) {
		answer.server = &s.cert.Type
	}
	return answer
}

// selectCertificateTypes settles, on a server with its certificate chosen, how
// both sides show their keys.
func (s *serverHandshake) selectCertificateTypes() (certificateTypes, error) {
	answer := s.serverType()
	if !contains(s.info.ServerCertificateTypes, s.cert.Type) {
		return answer, alert.Errorf(alert.UnsupportedCertificate, "client does not take our %v", s.cert.Type)
	}
	if s.cfg.ClientAuth == NoClientCert {
		return answer, nil
	}
	offered := orX509(s.hello.clientCertificateTypes)
	i := slices.IndexFunc(orX509(s.cfg.PeerCertificateTypes), func(t CertificateType) bool { return contains(offered, t) })
	if i < 0 {
		return answer, alert.Errorf(alert.UnsupportedCertificate, "client can show no certificate of a type of ours: %s", brief(offered))
	}
	s.peerType = orX509(s.cfg.PeerCertificateTypes)[i]
	if s.hello.clientCertificateTypes != nil {
		answer.client = &s.peerType
	}
	return answer, nil
}

// noteCertificateTypes takes, on a client, the answer to what it has offered.
func (c *clientHandshake) noteCertificateTypes(answer certificateTypes) error {
	for _, a := range [...]struct {
		answer  *CertificateType
		offered []CertificateType
		note    *CertificateType
	}{
		{answer.server, c.hello.serverCertificateTypes, &c.peerType},
		{answer.client, c.hello.clientCertificateTypes, &c.ownType},
	} {
		if a.answer == nil {
			continue
		}
		if !contains(a.offered, *a.answer) {
			return alert.Errorf(alert.IllegalParameter, "server chose %v, which was not offered", *a.answer)
		}
		*a.note = *a.answer
	}
	return nil
}

// checkServerType refuses a server that shows its key in a way that is not
// accepted, because it does not know the extension.
func (c *clientHandshake) checkServerType() error {
	if !contains(orX509(c.cfg.PeerCertificateTypes), c.peerType) {
		return alert.Errorf(alert.UnsupportedCertificate, "server shows %v", c.peerType)
	}
	return nil
}

// parseRawKey takes a peer's SubjectPublicKeyInfo.
func (e *Engine) parseRawKey(spki []byte) error {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return alert.Errorf(alert.DecodeError, "peer's raw public key: %w", err)
	}
	if err := e.takeKey(key); err != nil {
		return err
	}
	// The parser passes over what follows the last element of a sequence.
	if der, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(der, spki) {
		return alert.Errorf(alert.DecodeError, "peer's raw public key is not in DER, or something follows it")
	}
	e.neg.PeerRawKey = spki
	return nil
}

// takeKey notes the peer's key, if it is one that we can verify with.
func (e *Engine) takeKey(key crypto.PublicKey) error {
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		e.neg.PeerKey = key
		return nil
	default:
		return alert.Errorf(alert.UnsupportedCertificate, "peer has an unsupported key of type %T", key)
	}
}

// restorePeer restores what a session knows of the peer.
func (e *Engine) restorePeer(s *session.State) error {
	certs, err := s.PeerCertificates()
	if err != nil {
		return alert.Errorf(alert.InternalError, "stored session: %w", err)
	}
	e.neg.PeerCertificates, e.neg.OCSPStaple, e.neg.SCTs = certs, s.OCSPStaple, s.SCTs
	e.neg.SignatureScheme = SignatureScheme(s.SignatureScheme)
	if s.PSKIdentity != nil {
		e.neg.ExternalPSK, e.post.secrets().pskFingerprint = s.PSKIdentity, s.PSKHash
	}
	switch {
	case len(certs) > 0:
		e.neg.PeerKey = certs[0].PublicKey
	case s.PeerRawKey != nil:
		return e.parseRawKey(s.PeerRawKey)
	}
	return nil
}

// FitsHello reports whether a client with this ClientHello can do with the
// certificate: with its type and, in the version that is negotiated or, before that,
// in one that both have, with its key.
func (c *Certificate) FitsHello(h *ClientHelloInfo) bool {
	if c.PrivateKey == nil || !contains(h.ServerCertificateTypes, c.Type) {
		return false
	}
	if h.NegotiatedVersion != 0 {
		return c.fitsVersion(h.NegotiatedVersion, h)
	}
	return slices.ContainsFunc(h.SupportedVersions, func(v uint16) bool { return c.fitsVersion(v, h) })
}

func (c *Certificate) fitsVersion(version uint16, h *ClientHelloInfo) bool {
	if version != versionTLS12 && version != versionTLS13 {
		return false
	}
	if version == versionTLS12 && !slices.ContainsFunc(h.CipherSuites, func(id uint16) bool {
		suite := keyschedule.SuiteByID(id)
		return suite != nil && suite.Version == versionTLS12 && authFits(suite.Auth, c.PrivateKey.Public())
	}) {
		return false
	}
	_, err := selectScheme(version, c, h.SignatureSchemes)
	return err == nil
}

// FitsRequest reports whether a server with this CertificateRequest can do with
// the certificate's type and key.
func (c *Certificate) FitsRequest(r *CertificateRequestInfo) bool {
	_, err := selectScheme(r.Version, c, r.SignatureSchemes)
	return err == nil && c.Type == r.CertificateType
}
