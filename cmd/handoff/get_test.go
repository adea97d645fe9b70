package main

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestGetOpenSSL(t *testing.T) {
	p := newPKI(t)
	dir, sum := directory(t)
	s := opensslServer(t, dir, "-WWW", "-cert", p.cert, "-key", p.key)
	for _, version := range []string{"1.2", "1.3"} {
		get := []string{"get", "--cacert", p.ca, "--min", version, "--max", version, s.url("/large")}
		r := handoff(t, nil, get...)
		r.want(t, exitOK, "")
		if checksum(r.stdout) != sum {
			t.Errorf("%s: the wrong %d bytes", version, len(r.stdout))
		}
		if r.stderr != "" {
			t.Errorf("%s: printed %q", version, r.stderr)
		}
		file := filepath.Join(t.TempDir(), "file")
		r = handoff(t, nil, append(get, "-o", file)...)
		r.want(t, exitOK, "")
		if checksum(string(readFile(t, file))) != sum || r.stdout != "" {
			t.Errorf("%s: the wrong file, or output: %.100q", version, r.stdout)
		}
	}
}

// nginx starts a web server on a port that was free a moment ago.
func nginx(t *testing.T, p *pki, root string) *background {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	own := t.TempDir()
	conf := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3; uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
	server {
		listen %[2]s ssl; ssl_certificate %[3]s; ssl_certificate_key %[4]s; ssl_protocols TLSv1.2 TLSv1.3; root %[5]s;
		location = /moved { return 302 https://$http_host/small; }
		location = /plain { return 302 http://$http_host/small; }
		location = /loop { return 302 /loop; }
	}
}
`, own, addr, p.cert, p.key, root)
	writeFile(t, filepath.Join(own, "conf"), []byte(conf))
	b := &background{cmd: tool(t, "nginx", "nginx-light", "-e", "stderr", "-p", own, "-c", filepath.Join(own, "conf")), addr: addr}
	b.cmd.Stderr = &b.errors
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		b.wait()
	})
	for range 10_000 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return b
		}
		if err := t.Context().Err(); err != nil {
			break
		}
	}
	t.Fatalf("nginx did not start: %s", b.stderr())
	return nil
}

func TestGetNginx(t *testing.T) {
	p := newPKI(t)
	dir, sum := directory(t)
	s := nginx(t, p, dir)
	for _, test := range []struct {
		path, sum, err string
		flags          []string
	}{
		{path: "/large", sum: sum},
		{path: "/large", sum: sum, flags: []string{"--max", "1.2"}},
		{path: "/moved", sum: checksum("a few bytes\n")},
		{path: "/missing", err: s.url("/missing") + ": the server answered 404 Not Found"},
		{path: "/plain", err: "redirected to http://localhost:" + s.port() + "/small, which is not https"},
		{path: "/loop", err: "redirected more than 10 times"},
	} {
		r := handoff(t, nil, append([]string{"get", "--cacert", p.ca, s.url(test.path)}, test.flags...)...)
		if test.err != "" {
			r.want(t, exitError, test.err)
			continue
		}
		r.want(t, exitOK, "")
		if checksum(r.stdout) != test.sum {
			t.Errorf("%s: the wrong %d bytes", test.path, len(r.stdout))
		}
	}
}

func TestGetTrust(t *testing.T) {
	p := newPKI(t)
	s := serve(t, p.dir, "--cert", p.cert, "--key", p.key)
	get := []string{"get", s.url("/server.pem")}
	handoff(t, nil, get...).want(t, exitError, "certificate signed by unknown authority (--cacert FILE trusts its issuer, --fingerprint SHA256 exactly this certificate, --insecure any)")
	handoff(t, nil, append(get, "--cacert", newPKI(t).ca)...).want(t, exitError, "certificate signed by unknown authority")
	handoff(t, nil, append(get, "--cacert", p.ca)...).want(t, exitOK, "")
	handoff(t, nil, append(get, "--insecure")...).want(t, exitOK, "")
	handoff(t, nil, append([]string{"SSL_CERT_FILE=" + p.ca}, get...)...).want(t, exitOK, "")
	other, otherKey := p.issue(t, "other", &x509.Certificate{DNSNames: []string{"other.example"}})
	s = serve(t, p.dir, "--cert", other, "--key", otherKey)
	handoff(t, nil, "get", "--cacert", p.ca, s.url("/server.pem")).want(t, exitError, "certificate is valid for other.example, not localhost (--fingerprint SHA256 accepts exactly this certificate, --insecure any)")
}

// A fingerprint accepts one certificate, whatever it says, and no other.
func TestGetFingerprint(t *testing.T) {
	p := newPKI(t)
	strange, key := p.issue(t, "strange", &x509.Certificate{DNSNames: []string{"other.example"}})
	sum := func(file string) string {
		text := openssl(t, nil, "x509", "-in", file, "-noout", "-fingerprint", "-sha256").stdout
		_, sum, _ := strings.Cut(strings.TrimSpace(text), "=")
		return sum
	}
	s := serve(t, p.dir, "--cert", strange, "--key", key)
	for _, version := range []string{"1.2", "1.3"} {
		get := func(sum string) result {
			return handoff(t, nil, "get", s.url("/strange.pem"), "--min", version, "--max", version, "--fingerprint", sum)
		}
		right := sum(strange)
		for _, form := range []string{right, strings.ToLower(right), strings.ReplaceAll(right, ":", "")} {
			r := get(form)
			r.want(t, exitOK, "")
			if r.stdout != string(readFile(t, strange)) {
				t.Errorf("%s: got %q", form, r.stdout)
			}
		}
		r := get(sum(p.ca)) // which signed it
		r.want(t, exitError, "failed to verify certificate: its SHA-256 is not the one of --fingerprint: it is "+right)
		if r.stdout != "" || strings.Contains(r.stderr, "--insecure") {
			t.Errorf("printed %q, %q", r.stdout, r.stderr)
		}
	}
}

// answer is a server that sends this and closes.
func answer(t *testing.T, p *pki, text string, closeNotify bool) *background {
	t.Helper()
	return goServer(t, &stdtls.Config{Certificates: []stdtls.Certificate{p.server}}, func(c *stdtls.Conn) {
		_, _ = c.Read(make([]byte, 1<<12)) // the request
		_, _ = io.WriteString(c, text)
		if closeNotify {
			_ = c.CloseWrite()
		}
	})
}

// A file that is not complete does not appear, and does not replace one.
func TestGetTruncated(t *testing.T) {
	p := newPKI(t)
	for _, test := range []struct {
		text        string
		closeNotify bool
		err         string
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789", true, "the connection ended after 10 of 100 bytes"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789", false, "the connection ended after 10 of 100 bytes"},
		{"HTTP/1.1 200 OK\r\n\r\n0123456789", false, "the connection was cut off after 10 bytes"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n", true, "the connection was cut off after 10 bytes"},
		{"HTTP/1.1 200 OK\r\n\r\n0123456789", true, ""},
		{"HTTP/1.1 500 \x1b[31mRed\r\nContent-Length: 0\r\n\r\n", true, "the server answered 500 ?[31mRed"},
	} {
		s := answer(t, p, test.text, test.closeNotify)
		dir := t.TempDir()
		file := filepath.Join(dir, "file")
		writeFile(t, file, []byte("old"))
		r := handoff(t, nil, "get", "--cacert", p.ca, s.url("/"), "-o", file)
		want := "old"
		if test.err == "" {
			r.want(t, exitOK, "")
			want = "0123456789"
		} else {
			r.want(t, exitError, test.err)
		}
		if got := string(readFile(t, file)); got != want {
			t.Errorf("%q: the file is %q", test.text, got)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%q: left behind: %v, %v", test.text, left, err)
		}
	}
}

func TestGetOutput(t *testing.T) {
	p := newPKI(t)
	s := answer(t, p, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew", true)
	dir := t.TempDir()
	get := func(name string) result {
		return handoff(t, nil, "get", "--cacert", p.ca, s.url("/"), "-o", name)
	}
	get(dir).want(t, exitError, "is a directory")
	get(filepath.Join(dir, "missing", "file")).want(t, exitError, filepath.Join(dir, "missing", "file")+": no such file")
	get(os.DevNull).want(t, exitOK, "")
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("%s is %v, %v", os.DevNull, info, err)
	}
	if r := get("-"); r.stdout != "new" {
		t.Errorf("- is %q", r.stdout)
	}
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	writeFile(t, file, []byte("old"))
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	get(link).want(t, exitOK, "")
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	info, err = os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || string(readFile(t, file)) != "new" {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestGetNotTLS(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	handoff(t, nil, "get", "https://"+plain.Listener.Addr().String()).want(t, exitError, "the server answered in plain HTTP")
	for text, want := range map[string]string{
		"":                             "the server closed the connection during the handshake",
		"220 mail ESMTP\r\n":           "the server does not speak TLS on this port",
		"\x15\x03\x03\x00\x02\x02\x28": "handshake failure",
	} {
		s := rawServer(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<16)) // the ClientHello, or the end is a reset
			_, _ = io.WriteString(c, text)
		})
		handoff(t, nil, "get", s.url("/")).want(t, exitError, want)
		handoff(t, nil, "connect", s.addr).want(t, exitError, want)
	}
}

// The key log has what the server's own has, is appended to, and nobody else
// may read it.
func TestKeyLog(t *testing.T) {
	p := newPKI(t)
	file := filepath.Join(t.TempDir(), "keys")
	var theirs safeBuffer
	s := goServer(t, &stdtls.Config{Certificates: []stdtls.Certificate{p.server}, KeyLogWriter: &theirs}, func(c *stdtls.Conn) {
		_, _ = c.Read(make([]byte, 1<<12))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	for _, args := range [][]string{{"get", s.url("/"), "--max", "1.2"}, {"get", s.url("/")}, {"connect", s.addr}} {
		args = append([]string{"SSLKEYLOGFILE=" + file}, append(args, "--cacert", p.ca)...)
		handoff(t, strings.NewReader("GET / HTTP/1.0\r\n\r\n"), args...).want(t, exitOK, "")
	}
	ours := string(readFile(t, file))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	format := regexp.MustCompile(`^(CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}|[A-Z]+(_[A-Z]+)+(_0)? [0-9a-f]{64} ([0-9a-f]{64}|[0-9a-f]{96}))$`)
	for line := range strings.Lines(ours) {
		if !format.MatchString(strings.TrimSpace(line)) {
			t.Errorf("a line is %q", line)
		}
	}
	for line := range strings.Lines(theirs.String()) {
		if !strings.Contains(ours, line) {
			t.Errorf("there is no %q", line)
		}
	}
	labels := map[string]int{}
	for line := range strings.Lines(ours) {
		labels[strings.Fields(line)[0]]++
	}
	if labels["CLIENT_RANDOM"] != 1 || labels["CLIENT_TRAFFIC_SECRET_0"] != 2 || labels["SERVER_TRAFFIC_SECRET_0"] != 2 {
		t.Errorf("labels: %v", labels)
	}
	served := filepath.Join(t.TempDir(), "served")
	server := serve(t, "SSLKEYLOGFILE="+served, p.dir, "--cert", p.cert, "--key", p.key)
	handoff(t, nil, "SSLKEYLOGFILE="+file, "get", "--cacert", p.ca, server.url("/ca.pem")).want(t, exitOK, "")
	both := slices.Sorted(strings.Lines(string(readFile(t, file))[len(ours):]))
	if got := slices.Sorted(strings.Lines(string(readFile(t, served)))); !slices.Equal(got, both) || len(got) < 4 {
		t.Errorf("the server has\n%s\nthe client has\n%s", got, both)
	}
}

// The bar is for people at a terminal, and for long downloads.
func TestGetProgress(t *testing.T) {
	s, cacert, _ := serveDirectory(t)
	file := filepath.Join(t.TempDir(), "file")
	for path, want := range map[string]bool{"/large": true, "/small": false} {
		get := command(t, "get", "--cacert", cacert, s.url(path), "-o", file)
		quoted := "'" + strings.Join(get.Args, "' '") + "'"
		script := tool(t, "script", "bsdutils", "-qec", quoted, os.DevNull)
		script.Env = get.Env
		r := runCommand(t, script, nil)
		if r.status != 0 || strings.Contains(r.stdout, "100% |█") != want {
			t.Errorf("%s: ended with %d: %q", path, r.status, r.stdout)
		}
		if !want && r.stdout != "" {
			t.Errorf("%s: printed %q", path, r.stdout)
		}
	}
}
