package tls

import (
	"bytes"
	"crypto/rand"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// A side of the matrix: this package or crypto/tls.
var roles = []struct {
	name           string
	client, server func() any
}{
	{"ours-ours", func() any { return clientConfig() }, func() any { return serverConfig("P256") }},
	{"ours-std", func() any { return clientConfig() }, func() any { return stdServerConfig("P256") }},
	{"std-ours", func() any { return stdClientConfig() }, func() any { return serverConfig("P256") }},
}

// set applies the same change to a Config of either kind.
func set(config any, ours func(*Config), std func(*stdtls.Config)) {
	switch c := config.(type) {
	case *Config:
		ours(c)
	case *stdtls.Config:
		std(c)
	}
}

func setCert(config any, kind string) {
	certs := []Certificate{testCert(kind)}
	set(config, func(c *Config) { c.Certificates = certs }, func(c *stdtls.Config) { c.Certificates = certs })
}

func setMax(config any, v uint16) {
	set(config, func(c *Config) { c.MaxVersion = v }, func(c *stdtls.Config) { c.MaxVersion = v })
}

func forEachRole(t *testing.T, f func(t *testing.T, client, server any)) {
	for _, r := range roles {
		t.Run(r.name, func(t *testing.T) { f(t, r.client(), r.server()) })
	}
}

var versions = []uint16{VersionTLS12, VersionTLS13}

func TestHandshakeVersionsAndCertificates(t *testing.T) {
	for _, v := range versions {
		for _, kind := range []string{"P256", "P384", "P521", "RSA", "Ed25519"} {
			t.Run(fmt.Sprintf("%s/%s", VersionName(v), kind), func(t *testing.T) {
				forEachRole(t, func(t *testing.T, client, server any) {
					for name, nw := range map[string]network{"pipe": pipes, "tcp": sockets} {
						setMax(server, v)
						setCert(server, kind)
						c, s := connect(t, nw, client, server)
						echo(t, c, s)
						cs, ss := c.ConnectionState(), s.ConnectionState()
						if cs.Version != v || ss.Version != v || cs.CipherSuite != ss.CipherSuite || cs.CurveID != ss.CurveID {
							t.Errorf("%s: client %x %x %v, server %x %x %v", name, cs.Version, cs.CipherSuite, cs.CurveID, ss.Version, ss.CipherSuite, ss.CurveID)
						}
						if len(cs.VerifiedChains) == 0 || !cs.HandshakeComplete || !ss.HandshakeComplete || ss.ServerName != testName {
							t.Errorf("%s: incomplete state: %+v", name, cs)
						}
					}
				})
			})
		}
	}
}

func TestHandshakeSuites(t *testing.T) {
	for _, suite := range CipherSuites() {
		kind := "RSA"
		if strings.Contains(suite.Name, "ECDSA") {
			kind = "P256"
		}
		t.Run(suite.Name, func(t *testing.T) {
			forEachRole(t, func(t *testing.T, client, server any) {
				only := []uint16{suite.ID}
				for _, config := range []any{client, server} {
					set(config, func(c *Config) { c.CipherSuites = only }, func(c *stdtls.Config) { c.CipherSuites = only })
					setMax(config, suite.SupportedVersions[0])
				}
				setCert(server, kind)
				c, s := connect(t, pipes, client, server)
				echo(t, c, s)
				if got := c.ConnectionState().CipherSuite; got != suite.ID {
					t.Errorf("negotiated %s", CipherSuiteName(got))
				}
			})
		})
	}
}

func TestHandshakeGroups(t *testing.T) {
	groups := []CurveID{X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, CurveP256, CurveP384, CurveP521}
	for _, v := range versions {
		for _, g := range groups {
			if v == VersionTLS12 && g > 0x1000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", VersionName(v), g), func(t *testing.T) {
				forEachRole(t, func(t *testing.T, client, server any) {
					only := []CurveID{g}
					set(server, func(c *Config) { c.CurvePreferences = only }, func(c *stdtls.Config) { c.CurvePreferences = only })
					setMax(server, v)
					c, s := connect(t, sockets, client, server)
					echo(t, c, s)
					cs, ss := c.ConnectionState(), s.ConnectionState()
					if cs.CurveID != g || ss.CurveID != g {
						t.Errorf("negotiated %v, %v", cs.CurveID, ss.CurveID)
					}
					// Clients send shares for the first hybrid and X25519 only.
					retry := v == VersionTLS13 && g != X25519MLKEM768 && g != X25519
					if cs.HelloRetryRequest != retry || ss.HelloRetryRequest != retry {
						t.Errorf("HelloRetryRequest: client %v, server %v, want %v", cs.HelloRetryRequest, ss.HelloRetryRequest, retry)
					}
				})
			})
		}
	}
}

func TestX448(t *testing.T) {
	client, server := clientConfig(), serverConfig("P256")
	server.CurvePreferences = []CurveID{X448}
	c, s := pair(t, pipes, client, server)
	if cerr, serr := handshakes(c, s); cerr == nil || serr == nil {
		t.Error("X448 is on though the client does not name it")
	}
	client = clientConfig()
	client.CurvePreferences = []CurveID{X448, X25519}
	c, s = connect(t, pipes, client, server)
	echo(t, c, s)
	if got := c.ConnectionState().CurveID; got != X448 {
		t.Errorf("negotiated %v", got)
	}
}

func TestALPN(t *testing.T) {
	for _, test := range []struct {
		client, server []string
		want           string
		fails          bool
	}{
		{[]string{"h2", "http/1.1"}, []string{"http/1.1", "h2"}, "http/1.1", false},
		{[]string{"h2"}, nil, "", false},
		{nil, []string{"h2"}, "", false},
		{[]string{"foo"}, []string{"h2"}, "", true},
	} {
		t.Run(fmt.Sprintf("%v-%v", test.client, test.server), func(t *testing.T) {
			for _, v := range versions {
				forEachRole(t, func(t *testing.T, client, server any) {
					set(client, func(c *Config) { c.NextProtos = test.client }, func(c *stdtls.Config) { c.NextProtos = test.client })
					set(server, func(c *Config) { c.NextProtos = test.server }, func(c *stdtls.Config) { c.NextProtos = test.server })
					setMax(server, v)
					c, s := pair(t, pipes, client, server)
					cerr, serr := handshakes(c, s)
					if test.fails {
						if cerr == nil || serr == nil || !strings.Contains(cerr.Error(), "no application protocol") {
							t.Errorf("client %v, server %v", cerr, serr)
						}
						return
					}
					if cerr != nil || serr != nil {
						t.Fatalf("client %v, server %v", cerr, serr)
					}
					if cp, sp := c.ConnectionState().NegotiatedProtocol, s.ConnectionState().NegotiatedProtocol; cp != test.want || sp != test.want {
						t.Errorf("client %q, server %q, want %q", cp, sp, test.want)
					}
				})
			}
		})
	}
}

// TestClientAuth tries each policy with no certificate, a good one and one that
// nobody signed.
func TestClientAuth(t *testing.T) {
	good := testCert("P256")
	stranger := makeAuthority("Stranger").issue(testKeys()["P384"], "stranger")
	certs := []struct {
		name string
		list []Certificate
	}{{"none", nil}, {"good", []Certificate{good}}, {"stranger", []Certificate{stranger}}}
	accepts := map[ClientAuthType][3]bool{
		NoClientCert:               {true, true, true},
		RequestClientCert:          {true, true, true},
		RequireAnyClientCert:       {false, true, true},
		VerifyClientCertIfGiven:    {true, true, false},
		RequireAndVerifyClientCert: {false, true, false},
	}
	for policy, accepted := range accepts {
		for i, cert := range certs {
			t.Run(fmt.Sprintf("%v/%s", policy, cert.name), func(t *testing.T) {
				for _, v := range versions {
					forEachRole(t, func(t *testing.T, client, server any) {
						setMax(server, v)
						pool := newAuthority().pool
						choose := func(*CertificateRequestInfo) (*Certificate, error) {
							if cert.list == nil {
								return new(Certificate), nil
							}
							return &cert.list[0], nil
						}
						set(client, func(c *Config) { c.GetClientCertificate = choose }, func(c *stdtls.Config) { c.GetClientCertificate = choose })
						set(server,
							func(c *Config) { c.ClientAuth, c.ClientCAs = policy, pool },
							func(c *stdtls.Config) { c.ClientAuth, c.ClientCAs = policy, pool })
						testClientAuth(t, client, server, accepted[i], policy != NoClientCert && i > 0)
					})
				}
			})
		}
	}
}

func testClientAuth(t *testing.T, client, server any, accepted, shown bool) {
	c, s := pair(t, sockets, client, server)
	_, err := handshakes(c, s) // a TLS 1.3 client may be done before the server judges
	if !accepted {
		if err == nil {
			t.Fatal("server accepted the client")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c, s)
	if got := len(s.ConnectionState().PeerCertificates); (got > 0) != shown {
		t.Errorf("server has %d certificates", got)
	}
}

// TestClientCertificateChoice lets the client choose among its certificates by
// the authorities that the server names.
func TestClientCertificateChoice(t *testing.T) {
	stranger := makeAuthority("Stranger").issue(testKeys()["P384"], "stranger")
	good := testCert("P256")
	for _, v := range versions {
		forEachRole(t, func(t *testing.T, client, server any) {
			setMax(server, v)
			certs := []Certificate{stranger, good}
			set(client, func(c *Config) { c.Certificates = certs }, func(c *stdtls.Config) { c.Certificates = certs })
			pool := newAuthority().pool
			set(server,
				func(c *Config) { c.ClientAuth, c.ClientCAs = RequireAndVerifyClientCert, pool },
				func(c *stdtls.Config) { c.ClientAuth, c.ClientCAs = RequireAndVerifyClientCert, pool })
			c, s := connect(t, sockets, client, server)
			echo(t, c, s)
		})
	}
}

func TestResumption(t *testing.T) {
	for _, v := range versions {
		t.Run(VersionName(v), func(t *testing.T) {
			forEachRole(t, func(t *testing.T, client, server any) {
				setMax(server, v)
				set(client,
					func(c *Config) { c.ClientSessionCache = NewLRUClientSessionCache(0) },
					func(c *stdtls.Config) { c.ClientSessionCache = stdtls.NewLRUClientSessionCache(0) })
				for i, want := range []bool{false, true, true} {
					c, s := connect(t, sockets, client, server)
					echo(t, c, s) // the client reads its ticket
					cs, ss := c.ConnectionState(), s.ConnectionState()
					if cs.DidResume != want || ss.DidResume != want {
						t.Fatalf("connection %d: client %v, server %v, want %v", i, cs.DidResume, ss.DidResume, want)
					}
					if len(cs.PeerCertificates) == 0 || len(cs.VerifiedChains) == 0 {
						t.Errorf("connection %d: no certificates", i)
					}
					c.Close()
					s.Close()
				}
			})
		})
	}
}

// TestResumptionWithClientCertificate checks that the client's identity comes
// back, and that it does not where the policy has changed.
func TestResumptionWithClientCertificate(t *testing.T) {
	for _, v := range versions {
		forEachRole(t, func(t *testing.T, client, server any) {
			setMax(server, v)
			certs, pool := []Certificate{testCert("P256")}, newAuthority().pool
			set(client,
				func(c *Config) { c.ClientSessionCache, c.Certificates = NewLRUClientSessionCache(0), certs },
				func(c *stdtls.Config) {
					c.ClientSessionCache, c.Certificates = stdtls.NewLRUClientSessionCache(0), certs
				})
			set(server,
				func(c *Config) { c.ClientAuth, c.ClientCAs = RequireAndVerifyClientCert, pool },
				func(c *stdtls.Config) { c.ClientAuth, c.ClientCAs = RequireAndVerifyClientCert, pool })
			for _, want := range []bool{false, true} {
				c, s := connect(t, sockets, client, server)
				echo(t, c, s)
				if state := s.ConnectionState(); state.DidResume != want || len(state.PeerCertificates) != 1 || len(state.VerifiedChains) == 0 {
					t.Errorf("resumed %v with %d certificates, want %v", state.DidResume, len(state.PeerCertificates), want)
				}
			}
			other := makeAuthority("Other").pool
			set(server, func(c *Config) { c.ClientCAs = other }, func(c *stdtls.Config) { c.ClientCAs = other })
			c, s := pair(t, sockets, client, server)
			if _, err := handshakes(c, s); err == nil {
				t.Error("resumed a client whose authority is not trusted any more")
			}
		})
	}
}

func TestStapledOCSPAndSCTs(t *testing.T) {
	cert := testCert("P256")
	cert.OCSPStaple = []byte("staple")
	cert.SignedCertificateTimestamps = [][]byte{[]byte("one"), []byte("two")}
	for _, v := range versions {
		forEachRole(t, func(t *testing.T, client, server any) {
			setMax(server, v)
			certs := []Certificate{cert}
			set(server, func(c *Config) { c.Certificates = certs }, func(c *stdtls.Config) { c.Certificates = certs })
			c, _ := connect(t, pipes, client, server)
			state := c.ConnectionState()
			if string(state.OCSPResponse) != "staple" || len(state.SignedCertificateTimestamps) != 2 {
				t.Errorf("staple %q, SCTs %q", state.OCSPResponse, state.SignedCertificateTimestamps)
			}
		})
	}
}

// TestExporters compares both sides' exported keying material, by the
// connection and by its state.
func TestExporters(t *testing.T) {
	for _, v := range versions {
		forEachRole(t, func(t *testing.T, client, server any) {
			setMax(server, v)
			c, s := connect(t, pipes, client, server)
			cs, ss := c.ConnectionState(), s.ConnectionState()
			for _, context := range [][]byte{nil, {}, []byte("context")} {
				want, err := ss.ExportKeyingMaterial("EXPERIMENTAL-test", context, 40)
				if err != nil {
					t.Fatal(err)
				}
				got, err := cs.ExportKeyingMaterial("EXPERIMENTAL-test", context, 40)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("context %q: %x, %x (%v)", context, got, want, err)
				}
				if conn, ok := c.(*Conn); ok {
					if got, err := conn.ExportKeyingMaterial("EXPERIMENTAL-test", context, 40); err != nil || !bytes.Equal(got, want) {
						t.Errorf("Conn with context %q: %x, %x (%v)", context, got, want, err)
					}
				}
			}
			if v == VersionTLS12 && (cs.TLSUnique == nil || !bytes.Equal(cs.TLSUnique, ss.TLSUnique)) {
				t.Errorf("tls-unique %x, %x", cs.TLSUnique, ss.TLSUnique)
			}
		})
	}
}

// TestKeyLog compares the secrets that both sides log.
func TestKeyLog(t *testing.T) {
	for _, v := range versions {
		forEachRole(t, func(t *testing.T, client, server any) {
			setMax(server, v)
			var logs [2]bytes.Buffer
			for i, config := range []any{client, server} {
				set(config, func(c *Config) { c.KeyLogWriter = &logs[i] }, func(c *stdtls.Config) { c.KeyLogWriter = &logs[i] })
			}
			connect(t, pipes, client, server)
			have := make(map[string]bool)
			for line := range strings.Lines(logs[1].String()) {
				have[line] = true
			}
			shared := 0
			for line := range strings.Lines(logs[0].String()) {
				if have[line] {
					shared++
				} else if !strings.HasPrefix(line, "EXPORTER_SECRET") { // crypto/tls does not log it
					t.Errorf("only the client logs %q", line)
				}
			}
			if want := map[uint16]int{VersionTLS12: 1, VersionTLS13: 4}[v]; shared < want {
				t.Errorf("%d shared secrets, want %d", shared, want)
			}
		})
	}
}

// TestTransfer sends 8 MiB each way at the same time.
func TestTransfer(t *testing.T) {
	data := make([]byte, 8<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		for _, dynamic := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/dynamic=%v", VersionName(v), dynamic), func(t *testing.T) {
				forEachRole(t, func(t *testing.T, client, server any) {
					setMax(server, v)
					for _, config := range []any{client, server} {
						set(config,
							func(c *Config) { c.DynamicRecordSizingDisabled = !dynamic },
							func(c *stdtls.Config) { c.DynamicRecordSizingDisabled = !dynamic })
					}
					c, s := connect(t, sockets, client, server)
					results := make(chan error, 4)
					for _, conn := range []tlsConn{c, s} {
						go func() { results <- send(conn, data) }()
						go func() { results <- receive(conn, data) }()
					}
					for range cap(results) {
						if err := <-results; err != nil {
							t.Error(err)
						}
					}
				})
			})
		}
	}
}

// send writes data in pieces of many sizes, and ends the sending side.
func send(conn tlsConn, data []byte) error {
	for size := 1; len(data) > 0; size = (size*3 + 1) % 200000 {
		n := min(size, len(data))
		if _, err := conn.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return conn.CloseWrite()
}

// receive compares what arrives, to its end, with data.
func receive(conn tlsConn, data []byte) error {
	sizes := []int{1, 100, 5000, 16384, 16385, 70000}
	for i := 0; ; i++ {
		buf := make([]byte, sizes[i%len(sizes)])
		n, err := conn.Read(buf)
		if n > len(data) || !bytes.Equal(buf[:n], data[:n]) {
			return errors.New("received wrong data")
		}
		data = data[n:]
		if err == io.EOF && len(data) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%d bytes missing: %w", len(data), err)
		}
	}
}
