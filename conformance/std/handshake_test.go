package std

import (
	"fmt"
	"slices"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// The groups that both have; crypto/tls has no X448.
var groups = []tls.CurveID{
	tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024,
	tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521,
}

// curveOf is the classic half of each hybrid.
var curveOf = map[tls.CurveID]tls.CurveID{
	tls.X25519MLKEM768: tls.X25519, tls.SecP256r1MLKEM768: tls.CurveP256, tls.SecP384r1MLKEM1024: tls.CurveP384,
}

func isHybrid(g tls.CurveID) bool { return g > 0x1000 }

// signer is a certificate with a way to sign.
type signer struct {
	name string
	kind pki.Kind
	only []tls.SignatureScheme
}

// signers returns the ways to sign in a version: RSA has two in TLS 1.2.
func signers(v uint16) (list []signer) {
	for _, kind := range pki.Kinds() {
		if kind != pki.RSA {
			list = append(list, signer{string(kind), kind, nil})
		}
	}
	list = append(list, signer{"rsa-2048-pss", pki.RSA, []tls.SignatureScheme{tls.PSSWithSHA256}})
	if v == tls.VersionTLS12 {
		list = append(list, signer{"rsa-2048-pkcs1", pki.RSA, []tls.SignatureScheme{tls.PKCS1WithSHA256}})
	}
	return list
}

// suites returns the suites that fit a version and a kind of certificate.
func suites(v uint16, kind pki.Kind) (list []uint16) {
	rsa := map[bool][]uint16{
		true: {
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		},
		false: {
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		},
	}
	if v == tls.VersionTLS13 {
		return []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}
	}
	return rsa[kind == pki.RSA]
}

// TestHandshake is the full product of versions, suites, groups, certificates
// and roles.
func TestHandshake(t *testing.T) {
	for name, v := range versions {
		for _, sig := range signers(v) {
			for _, suite := range suites(v, sig.kind) {
				for _, g := range groups {
					if isHybrid(g) && v == tls.VersionTLS12 {
						continue
					}
					row(t, fmt.Sprintf("%s/%s/%v/%s", name, tls.CipherSuiteName(suite), g, sig.name), func(t *testing.T, r role) {
						cert := certs[sig.kind]
						cert.SupportedSignatureAlgorithms = sig.only
						c, s := clientConfig(), &tls.Config{Certificates: []tls.Certificate{cert}}
						for _, cfg := range []*tls.Config{c, s} {
							pin(v, cfg).CipherSuites = []uint16{suite}
							cfg.CurvePreferences = []tls.CurveID{g}
						}
						if curve, ok := sig.kind.Curve(); ok && v == tls.VersionTLS12 && curve != g {
							c.CurvePreferences = append(c.CurvePreferences, curve) // for the certificate
						}
						b := pair(r, c, s).connect(t)
						b.echo(t)
						for _, side := range []conn{b.client, b.server} {
							if s := side.ConnectionState(); s.Version != v || s.CipherSuite != suite || s.CurveID != g || s.HelloRetryRequest || s.DidResume {
								t.Errorf("negotiated %s, %s, %v; HelloRetryRequest %v", tls.VersionName(s.Version),
									tls.CipherSuiteName(s.CipherSuite), s.CurveID, s.HelloRetryRequest)
							}
						}
					})
				}
			}
		}
	}
}

// TestHelloRetryRequest has clients with two groups and servers with one of
// them. Both sides must agree on whether that takes a second ClientHello.
func TestHelloRetryRequest(t *testing.T) {
	for i, a := range groups {
		for _, b := range groups[i+1:] {
			row(t, fmt.Sprintf("%v-%v", a, b), func(t *testing.T, r role) {
				retries := 0
				for _, only := range []tls.CurveID{a, b} {
					c, s := clientConfig(), serverConfig(pki.P256)
					c.CurvePreferences, s.CurvePreferences = []tls.CurveID{a, b}, []tls.CurveID{only}
					sides := pair(r, c, s).connect(t)
					sides.echo(t)
					cs, ss := sides.client.ConnectionState(), sides.server.ConnectionState()
					if cs.CurveID != only || ss.CurveID != only || cs.HelloRetryRequest != ss.HelloRetryRequest {
						t.Errorf("client: %v, retry %v; server: %v, retry %v; want %v",
							cs.CurveID, cs.HelloRetryRequest, ss.CurveID, ss.HelloRetryRequest, only)
					}
					if cs.HelloRetryRequest {
						retries++
					}
				}
				want := 1
				// Beside a hybrid, clients of ours send a share for the first
				// group that is none, and those of crypto/tls for the hybrid's
				// own curve.
				if r == client && isHybrid(a) && !isHybrid(b) || r == server && curveOf[a] == b {
					want = 0
				}
				if retries != want {
					t.Errorf("%d of the two connections took a HelloRetryRequest, want %d", retries, want)
				}
			})
		}
	}
}

// TestBigChain sends certificates that fill several records.
func TestBigChain(t *testing.T) {
	low := authority
	for i := range 60 {
		next, err := low.Below(fmt.Sprint("Intermediate ", i))
		if err != nil {
			t.Fatal(err)
		}
		low = next
	}
	cert, err := low.Issue(pki.P256, serverName)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(slices.Concat(cert.Certificate...)); n < 1<<14 {
		t.Fatalf("the chain has only %d bytes", n)
	}
	eachVersion(t, "mutual", func(t *testing.T, r role, v uint16) {
		c, s := pin(v, clientConfig()), &tls.Config{Certificates: []tls.Certificate{cert}}
		c.Certificates = s.Certificates
		s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
		b := pair(r, c, s).connect(t)
		b.echo(t)
		for _, side := range []conn{b.client, b.server} {
			if got := len(side.ConnectionState().PeerCertificates); got != len(cert.Certificate) {
				t.Errorf("%d certificates arrived, want %d", got, len(cert.Certificate))
			}
		}
	})
}

const (
	badCertificate        tls.AlertError = 42
	handshakeFailure      tls.AlertError = 40
	unknownCA             tls.AlertError = 48
	certificateRequired   tls.AlertError = 116
	noApplicationProtocol tls.AlertError = 120
)

// TestClientAuth tries each policy with no certificate, with good ones and with
// one that a stranger signed. What matters is what the client is told.
func TestClientAuth(t *testing.T) {
	type shown struct {
		name string
		cert *tls.Certificate
	}
	list := []shown{{"none", new(tls.Certificate)}, {"stranger", &strange}}
	for _, kind := range pki.Kinds() {
		cert := certs[kind]
		list = append(list, shown{string(kind), &cert})
	}
	for _, policy := range []tls.ClientAuthType{
		tls.NoClientCert, tls.RequestClientCert, tls.RequireAnyClientCert,
		tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert,
	} {
		for _, show := range list {
			eachVersion(t, fmt.Sprintf("%v/%s", policy, show.name), func(t *testing.T, r role, v uint16) {
				c, s := pin(v, clientConfig()), serverConfig(pki.RSA)
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return show.cert, nil }
				s.ClientAuth, s.ClientCAs = policy, authority.Pool()
				want := refusal(v, policy, show.name)
				if want == 0 {
					b := pair(r, c, s).connect(t)
					b.echo(t)
					asked := policy != tls.NoClientCert && show.name != "none"
					if got := len(b.server.ConnectionState().PeerCertificates) > 0; got != asked {
						t.Errorf("the server has a certificate: %v", got)
					}
					return
				}
				b := pair(r, c, s).dial(t)
				cerr, serr := b.handshake()
				if serr == nil {
					t.Error("the server accepts the client")
				}
				if cerr == nil { // in TLS 1.3 the client is done before the server judges
					_, cerr = b.client.Read(make([]byte, 1))
				}
				if !isAlert(cerr, want) {
					t.Errorf("the client gets %v, want %v", cerr, want)
				}
			})
		}
	}
}

// refusal returns the alert that a client must get, 0 for none.
func refusal(v uint16, policy tls.ClientAuthType, shown string) tls.AlertError {
	switch {
	case shown == "none" && (policy == tls.RequireAnyClientCert || policy == tls.RequireAndVerifyClientCert):
		if v == tls.VersionTLS12 {
			return handshakeFailure
		}
		return certificateRequired
	case shown == "stranger" && policy >= tls.VerifyClientCertIfGiven:
		return unknownCA
	}
	return 0
}
