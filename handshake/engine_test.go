package handshake

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// TestSuitesAndCertificates runs every suite with every certificate it can have,
// delivered whole and byte by byte.
func TestSuitesAndCertificates(t *testing.T) {
	for _, suite := range keyschedule.Suites() {
		for name, cert := range testCerts() {
			if suite.Auth != keyschedule.AuthAny && !authFits(suite.Auth, cert.PrivateKey.Public()) {
				continue
			}
			t.Run(suite.Name+"/"+name, func(t *testing.T) {
				client, server := clientTestConfig(), serverTestConfig(cert)
				client.CipherSuites = []uint16{suite.ID}
				client.MinVersion, client.MaxVersion = suite.Version, suite.Version
				server.CipherSuites = []uint16{suite.ID}
				for _, slow := range []bool{false, true} {
					p := newPair(client, server)
					if err := p.run(slow); err != nil {
						t.Fatal(err)
					}
					p.check(t)
					if p.client.State().Suite != suite {
						t.Errorf("negotiated %s", p.client.State().Suite.Name)
					}
				}
			})
		}
	}
}

func TestEngineGroups(t *testing.T) {
	for _, version := range []uint16{versionTLS12, versionTLS13} {
		for _, g := range append(DefaultGroups(), X448) {
			if version == versionTLS12 && !g.usable12() {
				continue
			}
			client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
			client.MaxVersion = version
			client.Groups = []NamedGroup{g}
			server.Groups = append(DefaultGroups(), X448)
			if got := mustRun(t, client, server).client.State().Group; got != g {
				t.Errorf("version %#x: group %v, want %v", version, got, g)
			}
		}
	}
}

func TestHelloRetryRequest(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	client.Groups = []NamedGroup{X25519, Secp384r1}
	server.Groups = []NamedGroup{Secp384r1}
	p := mustRun(t, client, server)
	if s := p.client.State(); !s.HelloRetryRequest || s.Group != Secp384r1 {
		t.Errorf("HelloRetryRequest %v, group %v", s.HelloRetryRequest, s.Group)
	}
	// A hybrid that both know is worth the round trip.
	client.Groups = []NamedGroup{X25519, X25519MLKEM768}
	server.Groups = nil
	if s := mustRun(t, client, server).client.State(); !s.HelloRetryRequest || s.Group != X25519MLKEM768 {
		t.Errorf("HelloRetryRequest %v, group %v", s.HelloRetryRequest, s.Group)
	}
}

func TestFlights(t *testing.T) {
	for _, version := range []uint16{versionTLS12, versionTLS13} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.MaxVersion = version
		server.Tickets = &fakeTickets{}
		p := mustRun(t, client, server)
		want := 1 // TLS 1.3: tickets travel with the server's only flight
		if version == versionTLS12 {
			want = 2
		}
		if p.server.flights != want || p.client.flights != 2 {
			t.Errorf("version %#x: server took %d flights, client %d", version, p.server.flights, p.client.flights)
		}
	}
}

func TestALPN(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	for _, version := range []uint16{versionTLS12, versionTLS13} {
		client.MaxVersion = version
		client.ALPN, server.ALPN = []string{"b", "a"}, []string{"a", "b"}
		if got := mustRun(t, client, server).client.State().ALPN; got != "a" {
			t.Errorf("protocol %q, want the server's preference", got)
		}
		server.ALPN = []string{"c"}
		wantFatal(t, newPair(client, server).run(false), alert.NoApplicationProtocol)
		server.ALPN = nil
		if got := mustRun(t, client, server).client.State().ALPN; got != "" {
			t.Errorf("protocol %q from a server that has none", got)
		}
	}
}

func TestResumption(t *testing.T) {
	for _, c := range []struct {
		name      string
		version   uint16
		ids       bool
		clientTix bool
	}{
		{"1.2 ticket", versionTLS12, false, true},
		{"1.2 session ID", versionTLS12, true, false},
		{"1.3", versionTLS13, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
			client.MaxVersion = c.version
			tickets := &fakeTickets{}
			server.Tickets = tickets
			if c.ids {
				tickets.ids = map[string]*session.State{}
				client.rewrite = dropSessionTicket
			}
			p := mustRun(t, client, server)
			if len(p.client.sessions) != 1 {
				t.Fatalf("%d sessions", len(p.client.sessions))
			}
			client.Session = p.client.sessions[0]
			p = mustRun(t, client, server)
			st := p.client.State()
			if !st.Resumed || len(st.PeerCertificates) == 0 {
				t.Errorf("resumed %v with %d certificates", st.Resumed, len(st.PeerCertificates))
			}
			// Another name, an expired session, a vanished ticket: in full.
			client.ServerName = "other.test"
			if mustRun(t, client, server).client.State().Resumed {
				t.Error("resumed for another name")
			}
			client.ServerName = "server.test"
			client.Time = func() time.Time { return testNow.Add(8 * 24 * time.Hour) }
			if mustRun(t, client, server).client.State().Resumed {
				t.Error("resumed an expired session")
			}
			client.Time = server.Time
			server.Tickets = &fakeTickets{ids: map[string]*session.State{}}
			if mustRun(t, client, server).client.State().Resumed {
				t.Error("resumed an unknown ticket")
			}
		})
	}
}

// dropSessionTicket removes the session_ticket extension, so that a server
// falls back on session IDs.
func dropSessionTicket(raw []byte) []byte {
	if handshakeType(raw[0]) != typeClientHello {
		return raw
	}
	m, err := parseClientHello(raw[messageHeaderLen:])
	if err != nil {
		panic(err)
	}
	m.ticketSupported = false
	return m.append(nil)
}

func TestClientAuth(t *testing.T) {
	for _, version := range []uint16{versionTLS12, versionTLS13} {
		for name, cert := range testCerts() {
			client, server := clientTestConfig(), serverTestConfig(testCerts()["rsa"])
			client.MaxVersion = version
			client.CompressCertificates, server.CompressCertificates = true, true
			server.ClientAuth = RequireClientCert
			server.ClientCAs = [][]byte{cert.Leaf.RawSubject}
			server.Tickets = &fakeTickets{}
			verified := 0
			server.VerifyPeer = func(p *PeerCertificates) ([][]*x509.Certificate, error) {
				verified++
				return [][]*x509.Certificate{p.Chain}, nil
			}
			client.GetClientCertificate = func(_ context.Context, info *CertificateRequestInfo) (*Certificate, error) {
				if len(info.AcceptableCAs) != 1 || !bytes.Equal(info.AcceptableCAs[0], cert.Leaf.RawSubject) {
					t.Errorf("acceptable CAs %q", info.AcceptableCAs)
				}
				return cert, nil
			}
			p := mustRun(t, client, server)
			if st := p.server.State(); verified != 1 || len(st.PeerCertificates) != 1 || len(st.VerifiedChains) != 1 {
				t.Errorf("%s: verified %d times, %d certificates", name, verified, len(st.PeerCertificates))
			}
			client.Session = p.client.sessions[0]
			if st := mustRun(t, client, server).server.State(); !st.Resumed || len(st.PeerCertificates) != 1 {
				t.Errorf("%s: resumed %v with %d client certificates", name, st.Resumed, len(st.PeerCertificates))
			}
			client.Session = nil

			client.GetClientCertificate = nil
			want := alert.CertificateRequired
			if version == versionTLS12 {
				want = alert.HandshakeFailure
			}
			wantFatal(t, newPair(client, server).run(false), want)
			server.ClientAuth = RequestClientCert
			if st := mustRun(t, client, server).server.State(); len(st.PeerCertificates) != 0 {
				t.Error("certificate from nowhere")
			}
		}
	}
}

func TestExternalPSK(t *testing.T) {
	for _, c := range []struct {
		name string
		psk  ExternalPSK
	}{
		{"sha256", ExternalPSK{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef")}},
		{"sha384", ExternalPSK{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef"), Hash: keyschedule.SHA384}},
		{"imported", ExternalPSK{Identity: []byte("id"), Secret: []byte("k"), Import: true, Context: []byte("ctx")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := clientTestConfig(), testConfig()
			client.PSKs = []ExternalPSK{c.psk}
			client.PSKOnly, server.PSKOnly = true, true
			server.GetPSK = func(_ context.Context, id []byte) (*ExternalPSK, error) {
				if string(id) != "id" {
					return nil, nil
				}
				return &c.psk, nil
			}
			p := mustRun(t, client, server)
			if got := string(p.server.State().ExternalPSK); got != "id" {
				t.Errorf("server used external PSK %q", got)
			}
			if c.psk.Hash == keyschedule.SHA384 && p.client.State().Suite.Hash != keyschedule.SHA384 {
				t.Error("hash of the PSK was ignored")
			}
			wrong := c.psk
			wrong.Secret = []byte("another")
			server.GetPSK = func(context.Context, []byte) (*ExternalPSK, error) { return &wrong, nil }
			wantFatal(t, newPair(client, server).run(false), alert.DecryptError)
			server.GetPSK = func(context.Context, []byte) (*ExternalPSK, error) { return nil, nil }
			wantFatal(t, newPair(client, server).run(false), alert.HandshakeFailure)
		})
	}
}

func TestKeyUpdate(t *testing.T) {
	p := mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	for i := range 40 {
		p.client.Progress()
		p.server.Progress()
		if err := p.client.RequestKeyUpdate(); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // crossing requests
			if err := p.server.RequestKeyUpdate(); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.pump(false); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*side{p.client, p.server} {
			if s.owesUpdate {
				s.owesUpdate = false
				if err := s.UpdateWriteKeys(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.pump(false); err != nil {
			t.Fatal(err)
		}
		p.check(t)
	}
	p = mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	var err error
	for range maxPostHandshake + 1 {
		if err = p.client.UpdateWriteKeys(); err != nil {
			t.Fatal(err)
		}
		if err = p.pump(false); err != nil {
			break
		}
	}
	wantFatal(t, err, alert.UnexpectedMessage)
}

func TestKeyUpdateMustBeAligned(t *testing.T) {
	p := mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	update := (&keyUpdate{request: updateNotRequested}).append(nil)
	wantFatal(t, p.server.Handle(LevelApplication, append(update, update[0])), alert.UnexpectedMessage)
}

func TestVersions(t *testing.T) {
	cert := testCerts()["p256"]
	client, server := clientTestConfig(), serverTestConfig(cert)
	client.MaxVersion, server.MinVersion = versionTLS12, versionTLS13
	wantFatal(t, newPair(client, server).run(false), alert.ProtocolVersion)

	// A server that is held to TLS 1.2 by somebody in between.
	client, server = clientTestConfig(), serverTestConfig(cert)
	client.rewrite = func(raw []byte) []byte {
		m, _ := parseClientHello(raw[messageHeaderLen:])
		m.supportedVersions = nil
		return m.append(nil)
	}
	wantFatal(t, newPair(client, server).run(false), alert.IllegalParameter)

	client, server = clientTestConfig(), serverTestConfig(cert)
	server.MaxVersion = versionTLS12
	if v := mustRun(t, client, server).client.State().Version; v != versionTLS12 {
		t.Errorf("version %#x", v)
	}
}

func TestEarlyData(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets = &fakeTickets{}
	server.MaxEarlyData = 100
	client.Session = mustRun(t, client, server).client.sessions[0]
	client.EarlyData = true
	accept := true
	server.AcceptEarlyData = func(context.Context, *ClientHelloInfo, *session.State, []byte) bool { return accept }
	p := mustRun(t, client, server)
	if !p.client.State().EarlyData || p.client.earlyVerdict != "accepted" || p.server.earlyVerdict != "accepted" {
		t.Errorf("early data: client %q, server %q", p.client.earlyVerdict, p.server.earlyVerdict)
	}
	accept = false
	p = mustRun(t, client, server)
	if p.client.State().EarlyData || p.client.earlyVerdict != "rejected" || p.server.earlyVerdict != "rejected" {
		t.Errorf("early data: client %q, server %q", p.client.earlyVerdict, p.server.earlyVerdict)
	}
	accept = true
	server.Groups = []NamedGroup{Secp521r1}
	p = mustRun(t, client, server)
	if s := p.client.State(); s.EarlyData || !s.HelloRetryRequest || p.client.earlyVerdict != "rejected" {
		t.Errorf("early data after HelloRetryRequest: %q", p.client.earlyVerdict)
	}
}

func TestVerifyCallbacks(t *testing.T) {
	boom := errors.New("boom")
	for _, version := range []uint16{versionTLS12, versionTLS13} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.MaxVersion = version
		client.VerifyPeer = func(*PeerCertificates) ([][]*x509.Certificate, error) { return nil, boom }
		err := newPair(client, server).run(false)
		wantFatal(t, err, alert.BadCertificate)
		if !errors.Is(err, boom) {
			t.Errorf("error %v does not wrap the callback's", err)
		}
		client.VerifyPeer = nil
		client.VerifyConnection = func(s *State) error {
			if s.Version != version || len(s.PeerCertificates) != 1 {
				t.Errorf("state %+v", s)
			}
			return boom
		}
		wantFatal(t, newPair(client, server).run(false), alert.BadCertificate)
		client.VerifyConnection = nil
		server.VerifyConnection = func(*State) error { return boom }
		wantFatal(t, newPair(client, server).run(false), alert.BadCertificate)
	}
}

// TestExtendedMasterSecret drops the extension from a ClientHello: a full
// handshake exports nothing, and a session that had it is not resumed without.
func TestExtendedMasterSecret(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	client.MaxVersion = versionTLS12
	server.Tickets = &fakeTickets{}
	client.Session = mustRun(t, client, server).client.sessions[0]
	client.rewrite = func(raw []byte) []byte {
		if handshakeType(raw[0]) != typeClientHello {
			return raw
		}
		m, err := parseClientHello(raw[messageHeaderLen:])
		if err != nil {
			t.Fatal(err)
		}
		m.extendedMasterSecret = false
		return m.append(nil)
	}
	wantFatal(t, newPair(client, server).run(false), alert.HandshakeFailure)
	client.Session = nil
	p := newPair(client, server)
	if err := p.run(false); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*side{p.client, p.server} {
		if _, err := s.ExportKeyingMaterial("label", nil, 16); err == nil || s.State().TLSUnique != nil || len(s.sessions) > 0 {
			t.Errorf("%s exports, binds or resumes without extended_master_secret", s.name)
		}
	}
}

// TestGREASE offers values of RFC 8701 everywhere, which must change nothing.
func TestGREASE(t *testing.T) {
	for _, version := range []uint16{versionTLS12, versionTLS13} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.rewrite = func(raw []byte) []byte {
			if handshakeType(raw[0]) != typeClientHello {
				return raw
			}
			m, err := parseClientHello(raw[messageHeaderLen:])
			if err != nil {
				t.Fatal(err)
			}
			m.cipherSuites = append([]uint16{0x0a0a}, m.cipherSuites...)
			m.supportedGroups = append([]NamedGroup{0x1a1a}, m.supportedGroups...)
			m.supportedVersions = append([]uint16{0x2a2a}, m.supportedVersions...)
			m.signatureSchemes = append([]SignatureScheme{0x3a3a}, m.signatureSchemes...)
			m.alpn = []string{"\x0a\x0a", "h2"}
			m.keyShares = append([]keyShareEntry{{group: 0x1a1a, data: []byte{0}}}, m.keyShares...)
			m.pskModes = append([]pskKeyExchangeMode{0x0b}, m.pskModes...)
			return m.append(nil)
		}
		client.ALPN, server.ALPN = []string{"h2"}, []string{"h2"}
		server.MaxVersion = version
		if got := mustRun(t, client, server).client.State().Version; got != version {
			t.Errorf("version %#x, want %#x", got, version)
		}
	}
}

// TestEarlyDataWithoutPSK: early data that no key was offered for is passed over
// as any other that a server does not accept.
func TestEarlyDataWithoutPSK(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.MaxEarlyData = 100
	client.rewrite = func(raw []byte) []byte {
		if m, err := parseClientHello(raw[messageHeaderLen:]); raw[0] == byte(typeClientHello) && err == nil {
			m.earlyData = true
			return m.append(nil)
		}
		return raw
	}
	p := newPair(client, server)
	_ = p.run(false) // this client does not expect what it has asked for
	if p.server.earlyVerdict != "rejected" {
		t.Errorf("early data: %q", p.server.earlyVerdict)
	}
}

// TestFallbackBelowUs: a client that fell back to a version that we do not even
// speak is told of that (RFC 7507, section 3).
func TestFallbackBelowUs(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	client.rewrite = func(raw []byte) []byte {
		m, _ := parseClientHello(raw[messageHeaderLen:])
		m.legacyVersion, m.supportedVersions = 0x0302, nil
		m.cipherSuites = append(m.cipherSuites, fallbackSCSV)
		return m.append(nil)
	}
	wantFatal(t, newPair(client, server).run(false), alert.InappropriateFallback)
}
