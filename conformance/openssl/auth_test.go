package openssl

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

const (
	handshakeFailure    tls.AlertError = 40
	unknownCA           tls.AlertError = 48
	certificateRequired tls.AlertError = 116
)

// TestClientAuthOfOurs shows certificates of ours to s_server.
func TestClientAuthOfOurs(t *testing.T) {
	strange, err := tls.LoadX509KeyPair(pem.strange, pem.strange)
	if err != nil {
		t.Fatal(err)
	}
	missing := map[version]tls.AlertError{tls12: handshakeFailure, tls13: certificateRequired}
	type test struct {
		name  string
		args  []string
		certs []tls.Certificate
		alert map[version]tls.AlertError // nil where the server goes on
	}
	tests := []test{
		{"required/none", []string{"-Verify", "1"}, nil, missing},
		{"required/stranger", []string{"-Verify", "1"}, []tls.Certificate{strange}, map[version]tls.AlertError{tls12: unknownCA, tls13: unknownCA}},
		{"optional/none", []string{"-verify", "1"}, nil, nil},
		{"optional/good", []string{"-verify", "1"}, []tls.Certificate{certs[pki.P256]}, nil},
	}
	for _, kind := range pki.Kinds() {
		tests = append(tests, test{"required/" + string(kind), []string{"-Verify", "1"}, []tls.Certificate{certs[kind]}, nil})
	}
	for _, v := range versions {
		for _, test := range tests {
			row(t, v.name+"/"+test.name, func(t *testing.T) {
				args := slices.Concat([]string{"-rev", v.flag, "-CAfile", pem.root, "-verify_return_error"}, test.args)
				s := startServer(t, append(args, identity(pki.RSA)...))
				cfg := clientConfig()
				// Shown even where the server names another authority.
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if test.certs == nil {
						return new(tls.Certificate), nil
					}
					return &test.certs[0], nil
				}
				conn, err := s.try(t, cfg)
				if test.alert == nil {
					if err != nil {
						t.Fatal(err)
					}
					reversed(t, conn)
					return
				}
				if err == nil { // in TLS 1.3 the client is done before the server judges
					_, err = conn.Read(make([]byte, 1))
				}
				if !isAlert(err, test.alert[v]) {
					t.Errorf("got %v, want %v", err, test.alert[v])
				}
			})
		}
	}
}

// TestClientAuthOfTheirs lets our server judge s_client's certificates.
func TestClientAuthOfTheirs(t *testing.T) {
	type test struct {
		name   string
		policy tls.ClientAuthType
		cert   string
		alert  map[version]string // as s_client prints it
		shown  bool
	}
	missing := map[version]string{tls12: "alert number 40", tls13: "alert number 116"}
	unknown := map[version]string{tls12: "alert number 48", tls13: "alert number 48"}
	good := pem.identity[pki.P384]
	tests := []test{
		{"NoClientCert/good", tls.NoClientCert, good, nil, false},
		{"RequestClientCert/none", tls.RequestClientCert, "", nil, false},
		{"RequestClientCert/stranger", tls.RequestClientCert, pem.strange, nil, true},
		{"RequireAnyClientCert/none", tls.RequireAnyClientCert, "", missing, false},
		{"RequireAnyClientCert/stranger", tls.RequireAnyClientCert, pem.strange, nil, true},
		{"VerifyClientCertIfGiven/none", tls.VerifyClientCertIfGiven, "", nil, false},
		{"VerifyClientCertIfGiven/good", tls.VerifyClientCertIfGiven, good, nil, true},
		{"VerifyClientCertIfGiven/stranger", tls.VerifyClientCertIfGiven, pem.strange, unknown, false},
		{"RequireAndVerifyClientCert/none", tls.RequireAndVerifyClientCert, "", missing, false},
		{"RequireAndVerifyClientCert/stranger", tls.RequireAndVerifyClientCert, pem.strange, unknown, false},
	}
	for _, kind := range pki.Kinds() {
		tests = append(tests, test{"RequireAndVerifyClientCert/" + string(kind), tls.RequireAndVerifyClientCert, pem.identity[kind], nil, true})
	}
	for _, v := range versions {
		for _, test := range tests {
			row(t, v.name+"/"+test.name, func(t *testing.T) {
				cfg := v.pin(serverConfig(pki.RSA))
				cfg.ClientAuth, cfg.ClientCAs = test.policy, authority.Pool()
				l := listen(t, cfg)
				args := []string{v.flag}
				if test.cert != "" {
					args = append(args, "-cert", test.cert)
				}
				p := l.client(args)
				conn, err := l.try()
				if test.alert != nil {
					if err == nil {
						t.Error("our server accepts the client")
					}
					p.Expect(test.alert[v])
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				talk(t, conn, p, "us")
				if got := len(conn.ConnectionState().PeerCertificates) > 0; got != test.shown {
					t.Errorf("our server has a certificate: %v", got)
				}
			})
		}
	}
}

// TestDistrust lets each client refuse a server that a stranger vouches for.
func TestDistrust(t *testing.T) {
	strange, err := tls.LoadX509KeyPair(pem.strange, pem.strange)
	if err != nil {
		t.Fatal(err)
	}
	eachVersion(t, func(t *testing.T, v version) {
		s := startServer(t, []string{"-rev", v.flag, "-cert", pem.strange})
		_, err := s.try(t, clientConfig())
		if verify := (*tls.CertificateVerificationError)(nil); !errors.As(err, &verify) {
			t.Errorf("our client: %v", err)
		}
		s.Expect("alert number 48") // unknown_ca

		l := listen(t, v.pin(&tls.Config{Certificates: []tls.Certificate{strange}}))
		l.client([]string{"-verify_return_error"})
		conn, err := l.try()
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if !isAlert(err, unknownCA) {
			t.Errorf("our server: %v", err)
		}
	})
}

// TestEnd ends connections well and badly: by close_notify, and by the peer's
// sudden death.
func TestEnd(t *testing.T) {
	for _, v := range versions {
		row(t, v.name+"/s_server/close_notify", func(t *testing.T) {
			s := startServer(t, append(identity(pki.P256), v.flag, "-rev"))
			conn := s.dial(t, clientConfig())
			reversed(t, conn)
			send(t, conn, "CLOSE\n")
			ended(t, conn, io.EOF)
			send(t, conn, "half open") // their end does not end ours
		})
		row(t, v.name+"/s_server/killed", func(t *testing.T) {
			s := startServer(t, append(identity(pki.P256), v.flag))
			conn := s.dial(t, clientConfig())
			talk(t, conn, s.Process, "us")
			s.Kill()
			ended(t, conn, io.ErrUnexpectedEOF)
		})
		row(t, v.name+"/s_server/ours", func(t *testing.T) {
			s := startServer(t, append(identity(pki.P256), v.flag, "-naccept", "1"))
			conn := s.dial(t, clientConfig())
			talk(t, conn, s.Process, "us")
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			s.Expect("DONE")
		})
		row(t, v.name+"/s_client/close_notify", func(t *testing.T) {
			l := listen(t, v.pin(serverConfig(pki.P256)))
			p := l.client(nil)
			conn := l.accept()
			talk(t, conn, p, "us")
			p.Stdin.Close()
			ended(t, conn, io.EOF)
			send(t, conn, "half open")
		})
		row(t, v.name+"/s_client/killed", func(t *testing.T) {
			l := listen(t, v.pin(serverConfig(pki.P256)))
			p := l.client(nil)
			conn := l.accept()
			talk(t, conn, p, "us")
			p.Kill()
			ended(t, conn, io.ErrUnexpectedEOF)
		})
		row(t, v.name+"/s_client/ours", func(t *testing.T) {
			l := listen(t, v.pin(serverConfig(pki.P256)))
			p := l.client(nil)
			conn := l.accept()
			talk(t, conn, p, "us")
			if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
			p.Expect("closed")
			ended(t, conn, io.EOF)
			<-p.Done()
			if p.Err() != nil {
				t.Errorf("s_client: %v", p.Err())
			}
		})
	}
}

// ended checks how reading from conn ends.
func ended(t *testing.T, conn *tls.Conn, want error) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != want {
		t.Errorf("reading ends with %d bytes and %v, want %v", n, err, want)
	}
}

const noRenegotiation tls.AlertError = 100

// TestRenegotiation lets openssl ask for a renegotiation, which TLS 1.2 has and
// this stack refuses.
func TestRenegotiation(t *testing.T) {
	refused := func(t *testing.T, conn *tls.Conn) {
		t.Helper()
		_, err := conn.Read(make([]byte, 1))
		if got := tls.AlertError(0); !errors.As(err, &got) || got != noRenegotiation {
			t.Errorf("got %v, want %v", err, noRenegotiation)
		}
	}
	row(t, "s_client", func(t *testing.T) {
		l := listen(t, tls12.pin(serverConfig(pki.P256)))
		p := l.client([]string{"-tls1_2"})
		conn := l.accept()
		talk(t, conn, p, "us")
		p.Say("R")
		refused(t, conn)
		p.Expect("no renegotiation")
	})
	row(t, "s_server", func(t *testing.T) {
		s := startServer(t, append(identity(pki.P256), "-tls1_2"))
		conn := s.dial(t, clientConfig())
		talk(t, conn, s.Process, "us")
		s.Say("r")
		refused(t, conn)
		s.Expect("no renegotiation")
	})
}
