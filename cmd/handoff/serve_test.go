package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-handoff/tls"
)

// serveDirectory starts a server with a throw-away certificate.
func serveDirectory(t *testing.T, args ...string) (s *background, cacert, sum string) {
	t.Helper()
	dir, sum := directory(t)
	cacert = filepath.Join(t.TempDir(), "cert.pem")
	return serve(t, append([]string{dir, "--cert-out", cacert}, args...)...), cacert, sum
}

func TestServeCurl(t *testing.T) {
	s, cacert, sum := serveDirectory(t)
	for version, shown := range map[string]string{"1.2": "TLSv1.2", "1.3": "TLSv1.3"} {
		r := curl(t, "-v", "--cacert", cacert, "--tlsv"+version, "--tls-max", version, s.url("/large"))
		if r.status != 0 || checksum(r.stdout) != sum {
			t.Errorf("%s: curl ended with %d and %d bytes: %s", version, r.status, len(r.stdout), r.stderr)
		}
		if !strings.Contains(r.stderr, "SSL connection using "+shown) || !strings.Contains(r.stderr, "HTTP/1.1 200") {
			t.Errorf("%s: %s", version, r.stderr)
		}
	}
	if r := curl(t, "--cacert", cacert, "-r", "2-4", s.url("/small")); r.stdout != "few" {
		t.Errorf("a range is %q", r.stdout)
	}
	if r := curl(t, "--cacert", cacert, s.url("/")); !strings.Contains(r.stdout, `<a href="large">`) {
		t.Errorf("the list of files is %q", r.stdout)
	}
	// Two files on one connection.
	two := curl(t, "-v", "--cacert", cacert, s.url("/small"), s.url("/small"))
	if two.stdout != "a few bytes\na few bytes\n" || !strings.Contains(two.stderr, "Re-using existing connection") {
		t.Errorf("two files: %q, %s", two.stdout, two.stderr)
	}
	if r := curl(t, s.url("/small")); r.status != 60 {
		t.Errorf("without trust, curl ended with %d: %s", r.status, r.stderr)
	}
}

func TestServeOpenSSLClient(t *testing.T) {
	s, cacert, _ := serveDirectory(t)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		request := strings.NewReader("GET /small HTTP/1.0\r\n\r\n")
		r := openssl(t, request, "s_client", "-connect", s.addr, "-servername", "localhost", "-verify_hostname", "localhost",
			"-verify_return_error", "-CAfile", cacert, version, "-alpn", "h2,http/1.1", "-brief", "-ign_eof")
		if r.status != 0 || !strings.HasSuffix(r.stdout, "\r\n\r\na few bytes\n") || !strings.Contains(r.stderr, "Verification: OK") {
			t.Errorf("%s: s_client ended with %d: %q, %s", version, r.status, r.stdout, r.stderr)
		}
	}
}

func TestServeVersions(t *testing.T) {
	for _, test := range []struct {
		server, client string
	}{
		{"--max=1.2", "--tlsv1.3"},
		{"--min=1.3", "--tls-max=1.2"},
	} {
		s, cacert, _ := serveDirectory(t, test.server)
		clientFlag := strings.Split(test.client, "=")
		if r := curl(t, append(clientFlag, "--cacert", cacert, s.url("/small"))...); r.status != 35 {
			t.Errorf("%s against %s: curl ended with %d: %s", test.client, test.server, r.status, r.stderr)
		}
		if r := curl(t, "--cacert", cacert, s.url("/small")); r.status != 0 {
			t.Errorf("curl against %s ended with %d: %s", test.server, r.status, r.stderr)
		}
	}
}

var printedFingerprint = regexp.MustCompile(`(?m)^certificate SHA-256 ([0-9A-F:]{95})$`)

func TestServeFingerprint(t *testing.T) {
	p := newPKI(t)
	throwAway, cacert, _ := serveDirectory(t)
	given := serve(t, p.dir, "--cert", p.cert, "--key", p.key)
	for file, s := range map[string]*background{cacert: throwAway, p.cert: given} {
		m := printedFingerprint.FindStringSubmatch(s.stderr())
		want := openssl(t, nil, "x509", "-in", file, "-noout", "-fingerprint", "-sha256").stdout
		if m == nil || !strings.EqualFold(strings.TrimSpace(want), "sha256 Fingerprint="+m[1]) {
			t.Errorf("printed %q, OpenSSL says %q", s.stderr(), want)
		}
	}
	if r := curl(t, "--cacert", p.ca, given.url("/server.pem")); r.status != 0 {
		t.Errorf("curl ended with %d: %s", r.status, r.stderr)
	}
	text := openssl(t, nil, "x509", "-in", cacert, "-noout", "-text").stdout
	for _, want := range []string{"ASN1 OID: prime256v1", "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1", "CA:FALSE", "TLS Web Server Authentication"} {
		if !strings.Contains(text, want) {
			t.Errorf("the throw-away certificate has no %q:\n%s", want, text)
		}
	}
}

func TestServeClientCA(t *testing.T) {
	p := newPKI(t)
	dir, _ := directory(t)
	s := serve(t, dir, "--cert", p.cert, "--key", p.key, "--client-ca", p.ca)
	stranger := newPKI(t)
	for _, version := range []string{"1.2", "1.3"} {
		flags := []string{"--cacert", p.ca, "--tlsv" + version, "--tls-max", version, s.url("/small")}
		if r := curl(t, flags...); r.status == 0 {
			t.Errorf("%s: curl got %q without a certificate", version, r.stdout)
		}
		if r := curl(t, append(flags, "--cert", stranger.clientCert, "--key", stranger.clientKey)...); r.status == 0 {
			t.Errorf("%s: curl got %q with a stranger's certificate", version, r.stdout)
		}
		if r := curl(t, append(flags, "--cert", p.clientCert, "--key", p.clientKey)...); r.stdout != "a few bytes\n" {
			t.Errorf("%s: curl ended with %d: %s", version, r.status, r.stderr)
		}
		get := []string{"get", "--cacert", p.ca, "--min", version, "--max", version, s.url("/small")}
		handoff(t, nil, get...).want(t, exitError, "remote error")
		r := handoff(t, nil, append(get, "--cert", p.clientCert, "--key", p.clientKey)...)
		r.want(t, exitOK, "")
		if r.stdout != "a few bytes\n" {
			t.Errorf("%s: got %q", version, r.stdout)
		}
	}
}

// Nothing outside of the directory is served, and nothing in it that blocks.
func TestServeConfinement(t *testing.T) {
	p := newPKI(t)
	dir, _ := directory(t)
	for name, target := range map[string]string{"out": p.ca, "up": "../" + filepath.Base(dir) + "/small", "in": "small"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir, "--cert", p.cert, "--key", p.key)
	for path, want := range map[string]string{
		"/small": "200", "/in": "200", "/out": "404", "/up": "404", "/pipe": "404", "/missing": "404",
		"/../" + filepath.Base(p.dir) + "/ca.pem": "404", "/..%2f..%2fetc/passwd": "404",
	} {
		r := curl(t, "--path-as-is", "--cacert", p.ca, "-o", os.DevNull, "-w", "%{http_code}", s.url(path))
		if r.stdout != want {
			t.Errorf("%s: %s, want %s", path, r.stdout, want)
		}
	}
}

func TestServeOthers(t *testing.T) {
	s, _, _ := serveDirectory(t, "--verbose")
	r := curl(t, "-w", "%{http_code}", "http://"+s.addr+"/small")
	if r.stdout != "This server speaks HTTPS.\n400" {
		t.Errorf("plain HTTP is answered by %q", r.stdout)
	}
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, strings.Repeat("garbage", 100)); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(c) // it may be reset, as not all was read
	if strings.Contains(string(answer), "HTTP") {
		t.Errorf("garbage is answered by %q", answer)
	}
	if status := s.stop(t, syscall.SIGTERM); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{"handshake failed: plain HTTP request\n", "handshake failed: tls: "} {
		if !strings.Contains(s.stderr(), want) {
			t.Errorf("the log has no %q: %s", want, s.stderr())
		}
	}
}

func TestServeLog(t *testing.T) {
	line := regexp.MustCompile(` 127\.0\.0\.1:\d+ GET "/small" 200 12 bytes, TLS 1\.3 TLS_\w+\n`)
	for _, verbose := range []bool{false, true} {
		args := map[bool][]string{true: {"-v"}}[verbose]
		s, cacert, _ := serveDirectory(t, args...)
		curl(t, "--cacert", cacert, s.url("/small"))
		s.stop(t, syscall.SIGINT)
		if n := len(line.FindAllString(s.stderr(), -1)); (n == 1) != verbose {
			t.Errorf("verbose %v: %s", verbose, s.stderr())
		}
	}
}

// A transfer in progress is completed, while nobody new comes in; connections
// that have said nothing yet do not matter.
func TestServeGracefulStop(t *testing.T) {
	s, cacert, sum := serveDirectory(t)
	silent, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	pool, err := loadPool(cacert)
	if err != nil {
		t.Fatal(err)
	}
	client := newHTTPClient(&tls.Config{RootCAs: pool})
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	response, err := fetch(ctx, client, s.url("/large"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for { // until it has seen the signal
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			break
		}
		c.Close()
	}
	data, err := io.ReadAll(response.Body)
	if err != nil || checksum(string(data)) != sum {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
	if status := s.wait(); status != exitOK {
		t.Errorf("exit status %d: %s", status, s.stderr())
	}
}

// net/http gives whole files to the connection, through all wrappers.
func TestServeReadFrom(t *testing.T) {
	var w http.ResponseWriter = &countingWriter{}
	if _, ok := w.(io.ReaderFrom); !ok {
		t.Error("countingWriter hides ReadFrom")
	}
	d, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.root.Close()
	f, err := d.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := f.(*os.File); !ok {
		t.Errorf("files are served as %T", f)
	}
}
