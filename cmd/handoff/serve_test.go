package main

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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
		if !strings.Contains(r.stderr, "SSL connection using "+shown) || !strings.Contains(r.stderr, "HTTP/2 200") {
			t.Errorf("%s: %s", version, r.stderr)
		}
	}
	if r := curl(t, "-v", "--cacert", cacert, "--http1.1", s.url("/large")); checksum(r.stdout) != sum || !strings.Contains(r.stderr, "HTTP/1.1 200") {
		t.Errorf("HTTP/1.1: %d bytes: %s", len(r.stdout), r.stderr)
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
			"-verify_return_error", "-CAfile", cacert, version, "-alpn", "http/1.1", "-brief", "-ign_eof")
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
		m := s.await(t, printedFingerprint)
		want := openssl(t, nil, "x509", "-in", file, "-noout", "-fingerprint", "-sha256").stdout
		if !strings.EqualFold(strings.TrimSpace(want), "sha256 Fingerprint="+m[1]) {
			t.Errorf("printed %q, OpenSSL says %q", s.stderr(), want)
		}
	}
	// The command that is printed works as it stands.
	printed := throwAway.await(t, regexp.MustCompile(`(?m)^fetch with: handoff (get --fingerprint \S+ https://\S+/)$`))
	r := handoff(t, nil, strings.Fields(printed[1])...)
	r.want(t, exitOK, "")
	if !strings.Contains(r.stdout, `<a href="small">`) {
		t.Errorf("%s: %q", printed[1], r.stdout)
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
		// By HTTP/2, net/http can lose the reason: it writes before it reads.
		handoff(t, nil, append(get, "--http1.1")...).want(t, exitError, "remote error")
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
	for _, name := range []string{".private", "sub", "sub/.deep"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".env", ".private/key", "sub/.deep/key", "sub/seen"} {
		writeFile(t, filepath.Join(dir, name), []byte("secret"))
	}
	s := serve(t, dir, "--cert", p.cert, "--key", p.key)
	for path, links := range map[string]string{"/": "in large out pipe small sub/ up", "/sub/": "seen"} {
		r := curl(t, "--cacert", p.ca, s.url(path))
		var got []string
		for _, m := range regexp.MustCompile(`<a href="([^"]*)">`).FindAllStringSubmatch(r.stdout, -1) {
			got = append(got, m[1])
		}
		if strings.Join(got, " ") != links {
			t.Errorf("%s lists %q, want %s", path, got, links)
		}
	}
	for path, want := range map[string]string{
		"/.env": "404", "/%2eenv": "404", "/.private/": "404", "/.private/key": "404", "/sub/.deep/key": "404", "/sub/../.env": "404",
		"/sub/seen": "200",
		"/small":    "200", "/in": "200", "/out": "404", "/up": "404", "/pipe": "404", "/missing": "404",
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
	if r.stdout != "Client sent an HTTP request to an HTTPS server.\n400" {
		t.Errorf("plain HTTP is answered by %q", r.stdout)
	}
	// The rest of the request does not meet a reset, which could overtake the
	// answer.
	plain, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := io.WriteString(plain, "POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(plain)
	if err != nil || !strings.HasSuffix(string(text), "\r\n\r\nClient sent an HTTP request to an HTTPS server.\n") {
		t.Errorf("a request in plain HTTP is answered by %q, %v", text, err)
	}
	for range 20 {
		if _, err := io.WriteString(plain, strings.Repeat("x", 10_000)); err != nil {
			t.Errorf("the rest of a request in plain HTTP: %v", err)
		}
	}
	plain.Close()
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
	for _, want := range []string{": client sent an HTTP request to an HTTPS server\n", "http: TLS handshake error from 127.0.0.1:"} {
		if !strings.Contains(s.stderr(), want) {
			t.Errorf("the log has no %q: %s", want, s.stderr())
		}
	}
}

func TestServeLog(t *testing.T) {
	line := regexp.MustCompile(` 127\.0\.0\.1:\d+ GET "/small" 200 12 bytes, TLS 1\.3 TLS_\w+, TX in user space\n`)
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
	client := newHTTPClient(&tls.Config{RootCAs: pool}, httpFlags{}.protocols())
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

// holdTransfer begins to fetch a large file and reads no more than the header,
// until the test ends.
func holdTransfer(t *testing.T, pool *x509.CertPool, url string) {
	t.Helper()
	holdTransferOver(t, pool, url, httpFlags{})
}

// holdTransferOver does so over the given versions of HTTP, or until release.
func holdTransferOver(t *testing.T, pool *x509.CertPool, url string, versions httpFlags) (release func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	response, err := fetch(ctx, newHTTPClient(&tls.Config{RootCAs: pool}, versions.protocols()), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return cancel
}

// The first signal says what it waits for, and the second one ends that.
func TestServeSecondSignal(t *testing.T) {
	s, cacert, _ := serveDirectory(t)
	pool, err := loadPool(cacert)
	if err != nil {
		t.Fatal(err)
	}
	holdTransfer(t, pool, s.url("/large"))
	holdTransfer(t, pool, s.url("/large"))
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	s.await(t, regexp.MustCompile(`(?m)^stopping: waiting up to 10s for 2 transfers; press Ctrl-C again to stop at once$`))
	s.stop(t, syscall.SIGINT)
	if w := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !w.Signaled() || w.Signal() != syscall.SIGINT {
		t.Errorf("ended with %v: %s", s.cmd.ProcessState, s.stderr())
	}
}

// A transfer that is cut off when the server's patience ends is an error, and
// logged as such.
func TestServeCutOff(t *testing.T) {
	p := newPKI(t)
	name, _ := directory(t)
	files, err := openDir(name)
	if err != nil {
		t.Fatal(err)
	}
	defer files.root.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var logged safeBuffer
	own, output := capture(t)
	s := newServer(nil, http.FileServer(files), log.New(&logged, "", 0))
	s.start(inner, serverConfig(own, []tls.Certificate{p.server}))
	s.patience = time.Millisecond
	holdTransfer(t, p.pool, "https://"+inner.Addr().String()+"/large")
	if err := s.shutdown(own); err == nil || err.Error() != "stopped, and cut off 1 transfer" {
		t.Error(err)
	}
	if want := "stopping: waiting up to 1ms for 1 transfer; press Ctrl-C again to stop at once\n"; output() != want {
		t.Errorf("says %q, want %q", output(), want)
	}
	if !regexp.MustCompile(` GET "/large" 200 cut off after \d+ of 25165824 bytes, TLS 1\.3`).MatchString(logged.String()) {
		t.Errorf("logged %q", logged.String())
	}
}

func TestServeMethods(t *testing.T) {
	s, cacert, _ := serveDirectory(t, "--verbose")
	for method, want := range map[string]string{"POST": "405", "PUT": "405", "DELETE": "405", "OPTIONS": "405", "GET": "200"} {
		r := curl(t, "--cacert", cacert, "-X", method, "-o", os.DevNull, "-w", "%{http_code} %header{allow}", s.url("/small"))
		if want == "405" {
			want += " GET, HEAD"
		}
		if strings.TrimSpace(r.stdout) != want {
			t.Errorf("%s: %q, want %q", method, r.stdout, want)
		}
	}
	for _, path := range []string{"/", "/small", "/missing"} {
		if r := curl(t, "--cacert", cacert, "--head", s.url(path)); r.status != 0 || !strings.HasPrefix(r.stdout, "HTTP/2 ") {
			t.Errorf("HEAD %s: curl ended with %d: %q", path, r.status, r.stdout)
		}
	}
	s.stop(t, syscall.SIGTERM)
	if n := len(regexp.MustCompile(` HEAD "/\w*" (200|404) 0 bytes, TLS`).FindAllString(s.stderr(), -1)); n != 3 {
		t.Errorf("%d requests for HEAD with 0 bytes: %s", n, s.stderr())
	}
}

// net/http gives whole files to the connection, through all wrappers.
func TestServeReadFrom(t *testing.T) {
	var w http.ResponseWriter = &countingWriter{}
	if _, ok := w.(io.ReaderFrom); !ok {
		t.Error("countingWriter hides ReadFrom")
	}
	name := t.TempDir()
	writeFile(t, filepath.Join(name, "file"), nil)
	d, err := openDir(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.root.Close()
	f, err := d.Open("/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := f.(*os.File); !ok {
		t.Errorf("files are served as %T", f)
	}
}

func TestServeHTTPVersions(t *testing.T) {
	both, cacert, sum := serveDirectory(t)
	for _, flag := range []string{"", "--http1.1", "--http2"} {
		args := slices.DeleteFunc([]string{"get", "--cacert", cacert, flag, both.url("/large")}, func(s string) bool { return s == "" })
		r := handoff(t, nil, args...)
		r.want(t, exitOK, "")
		if checksum(r.stdout) != sum {
			t.Errorf("%s: the wrong %d bytes", flag, len(r.stdout))
		}
	}
	one, cacert, _ := serveDirectory(t, "--http1.1")
	if r := curl(t, "--cacert", cacert, "--http2", "-o", os.DevNull, "-w", "%{http_version}", one.url("/small")); r.stdout != "1.1" {
		t.Errorf("curl spoke HTTP/%s", r.stdout)
	}
	handoff(t, nil, "get", "--cacert", cacert, "--http2", one.url("/small")).want(t, exitError, "no application protocol")
	handoff(t, nil, "get", "--http2", "--http1.1", one.url("/small")).want(t, exitUsage, "")
}
