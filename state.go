package tls

import (
	"crypto"
	"time"

	"github.com/go-handoff/tls/handshake"
)

// ConnectionState returns what was negotiated. During a handshake it waits for
// its end.
func (c *Conn) ConnectionState() ConnectionState {
	c.handshakeMutex.Lock()
	defer c.unlockHandshake()
	if c.engine == nil {
		return c.stateOf(&handshake.State{}, c.ExportKeyingMaterial)
	}
	return c.stateOf(c.engine.State(), c.ExportKeyingMaterial)
}

// stateFor is what callbacks see, within a call into the engine.
func (c *Conn) stateFor(s *handshake.State) ConnectionState { return c.stateOf(s, c.exportWithin) }

// stateOf translates the engine's state into crypto/tls's type.
func (c *Conn) stateOf(s *handshake.State, export func(string, []byte, int) ([]byte, error)) ConnectionState {
	state := ConnectionState{
		Version:                     s.Version,
		HandshakeComplete:           c.complete.Load(),
		DidResume:                   s.Resumed,
		CurveID:                     CurveID(s.Group),
		NegotiatedProtocol:          s.ALPN,
		NegotiatedProtocolIsMutual:  true,
		ServerName:                  s.ServerName,
		PeerCertificates:            s.PeerCertificates,
		VerifiedChains:              s.VerifiedChains,
		SignedCertificateTimestamps: s.SCTs,
		OCSPResponse:                s.OCSPStaple,
		TLSUnique:                   s.TLSUnique,
		HelloRetryRequest:           s.HelloRetryRequest,
	}
	if s.Suite != nil {
		state.CipherSuite = s.Suite.ID
	}
	stateExporter.set(&state, export)
	return state
}

// Details is what was negotiated and has no place in [ConnectionState].
type Details struct {
	// PeerSignatureScheme is what the peer has signed the handshake with, and
	// SignatureScheme what we have: 0 if that side did not sign.
	PeerSignatureScheme, SignatureScheme SignatureScheme
	// ExtendedMasterSecret is RFC 7627's; TLS 1.3 always has its like.
	ExtendedMasterSecret bool
	// CertificateCompression is true if the peer's certificates came compressed.
	CertificateCompression bool
	// PeerPublicKey is the key that the peer has shown, by a certificate or as it
	// is; nil if it has shown none.
	PeerPublicKey crypto.PublicKey
	// PeerCertificateType is how it has.
	PeerCertificateType CertificateType
	// ExternalPSK is the identity of the external pre-shared key that authenticated
	// both sides, now or where a resumed session began; nil if there is none.
	ExternalPSK []byte
	// TicketAgeSkew is by how much a TLS 1.3 client that resumes thinks its ticket
	// older than its server does; only servers know it (RFC 9846, section 4.3.11.1).
	TicketAgeSkew time.Duration
}

// Details returns what else was negotiated. During a handshake it waits for its
// end.
func (c *Conn) Details() Details {
	c.handshakeMutex.Lock()
	defer c.unlockHandshake()
	if c.engine == nil {
		return Details{}
	}
	s := c.engine.State()
	shown := CertificateTypeX509
	if s.PeerRawKey != nil {
		shown = CertificateTypeRawPublicKey
	}
	return Details{
		PeerPublicKey:          s.PeerKey,
		PeerCertificateType:    shown,
		PeerSignatureScheme:    SignatureScheme(s.SignatureScheme),
		SignatureScheme:        SignatureScheme(s.LocalSignatureScheme),
		ExtendedMasterSecret:   s.ExtendedMasterSecret,
		CertificateCompression: s.CertificateCompression,
		ExternalPSK:            s.ExternalPSK,
		TicketAgeSkew:          s.TicketAgeSkew,
	}
}

// ExportKeyingMaterial returns length bytes that both sides, and nobody else,
// can compute from label and context (RFC 9846, section 7.5; RFC 5705). In TLS
// 1.2 it needs extended_master_secret. It works until Close, ExportKeys or
// Detach.
func (c *Conn) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	if !c.complete.Load() {
		return nil, errNotComplete
	}
	c.engineMutex.Lock()
	defer c.engineMutex.Unlock()
	if err := c.gone(); err != nil {
		return nil, err
	}
	if c.engineWiped {
		return nil, errNoSecrets
	}
	return c.engine.ExportKeyingMaterial(label, context, length)
}

// exportWithin is for callbacks: until the handshake is complete, only the
// goroutine that they run in uses the engine.
func (c *Conn) exportWithin(label string, context []byte, length int) ([]byte, error) {
	if c.complete.Load() {
		return c.ExportKeyingMaterial(label, context, length)
	}
	return c.engine.ExportKeyingMaterial(label, context, length)
}
