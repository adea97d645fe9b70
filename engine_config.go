package tls

import (
	"context"
	"crypto/x509"
	"errors"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/session"
)

// binding is one Config at work for one connection: its methods are what the
// engine calls. A server may get a second one from GetConfigForClient.
type binding struct {
	conn *Conn
	cfg  *Config
	keys *session.KeyRing // of tickets
	base *binding         // whose keys they are, nil for this one's

	replays  *session.AntiReplay   // of early data, nil for none
	stateful *session.StatefulConn // instead of sealed tickets, nil for none
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

// common translates what both roles have.
func (b *binding) common() *handshake.Config {
	cfg := b.cfg
	return &handshake.Config{
		Rand:                 cfg.rand(),
		Time:                 cfg.time,
		MinVersion:           cfg.MinVersion,
		MaxVersion:           cfg.MaxVersion,
		CipherSuites:         cfg.cipherSuites(),
		Groups:               cfg.groups(),
		Provider:             cfg.Provider,
		SignatureSchemes:     convert[handshake.SignatureScheme](cfg.SignatureSchemes),
		ALPN:                 cfg.NextProtos,
		VerifyPeer:           b.verifyPeer,
		VerifyConnection:     b.verifyConnection,
		PSKOnly:              cfg.ExternalPSKOnly,
		CertificateTypes:     cfg.certificateTypes(),
		PeerCertificateTypes: cfg.PeerCertificateTypes,
		CompressCertificates: cfg.CompressCertificates,

		CertificateCompressors: cfg.CertificateCompressors,
		MiddleboxCompat:        true,
		Trace:                  b.conn.trace,
		KeyLog:                 cfg.keyLog(),
	}
}

func (b *binding) client() *handshake.Config {
	hc, cfg := b.common(), b.cfg
	hc.ServerName = sniHost(cfg.ServerName)
	hc.PSKs = cfg.ExternalPSKs
	hc.KeyShares = convert[handshake.NamedGroup](cfg.KeyShares)
	hc.GetClientCertificate = b.clientCertificate
	hc.VerifyResumed = func(*session.State) ([][]*x509.Certificate, error) { return b.conn.resumedChains, nil }
	hc.EarlyData = b.conn.early.wanted
	if b.resumes() {
		hc.AcceptSessions = true
		hc.Session = b.loadSession()
	}
	return hc
}

func (b *binding) server() *handshake.Config {
	hc, cfg := b.common(), b.cfg
	hc.GetCertificate = b.serverCertificate
	hc.ClientAuth = engineClientAuth(cfg.ClientAuth)
	hc.VerifyResumed = b.verifyResumed
	hc.GetPSK = cfg.GetExternalPSK
	hc.TicketCount = cfg.SessionTicketCount
	if cfg.ClientCAs != nil {
		//lint:ignore SA1019 it lacks only what the system's roots add, and these are no system roots
		hc.ClientCAs = cfg.ClientCAs.Subjects()
	}
	if !cfg.SessionTicketsDisabled {
		if cfg.ServerSessions != nil {
			b.stateful = cfg.ServerSessions.Conn(b.keys)
		}
		hc.Tickets = tickets{b}
		hc.MaxEarlyData = cfg.MaxEarlyData
		if b.conn.early.wanted && cfg.MaxEarlyData > 0 {
			hc.AcceptEarlyData = b.acceptEarlyData
		}
	}
	if cfg.GetConfigForClient != nil {
		hc.GetConfigForClient = b.configForClient
	}
	return hc
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

// helloInfo translates a ClientHello for the caller's callbacks.
func (b *binding) helloInfo(ctx context.Context, h *handshake.ClientHelloInfo) *ClientHelloInfo {
	info := &ClientHelloInfo{
		CipherSuites:      h.CipherSuites,
		ServerName:        h.ServerName,
		SupportedCurves:   convert[CurveID](h.SupportedGroups),
		SupportedPoints:   h.SupportedPoints,
		SignatureSchemes:  convert[SignatureScheme](h.SignatureSchemes),
		SupportedProtos:   h.SupportedProtos,
		SupportedVersions: h.SupportedVersions,
		Extensions:        h.Extensions,
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
