package tls

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/session"
)

// binding is one Config at work for one connection: its methods are what the
// engine calls. A server may get a second one from GetConfigForClient.
type binding struct {
	handshake.Config // what the engine knows of it

	conn *Conn
	cfg  *Config
	keys *session.KeyRing // of tickets
	base *binding         // whose keys they are, nil for this one's

	replays  *session.AntiReplay   // of early data, nil for none
	stateful *session.StatefulConn // instead of sealed tickets, nil for none

	resumedChains [][]*x509.Certificate // of the session that a client offers
}

// bind prepares the connection's Config for its engine.
func (c *Conn) bind() (*handshake.Config, error) {
	if c.config == nil {
		c.config = new(Config)
	}
	if err := c.config.check(c.role); err != nil {
		return nil, err
	}
	b := &binding{conn: c, cfg: c.config}
	if c.role == roleClient {
		return b.client(), nil
	}
	b.keys = c.config.keyRing()
	if err := b.chooseAntiReplay(); err != nil {
		return nil, err
	}
	return b.server(), nil
}

// common translates what both roles have. Each callback costs memory, so those
// that have nothing to do are left out.
func (b *binding) common() {
	cfg := b.cfg
	lists := cfg.lists()
	b.Config = handshake.Config{
		Rand:                 cfg.rand(),
		Time:                 cfg.Time,
		MinVersion:           cfg.MinVersion,
		MaxVersion:           cfg.MaxVersion,
		CipherSuites:         lists.suites,
		Groups:               lists.groups,
		Provider:             cfg.Provider,
		SignatureSchemes:     lists.schemes,
		ALPN:                 cfg.NextProtos,
		PSKOnly:              cfg.ExternalPSKOnly,
		CertificateTypes:     cfg.certificateTypes(),
		PeerCertificateTypes: cfg.PeerCertificateTypes,
		CompressCertificates: cfg.CompressCertificates,

		CertificateCompressors: cfg.CertificateCompressors,
		MiddleboxCompat:        true,
		Trace:                  b.conn.trace,
		KeyLog:                 cfg.keyLog(),
	}
	if b.Time == nil {
		b.Time = time.Now
	}
	if cfg.VerifyConnection != nil || b.conn.role == roleServer && cfg.VerifyPeerCertificate != nil {
		b.VerifyConnection = b.verifyConnection
	}
}

func (b *binding) client() *handshake.Config {
	b.common()
	cfg := b.cfg
	b.ServerName = sniHost(cfg.ServerName)
	b.PSKs = cfg.ExternalPSKs
	b.KeyShares = convert[handshake.NamedGroup](cfg.KeyShares)
	b.VerifyPeer = b.verifyPeer
	if cfg.GetClientCertificate != nil || len(cfg.Certificates) > 0 {
		b.GetClientCertificate = b.clientCertificate
	}
	b.EarlyData = b.conn.early.wanted
	if b.resumes() {
		b.AcceptSessions = true
		b.Session = b.loadSession()
	}
	if b.Session != nil {
		b.VerifyResumed = func(*session.State) ([][]*x509.Certificate, error) { return b.resumedChains, nil }
	}
	return &b.Config
}

func (b *binding) server() *handshake.Config {
	b.common()
	cfg := b.cfg
	b.GetCertificate = b.serverCertificate
	b.ClientAuth = engineClientAuth(cfg.ClientAuth)
	b.GetPSK = cfg.GetExternalPSK
	b.TicketCount = cfg.SessionTicketCount
	if cfg.ClientAuth != NoClientCert {
		b.VerifyPeer, b.VerifyResumed = b.verifyPeer, b.verifyResumed
	}
	if cfg.ClientCAs != nil {
		//lint:ignore SA1019 it lacks only what the system's roots add, and these are no system roots
		b.ClientCAs = cfg.ClientCAs.Subjects()
	}
	if !cfg.SessionTicketsDisabled {
		if cfg.ServerSessions != nil {
			b.stateful = cfg.ServerSessions.Conn(b.keys)
		}
		b.Tickets = tickets{b}
		b.MaxEarlyData = cfg.MaxEarlyData
		if b.conn.early.wanted && cfg.MaxEarlyData > 0 {
			b.AcceptEarlyData = b.acceptEarlyData
		}
	}
	if cfg.GetConfigForClient != nil {
		b.GetConfigForClient = b.configForClient
	}
	return &b.Config
}

// engineClientAuth drops what is not the engine's to decide: whether a
// certificate is verified.
func engineClientAuth(t ClientAuthType) handshake.ClientAuth {
	switch t {
	case NoClientCert:
		return handshake.NoClientCert
	case RequestClientCert, VerifyClientCertIfGiven:
		return handshake.RequestClientCert
	default:
		return handshake.RequireClientCert
	}
}

// configForClient lets the caller's GetConfigForClient choose another Config.
func (b *binding) configForClient(ctx context.Context, h *handshake.ClientHelloInfo) (*handshake.Config, error) {
	cfg, err := b.cfg.GetConfigForClient(b.helloInfo(ctx, h))
	if cfg == nil || err != nil {
		return nil, fromCallback(err)
	}
	if err := cfg.check(roleServer); err != nil {
		return nil, fromCallback(err)
	}
	next := &binding{conn: b.conn, cfg: cfg, keys: cfg.explicitKeyRing()}
	if next.keys == nil {
		next.keys, next.base = b.keys, b
	}
	if err := next.chooseAntiReplay(); err != nil {
		return nil, fromCallback(err)
	}
	b.conn.config = cfg
	hc := next.server()
	hc.GetConfigForClient = nil
	return hc, nil
}

// helloInfo translates a ClientHello for the caller's callbacks. Its lists are the
// caller's own: who takes fingerprints of ClientHellos sorts them.
func (b *binding) helloInfo(ctx context.Context, h *handshake.ClientHelloInfo) *ClientHelloInfo {
	info := &ClientHelloInfo{
		CipherSuites:      slices.Clone(h.CipherSuites),
		ServerName:        h.ServerName,
		SupportedCurves:   convert[CurveID](h.SupportedGroups),
		SupportedPoints:   slices.Clone(h.SupportedPoints),
		SignatureSchemes:  convert[SignatureScheme](h.SignatureSchemes),
		SupportedProtos:   slices.Clone(h.SupportedProtos),
		SupportedVersions: slices.Clone(h.SupportedVersions),
		Extensions:        slices.Clone(h.Extensions),
		Conn:              b.conn.conn,
		HelloRetryRequest: h.HelloRetryRequest,
	}
	helloContext.set(info, context.WithValue(ctx, helloKey{}, h))
	helloConfig.set(info, b.cfg.forStd())
	return info
}

// convert changes the type of numbers.
func convert[To, From ~uint16](list []From) []To {
	if list == nil {
		return nil
	}
	out := make([]To, len(list))
	for i, v := range list {
		out[i] = To(v)
	}
	return out
}

// verifyConnection is the last word of the caller on a handshake.
func (b *binding) verifyConnection(s *handshake.State) error {
	if err := b.verifyAnonymous(s); err != nil {
		return err
	}
	if b.cfg.VerifyConnection == nil {
		return nil
	}
	return fromCallback(b.cfg.VerifyConnection(b.conn.stateFor(s)))
}

// verifyAnonymous calls VerifyPeerCertificate for a client that was asked for a
// certificate and has none, as crypto/tls does.
func (b *binding) verifyAnonymous(s *handshake.State) error {
	if b.conn.role == roleClient || b.cfg.VerifyPeerCertificate == nil || b.cfg.ClientAuth == NoClientCert ||
		s.Resumed || s.ExternalPSK != nil || s.PeerKey != nil {
		return nil
	}
	return fromCallback(b.cfg.VerifyPeerCertificate(nil, nil))
}

var errNoCertificates = alert.Errorf(alert.UnrecognizedName, "no certificates configured")

// errNotSigner is for keys that nothing can be signed with.
var errNotSigner = errors.New("tls: certificate private key does not implement crypto.Signer")
