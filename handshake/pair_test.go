package handshake

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// testNow is the only clock of these tests.
var testNow = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func mustCert(key crypto.Signer) *Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "server.test"},
		DNSNames:     []string{"server.test"},
		NotBefore:    testNow.Add(-time.Hour),
		NotAfter:     testNow.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &Certificate{Chain: [][]byte{der}, Leaf: leaf, PrivateKey: key}
}

// testCerts has one certificate of each kind of key.
var testCerts = sync.OnceValue(func() map[string]*Certificate {
	certs := map[string]*Certificate{}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		certs[name] = mustCert(key)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	certs["rsa"] = mustCert(rsaKey)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	certs["ed25519"] = mustCert(edKey)
	return certs
})

func testConfig() *Config {
	return &Config{Rand: rand.Reader, Time: func() time.Time { return testNow }, MiddleboxCompat: true}
}

func clientTestConfig() *Config {
	cfg := testConfig()
	cfg.ServerName = "server.test"
	cfg.AcceptSessions = true
	return cfg
}

func serverTestConfig(cert *Certificate) *Config {
	cfg := testConfig()
	cfg.GetCertificate = func(context.Context, *ClientHelloInfo) (*Certificate, error) { return cert, nil }
	return cfg
}

// fakeTickets seals by remembering: a ticket is a number.
type fakeTickets struct {
	states []*session.State
	ids    map[string]*session.State
}

func (f *fakeTickets) Seal(_ context.Context, _ *State, s *session.State) ([]byte, error) {
	f.states = append(f.states, s.Clone())
	return []byte{byte(len(f.states))}, nil
}

func (f *fakeTickets) Open(_ context.Context, _ *State, ticket []byte) (*session.State, error) {
	if len(ticket) != 1 || ticket[0] == 0 || int(ticket[0]) > len(f.states) {
		return nil, nil
	}
	return f.states[ticket[0]-1].Clone(), nil
}

func (f *fakeTickets) SessionIDs() SessionIDs {
	if f.ids == nil {
		return nil
	}
	return f
}

func (f *fakeTickets) Put(_ context.Context, id []byte, s *session.State) error {
	f.ids[string(id)] = s.Clone()
	return nil
}

func (f *fakeTickets) Get(_ context.Context, id []byte) (*session.State, error) {
	if s := f.ids[string(id)]; s != nil {
		return s.Clone(), nil
	}
	return nil, nil
}

// side is an engine with what its events did.
type side struct {
	*Engine
	name         string
	out          []record
	sent         []*SendHandshake // as they came out
	were         [][]byte         // what they were then
	read, write  *keyschedule.TrafficKeys
	writeLevel   Level
	sessions     []*session.State
	established  bool
	peerUpdates  int
	owesUpdate   bool
	flights      int
	earlyVerdict string
}

// record is what would travel: handshake bytes of a level, or a CCS.
type record struct {
	level Level
	ccs   bool
	bytes []byte
}

// drain applies the engine's events.
func (s *side) drain() {
	for {
		ev, ok := s.NextEvent()
		if !ok {
			return
		}
		switch ev := ev.(type) {
		case *SendHandshake:
			if ev.Level != s.writeLevel {
				panic(fmt.Sprintf("%s sends at level %v with keys of level %v", s.name, ev.Level, s.writeLevel))
			}
			s.out = append(s.out, record{level: ev.Level, bytes: bytes.Clone(ev.Bytes)})
			s.sent, s.were = append(s.sent, ev), append(s.were, bytes.Clone(ev.Bytes))
		case SendChangeCipherSpec:
			s.out = append(s.out, record{ccs: true})
		case *InstallRead:
			s.read = ev.Keys
		case *InstallWrite:
			s.write, s.writeLevel = ev.Keys, ev.Level
		case StoreSession:
			s.sessions = append(s.sessions, ev.Session)
		case Established:
			s.established = true
		case PeerKeyUpdate:
			s.peerUpdates++
			s.owesUpdate = s.owesUpdate || ev.Requested
		case EarlyDataAccepted:
			s.earlyVerdict = "accepted"
		case EarlyDataRejected:
			s.earlyVerdict = "rejected"
		}
	}
}

// deliver hands the other side's output to s, one byte at a time if slow.
func (s *side) deliver(from *side, slow bool) error {
	out := from.out
	from.out = nil
	if len(out) > 0 {
		from.flights++
	}
	for _, r := range out {
		if r.ccs {
			if err := s.HandleChangeCipherSpec(); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.drain()
			continue
		}
		step := len(r.bytes)
		if slow {
			step = 1
		}
		for b := r.bytes; len(b) > 0; b = b[min(step, len(b)):] {
			part := bytes.Clone(b[:min(step, len(b))])
			if err := s.Handle(r.level, part); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			clear(part) // it was the caller's
			s.drain()
		}
	}
	return nil
}

type pair struct{ client, server *side }

func newPair(client, server *Config) *pair {
	return &pair{
		client: &side{Engine: NewClient(context.Background(), client), name: "client"},
		server: &side{Engine: NewServer(context.Background(), server), name: "server"},
	}
}

// run pumps until neither side has anything to say.
func (p *pair) run(slow bool) error {
	if err := p.client.Start(); err != nil {
		return err
	}
	return p.pump(slow)
}

func (p *pair) pump(slow bool) error {
	p.client.drain()
	p.server.drain()
	for len(p.client.out)+len(p.server.out) > 0 {
		if err := p.server.deliver(p.client, slow); err != nil {
			return err
		}
		if err := p.client.deliver(p.server, slow); err != nil {
			return err
		}
	}
	return nil
}

// checkRest demands that a side that is done has kept nothing that only a handshake
// needs, and that what it has sent is what it was.
func (s *side) checkRest(t *testing.T) {
	t.Helper()
	if s.client != nil || s.server != nil || s.events != nil || s.flight != nil || len(s.in.buf) == 0 && s.in.buf != nil {
		t.Errorf("%s: kept of the handshake: %v, %v, %d events, flight %v, buffer %v", s.name, s.client != nil, s.server != nil, len(s.events), s.flight != nil, s.in.buf != nil)
	}
	if s.cfg.GetCertificate != nil || s.cfg.VerifyPeer != nil && !s.cfg.AcceptSessions {
		t.Errorf("%s: kept its Config", s.name)
	}
	for i, ev := range s.sent {
		if !bytes.Equal(ev.Bytes, s.were[i]) {
			t.Errorf("%s: flight %d was written over", s.name, i)
		}
	}
}

// check demands that both sides are done and agree.
func (p *pair) check(t *testing.T) {
	t.Helper()
	c, s := p.client, p.server
	if !c.established || !s.established {
		t.Fatalf("established: client %v (%v), server %v (%v)", c.established, c.state, s.established, s.state)
	}
	if !sameKeys(c.write, s.read) || !sameKeys(s.write, c.read) {
		t.Fatal("the two sides have different traffic keys")
	}
	c.checkRest(t)
	s.checkRest(t)
	cs, ss := c.State(), s.State()
	if cs.Version != ss.Version || cs.Suite != ss.Suite || cs.Group != ss.Group || cs.ALPN != ss.ALPN ||
		cs.Resumed != ss.Resumed || cs.HelloRetryRequest != ss.HelloRetryRequest ||
		cs.ExtendedMasterSecret != ss.ExtendedMasterSecret || !bytes.Equal(cs.TLSUnique, ss.TLSUnique) {
		t.Fatalf("the two sides disagree:\nclient %+v\nserver %+v", cs, ss)
	}
	ck, err := c.ExportKeyingMaterial("test", []byte("context"), 40)
	if err != nil {
		t.Fatal(err)
	}
	sk, err := s.ExportKeyingMaterial("test", []byte("context"), 40)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ck, sk) {
		t.Fatal("exporters disagree")
	}
}

func sameKeys(a, b *keyschedule.TrafficKeys) bool {
	return a != nil && b != nil && a.Suite == b.Suite && bytes.Equal(a.Key(), b.Key()) && bytes.Equal(a.IV(), b.IV()) && bytes.Equal(a.MACKey(), b.MACKey())
}

// mustRun is for handshakes that must succeed.
func mustRun(t *testing.T, client, server *Config) *pair {
	t.Helper()
	p := newPair(client, server)
	if err := p.run(false); err != nil {
		t.Fatal(err)
	}
	p.check(t)
	return p
}

// wantFatal demands that a handshake failed with an alert.
func wantFatal(t *testing.T, err error, want alert.Description) {
	t.Helper()
	if err == nil || alert.Of(err) != want {
		t.Errorf("error %v, want alert %v", err, want)
	}
}
