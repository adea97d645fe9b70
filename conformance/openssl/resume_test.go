package openssl

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/session"
)

// TestServerResumption lets our client resume sessions of s_server.
func TestServerResumption(t *testing.T) {
	for _, test := range []struct {
		name string
		version
		args    []string
		resumes bool
	}{
		{"1.2/ticket", tls12, nil, true},
		{"1.2/session-id", tls12, []string{"-no_ticket"}, true},
		{"1.2/off", tls12, []string{"-no_ticket", "-no_cache"}, false},
		{"1.3/sha256", tls13, []string{"-ciphersuites", suites13[0].name}, true},
		{"1.3/sha384", tls13, []string{"-ciphersuites", suites13[1].name}, true},
		{"1.3/chacha20", tls13, []string{"-ciphersuites", suites13[2].name}, true},
		{"1.3/stateful", tls13, []string{"-no_ticket"}, true},
		{"1.3/four-tickets", tls13, []string{"-num_tickets", "4"}, true},
		{"1.3/retry", tls13, []string{"-groups", "P-384"}, true},
		{"1.3/off", tls13, []string{"-num_tickets", "0"}, false},
	} {
		row(t, test.name, func(t *testing.T) {
			s := startServer(t, slices.Concat([]string{"-rev", test.flag}, identity(pki.P256), test.args))
			cfg := clientConfig()
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			for i := range 3 {
				conn := s.dial(t, cfg)
				reversed(t, conn)
				state := conn.ConnectionState()
				if want := test.resumes && i > 0; state.DidResume != want {
					t.Errorf("connection %d: resumed %v, want %v", i, state.DidResume, want)
				}
				if state.Version != test.id || len(state.VerifiedChains) == 0 {
					t.Errorf("connection %d: version %x, %d chains", i, state.Version, len(state.VerifiedChains))
				}
				conn.Close()
			}
		})
	}
}

// TestClientResumption lets s_client resume sessions of our server.
func TestClientResumption(t *testing.T) {
	for _, test := range []struct {
		name string
		version
		args    []string
		change  func(*tls.Config)
		resumes bool
	}{
		{"1.2/ticket", tls12, nil, func(*tls.Config) {}, true},
		{"1.2/session-id", tls12, []string{"-no_ticket"}, func(c *tls.Config) { c.ServerSessionCache = session.NewServerCache(0, 0) }, true},
		{"1.2/off", tls12, []string{"-no_ticket"}, func(*tls.Config) {}, false},
		{"1.3/sha256", tls13, []string{"-ciphersuites", suites13[0].name}, func(*tls.Config) {}, true},
		{"1.3/sha384", tls13, []string{"-ciphersuites", suites13[1].name}, func(*tls.Config) {}, true},
		{"1.3/chacha20", tls13, []string{"-ciphersuites", suites13[2].name}, func(*tls.Config) {}, true},
		{"1.3/four-tickets", tls13, nil, func(c *tls.Config) { c.SessionTicketCount = 4 }, true},
		{"1.3/retry", tls13, nil, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, true},
	} {
		row(t, test.name, func(t *testing.T) {
			cfg := test.pin(serverConfig(pki.P256))
			test.change(cfg)
			l := listen(t, cfg)
			file := filepath.Join(t.TempDir(), "session")
			for i := range 3 {
				args := slices.Concat([]string{test.flag, "-sess_out", file}, test.args)
				says := "New, "
				if i > 0 && test.resumes {
					args, says = append(args, "-sess_in", file), "Reused, "
				}
				p := l.client(args)
				conn := l.accept()
				p.Expect(says + test.banner + ", Cipher is ")
				talk(t, conn, p, "us") // s_client has its ticket now
				if got, want := conn.ConnectionState().DidResume, says == "Reused, "; got != want {
					t.Errorf("connection %d: resumed %v, want %v", i, got, want)
				}
				p.End()
				conn.Close()
			}
			if _, err := os.Stat(file); (err == nil) != test.resumes {
				t.Errorf("s_client's session: %v", err)
			}
		})
	}
}

// TestReconnect lets s_client come back with its session five times.
func TestReconnect(t *testing.T) {
	for name, args := range map[string][]string{"ticket": nil, "session-id": {"-no_ticket"}} {
		row(t, "1.2/"+name, func(t *testing.T) {
			cfg := tls12.pin(serverConfig(pki.P256))
			cfg.ServerSessionCache = session.NewServerCache(0, 0)
			l := listen(t, cfg)
			p := l.client(append([]string{"-reconnect", "-tls1_2"}, args...))
			for i := range 6 {
				conn := l.accept()
				if got := conn.ConnectionState().DidResume; got != (i > 0) {
					t.Errorf("connection %d: resumed %v", i, got)
				}
				if i == 5 {
					talk(t, conn, p, "us")
				}
			}
			reused := regexp.MustCompile(`(?m)^Reused, TLSv1.2`)
			if got := len(reused.FindAllString(p.End(), -1)); got != 5 {
				t.Errorf("s_client resumed %d times", got)
			}
		})
	}
}

// TestResumptionWithClientCertificate checks that who the client is comes back
// with its session.
func TestResumptionWithClientCertificate(t *testing.T) {
	for _, v := range versions {
		row(t, v.name+"/server", func(t *testing.T) {
			s := startServer(t, slices.Concat([]string{"-rev", v.flag, "-Verify", "1", "-CAfile", pem.root}, identity(pki.P256)))
			cfg := clientConfig()
			cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			cfg.Certificates = []tls.Certificate{certs[pki.RSA]}
			for i := range 2 {
				conn := s.dial(t, cfg)
				reversed(t, conn)
				if got := conn.ConnectionState().DidResume; got != (i > 0) {
					t.Errorf("connection %d: resumed %v", i, got)
				}
				conn.Close()
			}
		})
		row(t, v.name+"/client", func(t *testing.T) {
			cfg := v.pin(serverConfig(pki.P256))
			cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
			l := listen(t, cfg)
			file := filepath.Join(t.TempDir(), "session")
			for i, args := range [][]string{{"-sess_out", file}, {"-sess_in", file}} {
				p := l.client(slices.Concat(args, identity(pki.RSA)))
				conn := l.accept()
				talk(t, conn, p, "us")
				s := conn.ConnectionState()
				if s.DidResume != (i > 0) || len(s.VerifiedChains) == 0 || !s.PeerCertificates[0].Equal(certs[pki.RSA].Leaf) {
					t.Errorf("connection %d: resumed %v, %d chains", i, s.DidResume, len(s.VerifiedChains))
				}
				p.End()
			}
		})
	}
}
