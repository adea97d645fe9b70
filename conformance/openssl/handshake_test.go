package openssl

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// signer is a certificate with a way to sign.
type signer struct {
	name    string
	kind    pki.Kind
	sigalgs string // restricts openssl, "" for no restriction
	shown   string // what s_client says about the server's signature
}

// signers returns the ways to sign in a version: RSA has two in TLS 1.2.
func signers(v version) []signer {
	list := []signer{
		{"ecdsa-p256", pki.P256, "", "ECDSA"},
		{"ecdsa-p384", pki.P384, "", "ECDSA"},
		{"ecdsa-p521", pki.P521, "", "ECDSA"},
		{"ed25519", pki.Ed25519, "", "ed25519"},
		{"rsa-2048-pss", pki.RSA, "rsa_pss_rsae_sha256:ECDSA+SHA256", "RSA-PSS"},
	}
	if v == tls12 {
		list = append(list, signer{"rsa-2048-pkcs1", pki.RSA, "RSA+SHA256:ECDSA+SHA256", "RSA"})
	}
	return list
}

// cell is one handshake of the matrix.
type cell struct {
	version
	suite
	group
	signer
}

// groupArgs restricts openssl to the cell's group. In TLS 1.2 the curve of an
// ECDSA certificate must be on the list too.
func (c cell) groupArgs() string {
	if _, ok := c.kind.Curve(); ok && c.version == tls12 {
		for _, g := range groups {
			if id, _ := c.kind.Curve(); id == g.id && g != c.group {
				return c.group.name + ":" + g.name
			}
		}
	}
	return c.group.name
}

// groupIDs is groupArgs for a client of ours.
func (c cell) groupIDs() []tls.CurveID {
	ids := []tls.CurveID{c.group.id}
	if id, ok := c.kind.Curve(); ok && c.version == tls12 {
		ids = append(ids, id)
	}
	return ids
}

func (c cell) args() []string {
	args := []string{c.flag, "-groups", c.groupArgs()}
	if c.sigalgs != "" {
		args = append(args, "-sigalgs", c.sigalgs)
	}
	return args
}

// suiteArgs restricts openssl to the cell's suite.
func (c cell) suiteArgs() []string {
	if c.version == tls13 {
		return []string{"-ciphersuites", c.suite.name}
	}
	return []string{"-cipher", c.suite.name}
}

// cells returns the whole matrix of a version.
func cells(v version) (list []cell) {
	suites := suites13
	if v == tls12 {
		suites = suites12
	}
	for _, g := range groups {
		if v == tls12 && g.id > 0x1000 {
			continue // hybrids are for TLS 1.3
		}
		for _, sig := range signers(v) {
			for _, s := range suites {
				if v == tls13 || s.rsa == (sig.kind == pki.RSA) {
					list = append(list, cell{v, s, g, sig})
				}
			}
		}
	}
	return list
}

func (c cell) String() string {
	return fmt.Sprintf("%s/%s/%s/%s", c.version.name, c.suite, c.group.name, c.signer.name)
}

// check compares what was negotiated with what the cell demands.
func (c cell) check(t *testing.T, conn *tls.Conn) {
	t.Helper()
	s := conn.ConnectionState()
	if s.Version != c.version.id || s.CipherSuite != c.suite.id || s.CurveID != c.group.id || s.HelloRetryRequest || s.DidResume {
		t.Errorf("negotiated %s, %s, %v; HelloRetryRequest %v, resumed %v", tls.VersionName(s.Version),
			tls.CipherSuiteName(s.CipherSuite), s.CurveID, s.HelloRetryRequest, s.DidResume)
	}
}

// TestServer connects our client to s_server. One s_server serves all suites.
func TestServer(t *testing.T) {
	for _, v := range versions {
		byServer := map[string][]cell{}
		for _, c := range cells(v) {
			key := strings.Join(append(c.args(), c.signer.name), " ")
			byServer[key] = append(byServer[key], c)
		}
		for _, list := range byServer {
			c := list[0]
			t.Run(fmt.Sprintf("%s/%s/%s", v.name, c.group.name, c.signer.name), func(t *testing.T) {
				t.Parallel()
				args := slices.Concat([]string{"-rev", "-serverpref", "-cipher", "ALL"}, identity(c.kind), c.args())
				s := startServer(t, args)
				for _, c := range list {
					t.Run(c.suite.String(), func(t *testing.T) {
						count(t)
						cfg := v.pin(clientConfig())
						cfg.CipherSuites, cfg.CurvePreferences = []uint16{c.suite.id}, c.groupIDs()
						conn := s.dial(t, cfg)
						reversed(t, conn)
						c.check(t, conn)
						conn.Close()
					})
				}
			})
		}
	}
}

// TestClient connects s_client to our server.
func TestClient(t *testing.T) {
	for _, v := range versions {
		for _, c := range cells(v) {
			row(t, c.String(), func(t *testing.T) {
				cfg := v.pin(serverConfig(c.kind))
				cfg.CipherSuites, cfg.CurvePreferences = []uint16{c.suite.id}, []tls.CurveID{c.group.id}
				l := listen(t, cfg)
				p := l.client(slices.Concat([]string{"-brief", "-verify_return_error", "-verify_hostname", serverName}, c.args(), c.suiteArgs()))
				conn := l.accept()
				text := p.Expect("Server Temp Key:")
				for _, want := range []string{
					"Protocol version: " + v.banner + "\n", "Ciphersuite: " + c.suite.name + "\n",
					"Signature type: " + c.shown + "\n", "Verification: OK\n",
				} {
					if !strings.Contains(text, want) {
						t.Errorf("s_client does not say %q", want)
					}
				}
				talk(t, conn, p, "us")
				c.check(t, conn)
			})
		}
	}
}
