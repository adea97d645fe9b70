package handshake

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/conformance/rfc8448"
	"github.com/go-handoff/tls/keyschedule"
	recordlayer "github.com/go-handoff/tls/record"
	"github.com/go-handoff/tls/session"
)

// TestRFC8448 plays both roles of every published trace through the engine and
// the record layer, with the trace's keys, and compares every record that comes
// out. Only messages whose choice of extensions is another stack's are replaced
// by the trace's: ClientHello, HelloRetryRequest, EncryptedExtensions,
// CertificateRequest and NewSessionTicket.
func TestRFC8448(t *testing.T) {
	for _, trace := range rfc8448.Traces() {
		for _, role := range []string{rfc8448.Client, rfc8448.Server} {
			t.Run(trace.Name+"/"+role, func(t *testing.T) {
				p := &player{t: t, trace: trace, role: role}
				p.engine = p.newEngine()
				p.play()
			})
		}
	}
}

// player is one role of a trace.
type player struct {
	t      *testing.T
	trace  *rfc8448.Trace
	role   string
	engine *Engine
	sealer *recordlayer.Sealer
	opener *recordlayer.Opener
	out    [][]byte // records that the engine made and the trace has not shown yet
	sent   map[handshakeType]int
}

func (p *player) newEngine() *Engine {
	cfg := &Config{
		Time:            func() time.Time { return testNow },
		ServerName:      "server",
		MiddleboxCompat: p.trace.Name == rfc8448.CompatibilityMode,
		CipherSuites:    []uint16{keyschedule.TLS_AES_128_GCM_SHA256},
		Groups:          []NamedGroup{X25519, Secp256r1},
		AcceptSessions:  true,
		rewrite:         p.rewrite,
	}
	p.sent = map[handshakeType]int{}
	p.sealer, p.opener = &recordlayer.Sealer{}, &recordlayer.Opener{}
	if p.role == rfc8448.Client {
		p.sealer.SetPlaintextVersion(0x0301)
		return p.client(cfg)
	}
	return p.server(cfg)
}

// keyPairs reads the private keys that the role makes, each after skip bytes of
// other randomness.
func (p *player) keyPairs(skip int) io.Reader {
	var b []byte
	for _, s := range p.trace.Steps {
		if s.Who == p.role && strings.HasPrefix(s.What, "create an ephemeral") {
			b = append(append(b, make([]byte, skip)...), s.Bytes("private key")...)
			skip = 0
		}
	}
	return io.MultiReader(bytes.NewReader(b), zeros{})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func (p *player) client(cfg *Config) *Engine {
	skip := 32 // random
	if cfg.MiddleboxCompat {
		skip += 32 // session ID
	}
	cfg.Rand = p.keyPairs(skip)
	if p.trace.Name == rfc8448.Resumed0RTT {
		cfg.EarlyData, cfg.Session = true, resumptionSession(p.t)
	}
	if p.trace.Name == rfc8448.ClientAuthentication {
		cert := p.certificate(rfc8448.Client)
		cfg.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) { return cert, nil }
	}
	e := NewClient(context.Background(), cfg)
	if err := e.Start(); err != nil {
		p.t.Fatal(err)
	}
	return e
}

func (p *player) server(cfg *Config) *Engine {
	serverHello := p.trace.Find(rfc8448.Server, "construct a ServerHello", 0).Bytes("ServerHello")
	keys := p.keyPairs(0)
	if p.trace.Name == rfc8448.HelloRetryRequest {
		serverHello = p.trace.Find(rfc8448.Server, "construct a ServerHello", 1).Bytes("ServerHello")
		cfg.Groups = []NamedGroup{Secp256r1}
	}
	private := make([]byte, 32)
	if _, err := io.ReadFull(keys, private); err != nil {
		p.t.Fatal(err)
	}
	cfg.Rand = io.MultiReader(bytes.NewReader(private), bytes.NewReader(serverHello[6:38]), zeros{})
	switch p.trace.Name {
	case rfc8448.Resumed0RTT:
		s := resumptionSession(p.t)
		s.CreatedAt = testNow.Add(-ticketAge(p.t, s))
		cfg.Tickets, cfg.MaxEarlyData = openOnly{s}, s.MaxEarlyData
		cfg.AcceptEarlyData = func(context.Context, *ClientHelloInfo, *session.State, []byte) bool { return true }
	case rfc8448.Simple1RTT:
		cfg.Tickets = &fakeTickets{}
	case rfc8448.ClientAuthentication:
		cfg.ClientAuth = RequireClientCert
	}
	if p.trace.Name != rfc8448.Resumed0RTT {
		cert := p.certificate(rfc8448.Server)
		cfg.GetCertificate = func(context.Context, *ClientHelloInfo) (*Certificate, error) { return cert, nil }
	}
	return NewServer(context.Background(), cfg)
}

// openOnly knows one session and makes no tickets.
type openOnly struct{ s *session.State }

func (o openOnly) Seal(context.Context, *State, *session.State) ([]byte, error) { return nil, nil }
func (o openOnly) SessionIDs() SessionIDs                                       { return nil }
func (o openOnly) Open(_ context.Context, _ *State, ticket []byte) (*session.State, error) {
	if !bytes.Equal(ticket, o.s.Ticket) {
		return nil, nil
	}
	return o.s.Clone(), nil
}

// resumptionSession is what the ticket of the first trace stands for.
func resumptionSession(t *testing.T) *session.State {
	trace := rfc8448.Get(rfc8448.Simple1RTT)
	m, err := parseNewSessionTicket13(trace.Find(rfc8448.Server, "construct a NewSessionTicket", 0).Bytes("NewSessionTicket")[messageHeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	psk := trace.Find(rfc8448.Server, "generate resumption secret", 0).Bytes("expanded")
	return &session.State{
		Version:      versionTLS13,
		CipherSuite:  keyschedule.TLS_AES_128_GCM_SHA256,
		CreatedAt:    testNow,
		Lifetime:     time.Duration(m.lifetime) * time.Second,
		Secret:       keyschedule.NewSecret(psk),
		ServerName:   "server",
		Ticket:       m.ticket,
		AgeAdd:       m.ageAdd,
		MaxEarlyData: m.maxEarlyData,
		EarlyData:    true,
	}
}

// ticketAge is how old the client of the resumed trace says that its ticket is.
func ticketAge(t *testing.T, s *session.State) time.Duration {
	raw := rfc8448.Get(rfc8448.Resumed0RTT).Find(rfc8448.Client, "send handshake record", 0).Bytes("payload")
	m, err := parseClientHello(raw[messageHeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(m.pskIdentities[0].obfuscatedTicketAge-s.AgeAdd) * time.Millisecond
}

// certificate is the role's certificate with a key that signs as the trace did.
func (p *player) certificate(who string) *Certificate {
	m, err := parseCertificate13(p.trace.Find(who, "construct a Certificate handshake", 0).Bytes("Certificate")[messageHeaderLen:])
	if err != nil {
		p.t.Fatal(err)
	}
	v, err := parseCertificateVerify(p.trace.Find(who, "construct a CertificateVerify", 0).Bytes("CertificateVerify")[messageHeaderLen:])
	if err != nil {
		p.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(m.entries[0].data)
	if err != nil {
		p.t.Fatal(err)
	}
	return &Certificate{Chain: [][]byte{m.entries[0].data}, Leaf: leaf, PrivateKey: replayed{leaf.PublicKey, v.signature}}
}

// replayed is a key whose one signature is known.
type replayed struct {
	public    crypto.PublicKey
	signature []byte
}

func (r replayed) Public() crypto.PublicKey { return r.public }
func (r replayed) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return slices.Clone(r.signature), nil
}

// rewrite replaces the messages whose extensions are not our choice.
func (p *player) rewrite(raw []byte) []byte {
	typ := handshakeType(raw[0])
	n := p.sent[typ]
	p.sent[typ]++
	switch typ {
	case typeClientHello:
		if p.trace.Name == rfc8448.Resumed0RTT {
			return p.trace.Find(p.role, "send handshake record", 0).Bytes("payload")
		}
		return p.trace.Find(p.role, "construct a ClientHello", n).Bytes("ClientHello")
	case typeServerHello:
		if m, err := parseServerHello(raw[messageHeaderLen:]); err != nil || !m.isRetry() {
			return raw
		}
		return p.trace.Find(p.role, "construct a ServerHello", 0).Bytes("ServerHello")
	case typeEncryptedExtensions:
		return p.trace.Find(p.role, "construct an EncryptedExtensions", 0).Bytes("EncryptedExtensions")
	case typeCertificateRequest:
		return p.trace.Find(p.role, "construct a CertificateRequest", 0).Bytes("CertificateRequest")
	case typeNewSessionTicket:
		return p.trace.Find(p.role, "construct a NewSessionTicket", 0).Bytes("NewSessionTicket")
	}
	return raw
}

func (p *player) play() {
	p.drain()
	for _, s := range p.trace.Steps {
		if !strings.HasPrefix(s.What, "send ") {
			continue
		}
		if s.Who == p.role {
			p.compare(s)
		} else {
			p.receive(s)
		}
	}
	if len(p.out) > 0 {
		p.t.Errorf("%d records more than the trace has", len(p.out))
	}
	if !p.engine.Established() {
		p.t.Error("not established")
	}
}

// compare takes the next record of ours, or makes it if it is no handshake's.
func (p *player) compare(s rfc8448.Step) {
	p.t.Helper()
	var typ recordlayer.ContentType
	switch {
	case strings.Contains(s.What, "application_data"):
		typ = recordlayer.ApplicationData
	case strings.Contains(s.What, "alert"):
		typ = recordlayer.Alert
	}
	if typ != 0 {
		p.seal(typ, s.Bytes("payload"))
	}
	if len(p.out) == 0 {
		p.t.Fatalf("no record for %q", s.What)
	}
	if want := s.Bytes("complete record"); !bytes.Equal(p.out[0], want) {
		p.t.Fatalf("%s %s:\ngot  %x\nwant %x", s.Who, s.What, p.out[0], want)
	}
	p.out = p.out[1:]
}

// receive opens a record of the other side and gives it to the engine.
func (p *player) receive(s rfc8448.Step) {
	p.t.Helper()
	raw := bytes.Clone(s.Bytes("complete record"))
	if recordlayer.ContentType(raw[0]) == recordlayer.ChangeCipherSpec {
		if err := p.engine.HandleChangeCipherSpec(); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	typ, content, err := p.opener.Open(nil, raw)
	if err != nil {
		p.t.Fatalf("%s %s: %v", s.Who, s.What, err)
	}
	if !bytes.Equal(content, s.Bytes("payload")) {
		p.t.Fatalf("%s %s: payload %x", s.Who, s.What, content)
	}
	if typ == recordlayer.Handshake {
		if err := p.engine.Handle(p.engine.readLevel, content); err != nil {
			p.t.Fatalf("%s %s: %v", s.Who, s.What, err)
		}
	}
	p.drain()
}

func (p *player) drain() {
	for {
		ev, ok := p.engine.NextEvent()
		if !ok {
			return
		}
		switch ev := ev.(type) {
		case *SendHandshake:
			p.seal(recordlayer.Handshake, ev.Bytes)
		case SendChangeCipherSpec:
			p.out = append(p.out, []byte{20, 3, 3, 0, 1, 1})
		case *InstallRead:
			p.opener = recordlayer.NewOpener(ev.Keys)
		case *InstallWrite:
			p.sealer = recordlayer.NewSealer(ev.Keys)
		}
	}
}

func (p *player) seal(typ recordlayer.ContentType, payload []byte) {
	rec, err := p.sealer.Seal(nil, typ, payload)
	if err != nil {
		p.t.Fatal(err)
	}
	p.out = append(p.out, rec)
	p.sealer.SetPlaintextVersion(0x0303) // 0x0301 is for the first record only
}

// TestRFC8448Binder computes the binder of the resumed trace.
func TestRFC8448Binder(t *testing.T) {
	raw := rfc8448.Get(rfc8448.Resumed0RTT).Find(rfc8448.Client, "send handshake record", 0).Bytes("payload")
	m, err := parseClientHello(raw[messageHeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	s := resumptionSession(t)
	psk := offeredPSK{kind: keyschedule.ResumptionPSK, hash: keyschedule.SHA256, secret: s.Secret}
	if got := psk.appendBinder(nil, &keyschedule.Transcript{}, truncateBinders(raw, m)); !bytes.Equal(got, m.pskBinders[0]) {
		t.Errorf("binder %x, want %x", got, m.pskBinders[0])
	}
}
