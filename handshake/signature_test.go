package handshake

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"slices"
	"sync"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

const (
	v12 = keyschedule.VersionTLS12
	v13 = keyschedule.VersionTLS13
)

// signingKeys are made once: RSA keys take their time.
var signingKeys = sync.OnceValue(func() map[string]crypto.Signer {
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	}
	rsaKey := func(bits int) crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{
		"P-224": ec(elliptic.P224()), "P-256": ec(elliptic.P256()), "P-384": ec(elliptic.P384()), "P-521": ec(elliptic.P521()),
		"RSA-1024": rsaKey(1024), "RSA-2048": rsaKey(2048), "Ed25519": ed,
	}
})

var (
	pssSchemes   = []SignatureScheme{RsaPssRsaeSha256, RsaPssRsaeSha384, RsaPssRsaeSha512}
	pkcs1Schemes = []SignatureScheme{RsaPkcs1Sha256, RsaPkcs1Sha384, RsaPkcs1Sha512}
	ecdsaSchemes = []SignatureScheme{EcdsaSecp256r1Sha256, EcdsaSecp384r1Sha384, EcdsaSecp521r1Sha512}
)

// schemesFor lists what the key of cert can do.
func schemesFor(version uint16, cert *Certificate) []SignatureScheme {
	return slices.DeleteFunc(DefaultSignatureSchemes(), func(s SignatureScheme) bool { return !cert.signsWith(version, s) })
}

func TestSchemesFor(t *testing.T) {
	for _, tt := range []struct {
		version uint16
		key     string
		want    []SignatureScheme
	}{
		{v13, "P-256", ecdsaSchemes[:1]},
		{v13, "P-384", ecdsaSchemes[1:2]},
		{v13, "P-521", ecdsaSchemes[2:]},
		{v13, "P-224", nil},
		{v12, "P-256", ecdsaSchemes},
		{v12, "P-384", ecdsaSchemes},
		{v12, "P-521", ecdsaSchemes},
		{v12, "P-224", nil},
		{v13, "RSA-2048", pssSchemes},
		{v12, "RSA-2048", slices.Concat(pssSchemes, pkcs1Schemes)},
		{v13, "RSA-1024", pssSchemes[:2]},
		{v12, "RSA-1024", slices.Concat(pssSchemes[:2], pkcs1Schemes)},
		{v13, "Ed25519", []SignatureScheme{Ed25519}},
		{v12, "Ed25519", []SignatureScheme{Ed25519}},
	} {
		got := schemesFor(tt.version, &Certificate{PrivateKey: signingKeys()[tt.key]})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%x %s: %v, want %v", tt.version, tt.key, got, tt.want)
		}
	}
	if got := schemesFor(v13, &Certificate{}); len(got) > 0 {
		t.Errorf("without a key: %v", got)
	}
	restricted := &Certificate{PrivateKey: signingKeys()["RSA-2048"], SignatureSchemes: []SignatureScheme{RsaPssRsaeSha512, RsaPkcs1Sha256}}
	if got := schemesFor(v13, restricted); !slices.Equal(got, pssSchemes[2:]) {
		t.Errorf("restricted: %v", got)
	}
}

func TestSelectScheme(t *testing.T) {
	cert := &Certificate{PrivateKey: signingKeys()["RSA-2048"]}
	peer := []SignatureScheme{0x4a4a, EcdsaSecp256r1Sha256, RsaPkcs1Sha256, RsaPssRsaeSha384, RsaPssRsaeSha256}
	if s, err := selectScheme(v13, cert, peer); err != nil || s != RsaPssRsaeSha384 {
		t.Errorf("TLS 1.3: %v, %v", s, err)
	}
	if s, err := selectScheme(v12, cert, peer); err != nil || s != RsaPkcs1Sha256 {
		t.Errorf("TLS 1.2: %v, %v", s, err)
	}
	_, err := selectScheme(v13, cert, []SignatureScheme{RsaPkcs1Sha1, RsaPkcs1Sha256, Ed448, RsaPssPssSha256})
	wantAlert(t, "nothing in common", err, alert.HandshakeFailure)
	_, err = selectScheme(v12, cert, nil)
	wantAlert(t, "no schemes", err, alert.HandshakeFailure)
}

func TestRSASizes(t *testing.T) {
	modulus := func(bits uint) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
	}
	for bits, want := range map[uint]bool{1023: false, 1024: true, 8192: true, 8193: false} {
		if got := schemeFits(v12, modulus(bits), RsaPkcs1Sha256); got != want {
			t.Errorf("RSA with %d bits fits: %v", bits, got)
		}
	}
	err := verify(modulus(16384), RsaPssRsaeSha256, nil, make([]byte, 2048))
	wantAlert(t, "large RSA key", err, alert.IllegalParameter)
}

// x509Algorithms name our schemes for an independent verifier.
var x509Algorithms = map[SignatureScheme]x509.SignatureAlgorithm{
	RsaPkcs1Sha256: x509.SHA256WithRSA, RsaPkcs1Sha384: x509.SHA384WithRSA, RsaPkcs1Sha512: x509.SHA512WithRSA,
	RsaPssRsaeSha256: x509.SHA256WithRSAPSS, RsaPssRsaeSha384: x509.SHA384WithRSAPSS, RsaPssRsaeSha512: x509.SHA512WithRSAPSS,
	EcdsaSecp256r1Sha256: x509.ECDSAWithSHA256, EcdsaSecp384r1Sha384: x509.ECDSAWithSHA384, EcdsaSecp521r1Sha512: x509.ECDSAWithSHA512,
	Ed25519: x509.PureEd25519,
}

// TestSignatures signs with every key and scheme that fit, has crypto/x509
// agree, and sees verify refuse what is changed.
func TestSignatures(t *testing.T) {
	message := []byte("the message")
	used := map[SignatureScheme]bool{}
	for name, key := range signingKeys() {
		for _, s := range schemesFor(v12, &Certificate{PrivateKey: key}) {
			what := name + " " + s.String()
			used[s] = true
			sig, err := sign(rand.Reader, key, s, message)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if err := verify(key.Public(), s, message, sig); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			cert := &x509.Certificate{PublicKey: key.Public(), PublicKeyAlgorithm: publicKeyAlgorithm(key)}
			if err := cert.CheckSignature(x509Algorithms[s], message, sig); err != nil {
				t.Errorf("%s: crypto/x509: %v", what, err)
			}
			wantAlert(t, what+", other message", verify(key.Public(), s, append(message, 0), sig), alert.DecryptError)
			sig[len(sig)/2] ^= 1
			wantAlert(t, what+", changed", verify(key.Public(), s, message, sig), alert.DecryptError)
			wantAlert(t, what+", empty", verify(key.Public(), s, message, nil), alert.DecryptError)
		}
	}
	for _, s := range DefaultSignatureSchemes() {
		if !used[s] {
			t.Errorf("no key signs with %v", s)
		}
	}
}

func publicKeyAlgorithm(key crypto.Signer) x509.PublicKeyAlgorithm {
	switch key.(type) {
	case *rsa.PrivateKey:
		return x509.RSA
	case *ecdsa.PrivateKey:
		return x509.ECDSA
	default:
		return x509.Ed25519
	}
}

func TestVerifyRefusesUnfitSchemes(t *testing.T) {
	for _, tt := range []struct {
		key string
		s   SignatureScheme
	}{
		{"P-256", RsaPssRsaeSha256},
		{"P-256", Ed25519},
		{"P-224", EcdsaSecp256r1Sha256},
		{"P-256", EcdsaSha1},
		{"RSA-2048", EcdsaSecp256r1Sha256},
		{"RSA-2048", RsaPkcs1Sha1},
		{"RSA-2048", RsaPssPssSha256},
		{"RSA-1024", RsaPssRsaeSha512},
		{"Ed25519", RsaPssRsaeSha256},
		{"Ed25519", Ed448},
		{"Ed25519", 0x4a4a},
	} {
		err := verify(signingKeys()[tt.key].Public(), tt.s, nil, nil)
		wantAlert(t, tt.key+" "+tt.s.String(), err, alert.IllegalParameter)
	}
	wantAlert(t, "no key", verify(nil, Ed25519, nil, nil), alert.IllegalParameter)
	wantAlert(t, "short Ed25519 key", verify(ed25519.PublicKey{1}, Ed25519, nil, make([]byte, 64)), alert.DecryptError)
}

type brokenSigner struct{ crypto.Signer }

var errBroken = errors.New("broken")

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errBroken }

func TestSignErrors(t *testing.T) {
	_, err := sign(rand.Reader, brokenSigner{signingKeys()["P-256"]}, EcdsaSecp256r1Sha256, nil)
	wantAlert(t, "broken signer", err, alert.InternalError)
	if !errors.Is(err, errBroken) {
		t.Errorf("the cause is lost: %v", err)
	}
	_, err = sign(rand.Reader, signingKeys()["P-256"], EcdsaSha1, nil)
	wantAlert(t, "SHA-1", err, alert.InternalError)
}

// TestSignedContent13 has the example of RFC 9846, section 4.5.2.
func TestSignedContent13(t *testing.T) {
	want := fromHex(t, "2020202020202020202020202020202020202020202020202020202020202020"+
		"2020202020202020202020202020202020202020202020202020202020202020"+
		"544c5320312e332c207365727665722043657274696669636174655665726966"+
		"79"+
		"00"+
		"0101010101010101010101010101010101010101010101010101010101010101")
	if got := signedContent13(serverSignatureContext, bytes.Repeat([]byte{1}, 32)); !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
}

// TestDigests: every scheme but Ed25519 signs a hash, and what it signs is not changed
// where that is put behind it.
func TestDigests(t *testing.T) {
	message := append(make([]byte, 0, 256), "a message"...)
	for scheme, spec := range schemeSpecs {
		got := spec.digest(message)
		want := message
		if scheme != Ed25519 {
			h := spec.hash.New()
			h.Write(message)
			want = h.Sum(nil)
		}
		if !bytes.Equal(got, want) || string(message) != "a message" {
			t.Errorf("%v: %x of %q, want %x", scheme, got, message, want)
		}
	}
}
