package std

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// TestResumption resumes sessions of the other stack.
func TestResumption(t *testing.T) {
	unchanged := func(c, s *tls.Config) {}
	for _, test := range []struct {
		name    string
		version uint16
		change  func(c, s *tls.Config)
		resumes bool
	}{
		{"1.2", tls.VersionTLS12, unchanged, true},
		{"1.2/sha384", tls.VersionTLS12, func(c, _ *tls.Config) {
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		}, true},
		{"1.2/off", tls.VersionTLS12, func(_, s *tls.Config) { s.SessionTicketsDisabled = true }, false},
		{"1.3", tls.VersionTLS13, unchanged, true},
		{"1.3/retry", tls.VersionTLS13, func(_, s *tls.Config) { s.CurvePreferences = []tls.CurveID{tls.CurveP521} }, true},
		{"1.3/hybrid", tls.VersionTLS13, func(_, s *tls.Config) { s.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768} }, true},
		{"1.3/many-tickets", tls.VersionTLS13, func(_, s *tls.Config) { s.SessionTicketCount = 20 }, true},
		{"1.3/off", tls.VersionTLS13, func(_, s *tls.Config) { s.SessionTicketsDisabled = true }, false},
		{"1.3/client-certificate", tls.VersionTLS13, mutual, true},
		{"1.2/client-certificate", tls.VersionTLS12, mutual, true},
		{"1.3/alpn", tls.VersionTLS13, func(c, s *tls.Config) { c.NextProtos, s.NextProtos = []string{"h2"}, []string{"h2"} }, true},
	} {
		row(t, test.name, func(t *testing.T, r role) {
			c, s := pin(test.version, clientConfig()), serverConfig(pki.P256)
			c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			test.change(c, s)
			checkResumption(t, pair(r, c, s), test.resumes)
		})
	}
	for _, suite := range suites(tls.VersionTLS13, pki.P256) {
		row(t, "1.3/"+tls.CipherSuiteName(suite), func(t *testing.T, r role) {
			c, s := pin(tls.VersionTLS13, clientConfig()), serverConfig(pki.P256)
			c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			c.CipherSuites, s.CipherSuites = []uint16{suite}, []uint16{suite} // crypto/tls has no choice here
			checkResumption(t, pair(r, c, s), true)
		})
	}
}

func mutual(c, s *tls.Config) {
	c.Certificates = []tls.Certificate{certs[pki.RSA]}
	s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
}

func checkResumption(t *testing.T, p *pairing, resumes bool) {
	t.Helper()
	for i := range 4 {
		b := p.connect(t)
		b.echo(t) // the client has its tickets now
		cs, ss := b.client.ConnectionState(), b.server.ConnectionState()
		if want := resumes && i > 0; cs.DidResume != want || ss.DidResume != want {
			t.Errorf("connection %d: resumed: client %v, server %v, want %v", i, cs.DidResume, ss.DidResume, want)
		}
		if len(cs.VerifiedChains) == 0 || (len(ss.VerifiedChains) > 0) != (p.serverAuth() == tls.RequireAndVerifyClientCert) {
			t.Errorf("connection %d: chains: client %d, server %d", i, len(cs.VerifiedChains), len(ss.VerifiedChains))
		}
		b.close()
	}
}

// serverAuth is the policy of the side that is the server.
func (p *pairing) serverAuth() tls.ClientAuthType {
	if p.role == server {
		return p.ours.ClientAuth
	}
	return p.std.ClientAuth
}

// TestNewTicketKey does not resume sessions whose key is gone.
func TestNewTicketKey(t *testing.T) {
	eachVersion(t, "ticket", func(t *testing.T, r role, v uint16) {
		c, s := pin(v, clientConfig()), serverConfig(pki.P256)
		c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		p := pair(r, c, s)
		set := p.std.SetSessionTicketKeys
		if r == server {
			set = p.ours.SetSessionTicketKeys
		}
		for i, want := range []bool{false, true, false, true} {
			set([][32]byte{{byte(1 + i/2)}})
			b := p.connect(t)
			b.echo(t)
			if cs, ss := b.client.ConnectionState(), b.server.ConnectionState(); cs.DidResume != want || ss.DidResume != want {
				t.Errorf("connection %d: resumed: client %v, server %v, want %v", i, cs.DidResume, ss.DidResume, want)
			}
			b.close()
		}
	})
}

// TestKeyUpdate changes keys as we like; crypto/tls answers.
func TestKeyUpdate(t *testing.T) {
	for _, suite := range suites(tls.VersionTLS13, pki.P256) {
		row(t, tls.CipherSuiteName(suite), func(t *testing.T, r role) {
			c, s := clientConfig(), serverConfig(pki.P256)
			c.CipherSuites, s.CipherSuites = []uint16{suite}, []uint16{suite}
			b := pair(r, c, s).connect(t)
			for range 5 {
				if err := b.ours.KeyUpdate(context.Background()); err != nil {
					t.Fatal(err)
				}
				b.echo(t)
			}
			if err := b.ours.KeyUpdate(context.Background()); err != nil {
				t.Fatal(err)
			}
			// Twice, without anything in between.
			if err := b.ours.KeyUpdate(context.Background()); err != nil {
				t.Fatal(err)
			}
			b.echo(t)
			b.echo(t)
		})
	}
}

// TestKeyUpdateAfterEnd changes keys when the peer has ended its stream. It must
// not be asked to answer: crypto/tls would try, fail and miss our change.
func TestKeyUpdateAfterEnd(t *testing.T) {
	row(t, "1.3", func(t *testing.T, r role) {
		b := pair(r, clientConfig(), serverConfig(pki.P256)).connect(t)
		b.echo(t)
		if err := b.std.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ours.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		for range 3 {
			if err := b.ours.KeyUpdate(context.Background()); err != nil {
				t.Fatal(err)
			}
			say(t, b.ours, b.std, "still here")
		}
	})
}

// TestKeyUpdateInTraffic changes keys in the middle of 32 MiB each way: about
// once per burst that we send, and beside it. It ends before crypto/tls closes
// its stream: from then on that cannot answer, and loses track of our keys.
func TestKeyUpdateInTraffic(t *testing.T) {
	row(t, "1.3", func(t *testing.T, r role) {
		b := pair(r, clientConfig(), serverConfig(pki.P256)).connect(t)
		bursts, done := make(chan struct{}, 1), make(chan error, 1)
		updates := 0
		go func() {
			defer close(done)
			for range bursts {
				updates++
				if err := b.ours.KeyUpdate(context.Background()); err != nil {
					done <- err
					return
				}
			}
		}()
		st := begin(b, 32<<20, func() {
			select {
			case bursts <- struct{}{}:
			default: // the last one is not done yet
			}
		})
		err := st.sent()
		close(bursts)
		if err := errors.Join(err, <-done, st.end()); err != nil || updates < 10 {
			t.Errorf("after %d changes of keys: %v", updates, err)
		}
	})
}

// TestALPN negotiates an application protocol, or none, or fails.
func TestALPN(t *testing.T) {
	for _, test := range []struct {
		name           string
		client, server []string
		want           string
		fails          bool
	}{
		{"one", []string{"h2"}, []string{"h2"}, "h2", false},
		{"server-chooses", []string{"h2", "http/1.1"}, []string{"http/1.1", "h2"}, "http/1.1", false},
		{"client-only", []string{"h2"}, nil, "", false},
		{"server-only", nil, []string{"h2"}, "", false},
		{"disjoint", []string{"h2"}, []string{"other"}, "", true},
		{"h2-server", []string{"http/1.1"}, []string{"h2"}, "", false}, // as if there were no ALPN
	} {
		eachVersion(t, test.name, func(t *testing.T, r role, v uint16) {
			c, s := pin(v, clientConfig()), serverConfig(pki.P256)
			c.NextProtos, s.NextProtos = test.client, test.server
			b := pair(r, c, s).dial(t)
			cerr, serr := b.handshake()
			if test.fails {
				if !isAlert(cerr, noApplicationProtocol) || serr == nil {
					t.Errorf("client %v, server %v", cerr, serr)
				}
				return
			}
			if cerr != nil || serr != nil {
				t.Fatalf("client %v, server %v", cerr, serr)
			}
			for _, side := range []conn{b.client, b.server} {
				if got := side.ConnectionState().NegotiatedProtocol; got != test.want {
					t.Errorf("protocol %q", got)
				}
			}
		})
	}
}

// TestGetConfigForClient lets servers choose certificate, protocol and policy by
// name.
func TestGetConfigForClient(t *testing.T) {
	eachVersion(t, "by-name", func(t *testing.T, r role, v uint16) {
		s := serverConfig(pki.P256)
		s.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			if info.ServerName != serverName {
				return nil, fmt.Errorf("name %q", info.ServerName)
			}
			next := serverConfig(pki.P384)
			mutual(new(tls.Config), next)
			next.NextProtos = []string{"second"}
			return next, nil
		}
		c := pin(v, clientConfig())
		mutual(c, new(tls.Config))
		c.NextProtos = []string{"first", "second"}
		b := pair(r, c, s).connect(t)
		b.echo(t)
		cs, ss := b.client.ConnectionState(), b.server.ConnectionState()
		if cs.NegotiatedProtocol != "second" || !cs.PeerCertificates[0].Equal(certs[pki.P384].Leaf) || len(ss.VerifiedChains) == 0 {
			t.Errorf("protocol %q, %d chains of the client", cs.NegotiatedProtocol, len(ss.VerifiedChains))
		}
	})
}

// TestStaples sends an OCSP response and SCTs, which neither stack looks into.
func TestStaples(t *testing.T) {
	eachVersion(t, "both", func(t *testing.T, r role, v uint16) {
		cert := certs[pki.P256]
		cert.OCSPStaple, cert.SignedCertificateTimestamps = []byte("response"), [][]byte{[]byte("one"), []byte("two")}
		c := pin(v, clientConfig())
		b := pair(r, c, &tls.Config{Certificates: []tls.Certificate{cert}}).connect(t)
		s := b.client.ConnectionState()
		if string(s.OCSPResponse) != "response" || !slices.EqualFunc(s.SignedCertificateTimestamps, cert.SignedCertificateTimestamps, bytes.Equal) {
			t.Errorf("received %q and %q", s.OCSPResponse, s.SignedCertificateTimestamps)
		}
	})
}

// TestExporter compares exported keying material and, in TLS 1.2, tls-unique.
func TestExporter(t *testing.T) {
	eachVersion(t, "equal", func(t *testing.T, r role, v uint16) {
		b := pair(r, pin(v, clientConfig()), serverConfig(pki.P256)).connect(t)
		cs, ss := b.client.ConnectionState(), b.server.ConnectionState()
		for _, context := range [][]byte{nil, {}, []byte("context")} {
			got, err := cs.ExportKeyingMaterial("EXPERIMENTAL-conformance", context, 77)
			if err != nil {
				t.Fatal(err)
			}
			want, err := ss.ExportKeyingMaterial("EXPERIMENTAL-conformance", context, 77)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("context %q: client %x, server %x", context, got, want)
			}
		}
		if !bytes.Equal(cs.TLSUnique, ss.TLSUnique) || (len(cs.TLSUnique) > 0) != (v == tls.VersionTLS12) {
			t.Errorf("tls-unique: client %x, server %x", cs.TLSUnique, ss.TLSUnique)
		}
	})
}

// keyLog is a KeyLogWriter that keeps lines.
type keyLog struct {
	mu    sync.Mutex
	lines map[string]bool
}

func (k *keyLog) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lines == nil {
		k.lines = map[string]bool{}
	}
	k.lines[string(b)] = true
	return len(b), nil
}

// TestKeyLog compares what both sides log.
func TestKeyLog(t *testing.T) {
	eachVersion(t, "equal", func(t *testing.T, r role, v uint16) {
		clientLog, serverLog := new(keyLog), new(keyLog)
		c, s := pin(v, clientConfig()), serverConfig(pki.P256)
		c.KeyLogWriter, s.KeyLogWriter = clientLog, serverLog
		b := pair(r, c, s).connect(t)
		b.echo(t)
		for _, log := range []*keyLog{clientLog, serverLog} {
			// crypto/tls does not log it.
			maps.DeleteFunc(log.lines, func(line string, _ bool) bool { return strings.HasPrefix(line, "EXPORTER_SECRET ") })
		}
		if !maps.Equal(clientLog.lines, serverLog.lines) {
			t.Errorf("client %v, server %v", clientLog.lines, serverLog.lines)
		}
		if want := map[uint16]int{tls.VersionTLS12: 1, tls.VersionTLS13: 4}[v]; len(clientLog.lines) != want {
			t.Errorf("%d secrets, want %d", len(clientLog.lines), want)
		}
	})
}

// TestHalfClose lets one side end its stream before the other begins.
func TestHalfClose(t *testing.T) {
	answer := strings.Repeat("answer ", 200_000)
	halves := func(t *testing.T, first, second conn) {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			question, err := io.ReadAll(second)
			if string(question) != "question" {
				err = errors.Join(err, fmt.Errorf("question %q", question))
			}
			_, werr := io.WriteString(second, answer)
			done <- errors.Join(err, werr, second.CloseWrite())
		}()
		_, err := io.WriteString(first, "question")
		if err := errors.Join(err, first.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(first)
		if err := errors.Join(err, <-done); err != nil || string(got) != answer {
			t.Errorf("answer of %d bytes: %v", len(got), err)
		}
		if _, err := first.Write([]byte("more")); err == nil {
			t.Error("wrote after CloseWrite")
		}
	}
	eachVersion(t, "client-first", func(t *testing.T, r role, v uint16) {
		b := pair(r, pin(v, clientConfig()), serverConfig(pki.P256)).connect(t)
		halves(t, b.client, b.server)
	})
	eachVersion(t, "server-first", func(t *testing.T, r role, v uint16) {
		b := pair(r, pin(v, clientConfig()), serverConfig(pki.P256)).connect(t)
		halves(t, b.server, b.client)
	})
}

// TestTruncation cuts connections without close_notify.
func TestTruncation(t *testing.T) {
	eachVersion(t, "cut", func(t *testing.T, r role, v uint16) {
		b := pair(r, pin(v, clientConfig()), serverConfig(pki.P256)).connect(t)
		b.echo(t)
		if err := b.std.NetConn().Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := b.ours.Read(make([]byte, 1)); n != 0 || err != io.ErrUnexpectedEOF {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

// TestDistrust lets clients refuse the server's certificate.
func TestDistrust(t *testing.T) {
	eachVersion(t, "stranger", func(t *testing.T, r role, v uint16) {
		b := pair(r, pin(v, clientConfig()), &tls.Config{Certificates: []tls.Certificate{strange}}).dial(t)
		cerr, serr := b.handshake()
		if verify := (*tls.CertificateVerificationError)(nil); !errors.As(cerr, &verify) {
			t.Errorf("client: %v", cerr)
		}
		want := unknownCA
		if r == server {
			want = badCertificate // is all that crypto/tls says
		}
		if !isAlert(serr, want) {
			t.Errorf("server: %v, want %v", serr, want)
		}
	})
}

// TestUnprotectedAlert lets a TLS 1.3 client refuse the server's first flight
// before it protects anything itself, as OpenSSL's does: the server must tell
// what the client has said.
func TestUnprotectedAlert(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes string
		told  bool
	}{
		{"fatal", "\x15\x03\x03\x00\x02\x02\x30", true},
		{"close_notify", "\x15\x03\x03\x00\x02\x02\x00", false},
		{"warning", "\x15\x03\x03\x00\x02\x01\x30", false},
		{"two", "\x15\x03\x03\x00\x04\x02\x30\x02\x30", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := clientConfig()
			p := pair(server, c, serverConfig(pki.P256))
			b := p.dial(t)
			p.std.VerifyConnection = func(tls.ConnectionState) error {
				_, err := io.WriteString(b.raw[0], test.bytes)
				return errors.Join(errors.New("no"), err)
			}
			if _, err := b.handshake(); isAlert(err, unknownCA) != test.told {
				t.Errorf("server: %v", err)
			}
		})
	}
}
