package tls

import (
	"crypto/tls"

	"github.com/go-handoff/tls/keyschedule"
)

// The plain data of crypto/tls is used as it is, so that values pass between
// this package and everything that was written for crypto/tls: net/http, gRPC,
// autocert, and callers' errors.As.
type (
	// AlertError is an alert description (RFC 9846, section 6.2) as an error.
	AlertError = tls.AlertError
	// Certificate is a certificate chain with its key, leaf first.
	Certificate = tls.Certificate
	// CertificateRequestInfo is what a client's GetClientCertificate sees of a
	// CertificateRequest (RFC 9846, section 4.4.2).
	CertificateRequestInfo = tls.CertificateRequestInfo
	// CertificateVerificationError says that the peer's certificate was refused.
	CertificateVerificationError = tls.CertificateVerificationError
	// CipherSuite describes a cipher suite (RFC 9846, appendix B.4).
	CipherSuite = tls.CipherSuite
	// ClientAuthType is a server's policy on client certificates.
	ClientAuthType = tls.ClientAuthType
	// ClientHelloInfo is what a server's callbacks see of a ClientHello
	// (RFC 9846, section 4.2.2).
	ClientHelloInfo = tls.ClientHelloInfo
	// ConnectionState is what was negotiated. See [Conn.ConnectionState].
	ConnectionState = tls.ConnectionState
	// CurveID is a key exchange group (RFC 9846, section 4.3.7).
	CurveID = tls.CurveID
	// ECHRejectionError is crypto/tls's; nothing here returns it yet.
	ECHRejectionError = tls.ECHRejectionError
	// EncryptedClientHelloKey is crypto/tls's; a [Config] that has one is refused.
	EncryptedClientHelloKey = tls.EncryptedClientHelloKey
	// RecordHeaderError says that what arrived is not TLS (RFC 9846, section 5.1).
	RecordHeaderError = tls.RecordHeaderError
	// RenegotiationSupport exists for its one value that is accepted here,
	// [RenegotiateNever].
	RenegotiationSupport = tls.RenegotiationSupport
	// SignatureScheme is a signature algorithm (RFC 9846, section 4.3.3).
	SignatureScheme = tls.SignatureScheme
)

// Protocol versions (RFC 9846, section 4.3.1). Those before TLS 1.2 exist by
// name only: nothing here speaks them.
const (
	VersionTLS10 = tls.VersionTLS10
	VersionTLS11 = tls.VersionTLS11
	VersionTLS12 = tls.VersionTLS12
	VersionTLS13 = tls.VersionTLS13

	// Deprecated: nothing speaks SSL 3.0.
	VersionSSL30 = 0x0300
)

// Key exchange groups (RFC 9846, section 4.3.7).
const (
	CurveP256          = tls.CurveP256
	CurveP384          = tls.CurveP384
	CurveP521          = tls.CurveP521
	X25519             = tls.X25519
	X25519MLKEM768     = tls.X25519MLKEM768
	SecP256r1MLKEM768  = tls.SecP256r1MLKEM768
	SecP384r1MLKEM1024 = tls.SecP384r1MLKEM1024

	// X448 is not in crypto/tls. It is used only if Config.CurvePreferences
	// names it.
	X448 CurveID = 30
)

// Client authentication policies of a server (RFC 9846, section 4.4.2).
const (
	NoClientCert               = tls.NoClientCert
	RequestClientCert          = tls.RequestClientCert
	RequireAnyClientCert       = tls.RequireAnyClientCert
	VerifyClientCertIfGiven    = tls.VerifyClientCertIfGiven
	RequireAndVerifyClientCert = tls.RequireAndVerifyClientCert
)

// Renegotiation policies. Only [RenegotiateNever] is accepted: TLS 1.3 has no
// renegotiation, and that of TLS 1.2 is not implemented for good.
const (
	RenegotiateNever          = tls.RenegotiateNever
	RenegotiateOnceAsClient   = tls.RenegotiateOnceAsClient
	RenegotiateFreelyAsClient = tls.RenegotiateFreelyAsClient
)

// Signature schemes (RFC 9846, section 4.3.3). Those with SHA-1 exist by name
// only.
const (
	PKCS1WithSHA256        = tls.PKCS1WithSHA256
	PKCS1WithSHA384        = tls.PKCS1WithSHA384
	PKCS1WithSHA512        = tls.PKCS1WithSHA512
	PSSWithSHA256          = tls.PSSWithSHA256
	PSSWithSHA384          = tls.PSSWithSHA384
	PSSWithSHA512          = tls.PSSWithSHA512
	ECDSAWithP256AndSHA256 = tls.ECDSAWithP256AndSHA256
	ECDSAWithP384AndSHA384 = tls.ECDSAWithP384AndSHA384
	ECDSAWithP521AndSHA512 = tls.ECDSAWithP521AndSHA512
	Ed25519                = tls.Ed25519
	PKCS1WithSHA1          = tls.PKCS1WithSHA1
	ECDSAWithSHA1          = tls.ECDSAWithSHA1
)

// Cipher suites that are implemented (RFC 9846, appendix B.4; RFC 5289;
// RFC 7905; RFC 4492 for the CBC ones, which are off unless
// Config.CipherSuites names them).
const (
	TLS_AES_128_GCM_SHA256       = keyschedule.TLS_AES_128_GCM_SHA256
	TLS_AES_256_GCM_SHA384       = keyschedule.TLS_AES_256_GCM_SHA384
	TLS_CHACHA20_POLY1305_SHA256 = keyschedule.TLS_CHACHA20_POLY1305_SHA256

	TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA          = keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
	TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA          = keyschedule.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA
	TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA            = keyschedule.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
	TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA            = keyschedule.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA
	TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256         = keyschedule.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256       = keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384         = keyschedule.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
	TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384       = keyschedule.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256   = keyschedule.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
	TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 = keyschedule.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256

	// Older names for the two above.
	TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305   = TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
	TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305 = TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
)

// Cipher suites that exist by name only, for programs that mention them. In
// Config.CipherSuites they have no effect. TLS_FALLBACK_SCSV is a signal
// (RFC 7507), not a suite.
const (
	TLS_RSA_WITH_RC4_128_SHA                uint16 = 0x0005
	TLS_RSA_WITH_3DES_EDE_CBC_SHA           uint16 = 0x000a
	TLS_RSA_WITH_AES_128_CBC_SHA            uint16 = 0x002f
	TLS_RSA_WITH_AES_256_CBC_SHA            uint16 = 0x0035
	TLS_RSA_WITH_AES_128_CBC_SHA256         uint16 = 0x003c
	TLS_RSA_WITH_AES_128_GCM_SHA256         uint16 = 0x009c
	TLS_RSA_WITH_AES_256_GCM_SHA384         uint16 = 0x009d
	TLS_ECDHE_ECDSA_WITH_RC4_128_SHA        uint16 = 0xc007
	TLS_ECDHE_RSA_WITH_RC4_128_SHA          uint16 = 0xc011
	TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA     uint16 = 0xc012
	TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256 uint16 = 0xc023
	TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256   uint16 = 0xc027

	TLS_FALLBACK_SCSV uint16 = 0x5600
)
