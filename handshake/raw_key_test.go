package handshake

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/keyschedule"
)

// rawKey is a certificate's key without the certificate.
func rawKey(cert *Certificate) *Certificate {
	spki, err := x509.MarshalPKIXPublicKey(cert.PrivateKey.Public())
	if err != nil {
		panic(err)
	}
	return &Certificate{Type: RawPublicKey, Chain: [][]byte{spki}, PrivateKey: cert.PrivateKey}
}

var (
	onlyRaw  = []CertificateType{RawPublicKey}
	rawFirst = []CertificateType{RawPublicKey, X509}
)

// withRawKey runs a test in TLS 1.2 and in TLS 1.3.
func withRawKey(t *testing.T, f func(t *testing.T, client, server *Config)) {
	for name, version := range map[string]uint16{"1.2": versionTLS12, "1.3": versionTLS13} {
		t.Run(name, func(t *testing.T) {
			client, server := clientTestConfig(), serverTestConfig(rawKey(testCerts()["p256"]))
			client.MaxVersion = version
			client.PeerCertificateTypes = rawFirst
			f(t, client, server)
		})
	}
}

// TestRawPublicKeys shows keys of every kind both ways, and resumes.
func TestRawPublicKeys(t *testing.T) {
	for kind := range testCerts() {
		withRawKey(t, func(t *testing.T, client, server *Config) {
			own := rawKey(testCerts()[kind])
			var seen []crypto.PublicKey
			judge := func(p *PeerCertificates) ([][]*x509.Certificate, error) {
				if len(p.Chain) > 0 {
					t.Error("there is a certificate")
				}
				seen = append(seen, p.Key)
				return nil, nil
			}
			client.CertificateTypes, client.VerifyPeer = onlyRaw, judge
			client.GetClientCertificate = func(_ context.Context, r *CertificateRequestInfo) (*Certificate, error) {
				if !own.FitsRequest(r) || testCerts()["p256"].FitsRequest(r) {
					t.Error("what fits the request is told wrongly")
				}
				return own, nil
			}
			server.ClientAuth, server.PeerCertificateTypes, server.VerifyPeer = RequireClientCert, []CertificateType{X509, RawPublicKey}, judge
			server.GetCertificate = func(_ context.Context, h *ClientHelloInfo) (*Certificate, error) {
				if !own.FitsHello(h) {
					t.Error("a raw public key does not fit")
				}
				return own, nil
			}
			server.Tickets = &fakeTickets{}
			p := mustRun(t, client, server)
			for _, s := range [...]*side{p.client, p.server} {
				state := s.State()
				if !equalKeys(state.PeerKey, own.PrivateKey.Public()) || !bytes.Equal(state.PeerRawKey, own.Chain[0]) || state.PeerCertificates != nil {
					t.Errorf("%s: peer's key is %T, raw %d bytes, certificates %d", s.name, state.PeerKey, len(state.PeerRawKey), len(state.PeerCertificates))
				}
			}
			if len(seen) != 2 {
				t.Errorf("%d keys were judged, want 2", len(seen))
			}
			client.Session = p.client.sessions[0]
			q := mustRun(t, client, server)
			if state := q.server.State(); !state.Resumed || !equalKeys(state.PeerKey, own.PrivateKey.Public()) {
				t.Errorf("resumed %v, with %T", state.Resumed, state.PeerKey)
			}
			server.PeerCertificateTypes = nil
			client.CertificateTypes = nil
			client.GetClientCertificate = nil
			server.ClientAuth = RequestClientCert
			if mustRun(t, client, server).server.State().Resumed {
				t.Error("a session with a raw public key is resumed where none is accepted")
			}
		})
	}
}

func equalKeys(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// TestCertificateTypesDefault: who is asked for a certificate in the usual way
// answers so, whatever else it could show.
func TestCertificateTypesDefault(t *testing.T) {
	withRawKey(t, func(t *testing.T, client, server *Config) {
		server.GetCertificate = func(context.Context, *ClientHelloInfo) (*Certificate, error) { return testCerts()["p256"], nil }
		server.ClientAuth = RequireClientCert
		client.CertificateTypes = rawFirst
		client.GetClientCertificate = func(_ context.Context, r *CertificateRequestInfo) (*Certificate, error) {
			if r.CertificateType != X509 {
				t.Errorf("server asks for %v", r.CertificateType)
			}
			return testCerts()["rsa"], nil
		}
		p := mustRun(t, client, server)
		if s := p.client.State(); s.PeerRawKey != nil || len(s.PeerCertificates) != 1 {
			t.Error("no certificate")
		}
		if s := p.server.State(); s.PeerRawKey != nil || len(s.PeerCertificates) != 1 {
			t.Error("no client certificate")
		}
	})
}

// TestCertificateTypesRefused are agreements that do not come about.
func TestCertificateTypesRefused(t *testing.T) {
	refuse := errors.New("not known")
	for name, tt := range map[string]struct {
		change func(client, server *Config)
		want   alert.Description
	}{
		"client takes no raw key": {func(c, _ *Config) { c.PeerCertificateTypes = nil }, alert.UnsupportedCertificate},
		"client takes only raw keys": {func(c, s *Config) {
			c.PeerCertificateTypes = onlyRaw
			s.GetCertificate = func(context.Context, *ClientHelloInfo) (*Certificate, error) { return testCerts()["p256"], nil }
		}, alert.UnsupportedCertificate},
		"client has no raw key": {func(_, s *Config) {
			s.ClientAuth, s.PeerCertificateTypes = RequestClientCert, onlyRaw
		}, alert.UnsupportedCertificate},
		"client shows the other kind": {func(c, s *Config) {
			s.ClientAuth, s.PeerCertificateTypes, c.CertificateTypes = RequestClientCert, onlyRaw, rawFirst
			c.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) { return testCerts()["rsa"], nil }
		}, alert.InternalError},
		"nobody knows the key": {func(c, _ *Config) {
			c.VerifyPeer = func(*PeerCertificates) ([][]*x509.Certificate, error) { return nil, refuse }
		}, alert.BadCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			withRawKey(t, func(t *testing.T, client, server *Config) {
				tt.change(client, server)
				wantFatal(t, newPair(client, server).run(false), tt.want)
			})
		})
	}
}

// TestCertificateTypesHostile are answers and lists that no honest peer makes.
func TestCertificateTypesHostile(t *testing.T) {
	hello := func(list []CertificateType) func(*clientHello) {
		return func(m *clientHello) { m.serverCertificateTypes = list }
	}
	for name, tt := range map[string]struct {
		change func(*clientHello)
		want   alert.Description
	}{
		"default alone": {hello([]CertificateType{X509}), alert.IllegalParameter},
		"empty":         {hello([]CertificateType{}), alert.DecodeError},
		"client's":      {func(m *clientHello) { m.clientCertificateTypes = []CertificateType{X509} }, alert.IllegalParameter},
	} {
		m := minimalHello()
		tt.change(m)
		_, err := parseClientHello(m.append(nil)[messageHeaderLen:])
		wantAlert(t, name, err, tt.want)
	}
	c := &clientHandshake{Engine: &Engine{cfg: clientTestConfig()}, hello: &clientHello{serverCertificateTypes: onlyRaw}}
	wantAlert(t, "not offered", c.noteCertificateTypes(certificateTypes{server: new(X509)}), alert.IllegalParameter)
	wantAlert(t, "not offered for the client", c.noteCertificateTypes(certificateTypes{client: new(RawPublicKey)}), alert.IllegalParameter)
}

// TestRawKeyForms are Certificate messages that hold no key, or more than one.
func TestRawKeyForms(t *testing.T) {
	e := &Engine{cfg: clientTestConfig(), peerType: RawPublicKey}
	spki := rawKey(testCerts()["p256"]).Chain[0]
	none := func(uint16) bool { return false }
	two := &certificate13{entries: []certificateEntry{{data: spki}, {data: spki}}}
	wantAlert(t, "two keys", e.takeCertificate13(two, none), alert.DecodeError)
	certificate := &certificate13{entries: []certificateEntry{{data: testCerts()["p256"].Chain[0]}}}
	wantAlert(t, "a certificate", e.takeCertificate13(certificate, none), alert.DecodeError)
	for n := range spki {
		wantAlert(t, "cut short", e.parseRawKey(spki[:n]), alert.DecodeError)
	}
	if m, err := parseRawKey12([]byte{0, 0, 0}); err != nil || len(m.chain) != 0 {
		t.Errorf("no key: %v, %v", m, err)
	}
	for _, b := range [][]byte{{}, {0, 0}, {0, 0, 1}, {0, 0, 1, 1, 1}} {
		if _, err := parseRawKey12(b); alert.Of(err) != alert.DecodeError {
			t.Errorf("%x: %v", b, err)
		}
	}
	m, err := parseRawKey12(appendRawKey12(nil, spki)[messageHeaderLen:])
	if err != nil || !slices.EqualFunc(m.chain, [][]byte{spki}, bytes.Equal) {
		t.Errorf("there and back: %v", err)
	}
	unknown, err := x509.MarshalPKIXPublicKey(testX25519(t))
	if err != nil {
		t.Fatal(err)
	}
	wantAlert(t, "a key that cannot sign", e.parseRawKey(unknown), alert.UnsupportedCertificate)
	var r wire.Reader
	if list := readCertificateTypes(&r); len(list) != 0 || !r.Failed() {
		t.Error("a list out of nothing")
	}
}

func testX25519(t *testing.T) crypto.PublicKey {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.PublicKey()
}

// TestRawKeyWithMore: encoding/asn1 passes over what follows the last element of a
// sequence. A key is shown in one way only, or its length would have no bound.
func TestRawKeyWithMore(t *testing.T) {
	for kind := range testCerts() {
		spki := rawKey(testCerts()[kind]).Chain[0]
		var outer asn1.RawValue
		if _, err := asn1.Unmarshal(spki, &outer); err != nil {
			t.Fatal(err)
		}
		more, err := asn1.Marshal(make([]byte, 1<<16))
		if err != nil {
			t.Fatal(err)
		}
		long, err := asn1.Marshal(asn1.RawValue{Class: outer.Class, Tag: outer.Tag, IsCompound: true, Bytes: slices.Concat(outer.Bytes, more)})
		if err != nil {
			t.Fatal(err)
		}
		e := &Engine{cfg: clientTestConfig()}
		if err := e.parseRawKey(spki); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		wantAlert(t, kind, e.parseRawKey(long), alert.DecodeError)
	}
}

// TestSessionOfUnwantedType: a client that takes raw public keys only does not
// offer a session that a certificate has begun, nor the reverse.
func TestSessionOfUnwantedType(t *testing.T) {
	withRawKey(t, func(t *testing.T, client, server *Config) {
		server.Tickets = &fakeTickets{}
		raw := mustRun(t, client, server).client.sessions[0]
		client.PeerCertificateTypes = nil
		server.GetCertificate = func(context.Context, *ClientHelloInfo) (*Certificate, error) { return testCerts()["p256"], nil }
		x509 := mustRun(t, client, server).client.sessions[0]
		client.Session = raw
		if mustRun(t, client, server).client.State().PeerRawKey != nil {
			t.Error("a session with a raw public key is resumed where none is accepted")
		}
		client.Session, client.PeerCertificateTypes = x509, onlyRaw
		p := newPair(client, server)
		wantFatal(t, p.run(false), alert.UnsupportedCertificate)
	})
}

// TestResumedTypeIsOffered: also where a session is resumed, a server answers with
// a type that its client has offered, or not at all.
func TestResumedTypeIsOffered(t *testing.T) {
	s := &serverHandshake{cert: rawKey(testCerts()["p256"])}
	for _, offered := range [][]CertificateType{onlyRaw, rawFirst, {1}, {X509, 1}, nil} {
		s.hello = &clientHello{serverCertificateTypes: offered}
		answer := s.serverType().server
		if contains(offered, RawPublicKey) != (answer != nil) {
			t.Errorf("to %v a server with a raw public key answers %v", offered, answer)
		}
	}
}

// TestFitsHelloOfAnyVersion: where no version is negotiated yet, any will do that
// both sides have.
func TestFitsHelloOfAnyVersion(t *testing.T) {
	for name, tt := range map[string]struct {
		kind     string
		versions []uint16
		scheme   SignatureScheme
		suite    uint16
		want     bool
	}{
		"PKCS #1 in 1.2":       {"rsa", []uint16{versionTLS12}, RsaPkcs1Sha256, keyschedule.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true},
		"PKCS #1 in 1.3":       {"rsa", []uint16{versionTLS13}, RsaPkcs1Sha256, keyschedule.TLS_AES_128_GCM_SHA256, false},
		"a suite for RSA":      {"p256", []uint16{versionTLS12}, EcdsaSecp256r1Sha256, keyschedule.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, false},
		"1.3, or no suite":     {"p256", []uint16{versionTLS12, versionTLS13}, EcdsaSecp256r1Sha256, keyschedule.TLS_AES_128_GCM_SHA256, true},
		"another curve in 1.2": {"p384", []uint16{0x0301, versionTLS12}, EcdsaSecp256r1Sha256, keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true},
		"nothing known":        {"p256", []uint16{0x0301}, EcdsaSecp256r1Sha256, keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, false},
	} {
		h := &ClientHelloInfo{
			ServerCertificateTypes: onlyRaw, SupportedVersions: tt.versions,
			SignatureSchemes: []SignatureScheme{tt.scheme}, CipherSuites: []uint16{tt.suite},
		}
		if got := rawKey(testCerts()[tt.kind]).FitsHello(h); got != tt.want {
			t.Errorf("%s: fits %v, want %v", name, got, tt.want)
		}
	}
}
