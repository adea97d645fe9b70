package main

import (
	"bytes"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rows returns what a report says about something, once for each connection.
func rows(report, name string) []string {
	var values []string
	for _, m := range regexp.MustCompile(`(?m)^  `+regexp.QuoteMeta(name)+` +(.+)$`).FindAllStringSubmatch(report, -1) {
		values = append(values, m[1])
	}
	return values
}

func wantRow(t *testing.T, report, name string, want ...string) {
	t.Helper()
	if got := rows(report, name); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q in\n%s", name, got, want, report)
	}
}

// What is reported is what OpenSSL was told to negotiate.
func TestConnectOpenSSL(t *testing.T) {
	p := newPKI(t)
	for _, test := range []struct {
		server []string
		client []string
		report map[string]string
	}{
		{
			server: []string{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-groups", "X25519", "-alpn", "two"},
			client: []string{"--alpn", "one,two"},
			report: map[string]string{
				"version": "TLS 1.3", "cipher suite": "TLS_CHACHA20_POLY1305_SHA256", "group": "X25519", "ALPN": "two",
				"signature": "ECDSAWithP256AndSHA256", "hello retry request": "no", "extended master secret": "yes", "resumed": "no",
			},
		},
		{
			server: []string{"-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "-groups", "P-384"},
			report: map[string]string{
				"version": "TLS 1.3", "cipher suite": "TLS_AES_256_GCM_SHA384", "group": "CurveP384", "ALPN": "none",
				"hello retry request": "yes", "OCSP staple": "none", "SCTs": "0",
			},
		},
		{
			server: []string{"-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "-groups", "P-521"},
			client: []string{"--max", "1.2"},
			report: map[string]string{
				"version": "TLS 1.2", "cipher suite": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "group": "CurveP521",
				"signature": "ECDSAWithP256AndSHA256", "hello retry request": "no", "extended master secret": "yes",
			},
		},
	} {
		s := opensslServer(t, p.dir, append([]string{"-rev", "-cert", p.cert, "-key", p.key}, test.server...)...)
		// Data goes both ways, and OpenSSL closes when it is told of the end.
		r := handoff(t, strings.NewReader("hello\nworld\n"), append([]string{"connect", "localhost:" + s.port(), "--cacert", p.ca}, test.client...)...)
		r.want(t, exitOK, "")
		if r.stdout != "olleh\ndlrow\n" {
			t.Errorf("received %q", r.stdout)
		}
		for name, want := range test.report {
			wantRow(t, r.stderr, name, want)
		}
	}
}

func TestConnectResume(t *testing.T) {
	p := newPKI(t)
	for _, test := range []struct {
		version, flag string
		server        []string
		resumed       string
		said          string
	}{
		{"1.3", "--resume", nil, "yes", "received a session; connecting again"},
		{"1.2", "--reconnect=1", nil, "yes", "received a session; connecting again"},
		{"1.2", "--resume", []string{"-no_ticket"}, "yes", "received a session; connecting again"}, // by session ID
		{"1.2", "--resume", []string{"-no_ticket", "-no_cache"}, "no", "received no session; connecting again"},
	} {
		s := opensslServer(t, p.dir, append([]string{"-rev", "-cert", p.cert, "-key", p.key}, test.server...)...)
		r := handoff(t, strings.NewReader("again\n"), "connect", "localhost:"+s.port(), "--cacert", p.ca, test.flag, "--min", test.version, "--max", test.version)
		r.want(t, exitOK, "")
		if r.stdout != "niaga\n" || !strings.Contains(r.stderr, test.said) {
			t.Errorf("%v: received %q: %s", test, r.stdout, r.stderr)
		}
		wantRow(t, r.stderr, "resumed", "no", test.resumed)
	}
}

// What the server sends after our end still arrives, and the other way round.
func TestConnectHalfClose(t *testing.T) {
	p := newPKI(t)
	up, down := make([]byte, 5<<20), make([]byte, 7<<20)
	_, _ = rand.Read(up)
	_, _ = rand.Read(down)
	received := make(chan string, 1)
	config := &stdtls.Config{Certificates: []stdtls.Certificate{p.server}}
	late := goServer(t, config, func(c *stdtls.Conn) {
		data, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		received <- checksum(string(data))
		_, _ = c.Write(down)
		_ = c.CloseWrite()
	})
	early := goServer(t, config, func(c *stdtls.Conn) {
		_, _ = c.Write(down)
		data, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		received <- checksum(string(data))
		_ = c.CloseWrite()
	})
	for _, s := range []*background{late, early} {
		for _, version := range []string{"1.2", "1.3"} {
			r := handoff(t, bytes.NewReader(up), "connect", s.addr, "--cacert", p.ca, "--max", version, "--brief")
			r.want(t, exitOK, "")
			if got := <-received; got != checksum(string(up)) {
				t.Errorf("%s: the server received something else", version)
			}
			if r.stdout != string(down) {
				t.Errorf("%s: received the wrong %d bytes", version, len(r.stdout))
			}
			if n := len(rows(r.stderr, "first byte")); n != 1 {
				t.Errorf("%s: %d first bytes: %s", version, n, r.stderr)
			}
		}
	}
}

// The command ends with the server's end even if standard input goes on.
func TestConnectServerCloses(t *testing.T) {
	p := newPKI(t)
	config := &stdtls.Config{Certificates: []stdtls.Certificate{p.server}}
	for _, closeNotify := range []bool{true, false} {
		s := goServer(t, config, func(c *stdtls.Conn) {
			_, _ = io.WriteString(c, "bye")
			if closeNotify {
				_ = c.CloseWrite()
			}
		})
		cmd := command(t, "connect", s.addr, "--cacert", p.ca)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Run(); closeNotify != (err == nil) {
			t.Errorf("close_notify %v: %v", closeNotify, err)
		}
		in.Close()
		r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
		if closeNotify {
			r.want(t, exitOK, "")
		} else {
			r.want(t, exitError, "without close_notify")
		}
		if r.stdout != "bye" {
			t.Errorf("received %q", r.stdout)
		}
	}
}

func TestConnectStaples(t *testing.T) {
	p := newPKI(t)
	cert := p.server
	cert.OCSPStaple = []byte("a response")
	cert.SignedCertificateTimestamps = [][]byte{[]byte("one"), []byte("two")}
	names := make(chan string, 1)
	s := goServer(t, &stdtls.Config{Certificates: []stdtls.Certificate{cert}}, func(c *stdtls.Conn) {
		names <- c.ConnectionState().ServerName
		_ = c.CloseWrite()
	})
	r := handoff(t, nil, "connect", s.addr, "--cacert", p.ca, "--servername", "localhost")
	r.want(t, exitOK, "")
	wantRow(t, r.stderr, "OCSP staple", "10 bytes")
	wantRow(t, r.stderr, "SCTs", "2")
	if name := <-names; name != "localhost" {
		t.Errorf("asked for %q", name)
	}
}

func TestConnectVerification(t *testing.T) {
	p := newPKI(t)
	strange, key := p.issue(t, "strange", &x509.Certificate{DNSNames: []string{"a.example", "\x1b[31mred"}})
	s := serve(t, p.dir, "--cert", strange, "--key", key)
	connect := func(args ...string) result {
		return handoff(t, nil, append([]string{"connect", s.addr}, args...)...)
	}
	fingerprint := openssl(t, nil, "x509", "-in", strange, "-noout", "-fingerprint", "-sha256").stdout
	_, fingerprint, _ = strings.Cut(strings.TrimSpace(fingerprint), "=")
	for _, test := range []struct {
		args   []string
		status int
		says   string
		chain  bool
	}{
		{nil, exitError, "handoff: tls: failed to verify certificate: x509: ", true},
		{[]string{"--cacert", p.ca}, exitError, "handoff: tls: failed to verify certificate: x509: ", true},
		{[]string{"--brief"}, exitError, "handoff: tls: failed to verify certificate: x509: ", false},
		{[]string{"--fingerprint", fingerprint}, exitOK, "verification: ok, it is the certificate of --fingerprint", true},
		{[]string{"--cacert", p.ca, "--servername", "a.example"}, exitOK, "verification: ok, trusted by CN=handoff test ca", true},
		{[]string{"--cacert", p.ca, "--servername", "a.example", "--brief"}, exitOK, "verification: ok, trusted by CN=handoff test ca", false},
		{[]string{"--insecure"}, exitOK, "verification: ignored (--insecure), would have FAILED, x509: ", true},
		{[]string{"--insecure", "--brief"}, exitOK, "verification: ignored (--insecure), would have FAILED, x509: ", false},
	} {
		r := connect(test.args...)
		r.want(t, test.status, "tls: failed to verify certificate: x509: ")
		if !strings.Contains(r.stderr, "\n"+test.says) && !strings.HasPrefix(r.stderr, test.says) {
			t.Errorf("%v: there is no %q in\n%s", test.args, test.says, r.stderr)
		}
		if strings.Contains(r.stderr, fingerprint) != test.chain || strings.Contains(r.stderr, "a.example, ?[31mred") != test.chain {
			t.Errorf("%v: the chain is printed, or not:\n%s", test.args, r.stderr)
		}
		if failed := test.status != exitOK; strings.Contains(r.stderr, "verification:") == failed || strings.Count(r.stderr, "failed to verify") > 1 {
			t.Errorf("%v: the verification is not told once:\n%s", test.args, r.stderr)
		}
		if strings.Contains(r.stderr, "\x1b") || r.stdout != "" {
			t.Errorf("%v: printed %q and %q", test.args, r.stdout, r.stderr)
		}
	}
}

func TestConnectClientCertificate(t *testing.T) {
	p := newPKI(t)
	s := goServer(t, &stdtls.Config{
		Certificates: []stdtls.Certificate{p.server},
		ClientAuth:   stdtls.RequireAndVerifyClientCert,
		ClientCAs:    p.pool,
	}, func(c *stdtls.Conn) {
		_, _ = io.WriteString(c, hex.EncodeToString(c.ConnectionState().PeerCertificates[0].Raw))
		_ = c.CloseWrite()
	})
	handoff(t, nil, "connect", s.addr, "--cacert", p.ca).want(t, exitError, "certificate required")
	r := handoff(t, nil, "connect", s.addr, "--cacert", p.ca, "--cert", p.clientCert, "--key", p.clientKey)
	r.want(t, exitOK, "")
	if cert, err := stdtls.LoadX509KeyPair(p.clientCert, p.clientKey); err != nil || r.stdout != hex.EncodeToString(cert.Certificate[0]) {
		t.Errorf("the server has seen %q, %v", r.stdout, err)
	}
}

// A certificate that was asked for by name is sent even if its issuer is not
// among those that the server names.
func TestConnectOtherClientCertificate(t *testing.T) {
	p, stranger := newPKI(t), &pki{dir: t.TempDir()}
	stranger.issue(t, "stranger", &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign})
	other, key := stranger.issue(t, "other", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	for _, version := range []string{"1.2", "1.3"} {
		s := goServer(t, &stdtls.Config{
			Certificates: []stdtls.Certificate{p.server},
			ClientAuth:   stdtls.RequireAnyClientCert,
			ClientCAs:    p.pool, // which makes it name them
		}, func(c *stdtls.Conn) {
			_, _ = io.WriteString(c, c.ConnectionState().PeerCertificates[0].Issuer.CommonName)
			_ = c.CloseWrite()
		})
		r := handoff(t, nil, "connect", s.addr, "--cacert", p.ca, "--cert", other, "--key", key, "--min", version, "--max", version)
		r.want(t, exitOK, "")
		if r.stdout != "handoff test stranger" {
			t.Errorf("%s: the server has seen %q", version, r.stdout)
		}
	}
}

// The whole report, with what changes from run to run masked.
func TestConnectGolden(t *testing.T) {
	p := newPKI(t)
	s := goServer(t, &stdtls.Config{Certificates: []stdtls.Certificate{p.server}, NextProtos: []string{"http/1.1"}}, func(c *stdtls.Conn) {
		_, _ = io.WriteString(c, "data")
		_ = c.CloseWrite()
	})
	r := handoff(t, nil, "connect", s.addr, "--cacert", p.ca, "--alpn", "h2,http/1.1")
	r.want(t, exitOK, "")
	report := r.stderr
	for mask, pattern := range map[string]string{
		"127.0.0.1:PORT": `127\.0\.0\.1:\d+`,
		"FINGERPRINT":    `[0-9A-F]{2}(:[0-9A-F]{2}){31}`,
		"TLS_SUITE":      `TLS_[A-Z0-9_]+`,
		"DATE":           `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`,
		"TIME":           `[0-9.]+(µs|ms|s)\b`,
		"(REASON)":       `\(.*kernel.*\)`,
		"COUNT to $1":    `\d+ to (send|receive)`,
	} {
		report = regexp.MustCompile(pattern).ReplaceAllString(report, mask)
	}
	golden(t, "connect.golden", report)
}

func TestWithPort(t *testing.T) {
	for addr, want := range map[string]string{
		"example.com":      "example.com:443",
		"example.com:8443": "example.com:8443",
		"192.0.2.1":        "192.0.2.1:443",
		"2001:db8::1":      "[2001:db8::1]:443",
		"[2001:db8::1]":    "[2001:db8::1]:443",
		"[2001:db8::1]:5":  "[2001:db8::1]:5",
		"fe80::1%eth0":     "[fe80::1%eth0]:443",
		"localhost:https":  "localhost:https",
	} {
		if err := checkAddr(addr); err != nil {
			t.Error(err)
		}
		if got := withPort(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
