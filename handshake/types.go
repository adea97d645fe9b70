package handshake

import (
	"fmt"
	"slices"

	"golang.org/x/sys/cpu"

	"github.com/go-handoff/tls/keyschedule"
)

// handshakeType is the type of a handshake message (RFC 9846, section 4;
// RFC 5246, section 7.4).
type handshakeType uint8

const (
	typeHelloRequest          handshakeType = 0
	typeClientHello           handshakeType = 1
	typeServerHello           handshakeType = 2
	typeNewSessionTicket      handshakeType = 4
	typeEndOfEarlyData        handshakeType = 5
	typeEncryptedExtensions   handshakeType = 8
	typeCertificate           handshakeType = 11
	typeServerKeyExchange     handshakeType = 12
	typeCertificateRequest    handshakeType = 13
	typeServerHelloDone       handshakeType = 14
	typeCertificateVerify     handshakeType = 15
	typeClientKeyExchange     handshakeType = 16
	typeFinished              handshakeType = 20
	typeCertificateStatus     handshakeType = 22
	typeKeyUpdate             handshakeType = 24
	typeCompressedCertificate handshakeType = 25
)

var handshakeTypeNames = map[handshakeType]string{
	typeHelloRequest:          "hello_request",
	typeClientHello:           "client_hello",
	typeServerHello:           "server_hello",
	typeNewSessionTicket:      "new_session_ticket",
	typeEndOfEarlyData:        "end_of_early_data",
	typeEncryptedExtensions:   "encrypted_extensions",
	typeCertificate:           "certificate",
	typeServerKeyExchange:     "server_key_exchange",
	typeCertificateRequest:    "certificate_request",
	typeServerHelloDone:       "server_hello_done",
	typeCertificateVerify:     "certificate_verify",
	typeClientKeyExchange:     "client_key_exchange",
	typeFinished:              "finished",
	typeCertificateStatus:     "certificate_status",
	typeKeyUpdate:             "key_update",
	typeCompressedCertificate: "compressed_certificate",
}

// String returns the RFC's name of t.
func (t handshakeType) String() string {
	if s, ok := handshakeTypeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("handshake_type(%d)", uint8(t))
}

// NamedGroup is a key exchange group (RFC 9846, section 4.3.7).
type NamedGroup uint16

// The groups that exist here: elliptic curves, and their hybrids with ML-KEM
// (draft-ietf-tls-ecdhe-mlkem), which only TLS 1.3 can use.
const (
	Secp256r1          NamedGroup = 0x0017
	Secp384r1          NamedGroup = 0x0018
	Secp521r1          NamedGroup = 0x0019
	X25519             NamedGroup = 0x001d
	X448               NamedGroup = 0x001e
	SecP256r1MLKEM768  NamedGroup = 0x11eb
	X25519MLKEM768     NamedGroup = 0x11ec
	SecP384r1MLKEM1024 NamedGroup = 0x11ed
)

var groupNames = map[NamedGroup]string{
	Secp256r1:          "secp256r1",
	Secp384r1:          "secp384r1",
	Secp521r1:          "secp521r1",
	X25519:             "x25519",
	X448:               "x448",
	SecP256r1MLKEM768:  "SecP256r1MLKEM768",
	X25519MLKEM768:     "X25519MLKEM768",
	SecP384r1MLKEM1024: "SecP384r1MLKEM1024",
}

// String returns the IANA name of g.
func (g NamedGroup) String() string {
	if s, ok := groupNames[g]; ok {
		return s
	}
	return fmt.Sprintf("named_group(0x%04x)", uint16(g))
}

// classical returns the elliptic curve group inside a hybrid, or 0.
func (g NamedGroup) classical() NamedGroup {
	switch g {
	case X25519MLKEM768:
		return X25519
	case SecP256r1MLKEM768:
		return Secp256r1
	case SecP384r1MLKEM1024:
		return Secp384r1
	default:
		return 0
	}
}

// hybrid reports whether g combines a curve with ML-KEM.
func (g NamedGroup) hybrid() bool { return g.classical() != 0 }

// usable12 reports whether TLS 1.2 can use g: its one-byte share length has no
// room for ML-KEM.
func (g NamedGroup) usable12() bool {
	_, known := groupNames[g]
	return known && !g.hybrid()
}

// DefaultGroups returns the groups that are used when a [Config] names none,
// most preferred first.
func DefaultGroups() []NamedGroup { return slices.Clone(defaultGroups) }

var defaultGroups = []NamedGroup{
	X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024,
	X25519, Secp256r1, Secp384r1, Secp521r1,
}

// SignatureScheme is a signature algorithm (RFC 9846, section 4.3.3). In
// TLS 1.2 the same values are pairs of hash and signature (RFC 5246, section
// 7.4.1.4.1), which do not bind an ECDSA hash to a curve.
type SignatureScheme uint16

// The signature schemes of RFC 9846. Those with SHA-1, ed448 and rsa_pss_pss
// are known by name only: they are never offered, used or accepted.
const (
	RsaPkcs1Sha1         SignatureScheme = 0x0201
	EcdsaSha1            SignatureScheme = 0x0203
	RsaPkcs1Sha256       SignatureScheme = 0x0401
	RsaPkcs1Sha384       SignatureScheme = 0x0501
	RsaPkcs1Sha512       SignatureScheme = 0x0601
	EcdsaSecp256r1Sha256 SignatureScheme = 0x0403
	EcdsaSecp384r1Sha384 SignatureScheme = 0x0503
	EcdsaSecp521r1Sha512 SignatureScheme = 0x0603
	RsaPssRsaeSha256     SignatureScheme = 0x0804
	RsaPssRsaeSha384     SignatureScheme = 0x0805
	RsaPssRsaeSha512     SignatureScheme = 0x0806
	Ed25519              SignatureScheme = 0x0807
	Ed448                SignatureScheme = 0x0808
	RsaPssPssSha256      SignatureScheme = 0x0809
	RsaPssPssSha384      SignatureScheme = 0x080a
	RsaPssPssSha512      SignatureScheme = 0x080b
)

var signatureSchemeNames = map[SignatureScheme]string{
	RsaPkcs1Sha1:         "rsa_pkcs1_sha1",
	EcdsaSha1:            "ecdsa_sha1",
	RsaPkcs1Sha256:       "rsa_pkcs1_sha256",
	RsaPkcs1Sha384:       "rsa_pkcs1_sha384",
	RsaPkcs1Sha512:       "rsa_pkcs1_sha512",
	EcdsaSecp256r1Sha256: "ecdsa_secp256r1_sha256",
	EcdsaSecp384r1Sha384: "ecdsa_secp384r1_sha384",
	EcdsaSecp521r1Sha512: "ecdsa_secp521r1_sha512",
	RsaPssRsaeSha256:     "rsa_pss_rsae_sha256",
	RsaPssRsaeSha384:     "rsa_pss_rsae_sha384",
	RsaPssRsaeSha512:     "rsa_pss_rsae_sha512",
	Ed25519:              "ed25519",
	Ed448:                "ed448",
	RsaPssPssSha256:      "rsa_pss_pss_sha256",
	RsaPssPssSha384:      "rsa_pss_pss_sha384",
	RsaPssPssSha512:      "rsa_pss_pss_sha512",
}

// String returns the RFC's name of s.
func (s SignatureScheme) String() string {
	if n, ok := signatureSchemeNames[s]; ok {
		return n
	}
	return fmt.Sprintf("signature_scheme(0x%04x)", uint16(s))
}

// DefaultSignatureSchemes returns the schemes that are accepted when a
// [Config] names none, most preferred first: all that are implemented.
func DefaultSignatureSchemes() []SignatureScheme { return slices.Clone(defaultSignatureSchemes) }

var defaultSignatureSchemes = []SignatureScheme{
	RsaPssRsaeSha256, EcdsaSecp256r1Sha256, Ed25519,
	RsaPssRsaeSha384, RsaPssRsaeSha512,
	RsaPkcs1Sha256, RsaPkcs1Sha384, RsaPkcs1Sha512,
	EcdsaSecp384r1Sha384, EcdsaSecp521r1Sha512,
}

// DefaultCipherSuites returns the suites that are used when a [Config] names
// none, most preferred first: the AEAD suites of both versions. Where the
// processor has no instructions for AES-GCM, ChaCha20-Poly1305 comes first.
func DefaultCipherSuites() []uint16 { return slices.Clone(defaultCipherSuites) }

var defaultCipherSuites = cipherSuitesByPreference(hasAESGCM())

func cipherSuitesByPreference(fastAES bool) []uint16 {
	var suites, slower []uint16
	for _, s := range keyschedule.Suites() {
		switch {
		case s.Cipher.IsCBC():
		case fastAES || s.Cipher == keyschedule.ChaCha20Poly1305:
			suites = append(suites, s.ID)
		default:
			slower = append(slower, s.ID)
		}
	}
	return slices.Concat(suites, slower)
}

func hasAESGCM() bool {
	switch {
	case cpu.X86.HasAES:
		return cpu.X86.HasPCLMULQDQ
	case cpu.ARM64.HasAES:
		return cpu.ARM64.HasPMULL
	default:
		return cpu.S390X.HasAES && cpu.S390X.HasGHASH
	}
}

// pskKeyExchangeMode says how a pre-shared key is used (RFC 9846, section
// 4.3.9).
type pskKeyExchangeMode uint8

const (
	pskModeDHEKE pskKeyExchangeMode = 1
)

// certCompressionAlg is a certificate compression algorithm (RFC 8879,
// section 7.3).
type certCompressionAlg uint16

const (
	certCompressionZlib   certCompressionAlg = 1
	certCompressionBrotli certCompressionAlg = 2
	certCompressionZstd   certCompressionAlg = 3
)

// String returns the IANA name of a.
func (a certCompressionAlg) String() string {
	switch a {
	case certCompressionZlib:
		return "zlib"
	case certCompressionBrotli:
		return "brotli"
	case certCompressionZstd:
		return "zstd"
	default:
		return fmt.Sprintf("certificate_compression(%d)", uint16(a))
	}
}

// keyUpdateRequest says whether the receiver of a KeyUpdate shall answer with
// one (RFC 9846, section 4.7.3).
type keyUpdateRequest uint8

const (
	updateNotRequested keyUpdateRequest = 0
	updateRequested    keyUpdateRequest = 1
)
