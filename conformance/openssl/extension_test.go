package openssl

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/conformance/internal/process"
	"github.com/go-handoff/tls/keyschedule"
)

// TestHelloRetryRequest lets the client send a key share that the server cannot
// use.
func TestHelloRetryRequest(t *testing.T) {
	for _, first := range groups {
		for _, second := range groups {
			if first == second {
				continue
			}
			name := first.name + "-" + second.name
			row(t, name+"/s_client", func(t *testing.T) {
				cfg := serverConfig(pki.P256)
				cfg.CurvePreferences = []tls.CurveID{second.id}
				l := listen(t, cfg)
				p := l.client([]string{"-tls1_3", "-groups", first.name + ":" + second.name})
				conn := l.accept()
				talk(t, conn, p, "us")
				checkRetry(t, conn, second)
			})
		}
	}
	for i, second := range groups {
		if i == 0 {
			continue
		}
		first := groups[0] // is what our client likes best, and sends a share for
		row(t, first.name+"-"+second.name+"/s_server", func(t *testing.T) {
			s := startServer(t, append(identity(pki.P256), "-tls1_3", "-rev", "-groups", second.name))
			cfg := clientConfig()
			cfg.CurvePreferences = []tls.CurveID{first.id, second.id}
			conn := s.dial(t, cfg)
			reversed(t, conn)
			checkRetry(t, conn, second)
		})
	}
}

func checkRetry(t *testing.T, conn *tls.Conn, g group) {
	t.Helper()
	if s := conn.ConnectionState(); !s.HelloRetryRequest || s.CurveID != g.id {
		t.Errorf("HelloRetryRequest %v, group %v", s.HelloRetryRequest, s.CurveID)
	}
}

// isAlert reports whether err says that the peer sent this alert.
func isAlert(err error, alert tls.AlertError) bool {
	var op *net.OpError
	var got tls.AlertError
	return errors.As(err, &op) && op.Op == "remote error" && errors.As(op.Err, &got) && got == alert
}

const (
	illegalParameter      tls.AlertError = 47
	decryptError          tls.AlertError = 51
	noApplicationProtocol tls.AlertError = 120
)

// TestALPN negotiates an application protocol, or none, or fails.
func TestALPN(t *testing.T) {
	for _, test := range []struct {
		name         string
		ours, theirs []string
		want         string // "" for none
		fails        bool
	}{
		{"one", []string{"h2"}, []string{"h2"}, "h2", false},
		{"second", []string{"h2", "http/1.1"}, []string{"foo", "http/1.1"}, "http/1.1", false},
		{"ours-only", []string{"h2"}, nil, "", false},
		{"theirs-only", nil, []string{"h2"}, "", false},
		{"disjoint", []string{"h2"}, []string{"other"}, "", true},
	} {
		for _, v := range versions {
			args := []string{v.flag}
			if test.theirs != nil {
				args = append(args, "-alpn", strings.Join(test.theirs, ","))
			}
			row(t, v.name+"/"+test.name+"/s_server", func(t *testing.T) {
				s := startServer(t, append(append(args, "-rev"), identity(pki.P256)...))
				cfg := clientConfig()
				cfg.NextProtos = test.ours
				conn, err := s.try(t, cfg)
				if test.fails {
					if !isAlert(err, noApplicationProtocol) {
						t.Errorf("handshake: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				reversed(t, conn)
				if got := conn.ConnectionState().NegotiatedProtocol; got != test.want {
					t.Errorf("protocol %q", got)
				}
			})
			row(t, v.name+"/"+test.name+"/s_client", func(t *testing.T) {
				cfg := serverConfig(pki.P256)
				cfg.NextProtos = test.ours
				l := listen(t, cfg)
				p := l.client(args)
				conn, err := l.try()
				if test.fails {
					p.Expect("alert number 120") // no_application_protocol
					if err == nil {
						t.Error("handshake succeeded")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if test.want == "" {
					p.Expect("No ALPN negotiated")
				} else {
					p.Expect("ALPN protocol: " + test.want + "\n")
				}
				if got := conn.ConnectionState().NegotiatedProtocol; got != test.want {
					t.Errorf("protocol %q", got)
				}
			})
		}
	}
}

// TestServerName lets the server choose a certificate by name.
func TestServerName(t *testing.T) {
	names := []string{serverName, "other.example"}
	other, err := authority.Issue(pki.P384, "other.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		for _, name := range names {
			row(t, v.name+"/"+name+"/s_server", func(t *testing.T) {
				s := startServer(t, append(identity(pki.P256), v.flag, "-rev", "-servername", "other.example", "-cert2", pem.other, "-key2", pem.other))
				cfg := clientConfig()
				cfg.ServerName = name
				conn := s.dial(t, cfg)
				reversed(t, conn)
			})
			row(t, v.name+"/"+name+"/s_client", func(t *testing.T) {
				cfg := v.pin(serverConfig(pki.P256))
				cfg.Certificates = append(cfg.Certificates, other)
				l := listen(t, cfg)
				p := l.client([]string{"-servername", name, "-verify_hostname", name, "-verify_return_error"})
				conn := l.accept()
				talk(t, conn, p, "us")
				if got := conn.ConnectionState().ServerName; got != name {
					t.Errorf("server name %q", got)
				}
			})
		}
		row(t, v.name+"/none/s_client", func(t *testing.T) {
			l := listen(t, v.pin(serverConfig(pki.P256)))
			p := l.client([]string{"-noservername"})
			conn := l.accept()
			talk(t, conn, p, "us")
			if got := conn.ConnectionState().ServerName; got != "" {
				t.Errorf("server name %q", got)
			}
		})
	}
}

// TestStapledOCSP sends and receives a stapled OCSP response.
func TestStapledOCSP(t *testing.T) {
	cert := certs[pki.P256]
	staple, err := ocsp.CreateResponse(authority.Cert(), authority.Cert(), ocsp.Response{
		Status: ocsp.Good, SerialNumber: cert.Leaf.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
	}, authority.Signer())
	if err != nil {
		t.Fatal(err)
	}
	cert.OCSPStaple = staple
	eachVersion(t, func(t *testing.T, v version) {
		file := filepath.Join(t.TempDir(), "staple")
		if err := os.WriteFile(file, staple, 0o600); err != nil {
			t.Fatal(err)
		}
		s := startServer(t, append(identity(pki.P256), v.flag, "-rev", "-status_file", file))
		conn := s.dial(t, clientConfig())
		reversed(t, conn)
		if !bytes.Equal(conn.OCSPResponse(), staple) {
			t.Errorf("received staple %x, want %x", conn.OCSPResponse(), staple)
		}

		l := listen(t, v.pin(&tls.Config{Certificates: []tls.Certificate{cert}}))
		for _, test := range []struct{ arg, want string }{{"-status", "Cert Status: good"}, {"-no_comp", "Cipher is"}} {
			p := l.client([]string{test.arg})
			conn := l.accept()
			p.Expect(test.want)
			talk(t, conn, p, "us")
			if got := strings.Contains(p.End(), "OCSP"); got != (test.arg == "-status") {
				t.Errorf("%s: s_client got a staple: %v", test.arg, got)
			}
		}
	})
}

// keyLog is a KeyLogWriter that keeps lines.
type keyLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (k *keyLog) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(b)
}

// secrets returns the lines of a key log, sorted, without comments.
func secrets(text string) []string {
	set := map[string]bool{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			set[line] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// TestKeyLog compares what both sides log: the same labels, with the same
// secrets.
func TestKeyLog(t *testing.T) {
	check := func(t *testing.T, v version, ours *keyLog, file string) {
		t.Helper()
		theirs, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, want := secrets(ours.text.String()), secrets(string(theirs))
		if !slices.Equal(got, want) {
			t.Errorf("we log\n%s\nopenssl logs\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if n := map[version]int{tls12: 1, tls13: 5}[v]; len(want) != n {
			t.Errorf("openssl logs %d secrets, want %d", len(want), n)
		}
	}
	for _, v := range versions {
		row(t, v.name+"/s_server", func(t *testing.T) {
			file, log := filepath.Join(t.TempDir(), "keys"), new(keyLog)
			s := startServer(t, append(identity(pki.P256), v.flag, "-rev", "-keylogfile", file))
			cfg := clientConfig()
			cfg.KeyLogWriter = log
			reversed(t, s.dial(t, cfg))
			s.Kill()
			check(t, v, log, file)
		})
		row(t, v.name+"/s_client", func(t *testing.T) {
			file, log := filepath.Join(t.TempDir(), "keys"), new(keyLog)
			cfg := v.pin(serverConfig(pki.P256))
			cfg.KeyLogWriter = log
			l := listen(t, cfg)
			p := l.client([]string{"-keylogfile", file})
			conn := l.accept()
			talk(t, conn, p, "us")
			p.End()
			check(t, v, log, file)
		})
	}
}

// exported is keying material as openssl prints it.
var exported = regexp.MustCompile(`Keying material: ([0-9A-F]+)`)

// TestExporter compares exported keying material.
func TestExporter(t *testing.T) {
	const label = "EXPERIMENTAL-conformance"
	args := []string{"-keymatexport", label, "-keymatexportlen", "77"}
	check := func(t *testing.T, conn *tls.Conn, p *process.Process) {
		t.Helper()
		talk(t, conn, p, "us")
		want := p.Match(exported)[1]
		got, err := conn.ExportKeyingMaterial(label, nil, 77)
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.ToUpper(hex.EncodeToString(got)); s != want {
			t.Errorf("we export %s, openssl %s", s, want)
		}
	}
	for _, v := range versions {
		row(t, v.name+"/s_server", func(t *testing.T) {
			s := startServer(t, slices.Concat(identity(pki.P256), []string{v.flag}, args))
			check(t, s.dial(t, clientConfig()), s.Process)
		})
		row(t, v.name+"/s_client", func(t *testing.T) {
			l := listen(t, v.pin(serverConfig(pki.P256)))
			p := l.client(args)
			check(t, l.accept(), p)
		})
	}
}

// TestExternalPSK authenticates by a pre-shared key, without certificates.
func TestExternalPSK(t *testing.T) {
	secret := bytes.Repeat([]byte{0x5a, 0xa5}, 16)
	args := []string{"-tls1_3", "-psk", hex.EncodeToString(secret), "-psk_identity", "device 7"}
	psk := tls.ExternalPSK{Identity: []byte("device 7"), Secret: secret, Hash: keyschedule.SHA256}
	wrong := tls.ExternalPSK{Identity: []byte("device 7"), Secret: secret[1:], Hash: keyschedule.SHA256}

	row(t, "s_server", func(t *testing.T) {
		s := startServer(t, append(args, "-nocert", "-rev"))
		conn := s.dial(t, &tls.Config{ExternalPSKs: []tls.ExternalPSK{psk}, ExternalPSKOnly: true})
		reversed(t, conn)
		if len(conn.ConnectionState().PeerCertificates) > 0 {
			t.Error("there are certificates")
		}
	})
	row(t, "s_server/retry", func(t *testing.T) {
		s := startServer(t, append(args, "-nocert", "-rev", "-groups", "P-521"))
		conn := s.dial(t, &tls.Config{ExternalPSKs: []tls.ExternalPSK{psk}, ExternalPSKOnly: true})
		reversed(t, conn)
		checkRetry(t, conn, group{id: tls.CurveP521})
	})
	row(t, "s_server/wrong", func(t *testing.T) {
		s := startServer(t, append(args, "-nocert", "-rev"))
		_, err := s.try(t, &tls.Config{ExternalPSKs: []tls.ExternalPSK{wrong}, ExternalPSKOnly: true})
		// By RFC 9846, section 4.3.11, it should be the former.
		if !isAlert(err, decryptError) && !isAlert(err, illegalParameter) {
			t.Errorf("handshake: %v", err)
		}
	})
	server := func(known tls.ExternalPSK) *tls.Config {
		return &tls.Config{GetExternalPSK: func(_ context.Context, id []byte) (*tls.ExternalPSK, error) {
			if !bytes.Equal(id, known.Identity) {
				return nil, nil
			}
			return &known, nil
		}}
	}
	for name, extra := range map[string][]string{"s_client": nil, "s_client/retry": {"-groups", "P-521:X25519"}} {
		row(t, name, func(t *testing.T) {
			cfg := server(psk)
			cfg.CurvePreferences = []tls.CurveID{tls.X25519}
			l := listen(t, cfg)
			p := l.client(append(args, extra...))
			conn := l.accept()
			talk(t, conn, p, "us")
			if got := conn.ConnectionState().HelloRetryRequest; got != (extra != nil) {
				t.Errorf("HelloRetryRequest: %v", got)
			}
		})
	}
	row(t, "s_client/wrong", func(t *testing.T) {
		l := listen(t, server(wrong))
		p := l.client(args)
		if _, err := l.try(); err == nil {
			t.Error("handshake succeeded")
		}
		p.Expect("alert number 51") // decrypt_error
	})
}
