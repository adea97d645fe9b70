package session

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/certs"
	"github.com/go-handoff/tls/keyschedule"
)

const (
	// maxLifetime bounds how long any session may be resumed, whatever its
	// server said (RFC 9846, section 4.7.1).
	maxLifetime = 7 * 24 * time.Hour
	// unspecifiedLifetime is for TLS 1.2 sessions that came without a lifetime:
	// the limit that RFC 5246, appendix F.1.4, proposes for session IDs.
	unspecifiedLifetime = 24 * time.Hour
	// maxSkew is how far in the future a session may seem to have been made:
	// machines that share ticket keys do not share a clock.
	maxSkew = time.Minute
)

// State is all that both sides must remember of a connection to resume it
// (RFC 9846, section 4.7.1; RFC 5246, section 7.3). A client keeps it in its
// cache; a server seals it into a ticket or keeps it under a handle.
//
// A State prints as one line without its Secret. In an unexported field of
// another type fmt asks no methods: a type that keeps a State there and may be
// printed needs methods of its own.
type State struct {
	Version     uint16
	CipherSuite uint16
	// CreatedAt is when the session was made, on a client when its ticket came.
	// It is kept to the millisecond, which the age of a ticket is counted in.
	CreatedAt time.Time
	// Secret is the resumption PSK of TLS 1.3 or the TLS 1.2 master secret.
	Secret               keyschedule.Secret
	ExtendedMasterSecret bool

	ServerName string
	ALPN       string
	// LeafHash is the SHA-256 of the certificate that a server showed, nil if it
	// showed none. The session is good only while it would show the same one.
	LeafHash []byte
	// SignatureScheme and Group are those of the full handshake.
	SignatureScheme uint16
	Group           uint16

	// PeerChain is the peer's certificate chain, DER, leaf first. PeerRawKey is
	// its raw public key, a SubjectPublicKeyInfo in DER, if it showed that instead
	// (RFC 7250).
	PeerChain  [][]byte
	PeerRawKey []byte
	// PSKIdentity names the external pre-shared key that authenticated both sides
	// instead, nil for none, and PSKHash is a hash of the key: the session is good only
	// while they still have that key under that name.
	PSKIdentity []byte
	PSKHash     []byte
	OCSPStaple  []byte
	SCTs        [][]byte
	// VerifiedChains are the chains that a client has verified, nil where they are
	// not known: they are kept as long as the State stays in this process, and not
	// encoded.
	VerifiedChains [][]*x509.Certificate
	// VerifiedRoots are the roots that they were verified with, nil for the system's.
	VerifiedRoots *x509.CertPool

	// Ticket is what a client sends back: a ticket, opaque. SessionID is what it
	// sends in TLS 1.2 when the server named the session instead.
	Ticket    []byte
	SessionID []byte
	// Lifetime is how long the server promised to accept the ticket. It is kept
	// to the second, which is what the wire has. In TLS 1.3 zero means that the
	// session must not be used; in TLS 1.2, that nothing was promised.
	Lifetime time.Duration
	// AgeAdd obfuscates the ticket's age on the wire (TLS 1.3).
	AgeAdd uint32
	// MaxEarlyData is how many bytes of early data the ticket allows.
	MaxEarlyData uint32

	// EarlyData and Extra belong to the application: the former says whether
	// the ticket was made for 0-RTT, the latter is carried along unchanged.
	EarlyData bool
	Extra     [][]byte
}

// PeerCertificates parses PeerChain, leaf first. It returns nil if the peer
// showed no certificate.
func (s *State) PeerCertificates() ([]*x509.Certificate, error) {
	if len(s.PeerChain) == 0 {
		return nil, nil
	}
	chain := make([]*x509.Certificate, 0, len(s.PeerChain))
	for i, der := range s.PeerChain {
		cert, err := certs.Parse(der)
		if err != nil {
			return nil, alert.Errorf(alert.BadCertificate, "certificate %d of a session: %w", i, err)
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

// Expired reports whether the session is too old, at now, to be resumed. No
// session outlives seven days (RFC 9846, section 4.7.1).
func (s *State) Expired(now time.Time) bool {
	life := min(s.Lifetime, maxLifetime)
	if life == 0 && s.Version == keyschedule.VersionTLS12 {
		life = unspecifiedLifetime
	}
	age := now.Sub(s.CreatedAt)
	return life <= 0 || age > life || age < -maxSkew
}

// Clone returns a copy of s that shares nothing with it but VerifiedChains, so that
// wiping one leaves the other alone.
func (s *State) Clone() *State {
	c := *s
	c.LeafHash = bytes.Clone(s.LeafHash)
	c.PeerChain = cloneList(s.PeerChain)
	c.PeerRawKey = bytes.Clone(s.PeerRawKey)
	c.PSKIdentity = bytes.Clone(s.PSKIdentity)
	c.PSKHash = bytes.Clone(s.PSKHash)
	c.OCSPStaple = bytes.Clone(s.OCSPStaple)
	c.SCTs = cloneList(s.SCTs)
	c.Ticket = bytes.Clone(s.Ticket)
	c.SessionID = bytes.Clone(s.SessionID)
	c.Extra = cloneList(s.Extra)
	return &c
}

// Share returns a copy of s with a secret of its own, so that wiping one leaves
// the other alone. All else is the same memory: nobody may change it.
func (s *State) Share() *State {
	c := *s
	return &c
}

// Wipe overwrites the session's secret. What is left cannot be resumed.
func (s *State) Wipe() { s.Secret.Wipe() }

// Format implements [fmt.Formatter]: every verb prints the same line. Left to
// itself, fmt shows all fields of a nested pointer for verbs that do not fit one.
func (s State) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "session(%#04x, suite %#04x, server name %q, ALPN %q, created %s, lifetime %s)",
		s.Version, s.CipherSuite, s.ServerName, s.ALPN, s.CreatedAt.Format(time.RFC3339), s.Lifetime)
}

func cloneList(list [][]byte) [][]byte {
	if list == nil {
		return nil
	}
	c := make([][]byte, len(list))
	for i, b := range list {
		c[i] = bytes.Clone(b)
	}
	return c
}
