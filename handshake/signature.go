package handshake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"io"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// RSA keys outside these sizes are refused: small ones are broken, and large
// ones let a peer buy much of our time with little of its own.
const (
	minRSABits = 1024
	maxRSABits = 8192
)

type signatureKind uint8

const (
	kindPKCS1 signatureKind = iota + 1
	kindPSS
	kindECDSA
	kindEd25519
)

// schemeSpec is what a signature scheme stands for.
type schemeSpec struct {
	kind  signatureKind
	hash  crypto.Hash    // 0: the message is signed as it is
	curve elliptic.Curve // that TLS 1.3 binds an ECDSA scheme to
}

// schemeSpecs has the schemes that are implemented (RFC 9846, section 4.3.3).
// There is none with SHA-1, and no rsa_pss_pss: crypto/x509 does not parse
// certificates with such keys.
var schemeSpecs = map[SignatureScheme]schemeSpec{
	RsaPkcs1Sha256:       {kindPKCS1, crypto.SHA256, nil},
	RsaPkcs1Sha384:       {kindPKCS1, crypto.SHA384, nil},
	RsaPkcs1Sha512:       {kindPKCS1, crypto.SHA512, nil},
	EcdsaSecp256r1Sha256: {kindECDSA, crypto.SHA256, elliptic.P256()},
	EcdsaSecp384r1Sha384: {kindECDSA, crypto.SHA384, elliptic.P384()},
	EcdsaSecp521r1Sha512: {kindECDSA, crypto.SHA512, elliptic.P521()},
	RsaPssRsaeSha256:     {kindPSS, crypto.SHA256, nil},
	RsaPssRsaeSha384:     {kindPSS, crypto.SHA384, nil},
	RsaPssRsaeSha512:     {kindPSS, crypto.SHA512, nil},
	Ed25519:              {kindEd25519, 0, nil},
}

// signsWith reports whether the key of c can, and may, sign with s.
func (c *Certificate) signsWith(version uint16, s SignatureScheme) bool {
	return c.PrivateKey != nil && (len(c.SignatureSchemes) == 0 || contains(c.SignatureSchemes, s)) &&
		schemeFits(version, c.PrivateKey.Public(), s)
}

// selectScheme returns the first of the peer's schemes that the key of cert
// can sign with.
func selectScheme(version uint16, cert *Certificate, peer []SignatureScheme) (SignatureScheme, error) {
	for _, s := range peer {
		if cert.signsWith(version, s) {
			return s, nil
		}
	}
	return 0, alert.Errorf(alert.HandshakeFailure, "the certificate's key has no signature scheme in common with the peer's %s", brief(peer))
}

// schemeFits reports whether signatures by the key pub with scheme s are legal
// in the given version. TLS 1.3 binds ECDSA schemes to their curves and has no
// PKCS #1 v1.5; TLS 1.2 has PKCS #1 and takes any curve (RFC 9846, section
// 4.3.3).
func schemeFits(version uint16, pub crypto.PublicKey, s SignatureScheme) bool {
	spec, ok := schemeSpecs[s]
	if !ok {
		return false
	}
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return spec.fitsRSA(version, pub)
	case *ecdsa.PublicKey:
		return spec.kind == kindECDSA && (pub.Curve == spec.curve || version == keyschedule.VersionTLS12 && knownCurve(pub.Curve))
	case ed25519.PublicKey:
		return spec.kind == kindEd25519
	default:
		return false
	}
}

func (s schemeSpec) fitsRSA(version uint16, pub *rsa.PublicKey) bool {
	if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return false
	}
	switch s.kind {
	case kindPKCS1:
		return version == keyschedule.VersionTLS12
	case kindPSS:
		// The encoded message holds digest, salt of the same length and two
		// more bytes (RFC 8017, section 9.1.1): 1024 bits are too few for SHA-512.
		return (pub.N.BitLen()+6)/8 >= 2*s.hash.Size()+2
	default:
		return false
	}
}

func knownCurve(c elliptic.Curve) bool {
	return c == elliptic.P256() || c == elliptic.P384() || c == elliptic.P521()
}

// sign signs message with key. The caller made sure that s fits.
func sign(rand io.Reader, key crypto.Signer, s SignatureScheme, message []byte) ([]byte, error) {
	spec, ok := schemeSpecs[s]
	if !ok {
		return nil, alert.Errorf(alert.InternalError, "cannot sign with %v", s)
	}
	var opts crypto.SignerOpts = spec.hash
	if spec.kind == kindPSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: spec.hash}
	}
	sig, err := key.Sign(rand, spec.digest(message), opts)
	if err != nil {
		return nil, alert.Errorf(alert.InternalError, "signing with %v: %w", s, err)
	}
	return sig, nil
}

// digest returns what is signed in place of message: behind it, where there is room.
func (s schemeSpec) digest(message []byte) []byte {
	switch s.hash {
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		return append(message[len(message):], sum[:]...)
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		return append(message[len(message):], sum[:]...)
	case crypto.SHA512:
		sum := sha512.Sum512(message)
		return append(message[len(message):], sum[:]...)
	default:
		return message
	}
}

// verify checks a signature of message. The caller made sure that s was
// offered and fits; if it does not, that is the peer's illegal_parameter.
func verify(pub crypto.PublicKey, s SignatureScheme, message, sig []byte) error {
	// The more liberal version: what TLS 1.3 forbids on top, the caller checks.
	if !schemeFits(keyschedule.VersionTLS12, pub, s) {
		return alert.Errorf(alert.IllegalParameter, "%v does not fit the peer's key", s)
	}
	spec := schemeSpecs[s]
	if !spec.valid(pub, spec.digest(message), sig) {
		return alert.Errorf(alert.DecryptError, "invalid %v signature", s)
	}
	return nil
}

func (s schemeSpec) valid(pub crypto.PublicKey, digest, sig []byte) bool {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if s.kind == kindPSS {
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(pub, s.hash, digest, sig, opts) == nil
		}
		return rsa.VerifyPKCS1v15(pub, s.hash, digest, sig) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, digest, sig)
	case ed25519.PublicKey:
		return len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, digest, sig)
	default:
		return false
	}
}

// The context strings of CertificateVerify (RFC 9846, section 4.5.2).
const (
	serverSignatureContext = "TLS 1.3, server CertificateVerify"
	clientSignatureContext = "TLS 1.3, client CertificateVerify"
)

// signedContent13 returns what a TLS 1.3 CertificateVerify signs (RFC 9846,
// section 4.5.2). The padding is as long as the two randoms that TLS 1.2
// signatures begin with, so that neither passes for the other.
func signedContent13(context string, transcriptHash []byte) []byte {
	b := make([]byte, 0, 64+len(serverSignatureContext)+1+keyschedule.MaxSecretLen+sha512.Size)
	for range 64 {
		b = append(b, ' ')
	}
	b = append(b, context...)
	b = append(b, 0)
	return append(b, transcriptHash...)
}
