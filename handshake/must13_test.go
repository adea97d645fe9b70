package handshake

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// The tests below look at what ours sends and takes where a peer alone would not
// notice. conformance/requirements names the sentences of RFC 9846.

// TestEmptyCertificate: a server without a certificate says so, in place of
// showing an empty list (RFC 9846, section 4.5.1).
func TestEmptyCertificate(t *testing.T) {
	for _, version := range bothVersions {
		client, server := clientTestConfig(), serverTestConfig(&Certificate{PrivateKey: testCerts()["p256"].PrivateKey})
		client.MaxVersion = version
		server.rewrite = func(raw []byte) []byte {
			t.Errorf("version %#x: the server sends %v", version, handshakeType(raw[0]))
			return raw
		}
		wantFatal(t, newPair(client, server).run(false), alert.UnrecognizedName)
	}
}

// TestCompressionBefore13: a client of TLS 1.2 may offer compression too.
func TestCompressionBefore13(t *testing.T) {
	cfg := clientTestConfig()
	cfg.MaxVersion = versionTLS12
	for _, tt := range []struct {
		methods []byte
		want    alert.Description
	}{
		{[]byte{0}, unfailing},
		{[]byte{1, 0}, unfailing},
		{[]byte{0, 1, 64}, unfailing},
		{[]byte{1}, alert.IllegalParameter},
	} {
		_, hello := startClient(t, cfg)
		hello.compressionMethods = tt.methods
		s := newPair(cfg, serverTestConfig(testCerts()["p256"])).server
		wantOutcome(t, s.Handle(LevelInitial, hello.append(nil)), tt.want)
		if s.drain(); tt.want == unfailing && len(s.out) == 0 {
			t.Errorf("methods %v: no answer", tt.methods)
		}
	}
}

// stapled is a certificate with all that can go with one, and a second one in its
// chain.
func stapled() *Certificate {
	cert := *testCerts()["p256"]
	cert.Chain = [][]byte{cert.Chain[0], testCerts()["rsa"].Chain[0]}
	cert.OCSPStaple, cert.SCTs = []byte("status"), [][]byte{[]byte("timestamp")}
	return &cert
}

// asked are the things that a peer may want to go with a certificate.
type asked struct{ ocsp, scts bool }

var everyAsked = []asked{{true, true}, {true, false}, {false, true}, {false, false}}

// sentCertificate has cfg note the Certificate that is sent.
func sentCertificate(t *testing.T, cfg *Config) *certificate13 {
	m := new(certificate13)
	cfg.rewrite = onMessage(typeCertificate, func(body []byte) []byte {
		parsed, err := parseCertificate13(body)
		if err != nil {
			t.Fatal(err)
		}
		*m = *parsed
		return body
	})
	return m
}

// checkSent wants cert's chain in its order, and in its first entry what was
// asked for and nothing else.
func checkSent(t *testing.T, m *certificate13, cert *Certificate, want asked) {
	t.Helper()
	if len(m.entries) != len(cert.Chain) {
		t.Fatalf("%d certificates, want %d", len(m.entries), len(cert.Chain))
	}
	for i, entry := range m.entries {
		if !bytes.Equal(entry.data, cert.Chain[i]) {
			t.Errorf("certificate %d is another one", i)
		}
		var extensions []uint16
		if i == 0 && want.ocsp {
			extensions = append(extensions, extStatusRequest)
		}
		if i == 0 && want.scts {
			extensions = append(extensions, extSCT)
		}
		if !slices.Equal(entry.extensions, extensions) {
			t.Errorf("asked for %+v: certificate %d has the extensions %v", want, i, entry.extensions)
		}
	}
}

// TestServerCertificateEntries has clients that ask for more and less to go with
// the server's certificate.
func TestServerCertificateEntries(t *testing.T) {
	for _, want := range everyAsked {
		cert := stapled()
		server := serverTestConfig(cert)
		m := sentCertificate(t, server)
		_, hello := startClient(t, twoGroups())
		hello.ocspStapling, hello.scts = want.ocsp, want.scts
		serverHelloFor(t, server, hello)
		checkSent(t, m, cert, want)
	}
}

// TestClientCertificateEntries has servers that ask for more and less to go with
// the client's certificate.
func TestClientCertificateEntries(t *testing.T) {
	for _, want := range everyAsked {
		cert := stapled()
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		server.ClientAuth = RequireClientCert
		server.rewrite = onMessage(typeCertificateRequest, func(body []byte) []byte {
			r, err := parseCertificateRequest13(body)
			if err != nil {
				t.Fatal(err)
			}
			r.ocspStapling, r.scts = want.ocsp, want.scts
			return r.append(nil)[messageHeaderLen:]
		})
		client.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) { return cert, nil }
		m := sentCertificate(t, client)
		state := mustRun(t, client, server).server.State()
		checkSent(t, m, cert, want)
		if got := string(state.OCSPStaple); want.ocsp != (got == "status") {
			t.Errorf("asked for %+v: the server has the OCSP response %q", want, got)
		}
		if want.scts != (len(state.SCTs) == 1) {
			t.Errorf("asked for %+v: the server has the SCTs %q", want, state.SCTs)
		}
	}
}

// retried returns a server, and the client that it has asked for another share,
// just before the second ClientHello.
func retried(t *testing.T, client, server *Config) *pair {
	t.Helper()
	server.Groups = []NamedGroup{Secp256r1}
	p := newPair(client, server)
	if err := p.client.Start(); err != nil {
		t.Fatal(err)
	}
	p.client.drain()
	if err := p.server.deliver(p.client, false); err != nil {
		t.Fatal(err)
	}
	p.server.drain()
	if err := p.client.deliver(p.server, false); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSuiteAfterRetry: a server's pre-shared keys come and go between two
// ClientHellos, and with them the suites that fit; that of the HelloRetryRequest
// stays (RFC 9846, section 4.2.4).
func TestSuiteAfterRetry(t *testing.T) {
	psk := pskOf(8)[0]
	psk.Hash = keyschedule.SHA384
	known := func(yes *bool) func(context.Context, []byte) (*ExternalPSK, error) {
		return func(context.Context, []byte) (*ExternalPSK, error) {
			if *yes {
				return &psk, nil
			}
			return nil, nil
		}
	}
	t.Run("key goes", func(t *testing.T) {
		yes := true
		client, server := twoGroups(), serverTestConfig(testCerts()["p256"])
		client.PSKs, server.GetPSK = []ExternalPSK{psk}, known(&yes)
		p := retried(t, client, server)
		yes = false
		if err := p.pump(false); err != nil {
			t.Fatal(err)
		}
		p.check(t)
		if s := p.client.State(); s.ExternalPSK != nil || s.Suite.Hash != keyschedule.SHA384 {
			t.Errorf("PSK %x, suite %s", s.ExternalPSK, s.Suite.Name)
		}
	})
	t.Run("key comes", func(t *testing.T) {
		yes := false
		server := serverTestConfig(testCerts()["p256"])
		server.GetPSK = known(&yes)
		p := retried(t, twoGroups(), server)
		yes = true
		hello := lastHello(t, p.client)
		// Nobody looks at the binder of a key that does not fit.
		hello.pskIdentities, hello.pskBinders = []pskIdentity{{identity: psk.Identity}}, [][]byte{make([]byte, 48)}
		if err := p.server.Handle(LevelInitial, hello.append(nil)); err != nil {
			t.Fatal(err)
		}
		if s := p.server.State(); s.ExternalPSK != nil || s.Suite.Hash != keyschedule.SHA256 {
			t.Errorf("PSK %x, suite %s", s.ExternalPSK, s.Suite.Name)
		}
	})
}

// TestAgeOfExternalPSK: an external key has no age, whatever a client says (RFC
// 9846, section 4.3.11).
func TestAgeOfExternalPSK(t *testing.T) {
	psk := pskOf(8)[0]
	client, server := twoGroups(), serverTestConfig(testCerts()["p256"])
	client.PSKs = []ExternalPSK{psk}
	server.GetPSK = func(context.Context, []byte) (*ExternalPSK, error) { return &psk, nil }
	for _, age := range []uint32{0, 1, 1 << 31, 1<<32 - 1} {
		_, hello := startClient(t, client)
		hello.pskIdentities[0].obfuscatedTicketAge = age
		raw := hello.append(nil)
		p := offeredPSK{kind: keyschedule.ExternalPSK, hash: keyschedule.SHA256, secret: keyschedule.NewSecret(psk.Secret)}
		hello.pskBinders[0] = p.appendBinder(nil, new(keyschedule.Transcript), truncateBinders(raw, hello))
		if m := serverHelloFor(t, server, hello); m.selectedIdentity == nil {
			t.Errorf("age %d: the key is not taken", age)
		}
	}
}
