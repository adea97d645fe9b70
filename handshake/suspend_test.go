package handshake

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"reflect"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// move takes the side's engine out and puts another one in its place.
func (s *side) move(t *testing.T, cfg *Config) {
	t.Helper()
	old := s.Engine
	b, err := old.Suspend()
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	if s.Engine, err = Restore(cfg, b); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	clear(b) // which it shares nothing with
	if _, err := old.Suspend(); err == nil {
		t.Errorf("%s: suspended twice", s.name)
	}
	if err := old.UpdateWriteKeys(); err == nil {
		t.Errorf("%s: an engine that was suspended goes on", s.name)
	}
	if err := old.Handle(LevelApplication, nil); err == nil {
		t.Errorf("%s: an engine that was suspended handles messages", s.name)
	}
	if old.post.read.Len()+old.post.write.Len()+old.post.secrets().resumption.Len() > 0 || old.post.exporter != nil {
		t.Errorf("%s: an engine that was suspended has secrets", s.name)
	}
}

// suspendedPairs are handshakes of many kinds, by name.
func suspendedPairs(t *testing.T) map[string]*pair {
	pairs := map[string]*pair{}
	for _, suite := range keyschedule.Suites() {
		kind := "p256"
		if suite.Auth == keyschedule.AuthRSA {
			kind = "rsa"
		}
		client, server := clientTestConfig(), serverTestConfig(testCerts()[kind])
		client.CipherSuites = []uint16{suite.ID}
		client.MaxVersion, server.CipherSuites = suite.Version, client.CipherSuites
		server.Tickets = &fakeTickets{}
		pairs[suite.Name] = mustRun(t, client, server)
	}
	client, server := clientTestConfig(), serverTestConfig(testCerts()["ed25519"])
	client.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) { return testCerts()["rsa"], nil }
	chains := func(p *PeerCertificates) ([][]*x509.Certificate, error) {
		return [][]*x509.Certificate{p.Chain, {p.Chain[0], testCerts()["p384"].Leaf}}, nil
	}
	client.VerifyPeer, server.VerifyPeer = chains, chains
	server.ClientAuth = RequireClientCert
	pairs["mutual"] = mustRun(t, client, server)
	return pairs
}

// TestSuspend moves both engines again and again, with KeyUpdates between.
func TestSuspend(t *testing.T) {
	for name, p := range suspendedPairs(t) {
		t.Run(name, func(t *testing.T) {
			before := [...]State{*p.client.State(), *p.server.State()}
			tickets := len(p.client.sessions)
			for range 3 {
				p.client.move(t, clientTestConfig())
				p.server.move(t, testConfig())
				if !p.client.IsClient() || p.server.IsClient() {
					t.Fatal("the sides are mixed up")
				}
				p.check(t)
				if p.client.State().Version == versionTLS13 {
					p.update(t)
				}
			}
			if len(p.client.sessions) != tickets {
				t.Errorf("%d tickets, had %d", len(p.client.sessions), tickets)
			}
			for i, after := range [...]State{*p.client.State(), *p.server.State()} {
				before[i].LocalCertificate = nil
				if !reflect.DeepEqual(before[i], after) {
					t.Errorf("state\n%+v, was\n%+v", after, before[i])
				}
			}
		})
	}
}

// update asks for new keys from both sides and checks that both have them.
func (p *pair) update(t *testing.T) {
	t.Helper()
	for _, s := range [...]*side{p.client, p.server} {
		if err := s.RequestKeyUpdate(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.pump(false); err != nil {
		t.Fatal(err)
	}
	for _, s := range [...]*side{p.client, p.server} {
		if !s.owesUpdate {
			t.Fatalf("%s was not asked for new keys", s.name)
		}
		s.owesUpdate = false
	}
	p.check(t)
}

// fill gives every field of a struct a value that is not zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *time.Duration:
			*f = -time.Second
		case *bool:
			*f = true
		case *uint16:
			*f = versionTLS13
		case *NamedGroup:
			*f = X25519
		case *SignatureScheme:
			*f = SignatureScheme(0x0801 + i)
		case *string:
			*f = v.Type().Field(i).Name
		case *crypto.PublicKey:
			*f = testCerts()["rsa"].Leaf.PublicKey
		case *[]byte:
			if *f = []byte(v.Type().Field(i).Name); string(*f) == "PeerRawKey" {
				*f = testCerts()["rsa"].Leaf.RawSubjectPublicKeyInfo
			}
		case *[][]byte:
			*f = [][]byte{[]byte("one"), []byte("other")}
		case **keyschedule.Suite:
			*f = keyschedule.SuiteByID(keyschedule.TLS_AES_256_GCM_SHA384)
		case *[]*x509.Certificate:
			*f = []*x509.Certificate{testCerts()["rsa"].Leaf, testCerts()["p256"].Leaf, testCerts()["rsa"].Leaf}
		case *[][]*x509.Certificate:
			*f = [][]*x509.Certificate{{testCerts()["rsa"].Leaf, testCerts()["p384"].Leaf}, {testCerts()["rsa"].Leaf}}
		case **Certificate: // stays behind
		default:
			t.Fatalf("field %s is new: it must be moved", v.Type().Field(i).Name)
		}
	}
}

func fullEngine(t *testing.T) *Engine {
	t.Helper()
	e := &Engine{cfg: testConfig(), state: clientConnected, established: true}
	fill(t, reflect.ValueOf(&e.neg).Elem())
	secret := func(b byte) keyschedule.Secret { return keyschedule.NewSecret(bytes.Repeat([]byte{b}, 48)) }
	exporter := secret(4)
	e.post = postHandshake{
		read: keyschedule.TrafficSecret{Secret: secret(1)}, write: keyschedule.TrafficSecret{Secret: secret(2)},
		sessions: &sessionSecrets{resumption: secret(3)}, exporter: keyschedule.NewExporter(keyschedule.SHA384, &exporter),
		writeN: 5, messages: 6, requestedUpdate: true, peerClosed: true,
	}
	e.in.buf = []byte{byte(typeNewSessionTicket), 0, 0, 4, 1}
	return e
}

// Every field moves, with those that are added one day.
func TestSuspendKeepsAll(t *testing.T) {
	e := fullEngine(t)
	neg, post, pending := e.neg, e.post, e.in.buf
	sessions := *post.sessions
	post.sessions = &sessions // that are not wiped
	exported, err := e.ExportKeyingMaterial("label", nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	post.exporter = nil
	b, err := e.Suspend()
	if err != nil {
		t.Fatal(err)
	}
	if cap(b)-len(b) > suspendedFixed {
		t.Errorf("%d bytes in a buffer of %d", len(b), cap(b))
	}
	if e, err = Restore(testConfig(), b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(e.neg, neg) {
		t.Errorf("state\n%+v, was\n%+v", e.neg, neg)
	}
	again, err := e.ExportKeyingMaterial("label", nil, 32)
	if err != nil || !bytes.Equal(again, exported) {
		t.Errorf("exports %x, %v; before %x", again, err, exported)
	}
	e.post.exporter = nil
	if !reflect.DeepEqual(e.post, post) || !bytes.Equal(e.in.buf, pending) || e.state != clientConnected || !e.Established() {
		t.Error("what follows the handshake has changed")
	}
	if e.neg.PeerCertificates[0] != e.neg.VerifiedChains[0][0] {
		t.Error("a certificate exists twice")
	}
}

// TestSuspendWithinMessage moves a client at every point of a ticket.
func TestSuspendWithinMessage(t *testing.T) {
	p := mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	ticket := (&newSessionTicket13{lifetime: 100, nonce: []byte{7}, ticket: []byte("ticket")}).append(nil)
	for n := range ticket {
		if err := p.client.Handle(LevelApplication, ticket[:n]); err != nil {
			t.Fatal(err)
		}
		p.client.move(t, clientTestConfig())
		if p.client.ReadAligned() != (n == 0) {
			t.Errorf("aligned: %v after %d bytes", n != 0, n)
		}
		if err := p.client.Handle(LevelApplication, ticket[n:]); err != nil {
			t.Fatal(err)
		}
		p.client.drain()
		p.client.Progress()
	}
	if len(p.client.sessions) != len(ticket) {
		t.Fatalf("%d sessions of %d tickets", len(p.client.sessions), len(ticket))
	}
	for _, s := range p.client.sessions {
		if !s.Secret.Equal(&p.client.sessions[0].Secret) {
			t.Fatal("the resumption secret was lost on the way")
		}
	}
}

// The bound on messages in a row holds across moves.
func TestSuspendKeepsCounting(t *testing.T) {
	p := mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	ticket := (&newSessionTicket13{lifetime: 100, ticket: []byte("ticket")}).append(nil)
	var err error
	for n := 0; err == nil; n++ {
		if n > maxPostHandshake {
			t.Fatal("any number of messages is accepted")
		}
		p.client.move(t, clientTestConfig())
		err = p.client.Handle(LevelApplication, ticket)
		p.client.drain()
	}
	wantFatal(t, err, alert.UnexpectedMessage)
}

func TestSuspendErrors(t *testing.T) {
	early := NewClient(context.Background(), clientTestConfig())
	if _, err := early.Suspend(); err == nil {
		t.Error("suspended before the handshake")
	}
	if err := early.Start(); err != nil {
		t.Errorf("a refused Suspend ends the engine: %v", err)
	}
	for what, change := range map[string]func(*Engine){
		"events":       func(e *Engine) { e.emit(Established{}) },
		"dead":         func(e *Engine) { e.Wipe() },
		"name":         func(e *Engine) { e.neg.ServerName = string(make([]byte, 1<<16)) },
		"certificates": func(e *Engine) { e.neg.VerifiedChains = make([][]*x509.Certificate, maxSuspended+1) },
		"scts":         func(e *Engine) { e.neg.SCTs = make([][]byte, maxSuspended+1) },
	} {
		e := fullEngine(t)
		change(e)
		if _, err := e.Suspend(); err == nil {
			t.Errorf("%s: suspended", what)
		}
		if what != "dead" && e.post.read.Len() == 0 {
			t.Errorf("%s: a refused Suspend wipes the engine", what)
		}
	}
}

func suspended(t *testing.T, e *Engine) []byte {
	t.Helper()
	b, err := e.Suspend()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is cut or changed is refused or makes an engine that works; nothing
// panics.
func TestRestoreDamaged(t *testing.T) {
	for name, p := range suspendedPairs(t) {
		for _, s := range [...]*side{p.client, p.server} {
			b := suspended(t, s.Engine)
			for n := range b {
				if _, err := Restore(testConfig(), b[:n]); alert.Of(err) != alert.DecodeError {
					t.Fatalf("%s, %s, %d of %d bytes: %v", name, s.name, n, len(b), err)
				}
			}
			if _, err := Restore(testConfig(), append(bytes.Clone(b), 0)); err == nil {
				t.Errorf("%s, %s: trailing bytes are accepted", name, s.name)
			}
			for i := range b {
				bad := bytes.Clone(b)
				bad[i] ^= byte(1 << (i % 8))
				if e, err := Restore(testConfig(), bad); err == nil {
					useRestored(t, e)
				}
			}
		}
	}
}

// useRestored does with an engine what a connection would.
func useRestored(t *testing.T, e *Engine) {
	t.Helper()
	_, _ = e.ExportKeyingMaterial("label", nil, 32)
	if err := e.RequestKeyUpdate(); (err == nil) != (e.neg.Version == versionTLS13) {
		t.Fatalf("KeyUpdate: %v", err)
	}
	for {
		if _, ok := e.NextEvent(); !ok {
			break
		}
	}
	if err := e.Handle(LevelApplication, []byte{byte(typeFinished), 0, 0, 0}); err == nil && e.ReadAligned() {
		t.Fatal("Finished after the handshake is accepted")
	}
}

// Each field that was read is checked.
func TestRestoreRefuses(t *testing.T) {
	other := keyschedule.NewSecret(make([]byte, 32))
	for what, change := range map[string]func(*Engine){
		"messages":     func(e *Engine) { e.post.messages = maxPostHandshake + 1 },
		"epochs":       func(e *Engine) { e.post.writeN = maxKeyUpdates + 1 },
		"read":         func(e *Engine) { e.post.read.Secret = other },
		"write":        func(e *Engine) { e.post.write.Secret = other },
		"resumption":   func(e *Engine) { e.post.secrets().resumption = other },
		"exporter":     func(e *Engine) { e.post.exporter = keyschedule.NewExporter(keyschedule.SHA256, &other) },
		"no exporter":  func(e *Engine) { e.post.exporter = nil },
		"illegal":      func(e *Engine) { e.in.buf = []byte{byte(typeFinished)} },
		"whole":        func(e *Engine) { e.in.buf = []byte{byte(typeKeyUpdate), 0, 0, 1, 0} },
		"long":         func(e *Engine) { e.in.buf = []byte{byte(typeKeyUpdate), 0xff, 0, 1, 0} },
		"server":       func(e *Engine) { e.state = serverConnected },
		"other suite":  func(e *Engine) { e.state = client12Connected },
		"no state":     func(e *Engine) { e.state = clientWaitFinished },
		"certificates": func(e *Engine) { e.neg.PeerCertificates[0] = &x509.Certificate{Raw: []byte("not DER")} },
	} {
		e := fullEngine(t)
		change(e)
		if _, err := Restore(testConfig(), suspended(t, e)); err == nil {
			t.Errorf("%s: restored", what)
		}
	}
	b := suspended(t, fullEngine(t))
	binary.BigEndian.PutUint16(b, suspendedFormat+1)
	if _, err := Restore(testConfig(), b); err == nil {
		t.Error("another format is restored")
	}
}
