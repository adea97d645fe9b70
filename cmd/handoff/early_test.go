package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// serveEarly starts a server that accepts early data.
func serveEarly(t *testing.T, pki *pki, where *place) *background {
	t.Helper()
	args := []string{pki.dir, "--cert", pki.cert, "--key", pki.key, "--early-data", "16384"}
	if where != nil {
		args = append(args, where.flags()...)
	}
	return serve(t, args...)
}

const earlyRequest = "GET /server.pem HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

var earlyBytes = fmt.Sprintf("%d bytes", len(earlyRequest))

// TestConnectEarlyData sends a request as early data to our own server and to
// OpenSSL's.
func TestConnectEarlyData(t *testing.T) {
	pki := newPKI(t)
	request := filepath.Join(t.TempDir(), "request")
	writeFile(t, request, []byte(earlyRequest))
	ours := serveEarly(t, pki, nil)
	without := serve(t, pki.dir, "--cert", pki.cert, "--key", pki.key)
	for _, test := range []struct {
		name string
		s    *background
		args []string
		said string
	}{
		{"accepted", ours, nil, earlyBytes + " accepted"},
		{"again", ours, []string{"--reconnect", "3"}, earlyBytes + " accepted"},
		{"not allowed", without, nil, "the session does not allow it, " + earlyBytes + " sent after the handshake"},
		{"TLS 1.2", ours, []string{"--max", "1.2"}, "the session does not allow it, " + earlyBytes + " sent after the handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"connect", "localhost:" + test.s.port(), "--cacert", pki.ca, "--alpn", "http/1.1", "--early-data", request, "--brief"}, test.args...)
			r := handoff(t, strings.NewReader(""), args...)
			r.want(t, exitOK, "")
			if !strings.Contains(r.stderr, "\n  early data: "+test.said+"\n") {
				t.Errorf("no %q in %s", test.said, r.stderr)
			}
			if body := string(readFile(t, pki.cert)); !strings.HasSuffix(r.stdout, "\r\n\r\n"+body) || !strings.HasPrefix(r.stdout, "HTTP/1.1 200 ") {
				t.Errorf("received %q", r.stdout)
			}
		})
	}
	handoff(t, nil, "connect", "localhost:"+ours.port(), "--early-data", request+"x").want(t, exitError, "no such file")
}

// TestConnectEarlyDataOpenSSL: OpenSSL prints what it got early.
func TestConnectEarlyDataOpenSSL(t *testing.T) {
	pki := newPKI(t)
	file := filepath.Join(t.TempDir(), "data")
	writeFile(t, file, []byte("this is early\n"))
	s := opensslServer(t, pki.dir, "-cert", pki.cert, "-key", pki.key, "-early_data", "-no_anti_replay", "-naccept", "2")
	r := handoff(t, strings.NewReader("and this is not\n"), "connect", "localhost:"+s.port(), "--cacert", pki.ca, "--early-data", file)
	if !strings.Contains(r.stderr, "early data: 14 bytes accepted") {
		t.Errorf("%d: %s", r.status, r.stderr)
	}
}

// TestServeEarlyData: a server that shares its keys shares what it has seen, and
// says when it cannot.
func TestServeEarlyData(t *testing.T) {
	pki := newPKI(t)
	request := filepath.Join(t.TempDir(), "request")
	writeFile(t, request, []byte(earlyRequest))
	for name, newPlace := range places {
		t.Run(name, func(t *testing.T) {
			where := newPlace(t)
			if name == "etcd" {
				args := append([]string{"serve", pki.dir, "--early-data", "100"}, where.flags()...)
				handoff(t, nil, args...).want(t, exitError, "--early-data does not go with --tickets etcd")
				return
			}
			s := serveEarly(t, pki, &where)
			r := handoff(t, strings.NewReader(""), "connect", "localhost:"+s.port(), "--cacert", pki.ca, "--alpn", "http/1.1", "--early-data", request, "--brief")
			r.want(t, exitOK, "")
			want := earlyBytes + " accepted"
			if name == "redis" { // it was started just now, and may have forgotten something
				want = earlyBytes + " not accepted, " + earlyBytes + " sent after the handshake"
				s.await(t, regexp.MustCompile(`(?m)^early data: .*may have lost marks; not accepted meanwhile$`))
			}
			if !strings.Contains(r.stderr, want) {
				t.Errorf("no %q in %s", want, r.stderr)
			}
		})
	}
	where := filePlace(t)
	if err := os.Mkdir(strings.TrimPrefix(where.where, "file:")+".seen", 0o755); err != nil {
		t.Fatal(err)
	}
	handoff(t, nil, append([]string{"serve", pki.dir, "--early-data", "100"}, where.flags()...)...).want(t, exitError, "open to others")
}

// TestServeEarlyDataOpenSSL: OpenSSL's client sends a request early.
func TestServeEarlyDataOpenSSL(t *testing.T) {
	pki := newPKI(t)
	dir := t.TempDir()
	request, session := filepath.Join(dir, "request"), filepath.Join(dir, "session")
	writeFile(t, request, []byte(earlyRequest))
	s := serveEarly(t, pki, nil)
	if reused(t, s, pki, "-tls1_3", session) {
		t.Fatal("the first session is resumed")
	}
	r := openssl(t, strings.NewReader(""), "s_client", "-connect", s.addr, "-servername", "localhost", "-CAfile", pki.ca,
		"-alpn", "http/1.1", "-sess_in", session, "-early_data", request, "-ign_eof")
	if !strings.Contains(r.stdout, "Early data was accepted") || !strings.Contains(r.stdout, "HTTP/1.1 200 OK") {
		t.Errorf("s_client ended with %d: %s, %s", r.status, r.stdout, r.stderr)
	}
	// The same ticket once more, which is another ClientHello.
	again := openssl(t, strings.NewReader(""), "s_client", "-connect", s.addr, "-servername", "localhost", "-CAfile", pki.ca,
		"-alpn", "http/1.1", "-sess_in", session, "-early_data", request, "-ign_eof")
	if !strings.Contains(again.stdout, "Early data was") {
		t.Errorf("s_client ended with %d: %s", again.status, again.stdout)
	}
}
