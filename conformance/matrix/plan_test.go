package matrix

import (
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/session"
)

// A plan is what is special about a connection.
type plan struct {
	name, means string
	version     uint16
	group       tls.CurveID // 0: whatever both like
	retry       bool        // by a HelloRetryRequest, to P-384
	kind        pki.Kind    // of the server's certificate
	scheme      tls.SignatureScheme
	auth        auth
	resume      bool // a second connection resumes the first one's session
	early       bool // and begins with early data
	update      side // who changes keys, and asks the other one to
	large       bool
	end         ending
	exporter    bool
}

// auth is what becomes of the client's certificate.
type auth int

const (
	notAsked auth = iota
	given
	refused
)

// side is an end of a connection.
type side int

const (
	nobody side = iota
	ours
	theirs
)

// ending is how a connection ends.
type ending int

const (
	byUs  ending = iota
	clean        // they send close_notify
	cut          // they end without it
)

// plans are the rows of the tables of a version.
func plans(version uint16) (list []*plan) {
	in13 := version == tls.VersionTLS13
	for _, p := range []*plan{
		{name: "X25519", means: "key exchange by X25519", group: tls.X25519},
		{name: "P-256", means: "key exchange by P-256", group: tls.CurveP256},
		{name: "P-384", means: "key exchange by P-384", group: tls.CurveP384},
		{name: "P-521", means: "key exchange by P-521", group: tls.CurveP521},
		{name: "X448", means: "key exchange by X448", group: tls.X448},
		{name: "X25519MLKEM768", means: "key exchange by X25519MLKEM768", group: tls.X25519MLKEM768},
		{name: "HelloRetryRequest", means: "the server asks for another key share, of P-384", retry: true, group: tls.CurveP384},
		{name: "ECDSA P-256", means: "the server's certificate has a P-256 key", kind: pki.P256},
		{name: "ECDSA P-384", means: "the server's certificate has a P-384 key", kind: pki.P384},
		{name: "Ed25519", means: "the server's certificate has an Ed25519 key", kind: pki.Ed25519},
		{name: "RSA PSS", means: "the server's certificate has an RSA key, which signs by rsa_pss_rsae_sha256", kind: pki.RSA, scheme: tls.PSSWithSHA256},
		{name: "RSA PKCS #1", means: "the same, by rsa_pkcs1_sha256", kind: pki.RSA, scheme: tls.PKCS1WithSHA256},
		{name: "client certificate", means: "the server demands a certificate of the client, and gets it", auth: given},
		{name: "client refused", means: "the server demands a certificate, and refuses a client that only has a stranger's; the kernel may have the records by then, or not", auth: refused},
		{name: "resumption", means: "a second connection resumes the first one's session", resume: true},
		{name: "early data", means: "the second connection begins with early data, which is accepted", resume: true, early: true},
		{name: "KeyUpdate, ours", means: "our side changes its keys and asks the peer to", update: ours},
		{name: "KeyUpdate, theirs", means: "their side changes its keys and asks ours to", update: theirs},
		{name: "large", means: "4 MiB in each direction; with gnutls-serv, which also prints what it gets, 1 MiB, and with gnutls-cli, which writes each byte by itself, 100 kB", large: true},
		{name: "clean end", means: "their side says close_notify, and ours reads its end", end: clean},
		{name: "cut", means: "their program is killed, and our side reports that the end is missing", end: cut},
		{name: "exporter", means: "both sides export the same keying material", exporter: true},
	} {
		p.version = version
		only13 := p.retry || p.early || p.update != nobody || p.group == tls.X25519MLKEM768
		only12 := p.scheme == tls.PKCS1WithSHA256
		if only13 && !in13 || only12 && in13 {
			continue
		}
		if p.kind == "" {
			p.kind = pki.P256
			if p.group != 0 && !in13 { // in TLS 1.2, groups restrict ECDSA's curves, too
				p.kind = pki.RSA
			}
		}
		list = append(list, p)
	}
	return list
}

// connections returns how many the plan takes.
func (p *plan) connections() int {
	if p.resume {
		return 2
	}
	return 1
}

// rounds returns how many times data is exchanged on each.
func (p *plan) rounds() int {
	if p.update != nobody {
		return 2
	}
	return 1
}

// dotted is the version as people write it.
func (p *plan) dotted() string {
	if p.version == tls.VersionTLS12 {
		return "1.2"
	}
	return "1.3"
}

// payload is what one round carries.
func (p *plan) payload() []byte {
	if p.large {
		return large
	}
	return small
}

// file has the payload.
func (p *plan) file() string {
	if p.large {
		return largeFile
	}
	return smallFile
}

// config returns what both roles of ours have in common.
func (p *plan) config(m *mode) *tls.Config {
	cfg := &tls.Config{MinVersion: p.version, MaxVersion: p.version, NextProtos: []string{protocol}, Kernel: m.policy}
	if p.group != 0 {
		cfg.CurvePreferences = []tls.CurveID{p.group}
	}
	if p.auth == refused && m == inKernel { // which takes no connection that the peer has closed
		cfg.Kernel.TX, cfg.Kernel.RX = kernel.Auto, kernel.Auto
	}
	return cfg
}

// client returns the Config of our client.
func (p *plan) client(m *mode) *tls.Config {
	cfg := p.config(m)
	cfg.RootCAs, cfg.ServerName = authority.Pool(), serverName
	if p.retry {
		cfg.CurvePreferences = []tls.CurveID{tls.X25519, p.group}
	}
	if p.scheme != 0 { // what the authority signs with must be there, too
		cfg.SignatureSchemes = []tls.SignatureScheme{p.scheme, tls.ECDSAWithP256AndSHA256}
	}
	switch p.auth {
	case given:
		cfg.Certificates = []tls.Certificate{person.cert}
	case refused:
		cfg.Certificates = []tls.Certificate{foreign.cert}
	}
	if p.resume {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return cfg
}

// server returns the Config of our server.
func (p *plan) server(m *mode) *tls.Config {
	cfg, cert := p.config(m), servers[p.kind].cert
	if p.scheme != 0 {
		cert.SupportedSignatureAlgorithms = []tls.SignatureScheme{p.scheme}
	}
	cfg.Certificates = []tls.Certificate{cert}
	if p.auth != notAsked {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
	}
	if p.resume { // for curl, which has no tickets of TLS 1.2
		cfg.ServerSessionCache = session.NewServerCache(10, time.Hour)
	}
	if p.early {
		cfg.MaxEarlyData = 1 << 14
		cfg.AntiReplay = &session.AntiReplay{Store: session.NewMemoryStore(0)}
	}
	cfg.SetSessionTicketKeys([][32]byte{{1}}) // and so a clone has them, too
	return cfg
}

// identity is the file with the certificate and key of their server.
func (p *plan) identity() string { return servers[p.kind].file }

// visitor is the file with the certificate and key of their client, "" for none.
func (p *plan) visitor() string {
	return map[auth]string{given: person.file, refused: foreign.file}[p.auth]
}
