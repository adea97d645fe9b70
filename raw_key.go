package tls

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
)

// CertificateType is how a side shows its public key (RFC 7250).
type CertificateType = handshake.CertificateType

// The certificate types.
const (
	// CertificateTypeX509 is a chain of certificates, the default.
	CertificateTypeX509 = handshake.X509
	// CertificateTypeRawPublicKey is a public key and nothing else: who knows it
	// already needs no certificate for it.
	CertificateTypeRawPublicKey = handshake.RawPublicKey
)

// NewRawPublicKey returns a Certificate that shows the public key of key and
// nothing else (RFC 7250). Its Certificate field holds one element, a
// SubjectPublicKeyInfo in DER, by which it is known for what it is: it has no
// Leaf, and crypto/tls cannot use it. Peers take it only if they have asked for
// raw public keys; see Config.PeerCertificateTypes.
func NewRawPublicKey(key crypto.Signer) (Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{Certificate: [][]byte{spki}, PrivateKey: key}, nil
}

// isRawKey reports whether cert shows no certificate but a raw public key. The
// two cannot be confused: where one has an object identifier, the other has a
// version or a number.
func isRawKey(cert *Certificate) bool {
	if cert.Leaf != nil || len(cert.Certificate) != 1 {
		return false
	}
	_, err := x509.ParsePKIXPublicKey(cert.Certificate[0])
	return err == nil
}

// HelloDetails is what a ClientHello says and [ClientHelloInfo] has no field for.
type HelloDetails struct {
	// CertificateTypes are what the client takes from its server.
	CertificateTypes []CertificateType
	// CertificateAuthorities are the subjects, in DER, of the authorities that it
	// trusts (RFC 9846, section 4.3.4); nil if it does not say.
	CertificateAuthorities [][]byte
}

// DetailsOfHello returns what else is known of the ClientHello that a callback
// of a Config was given.
func DetailsOfHello(info *ClientHelloInfo) HelloDetails {
	h, ok := within[*handshake.ClientHelloInfo](info.Context(), helloKey{})
	if !ok {
		return HelloDetails{}
	}
	return HelloDetails{h.ServerCertificateTypes, h.CertificateAuthorities}
}

// RequestedCertificateType returns the type of certificate that a server asks
// for, for Config.GetClientCertificate, which must answer with that.
func RequestedCertificateType(info *CertificateRequestInfo) CertificateType {
	r, ok := within[*handshake.CertificateRequestInfo](info.Context(), requestKey{})
	if !ok {
		return CertificateTypeX509
	}
	return r.CertificateType
}

// FitsHello reports whether the client of a ClientHello can use cert, for
// Config.GetCertificate. It is ClientHelloInfo.SupportsCertificate for raw public
// keys too.
func FitsHello(info *ClientHelloInfo, cert *Certificate) bool {
	h, ok := within[*handshake.ClientHelloInfo](info.Context(), helloKey{})
	return ok && fitsHello(cert, info, h)
}

// FitsRequest reports whether the server of a CertificateRequest can use cert,
// for Config.GetClientCertificate. It is CertificateRequestInfo.SupportsCertificate
// for raw public keys too.
func FitsRequest(info *CertificateRequestInfo, cert *Certificate) bool {
	r, ok := within[*handshake.CertificateRequestInfo](info.Context(), requestKey{})
	return ok && fitsRequest(cert, info, r)
}

// The keys under which contexts of callbacks hold more than crypto/tls's types.
type (
	helloKey   struct{}
	requestKey struct{}
)

// within finds what a callback's context holds. What the application has made by
// itself has none.
func within[T any](ctx context.Context, key any) (v T, ok bool) {
	if ctx != nil {
		v, ok = ctx.Value(key).(T)
	}
	return v, ok
}

// certificateTypes lists what a client can show; nil is X.509 only.
func (c *Config) certificateTypes() []CertificateType {
	if c.CertificateTypes != nil || c.GetClientCertificate != nil {
		return c.CertificateTypes
	}
	if !slices.ContainsFunc(c.Certificates, func(cert Certificate) bool { return isRawKey(&cert) }) {
		return nil
	}
	var list []CertificateType
	for i := range c.Certificates {
		t := CertificateTypeX509
		if isRawKey(&c.Certificates[i]) {
			t = CertificateTypeRawPublicKey
		}
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// verifyRawKey judges the raw public key of a peer. Nobody but the caller can
// know whose it is.
func (b *binding) verifyRawKey(key crypto.PublicKey) error {
	if b.cfg.VerifyPeerPublicKey != nil {
		return fromCallback(b.cfg.VerifyPeerPublicKey(key))
	}
	if b.verifies() {
		return alert.Wrap(alert.BadCertificate, errUnknownKey)
	}
	return nil
}

// verifyResumedKey judges the raw public key that a session remembers.
func (b *binding) verifyResumedKey(spki []byte) error {
	if !slices.Contains(b.cfg.PeerCertificateTypes, CertificateTypeRawPublicKey) {
		return errUnwantedKey
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return err
	}
	return b.verifyRawKey(key)
}

// verifies reports whether what the peer shows must be verified.
func (b *binding) verifies() bool {
	if b.conn.role == roleClient {
		return !b.cfg.InsecureSkipVerify
	}
	return b.cfg.ClientAuth >= VerifyClientCertIfGiven
}

var errUnwantedKey = errors.New("tls: raw public keys are not accepted")

var errUnknownKey = errors.New("tls: there is no VerifyPeerPublicKey to verify a raw public key")
