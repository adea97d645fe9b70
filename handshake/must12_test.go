package handshake

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/session"
)

// The tests below do for RFC 5246 what those of must_test.go do for RFC 9846.

// client12Config is a client's config without TLS 1.3, and without sessions.
func client12Config() *Config {
	cfg := clientTestConfig()
	cfg.MaxVersion, cfg.AcceptSessions = versionTLS12, false
	return cfg
}

func TestServerHelloRules12(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*serverHello)
		block  []byte // of extensions that serverHello has no field for
		want   alert.Description
	}{
		{"good", func(*serverHello) {}, nil, unfailing},
		{"NULL suite", func(m *serverHello) { m.cipherSuite = 0 }, nil, alert.IllegalParameter},
		{"NULL encryption", func(m *serverHello) { m.cipherSuite = 0xc006 }, nil, alert.IllegalParameter},
		{"anonymous suite", func(m *serverHello) { m.cipherSuite = 0xc018 }, nil, alert.IllegalParameter},
		{"static RSA", func(m *serverHello) { m.cipherSuite = 0x002f }, nil, alert.IllegalParameter},
		{"compression", func(m *serverHello) { m.compressionMethod = 1 }, nil, alert.IllegalParameter},
		{"session_ticket not offered", func(m *serverHello) { m.ticketSupported = true }, nil, alert.UnsupportedExtension},
		{"heartbeat not offered", func(*serverHello) {}, block(extension(extHeartbeat, 1)), alert.UnsupportedExtension},
		{"unknown extension", func(*serverHello) {}, block(extension(0x4a4a)), alert.UnsupportedExtension},
		{"signature_algorithms", func(*serverHello) {}, block(extension(extSignatureAlgorithms, 0, 2, 4, 3)), alert.IllegalParameter},
		{"extension twice", func(*serverHello) {}, block(extension(extExtendedMasterSecret), extension(extExtendedMasterSecret)), alert.IllegalParameter},
		{"TLS 1.1", func(m *serverHello) { m.legacyVersion = 0x0302 }, nil, alert.ProtocolVersion},
		{"TLS 1.3 in the version field", func(m *serverHello) { m.legacyVersion = versionTLS13 }, nil, alert.ProtocolVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := startClient(t, client12Config())
			m := &serverHello{legacyVersion: versionTLS12, random: [32]byte{1}, cipherSuite: 0xc02b}
			tt.change(m)
			b, body := newMessage(nil, typeServerHello)
			b = append(append(b, m.append(nil)[messageHeaderLen:]...), tt.block...)
			wire.Close(b, body)
			wantOutcome(t, c.Handle(LevelInitial, b), tt.want)
		})
	}
}

// TestClientHelloToServer12 changes the ClientHello of a TLS 1.2 client. The
// server's key is for ECDSA, on P-256.
func TestClientHelloToServer12(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*clientHello)
		want   alert.Description
	}{
		{"good", func(*clientHello) {}, unfailing},
		{"other suites too", func(m *clientHello) { m.cipherSuites = append([]uint16{0, 0x4a4a, 0xc018, 0x002f}, m.cipherSuites...) }, unfailing},
		{"NULL suite", func(m *clientHello) { m.cipherSuites = []uint16{0} }, alert.HandshakeFailure},
		{"anonymous suites", func(m *clientHello) { m.cipherSuites = []uint16{0xc018, 0x006c} }, alert.HandshakeFailure},
		{"static RSA", func(m *clientHello) { m.cipherSuites = []uint16{0x002f} }, alert.HandshakeFailure},
		{"suites for RSA keys", func(m *clientHello) { m.cipherSuites = []uint16{0xc02f, 0xc030} }, alert.HandshakeFailure},
		{"other compression too", func(m *clientHello) { m.compressionMethods = []byte{1, 0x40, 0} }, unfailing},
		{"no null compression", func(m *clientHello) { m.compressionMethods = []byte{1} }, alert.IllegalParameter},
		{"no signature_algorithms", func(m *clientHello) { m.signatureSchemes = nil }, alert.HandshakeFailure},
		{"schemes with SHA-1", func(m *clientHello) { m.signatureSchemes = []SignatureScheme{EcdsaSha1, RsaPkcs1Sha1} }, alert.HandshakeFailure},
		{"schemes of other keys", func(m *clientHello) { m.signatureSchemes = []SignatureScheme{RsaPssRsaeSha256, Ed25519} }, alert.HandshakeFailure},
		{"groups without the key's curve", func(m *clientHello) { m.supportedGroups = []NamedGroup{X25519} }, unfailing},
		{"no uncompressed points", func(m *clientHello) { m.pointFormats = []uint8{1} }, alert.IllegalParameter},
		{"a later version", func(m *clientHello) { m.legacyVersion = 0x03ff }, unfailing},
		{"TLS 1.1", func(m *clientHello) { m.legacyVersion = 0x0302 }, alert.ProtocolVersion},
		{"SSL 3.0", func(m *clientHello) { m.legacyVersion = 0x0300 }, alert.ProtocolVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, hello := startClient(t, client12Config())
			tt.change(hello)
			err := NewServer(context.Background(), serverTestConfig(testCerts()["p256"])).Handle(LevelInitial, hello.append(nil))
			wantOutcome(t, err, tt.want)
		})
	}
}

// TestServerHelloFields12 looks at what a TLS 1.2 server answers, to one who
// offers much and one who offers little.
func TestServerHelloFields12(t *testing.T) {
	cert := *testCerts()["p256"]
	cert.OCSPStaple, cert.SCTs = []byte("staple"), [][]byte{[]byte("sct")}
	cfg := serverTestConfig(&cert)
	cfg.ALPN, cfg.Tickets = []string{"h2"}, &fakeTickets{ids: map[string]*session.State{}}
	offer := client12Config()
	offer.ALPN, offer.AcceptSessions = []string{"h2"}, true
	_, hello := startClient(t, offer)
	full := serverHelloFor(t, cfg, hello)
	if len(full.extensions) < 7 || full.compressionMethod != 0 || !slices.Contains(hello.cipherSuites, full.cipherSuite) {
		t.Errorf("%+v", full)
	}
	little := &clientHello{
		legacyVersion: versionTLS12, sessionID: bytes.Repeat([]byte{7}, 32), cipherSuites: hello.cipherSuites,
		compressionMethods: []byte{0}, signatureSchemes: hello.signatureSchemes,
	}
	if m := serverHelloFor(t, cfg, little); len(m.extensions) > 0 {
		t.Errorf("extensions %v that were not offered", m.extensions)
	}
	for _, ext := range full.extensions {
		if !hello.has(ext) {
			t.Errorf("%s was not offered", extensionName(ext))
		}
	}
	// A session ID that means nothing to us gets another one, of which nothing
	// can be learnt.
	little.extendedMasterSecret = true
	a, b := serverHelloFor(t, cfg, little), serverHelloFor(t, cfg, little)
	if len(a.sessionID) != 32 || len(b.sessionID) != 32 || bytes.Equal(a.sessionID, b.sessionID) || bytes.Equal(a.sessionID, little.sessionID) {
		t.Errorf("session IDs %x and %x", a.sessionID, b.sessionID)
	}
}

// TestSessionSuite12: a session is offered with its suite among those of the
// ClientHello, and a server that does not want it any more gets a full handshake.
func TestSessionSuite12(t *testing.T) {
	client, server := client12Config(), serverTestConfig(testCerts()["p256"])
	client.AcceptSessions = true
	server.Tickets = &fakeTickets{}
	client.Session = mustRun(t, client, server).client.sessions[0]
	if _, m := startClient(t, client); len(m.sessionTicket) == 0 || !slices.Contains(m.cipherSuites, client.Session.CipherSuite) {
		t.Errorf("session of suite %#x with suites %#x", client.Session.CipherSuite, m.cipherSuites)
	}
	others := slices.DeleteFunc(DefaultCipherSuites(), func(id uint16) bool { return id == client.Session.CipherSuite })
	server.CipherSuites = others
	if s := mustRun(t, client, server).client.State(); s.Resumed || s.Suite.ID == client.Session.CipherSuite {
		t.Errorf("resumed %v, suite %#x", s.Resumed, s.Suite.ID)
	}
	client.CipherSuites = others
	if _, m := startClient(t, client); len(m.sessionTicket) > 0 {
		t.Error("a session is offered without its suite")
	}
}

// TestAuthenticationRules12 has one side change a message of its authentication,
// as TestAuthenticationRules does for TLS 1.3.
func TestAuthenticationRules12(t *testing.T) {
	exchange := func(change func(*serverKeyExchange)) func([]byte) []byte {
		return func(b []byte) []byte {
			m, err := parseServerKeyExchange(b)
			if err != nil {
				t.Fatal(err)
			}
			change(m)
			return m.append(nil)[messageHeaderLen:]
		}
	}
	scheme := func(s SignatureScheme) func([]byte) []byte {
		return func(b []byte) []byte { return append([]byte{byte(s >> 8), byte(s)}, b[2:]...) }
	}
	flip := func(b []byte) []byte { b[len(b)-5] ^= 1; return b }
	shorten := func(b []byte) []byte { return b[1:] }
	nothing := func([]byte) []byte { return make([]byte, 3) }
	const server, client = "server", "client"
	for _, tt := range []struct {
		name   string
		who    string
		typ    handshakeType
		change func([]byte) []byte
		want   alert.Description
	}{
		{"ServerKeyExchange as it is", server, typeServerKeyExchange, exchange(func(*serverKeyExchange) {}), unfailing},
		{"ServerKeyExchange, scheme with SHA-1", server, typeServerKeyExchange, exchange(func(m *serverKeyExchange) { m.scheme = EcdsaSha1 }), alert.IllegalParameter},
		{"ServerKeyExchange, scheme of another key", server, typeServerKeyExchange, exchange(func(m *serverKeyExchange) { m.scheme = RsaPssRsaeSha256 }), alert.IllegalParameter},
		{"ServerKeyExchange, scheme not offered", server, typeServerKeyExchange, exchange(func(m *serverKeyExchange) { m.scheme = EcdsaSecp521r1Sha512 }), alert.IllegalParameter},
		{"ServerKeyExchange, group not offered", server, typeServerKeyExchange, exchange(func(m *serverKeyExchange) { m.group = X448 }), alert.IllegalParameter},
		{"ServerKeyExchange, wrong signature", server, typeServerKeyExchange, flip, alert.DecryptError},
		{"CertificateVerify, scheme with SHA-1", client, typeCertificateVerify, scheme(EcdsaSha1), alert.IllegalParameter},
		{"CertificateVerify, scheme of another key", client, typeCertificateVerify, scheme(RsaPssRsaeSha256), alert.IllegalParameter},
		{"CertificateVerify, scheme not offered", client, typeCertificateVerify, scheme(EcdsaSecp521r1Sha512), alert.IllegalParameter},
		{"CertificateVerify, wrong signature", client, typeCertificateVerify, flip, alert.DecryptError},
		{"no certificate", server, typeCertificate, nothing, alert.DecodeError},
		{"no certificate", client, typeCertificate, nothing, alert.HandshakeFailure},
		{"wrong Finished", server, typeFinished, flip, alert.DecryptError},
		{"wrong Finished", client, typeFinished, flip, alert.DecryptError},
		{"short Finished", server, typeFinished, shorten, alert.DecryptError},
		{"short Finished", client, typeFinished, shorten, alert.DecryptError},
	} {
		t.Run(tt.name+"/"+tt.who, func(t *testing.T) {
			cert := testCerts()["p256"]
			c, s := client12Config(), serverTestConfig(cert)
			c.SignatureSchemes = []SignatureScheme{EcdsaSecp256r1Sha256, RsaPssRsaeSha256}
			s.SignatureSchemes, s.ClientAuth = c.SignatureSchemes, RequireClientCert
			c.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) { return cert, nil }
			map[string]*Config{server: s, client: c}[tt.who].rewrite = onMessage(tt.typ, tt.change)
			err := newPair(c, s).run(false)
			wantOutcome(t, err, tt.want)
			if err != nil && strings.HasPrefix(err.Error(), tt.who) {
				t.Errorf("not the other side has refused it: %v", err)
			}
		})
	}
}

// TestSuiteOfAnotherKey12 has a server with a key of one kind choose a suite for the
// other. All else would go well.
func TestSuiteOfAnotherKey12(t *testing.T) {
	for kind, suites := range map[string][2]uint16{"rsa": {0xc02f, 0xc02b}, "p256": {0xc02b, 0xc02f}} {
		for i, want := range []alert.Description{unfailing, alert.IllegalParameter} {
			server := serverTestConfig(testCerts()[kind])
			server.CipherSuites = suites[:1]
			server.rewrite = onMessage(typeServerHello, func(b []byte) []byte {
				m, err := parseServerHello(b)
				if err != nil {
					t.Fatal(err)
				}
				m.cipherSuite = suites[i]
				return m.append(nil)[messageHeaderLen:]
			})
			wantOutcome(t, newPair(client12Config(), server).run(false), want)
		}
	}
}

// TestKeysThatMayNotSign12 shows certificates that are for encryption only, or
// for signatures too.
func TestKeysThatMayNotSign12(t *testing.T) {
	for _, kind := range []string{"rsa", "p256"} {
		for usage, want := range map[x509.KeyUsage]alert.Description{
			x509.KeyUsageKeyEncipherment:                                 alert.UnsupportedCertificate,
			x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature: unfailing,
		} {
			good := testCerts()[kind]
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), NotBefore: testNow.Add(-time.Hour), NotAfter: testNow.Add(time.Hour), KeyUsage: usage,
			}
			der, err := x509.CreateCertificate(rand.Reader, template, template, good.PrivateKey.Public(), good.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			cert := &Certificate{Chain: [][]byte{der}, PrivateKey: good.PrivateKey}
			wantOutcome(t, newPair(client12Config(), serverTestConfig(cert)).run(false), want)
			client, server := client12Config(), serverTestConfig(good)
			server.ClientAuth = RequireClientCert
			client.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) { return cert, nil }
			wantOutcome(t, newPair(client, server).run(false), want)
		}
	}
}

// TestFinishedFollowsChangeCipherSpec: after a ChangeCipherSpec comes Finished,
// under the new keys, also where a session is resumed.
func TestFinishedFollowsChangeCipherSpec(t *testing.T) {
	changes := 0
	for _, sc := range scenarios() {
		var after *side // who has got a ChangeCipherSpec and nothing else yet
		err := walk(sc, func(_ *pair, in *input) bool {
			switch {
			case in.to.State().Version != versionTLS12:
			case in.ccs:
				after = in.to
				changes++
			case after == in.to:
				if in.level != LevelApplication || handshakeType(in.bytes[0]) != typeFinished {
					t.Errorf("%s: %v at level %v after ChangeCipherSpec", sc.name, handshakeType(in.bytes[0]), in.level)
				}
				after = nil
			}
			return true
		})
		if err != nil || after != nil {
			t.Errorf("%s: %v, nothing after ChangeCipherSpec: %v", sc.name, err, after != nil)
		}
	}
	if changes < 8 {
		t.Errorf("only %d ChangeCipherSpecs", changes)
	}
}
