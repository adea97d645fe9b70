package handshake

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// TestPSKSessions resumes what an external pre-shared key has begun, for as long
// as both sides still have the key.
func TestPSKSessions(t *testing.T) {
	key := ExternalPSK{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef")}
	other := ExternalPSK{Identity: []byte("other"), Secret: []byte("0123456789abcdef0123456789abcdeX")}
	known := func(keys ...ExternalPSK) func(context.Context, []byte) (*ExternalPSK, error) {
		return func(_ context.Context, id []byte) (*ExternalPSK, error) {
			i := slices.IndexFunc(keys, func(k ExternalPSK) bool { return string(k.Identity) == string(id) })
			if i < 0 {
				return nil, nil
			}
			return &keys[i], nil
		}
	}
	for name, only := range map[string]bool{"only": true, "or certificates": false} {
		t.Run(name, func(t *testing.T) {
			client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
			client.PSKs, server.GetPSK = []ExternalPSK{key}, known(key, other)
			client.PSKOnly, server.PSKOnly = only, only
			server.Tickets, server.ClientAuth = &fakeTickets{}, RequireClientCert
			p := mustRun(t, client, server)
			client.Session = p.client.sessions[0]
			q := mustRun(t, client, server)
			for _, s := range [...]*side{q.client, q.server} {
				if state := s.State(); !state.Resumed || string(state.ExternalPSK) != "id" {
					t.Errorf("%s: resumed %v, by %q", s.name, state.Resumed, state.ExternalPSK)
				}
			}
			client.PSKs = []ExternalPSK{other}
			if state := mustRun(t, client, server).client.State(); state.Resumed || string(state.ExternalPSK) != "other" {
				t.Errorf("client without the key: resumed %v, by %q", state.Resumed, state.ExternalPSK)
			}
			client.PSKs, server.GetPSK = []ExternalPSK{key, other}, known(other)
			if state := mustRun(t, client, server).client.State(); state.Resumed || string(state.ExternalPSK) != "other" {
				t.Errorf("server without the key: resumed %v, by %q", state.Resumed, state.ExternalPSK)
			}
		})
	}
}

// TestPSKSessionsOfAnotherKey: a key that took the place of another one under its
// identity, or has the same identity with another server, resumes nothing.
func TestPSKSessionsOfAnotherKey(t *testing.T) {
	key := ExternalPSK{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef")}
	for name, change := range map[string]func(*ExternalPSK){
		"secret":   func(p *ExternalPSK) { p.Secret = []byte("0123456789abcdef0123456789abcdeX") },
		"imported": func(p *ExternalPSK) { p.Import = true },
		"hash":     func(p *ExternalPSK) { p.Hash = keyschedule.SHA384 },
	} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.PSKs, server.Tickets, server.ClientAuth = []ExternalPSK{key}, &fakeTickets{}, RequireClientCert
		known := key
		server.GetPSK = func(_ context.Context, id []byte) (*ExternalPSK, error) {
			if string(id) != "id" {
				return nil, nil
			}
			return &known, nil
		}
		first := mustRun(t, client, server).client.sessions[0]
		client.Session = first
		again := mustRun(t, client, server)
		if !again.server.State().Resumed {
			t.Fatalf("%s: not resumed with the key", name)
		}
		change(&known)
		for _, s := range [...]*session.State{first, again.client.sessions[0]} {
			client.Session = s
			// The client that has the old key only is unknown, or wrong.
			client.PSKs = []ExternalPSK{key}
			p := newPair(client, server)
			if err := p.run(false); err == nil && p.server.State().ExternalPSK != nil {
				t.Errorf("%s: a client is known by the key that there was", name)
			}
			client.PSKs = []ExternalPSK{known}
			q := newPair(client, server)
			if err := q.client.Start(); err != nil {
				t.Fatal(err)
			}
			if offered := q.client.client.psks; len(offered) == 0 || offered[0].session != nil {
				t.Errorf("%s: a client with another key offers the session", name)
			}
			if err := q.pump(false); err != nil || q.server.State().Resumed || string(q.server.State().ExternalPSK) != "id" {
				t.Errorf("%s: with the new key: %v", name, err)
			}
		}
	}
}

// TestPSKSessionsAfterRestore: an engine that was suspended does not know by which
// key its connection began, so it has no sessions of it: they would take the place of
// those that can be resumed.
func TestPSKSessionsAfterRestore(t *testing.T) {
	for name, keys := range map[string][]ExternalPSK{
		"key":         {{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef")}},
		"certificate": nil,
	} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.PSKs = keys
		server.GetPSK = func(context.Context, []byte) (*ExternalPSK, error) { return &keys[0], nil }
		p := mustRun(t, client, server)
		b, err := p.client.Suspend()
		if err != nil {
			t.Fatal(err)
		}
		e, err := Restore(client, b)
		if err != nil {
			t.Fatal(err)
		}
		ticket := &newSessionTicket13{lifetime: 1000, nonce: []byte{0}, ticket: []byte("ticket")}
		if err := e.Handle(LevelApplication, ticket.append(nil)); err != nil {
			t.Fatal(err)
		}
		if _, stored := e.NextEvent(); stored != (keys == nil) {
			t.Errorf("%s: a session is stored: %v", name, stored)
		}
	}
}

// TestCertificateSessionIsNoPSK: where only pre-shared keys count, a session that
// a certificate has begun does not.
func TestCertificateSessionIsNoPSK(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets = &fakeTickets{}
	session := mustRun(t, client, server).client.sessions[0]
	server.PSKOnly = true
	server.GetPSK = func(context.Context, []byte) (*ExternalPSK, error) { return nil, nil }
	client.Session = session
	wantFatal(t, newPair(client, server).run(false), alert.HandshakeFailure)
	client.PSKOnly = true
	client.PSKs = []ExternalPSK{{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef")}}
	p := newPair(client, server)
	if err := p.client.Start(); err != nil {
		t.Fatal(err)
	}
	if offered := p.client.client.psks; len(offered) == 0 || offered[0].session != nil {
		t.Errorf("%d keys offered, the first of them a session", len(offered))
	}
}

// TestPSKOnlyIsTLS13: TLS 1.2 has no such keys here, so it is not spoken.
func TestPSKOnlyIsTLS13(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	client.MaxVersion = versionTLS12
	server.PSKOnly = true
	wantFatal(t, newPair(client, server).run(false), alert.ProtocolVersion)
	client.MaxVersion, client.PSKOnly = 0, true
	client.PSKs = []ExternalPSK{{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef")}}
	p := newPair(client, server)
	if err := p.client.Start(); err != nil {
		t.Fatal(err)
	}
	if got := p.client.client.hello.supportedVersions; !slices.Equal(got, []uint16{versionTLS13}) {
		t.Errorf("client offers %#x", got)
	}
}

// TestSecondHelloKeepsKey: a second ClientHello must have the key that the first
// one was answered for.
func TestSecondHelloKeepsKey(t *testing.T) {
	s := &serverHandshake{Engine: &Engine{}}
	m := &clientHello{}
	if err := s.checkKept(m); err != nil {
		t.Errorf("without a key: %v", err)
	}
	s.schedule.psk = &offeredPSK{identity: []byte("id")}
	wantAlert(t, "no extension", s.checkKept(m), alert.MissingExtension)
	m.extensions = []uint16{extPreSharedKey}
	m.pskIdentities = []pskIdentity{{identity: []byte("other")}}
	wantAlert(t, "another key", s.checkKept(m), alert.IllegalParameter)
	m.pskIdentities = append(m.pskIdentities, pskIdentity{identity: []byte("id")})
	if err := s.checkKept(m); err != nil {
		t.Errorf("with the key: %v", err)
	}
}

// TestTicketAgeSkew: the server knows by how much the clocks differ.
func TestTicketAgeSkew(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets = &fakeTickets{}
	client.Session = mustRun(t, client, server).client.sessions[0]
	client.Time = func() time.Time { return testNow.Add(7 * time.Second) }
	if got := mustRun(t, client, server).server.State().TicketAgeSkew; got != 7*time.Second {
		t.Errorf("the ages differ by %v, want 7s", got)
	}
}

// TestShortBinder: what is too short matters in TLS 1.3 only.
func TestShortBinder(t *testing.T) {
	m := minimalHello()
	m.pskIdentities, m.pskBinders = []pskIdentity{{identity: []byte("id")}}, [][]byte{make([]byte, 31)}
	parsed, err := parseClientHello(m.append(nil)[messageHeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	parsed.pskModes, parsed.extensions = []pskKeyExchangeMode{pskModeDHEKE}, append(parsed.extensions, extPskKeyExchangeModes)
	parsed.legacyVersion, parsed.compressionMethods = versionTLS12, []byte{0}
	wantAlert(t, "31 bytes", checkClientHello13(parsed), alert.DecodeError)
}

// TestClientLikesChaCha20: its wish is granted, as far as the hash of a session
// allows.
func TestClientLikesChaCha20(t *testing.T) {
	for first, want := range map[uint16]uint16{
		keyschedule.TLS_CHACHA20_POLY1305_SHA256: keyschedule.TLS_CHACHA20_POLY1305_SHA256,
		keyschedule.TLS_AES_256_GCM_SHA384:       keyschedule.TLS_AES_128_GCM_SHA256,
	} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.CipherSuites = append([]uint16{first}, DefaultCipherSuites()...)
		server.CipherSuites = []uint16{keyschedule.TLS_AES_128_GCM_SHA256, keyschedule.TLS_AES_256_GCM_SHA384, keyschedule.TLS_CHACHA20_POLY1305_SHA256}
		if got := mustRun(t, client, server).server.State().Suite.ID; got != want {
			t.Errorf("a client that likes %#x gets %#x, want %#x", first, got, want)
		}
	}
}

// TestClientLikesChaCha20In12: the suites of the other version say nothing.
func TestClientLikesChaCha20In12(t *testing.T) {
	m := &clientHello{cipherSuites: []uint16{keyschedule.TLS_AES_128_GCM_SHA256, keyschedule.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}
	if m.prefersChaCha20(versionTLS13) || !m.prefersChaCha20(versionTLS12) || new(clientHello).prefersChaCha20(versionTLS12) {
		t.Error("what the client likes is told wrongly")
	}
}

// TestKeyShares: a client sends what it is told to, or nothing.
func TestKeyShares(t *testing.T) {
	for name, tt := range map[string]struct {
		shares, want []NamedGroup
		retry        bool
	}{
		"default":      {nil, []NamedGroup{X25519MLKEM768, X25519}, false},
		"none":         {[]NamedGroup{}, nil, true},
		"another one":  {[]NamedGroup{Secp384r1}, []NamedGroup{Secp384r1}, true},
		"in our order": {[]NamedGroup{Secp256r1, X25519, X448}, []NamedGroup{X25519, Secp256r1}, true},
	} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.Groups = []NamedGroup{X25519MLKEM768, X25519, Secp256r1, Secp384r1}
		client.KeyShares = tt.shares
		p := newPair(client, server)
		if err := p.client.Start(); err != nil {
			t.Fatal(err)
		}
		var got []NamedGroup
		for _, s := range p.client.client.hello.keyShares {
			got = append(got, s.group)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: shares for %v, want %v", name, got, tt.want)
		}
		if err := p.pump(false); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p.check(t)
		if state := p.client.State(); state.HelloRetryRequest != tt.retry || state.Group != X25519MLKEM768 {
			t.Errorf("%s: asked again %v, for %v", name, state.HelloRetryRequest, state.Group)
		}
	}
}

// TestCertificateTypes12: a server of TLS 1.2 names the kinds of keys that it
// takes, beside the schemes.
func TestCertificateTypes12(t *testing.T) {
	all := []SignatureScheme{RsaPssRsaeSha256, EcdsaSecp256r1Sha256, RsaPkcs1Sha256, Ed25519}
	for name, tt := range map[string]struct {
		types []uint8
		want  []SignatureScheme
	}{
		"both":  {[]uint8{certTypeRSASign, certTypeECDSASign}, all},
		"RSA":   {[]uint8{certTypeRSASign}, []SignatureScheme{RsaPssRsaeSha256, RsaPkcs1Sha256}},
		"ECDSA": {[]uint8{certTypeECDSASign}, []SignatureScheme{EcdsaSecp256r1Sha256, Ed25519}},
		"other": {[]uint8{3}, nil},
	} {
		m := &certificateRequest12{certificateTypes: tt.types, signatureSchemes: all}
		if got := m.schemes(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestOfferedSecretsAreWiped offers a session alone, and with external keys behind it.
func TestOfferedSecretsAreWiped(t *testing.T) {
	for _, external := range [][]ExternalPSK{nil, pskOf(1)} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		server.Tickets = &fakeTickets{}
		client.Session = mustRun(t, client, server).client.sessions[0]
		client.PSKs = external
		e := NewClient(context.Background(), client)
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		offered, first := e.client.psks, &e.client.room.psk[0]
		e.Wipe()
		for i := range offered {
			if n := len(offered[i].secret.Bytes()); n > 0 {
				t.Errorf("%d external: secret %d has %d bytes", len(external), i, n)
			}
		}
		if n := len(first.secret.Bytes()); n > 0 {
			t.Errorf("%d external: a copy has %d bytes", len(external), n)
		}
	}
}
