package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-handoff/tls/session/sessiontest"
)

// place is somewhere to keep ticket keys.
type place struct {
	where string
	key   string // the file of --tickets-key
}

func (p place) flags() []string { return []string{"--tickets", p.where, "--tickets-key", p.key} }

// newTicketsKey makes a file for --tickets-key.
func newTicketsKey(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ticket.key")
	handoff(t, nil, "tickets", "--new-key", name).want(t, exitOK, "")
	return name
}

func filePlace(t *testing.T) place {
	return place{"file:" + filepath.Join(t.TempDir(), "tickets"), newTicketsKey(t)}
}

// show returns what "handoff tickets" says of a place.
func (p place) show(t *testing.T, args ...string) ringReport {
	t.Helper()
	r := handoff(t, nil, append([]string{"tickets", p.where, "--tickets-key", p.key, "--json"}, args...)...)
	r.want(t, exitOK, "")
	var report ringReport
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v: %q", err, r.stdout)
	}
	return report
}

// serveShared starts a server whose ticket keys are there.
func serveShared(t *testing.T, pki *pki, where place, args ...string) *background {
	t.Helper()
	s := serve(t, append(append([]string{pki.dir, "--cert", pki.cert, "--key", pki.key}, where.flags()...), args...)...)
	s.await(t, regexp.MustCompile(`(?m)^ticket keys: in `))
	return s
}

// reused reports whether s_client resumes the session in a file, which then is
// the new one.
func reused(t *testing.T, s *background, pki *pki, version, session string) bool {
	t.Helper()
	args := []string{"s_client", "-connect", s.addr, "-servername", "localhost", "-CAfile", pki.ca, version, "-alpn", "http/1.1", "-ign_eof", "-sess_out", session}
	if _, err := os.Stat(session); err == nil {
		args = append(args, "-sess_in", session)
	}
	r := openssl(t, strings.NewReader("HEAD / HTTP/1.0\r\n\r\n"), args...)
	if r.status != 0 || !strings.Contains(r.stdout, " 200 OK") {
		t.Fatalf("s_client ended with %d: %s, %s", r.status, r.stdout, r.stderr)
	}
	return strings.Contains(r.stdout, "\nReused, ")
}

// TestServeTickets resumes sessions across servers, a restart and rotations.
func TestServeTickets(t *testing.T) {
	for name, newPlace := range places {
		t.Run(name, func(t *testing.T) { testServeTickets(t, newPlace(t)) })
	}
}

func testServeTickets(t *testing.T, where place) {
	pki := newPKI(t)
	first, second := serveShared(t, pki, where), serveShared(t, pki, where)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(t.TempDir(), "session")
		if reused(t, first, pki, version, session) {
			t.Errorf("%s: the first session is resumed", version)
		}
		for _, s := range []*background{second, first, second} {
			if !reused(t, s, pki, version, session) {
				t.Errorf("%s: not resumed at the other server", version)
			}
		}
		if status := second.stop(t, syscall.SIGTERM); status != exitOK {
			t.Errorf("the server ended with %d: %s", status, second.stderr())
		}
		second = serveShared(t, pki, where)
		if !reused(t, second, pki, version, session) {
			t.Errorf("%s: not resumed after a restart", version)
		}
		for range 2 {
			where.show(t, "--rotate")
		}
		if third := serveShared(t, pki, where); !reused(t, third, pki, version, session) {
			t.Errorf("%s: not resumed after two rotations", version)
		}
	}
	session := filepath.Join(t.TempDir(), "session")
	reused(t, first, pki, "-tls1_3", session)
	zone := serveShared(t, pki, where, "--tickets-zone", "elsewhere")
	if reused(t, zone, pki, "-tls1_3", session) {
		t.Error("resumed in another zone")
	}
	session = filepath.Join(t.TempDir(), "session")
	reused(t, serveShared(t, pki, where), pki, "-tls1_3", session)
	for range 3 {
		where.show(t, "--rotate")
	}
	if reused(t, serveShared(t, pki, where), pki, "-tls1_3", session) {
		t.Error("resumed after three rotations")
	}
}

// TestTickets shows and rotates a ring.
func TestTickets(t *testing.T) {
	where := filePlace(t)
	for _, args := range [][]string{nil, {"--rotate"}} {
		r := handoff(t, nil, append([]string{"tickets", where.where, "--tickets-key", where.key}, args...)...)
		r.want(t, exitError, "there are no keys in file:")
	}
	serveShared(t, newPKI(t), where)
	first := where.show(t)
	if len(first.Keys) != 2 || first.Source != where.where || first.Overdue || first.Keys[0].State != "next" || first.Keys[1].State != "current" {
		t.Errorf("a new ring: %+v", first)
	}
	if second := where.show(t); second.Keys[0] != first.Keys[0] {
		t.Errorf("changed by looking at it: %+v", second)
	}
	rotated := where.show(t, "--rotate")
	if len(rotated.Keys) != 3 || rotated.Keys[1].Name != first.Keys[0].Name || rotated.Keys[2].Name != first.Keys[1].Name {
		t.Errorf("rotated: %+v", rotated)
	}
	r := handoff(t, nil, "tickets", where.where, "--tickets-key", where.key)
	r.want(t, exitOK, "")
	for _, key := range rotated.Keys {
		if !strings.Contains(r.stdout, "  "+key.Name+"  "+key.State) {
			t.Errorf("no key %s %s in\n%s", key.Name, key.State, r.stdout)
		}
	}
	r = handoff(t, nil, "tickets", where.where, "--tickets-key", newTicketsKey(t))
	r.want(t, exitError, "sealed under another KEK")
}

// TestTicketsKey refuses files that hold no key, or that others can read.
func TestTicketsKey(t *testing.T) {
	where := filePlace(t)
	serveShared(t, newPKI(t), where)
	handoff(t, nil, "tickets", "--new-key", where.key).want(t, exitError, "must not be replaced")
	digits := strings.TrimSpace(string(readFile(t, where.key)))
	for text, complaint := range map[string]string{
		"":                                 "does not hold a key",
		digits[1:]:                         "does not hold a key",
		digits + "0":                       "does not hold a key",
		"x" + digits[1:]:                   "does not hold a key",
		strings.Repeat(" ", 1024) + digits: "does not hold a key",
		strings.Repeat("a", 64):            "sealed under another KEK",
	} {
		name := filepath.Join(t.TempDir(), "key")
		writeFile(t, name, []byte(text))
		handoff(t, nil, "tickets", where.where, "--tickets-key", name).want(t, exitError, complaint)
	}
	if err := os.Chmod(where.key, 0o640); err != nil {
		t.Fatal(err)
	}
	handoff(t, nil, "tickets", where.where, "--tickets-key", where.key).want(t, exitError, "must not be readable by others")
	handoff(t, nil, "tickets", where.where, "--tickets-key", where.key+"x").want(t, exitError, "no such file")
}

// TestServeTicketsDamaged serves although the keys cannot be read, and says so.
func TestServeTicketsDamaged(t *testing.T) {
	pki, where := newPKI(t), filePlace(t)
	serveShared(t, pki, where)
	other := place{where.where, newTicketsKey(t)}
	s := serve(t, append([]string{pki.dir, "--cert", pki.cert, "--key", pki.key}, other.flags()...)...)
	s.await(t, regexp.MustCompile(`(?m)^ticket keys: .*sealed under another KEK; going on with those in use$`))
	session := filepath.Join(t.TempDir(), "session")
	for i := range 2 {
		if got := reused(t, s, pki, "-tls1_3", session); got != (i > 0) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
	}
}

func TestConnectReconnect(t *testing.T) {
	s, cacert, _ := serveDirectory(t)
	_, port, _ := net.SplitHostPort(s.addr)
	r := handoff(t, strings.NewReader("HEAD / HTTP/1.0\r\n\r\n"), "connect", "localhost:"+port, "--cacert", cacert, "--reconnect", "3", "--brief")
	r.want(t, exitOK, "")
	wantRow(t, r.stderr, "resumed", "no", "yes", "yes", "yes")
	if n := strings.Count(r.stderr, "received a session; connecting again"); n != 3 || !strings.Contains(r.stdout, " 200 OK") {
		t.Errorf("%d sessions; received %q", n, r.stdout)
	}
}

// TestServeTicketsLost serves while Redis is gone, and says so.
func TestServeTicketsLost(t *testing.T) {
	redis := sessiontest.StartServer(t, redisServer)
	pki, where := newPKI(t), place{"redis://:secret@" + redis.Addr + "/0#fleet", newTicketsKey(t)}
	redis.Kill()
	r := handoff(t, nil, "tickets", where.where, "--tickets-key", where.key)
	r.want(t, exitError, "connection refused")
	s := serve(t, append([]string{pki.dir, "--cert", pki.cert, "--key", pki.key}, where.flags()...)...)
	s.await(t, regexp.MustCompile(`(?m)^ticket keys: .*connection refused; going on with those in use$`))
	session := filepath.Join(t.TempDir(), "session")
	for i := range 2 {
		if got := reused(t, s, pki, "-tls1_3", session); got != (i > 0) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
	}
	if strings.Contains(r.stderr+s.stderr(), "secret") {
		t.Errorf("the password is shown: %s, %s", r.stderr, s.stderr())
	}
}
