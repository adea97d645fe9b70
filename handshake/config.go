package handshake

import (
	"context"
	"crypto"
	"crypto/x509"
	"io"
	"time"

	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// Config is what an [Engine] needs to know. The engine does not change it, so
// one Config may serve any number of engines. It has no defaults for Rand and
// Time: an engine has no clock and no randomness of its own.
type Config struct {
	// Rand is the source of all randomness. crypto/rand.Reader in production.
	Rand io.Reader
	// Time returns the current time, for session lifetimes.
	Time func() time.Time

	// MinVersion and MaxVersion bound the protocol version; 0 means TLS 1.2
	// and TLS 1.3.
	MinVersion, MaxVersion uint16
	// CipherSuites are the suites of both versions in order of preference.
	// Empty means [DefaultCipherSuites].
	CipherSuites []uint16
	// Groups are the key exchange groups in order of preference. Empty means
	// [DefaultGroups]. A client sends a key share for the first one and, if that
	// is a hybrid, one for the first that is not.
	Groups []NamedGroup
	// KeyShares are the groups that a client sends key shares for at once, those of
	// them that are in Groups. Nil means what Groups says; an empty list, that the
	// server is to choose first.
	KeyShares []NamedGroup
	// Provider makes ephemeral keys; nil means [DefaultProvider].
	Provider Provider
	// SignatureSchemes are accepted from the peer, in order of preference.
	// Empty means [DefaultSignatureSchemes].
	SignatureSchemes []SignatureScheme

	// ServerName is sent by a client in the server_name extension, if it is
	// not empty.
	ServerName string
	// ALPN are the application protocols in order of preference. A server that
	// has some, and is offered some but none of these, refuses the handshake; a
	// client that offers none is served.
	ALPN []string

	// GetConfigForClient lets a server choose another Config once it has seen
	// the ClientHello. Nil, or a nil Config, means this one.
	GetConfigForClient func(context.Context, *ClientHelloInfo) (*Config, error)
	// GetCertificate chooses a server's certificate. Returning nil without an
	// error fails the handshake with unrecognized_name.
	GetCertificate func(context.Context, *ClientHelloInfo) (*Certificate, error)
	// GetClientCertificate chooses a client's certificate when the server asks
	// for one. Nil, or a nil Certificate, or one without a Chain, sends none.
	GetClientCertificate func(context.Context, *CertificateRequestInfo) (*Certificate, error)

	// ClientAuth is what a server demands of clients.
	ClientAuth ClientAuth
	// ClientCAs are the subjects (DER) that a server names in its
	// CertificateRequest.
	ClientCAs [][]byte
	// VerifyPeer is called with the peer's certificates, parsed, or its raw public
	// key, before the peer proves that it holds the key. It returns the verified chains, which
	// become part of the [State]. On a server it is not called for a client
	// without a certificate. Nil accepts any certificate.
	VerifyPeer func(*PeerCertificates) (chains [][]*x509.Certificate, err error)
	// VerifyResumed is called instead of VerifyPeer when a session is resumed:
	// it checks that the certificates remembered are good still. Nil accepts.
	VerifyResumed func(*session.State) (chains [][]*x509.Certificate, err error)
	// VerifyConnection is called last, before our Finished is sent by a client
	// and after the client's is verified by a server; also for resumptions. A
	// server that accepts early data calls it before any comes.
	VerifyConnection func(*State) error

	// Session is a session for a client to resume, nil for none. Tickets of
	// TLS 1.3 should be used once only: the caller takes care of that.
	Session *session.State
	// AcceptSessions asks a client to request and report new sessions.
	AcceptSessions bool
	// Tickets seals and opens a server's sessions; nil turns stateless and
	// stateful tickets and session IDs off.
	Tickets Tickets
	// TicketCount is how many tickets a TLS 1.3 server sends after the
	// handshake; 0 means one, and more than 16 are not sent.
	TicketCount int

	// PSKs are a client's external pre-shared keys, in order of preference.
	PSKs []ExternalPSK
	// GetPSK looks up an external pre-shared key on a server by the identity
	// that the client sent; nil means none is known. A client that holds a key
	// is authenticated by it: ClientAuth does not ask it for a certificate.
	GetPSK func(ctx context.Context, identity []byte) (*ExternalPSK, error)
	// PSKOnly refuses peers that authenticate by certificate.
	PSKOnly bool

	// EarlyData asks a client to offer early data with a session that allows
	// it (RFC 9846, section 4.3.10).
	EarlyData bool
	// AcceptEarlyData is a server's last word on early data, once all else speaks
	// for it: it must see to it that no ClientHello is accepted twice (RFC 9846,
	// section 8). Nil refuses. binder is the verified binder of the session's
	// PSK: no two ClientHellos have the same one, and no attacker can make
	// another one of an old ClientHello. The callback does not keep it.
	AcceptEarlyData func(ctx context.Context, info *ClientHelloInfo, s *session.State, binder []byte) bool
	// MaxEarlyData is what a server's tickets allow, in bytes; 0 forbids. Early
	// data with a ticket that allows more is refused.
	MaxEarlyData uint32

	// CertificateTypes are what a client can show if it is asked for a
	// certificate, in order of preference (RFC 7250). Empty means X.509 only.
	CertificateTypes []CertificateType
	// PeerCertificateTypes are what is accepted of the peer, in order of
	// preference. Empty means X.509 only.
	PeerCertificateTypes []CertificateType

	// CertificateCompressors offers and uses RFC 8879 with these algorithms, in
	// order of preference.
	CertificateCompressors []CertificateCompressor
	// CompressCertificates adds zlib to them.
	CompressCertificates bool

	// MiddleboxCompat makes TLS 1.3 look like a resumed TLS 1.2 session
	// (RFC 9846, appendix E.4): on for TCP, off for QUIC.
	MiddleboxCompat bool

	// Trace sees handshake messages, and the ChangeCipherSpecs that are sent; nil
	// for none. Other records are for its owner to show it.
	Trace *Trace
	// KeyLog receives every secret by its NSS key log label; nil for none.
	KeyLog func(label string, clientRandom, secret []byte)

	// rewrite lets tests of published traces replace an outgoing message whose
	// choice of extensions is not ours.
	rewrite func(raw []byte) []byte
}

// ClientAuth is a server's policy on client certificates.
type ClientAuth uint8

// The policies.
const (
	// NoClientCert asks for none.
	NoClientCert ClientAuth = iota
	// RequestClientCert asks for one but goes on without.
	RequestClientCert
	// RequireClientCert insists on one.
	RequireClientCert
)

// Certificate is a certificate chain with its key, or a raw public key with its
// private one.
type Certificate struct {
	// Type is X509 or RawPublicKey.
	Type CertificateType
	// Chain is the DER chain, leaf first; for a raw public key, nothing but its
	// SubjectPublicKeyInfo.
	Chain [][]byte
	// Leaf is Chain[0] parsed, nil for a raw public key. The engine itself has no
	// use for it.
	Leaf *x509.Certificate
	// PrivateKey signs for the leaf. RSA keys must accept PSS options.
	PrivateKey crypto.Signer
	// SignatureSchemes restricts what the key may be used with; empty means
	// all that fit it.
	SignatureSchemes []SignatureScheme
	// OCSPStaple is a DER OCSP response to staple, or nil.
	OCSPStaple []byte
	// SCTs are signed certificate timestamps to send.
	SCTs [][]byte
}

// PeerCertificates is what a peer sent to authenticate itself.
type PeerCertificates struct {
	Chain      []*x509.Certificate // leaf first; nil if there is a raw public key
	Key        crypto.PublicKey    // of the leaf, or the raw public key
	OCSPStaple []byte
	SCTs       [][]byte
	// Version, ServerName and ALPN are what is negotiated so far.
	Version    uint16
	ServerName string
}

// ExternalPSK is a pre-shared key agreed on outside TLS (RFC 9846, section 2.2).
type ExternalPSK struct {
	// Identity names the key on the wire, or before importing.
	Identity []byte
	// Secret is the key.
	Secret []byte
	// Hash is the hash that the key is bound to; 0 means SHA-256.
	Hash keyschedule.Hash
	// Import derives a key for each hash by RFC 9258, with Context. Both sides
	// must agree on it.
	Import  bool
	Context []byte
}

// Tickets turns sessions into tickets and back. Its methods must be safe for
// concurrent use. What Seal returns is opaque to the client: either the sealed
// session or a handle to it.
type Tickets interface {
	// Seal returns a ticket for s, or nil if no ticket shall be sent. It may clear
	// s.EarlyData: then the client is not told that it may send early data. s is
	// wiped when Seal has returned.
	Seal(ctx context.Context, conn *State, s *session.State) ([]byte, error)
	// Open returns the session of a ticket. It returns nil, without an error,
	// for a ticket that is unknown, damaged or expired: the handshake then goes
	// on in full.
	Open(ctx context.Context, conn *State, ticket []byte) (*session.State, error)
	// SessionIDs returns the cache of TLS 1.2 session IDs, or nil.
	SessionIDs() SessionIDs
}

// SessionIDs remembers TLS 1.2 sessions by session ID (RFC 5246, section 7.4.1.2).
// Put keeps a copy, because what it is given is wiped, and Get returns one.
type SessionIDs interface {
	Put(ctx context.Context, id []byte, s *session.State) error
	Get(ctx context.Context, id []byte) (*session.State, error)
}

// ClientHelloInfo is what a server's callbacks see of a ClientHello. It is the engine's,
// which goes by it: callbacks must not change it.
type ClientHelloInfo struct {
	CipherSuites           []uint16
	ServerName             string
	SupportedGroups        []NamedGroup
	SupportedPoints        []uint8
	SignatureSchemes       []SignatureScheme
	SignatureSchemesCert   []SignatureScheme
	SupportedProtos        []string
	SupportedVersions      []uint16
	Extensions             []uint16 // types, in the order of the ClientHello
	CertificateAuthorities [][]byte
	ServerCertificateTypes []CertificateType // that the client accepts, X509 if it says nothing
	HelloRetryRequest      bool              // a HelloRetryRequest was sent
	NegotiatedVersion      uint16            // 0 in GetConfigForClient
}

// CertificateRequestInfo is what a client's callback sees of a
// CertificateRequest.
type CertificateRequestInfo struct {
	AcceptableCAs    [][]byte
	SignatureSchemes []SignatureScheme
	CertificateType  CertificateType
	Version          uint16
}

// State is what was negotiated.
type State struct {
	Version              uint16
	Suite                *keyschedule.Suite
	Group                NamedGroup      // 0 where no key exchange took place
	SignatureScheme      SignatureScheme // of the peer's CertificateVerify or ServerKeyExchange, or that of the session resumed; 0 if none
	LocalSignatureScheme SignatureScheme // of ours
	ServerName           string
	ALPN                 string
	Resumed              bool
	ExternalPSK          []byte // identity of the external PSK in use, or of the session resumed
	HelloRetryRequest    bool
	ExtendedMasterSecret bool             // always true for TLS 1.3
	EarlyData            bool             // was accepted
	PeerKey              crypto.PublicKey // of the peer's certificate, or its raw public key; nil for neither
	PeerRawKey           []byte           // SubjectPublicKeyInfo, if it showed no certificate but that
	PeerCertificates     []*x509.Certificate
	VerifiedChains       [][]*x509.Certificate
	OCSPStaple           []byte
	SCTs                 [][]byte
	LocalCertificate     *Certificate // that was sent, nil if none and after the handshake
	// TicketAgeSkew is by how much a client that resumes thinks its ticket older
	// than the server does; servers of TLS 1.3 only.
	TicketAgeSkew time.Duration
	// TLSUnique is the first Finished of a TLS 1.2 handshake (RFC 5929), only
	// with extended_master_secret; nil otherwise.
	TLSUnique              []byte
	CertificateCompression bool // the peer's chain came compressed
}
