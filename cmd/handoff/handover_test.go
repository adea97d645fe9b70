//go:build unix

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// relayed is a row of the table: process, bytes, from where, place.
var relayed = regexp.MustCompile(`(?m)^  \d+  (\d+) +(\d+) +(\d+) +(user space|kernel since record \d+)$`)

// checkRelay runs the demonstration and checks that its table tells what it
// should.
func checkRelay(t *testing.T, place, kernelFlag string) {
	t.Helper()
	const times, mib = 3, 32
	temp := t.TempDir()
	r := handoff(t, nil, "TMPDIR="+temp, "handover", "--times", strconv.Itoa(times), "--size", strconv.Itoa(mib), "--kernel", kernelFlag)
	r.want(t, exitOK, "")
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	rows := relayed.FindAllStringSubmatch(r.stdout, -1)
	next, processes := 0, map[string]bool{}
	for _, row := range rows {
		n, _ := strconv.Atoi(row[2])
		if row[3] != strconv.Itoa(next) || !strings.HasPrefix(row[4], place) {
			t.Errorf("row %q, want %s from %d", row[0], place, next)
		}
		next += n
		processes[row[1]] = true
	}
	if len(rows) != times+1 || len(processes) != times+1 || next != mib<<20 {
		t.Errorf("%d parts by %d processes, %d bytes:\n%s", len(rows), len(processes), next, r.stdout)
	}
	if want := fmt.Sprintf("\n  %d bytes arrived, SHA-256 matches: 1 connection, 1 handshake, %d processes, ", mib<<20, times+1); !strings.Contains(r.stdout, want) || r.stderr != "" {
		t.Errorf("there is no %q in\n%s%s", want, r.stdout, r.stderr)
	}
}

func TestHandover(t *testing.T) { checkRelay(t, "user space", "off") }

func TestKernelHandover(t *testing.T) {
	needKernel(t)
	checkRelay(t, "kernel since record ", "require")
}

// handoverServer is one of several that follow each other.
type handoverServer struct {
	dir, sum, socket string
	pki              *pki
	flags            []string
}

func newHandoverServer(t *testing.T, flags ...string) *handoverServer {
	t.Helper()
	h := &handoverServer{pki: newPKI(t), socket: filepath.Join(t.TempDir(), "private", "socket"), flags: flags}
	h.dir, h.sum = directory(t)
	return h
}

// start starts the next one, and waits for the last one to go.
func (h *handoverServer) start(t *testing.T, last *background) *background {
	t.Helper()
	next := serve(t, append([]string{h.dir, "-v", "--cert", h.pki.cert, "--key", h.pki.key, "--handover", h.socket}, h.flags...)...)
	if last != nil {
		if next.addr != last.addr {
			t.Errorf("the next server listens on %s, not %s", next.addr, last.addr)
		}
		if status := last.wait(); status != exitOK {
			t.Errorf("the last server ended with %d: %s", status, last.stderr())
		}
		last.await(t, regexp.MustCompile(`(?m)^handed over to the next server, with \d+ connections?$`))
	}
	return next
}

// Clients do not notice when servers follow each other: not those in the middle
// of a file, not who has sent half a request, not who is between two, and not
// who comes at that time.
func checkServeHandover(t *testing.T, version, place string, flags ...string) {
	t.Helper()
	h := newHandoverServer(t, flags...)
	s := h.start(t, nil)
	file := filepath.Join(t.TempDir(), "file")
	download := tool(t, "curl", "curl", "-sS", "--limit-rate", "12M", "--cacert", h.pki.ca, "--tlsv"+version, "--tls-max", version, "-o", file, s.url("/large"))
	if err := download.Start(); err != nil {
		t.Fatal(err)
	}
	hurry, slow := make(chan struct{}), make(chan error, 1)
	go func(v *visitor) { slow <- h.downloadSlowly(v, hurry) }(h.connect(t, s, version))
	idle, half := h.connect(t, s, version), h.connect(t, s, version)
	idle.get(t, "GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for i := range 3 {
		half.write(t, "GET /small HTTP/1.1\r\nHost: local")
		s = h.start(t, s)
		half.get(t, "host\r\n\r\n")
		idle.get(t, "HEAD /small HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if r := curl(t, "--cacert", h.pki.ca, s.url("/small")); r.stdout != "a few bytes\n" {
			t.Errorf("server %d: curl ended with %d: %s", i, r.status, r.stderr)
		}
	}
	close(hurry)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if err := download.Wait(); err != nil || checksum(string(readFile(t, file))) != h.sum {
		t.Errorf("the download: %v", err)
	}
	s.await(t, regexp.MustCompile(` GET "/large" 200 \d+ bytes from [1-9]\d*, TX in `+place))
	if status := s.stop(t, syscall.SIGTERM); status != exitOK {
		t.Errorf("exit status %d: %s", status, s.stderr())
	}
	if left, err := os.ReadDir(filepath.Dir(h.socket)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestServeHandover(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) { checkServeHandover(t, version, "user space", "--kernel=off") })
	}
}

func TestKernelServeHandover(t *testing.T) {
	needKernel(t)
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			checkServeHandover(t, version, "kernel since record ", "--kernel=require", "--kernel-rx=require")
		})
	}
}

// visitor is a client that sends requests as it likes.
type visitor struct {
	*tls.Conn
	responses *bufio.Reader
}

func (h *handoverServer) connect(t *testing.T, s *background, version string) *visitor {
	t.Helper()
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: h.pki.pool, MinVersion: versions[version], MaxVersion: versions[version]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(timeout))
	return &visitor{conn, bufio.NewReader(conn)}
}

func (v *visitor) write(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(v, text); err != nil {
		t.Fatal(err)
	}
}

// downloadSlowly fetches the large file: slowly, so that every server has to send
// some of it, until it is told to hurry.
func (h *handoverServer) downloadSlowly(v *visitor, hurry <-chan struct{}) error {
	_ = v.NetConn().(*net.TCPConn).SetReadBuffer(128 << 10)
	if _, err := io.WriteString(v, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	r, err := http.ReadResponse(v.responses, nil)
	if err != nil {
		return err
	}
	sum := sha256.New()
	for slow := true; slow; {
		select {
		case <-hurry:
			slow = false
		case <-time.After(5 * time.Millisecond):
			_, err = io.CopyN(sum, r.Body, 8<<10)
		}
		if err != nil {
			return err
		}
	}
	if _, err := io.Copy(sum, r.Body); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != h.sum {
		return errors.New("the file that came slowly is another one")
	}
	return nil
}

// get sends requests, all at once, and checks that the small file comes for
// each.
func (v *visitor) get(t *testing.T, requests ...string) {
	t.Helper()
	v.write(t, strings.Join(requests, ""))
	for _, text := range requests {
		method, _, _ := strings.Cut(text, " ")
		request, want := &http.Request{Method: "GET"}, "a few bytes\n"
		if method == "HEAD" {
			request.Method, want = method, ""
		}
		r, err := http.ReadResponse(v.responses, request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK || r.ContentLength != 12 || string(body) != want {
			t.Errorf("%q: %s, %d bytes, %q, %v", text, r.Status, r.ContentLength, body, err)
		}
	}
}

// The server that can hand over answers as net/http's does.
func TestHandoverHTTP(t *testing.T) {
	h := newHandoverServer(t, "--kernel=off")
	if err := os.Mkdir(filepath.Join(h.dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(h.dir, "empty"), nil)
	movable := h.start(t, nil)
	stock := serve(t, h.dir, "--http1.1", "--cert", h.pki.cert, "--key", h.pki.key)
	date := regexp.MustCompile(`(?m)^Date: \w+, \d\d \w+ \d{4} \d\d:\d\d:\d\d GMT\r\n`)
	for _, args := range [][]string{
		{"/small"},
		{"/"},
		{"/sub"},
		{"/sub/"},
		{"/missing"},
		{"/empty"},
		{"/../small", "--path-as-is"},
		{"/small", "-I"},
		{"/", "-I"},
		{"/missing", "-I"},
		{"/small", "-r", "2-4"},
		{"/small", "-r", "-3"},
		{"/small", "-r", "50-60"},
		{"/large", "-r", "1000000-1000099"},
		{"/small", "-X", "DELETE"},
		{"/small", "--data", "a body"},
		{"/small", "-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"},
		{"/small", "-H", "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT"},
	} {
		got := curl(t, append([]string{"-i", "--cacert", h.pki.ca, movable.url(args[0])}, args[1:]...)...)
		want := curl(t, append([]string{"-i", "--cacert", h.pki.ca, stock.url(args[0])}, args[1:]...)...)
		if !date.MatchString(got.stdout) {
			t.Errorf("%q: no date: %q", args, got.stdout)
		}
		head, body, _ := strings.Cut(date.ReplaceAllString(got.stdout, ""), "\r\n\r\n")
		wantHead, wantBody, _ := strings.Cut(date.ReplaceAllString(want.stdout, ""), "\r\n\r\n")
		lines := sortedLines(head)
		// It says so when it closes, which it does after the body of a request.
		lines = slices.DeleteFunc(lines, func(s string) bool { return s == "Connection: close" })
		if got.status != want.status || body != wantBody || !slices.Equal(lines, sortedLines(wantHead)) {
			t.Errorf("%q: status %d:\n%s\nnet/http: status %d:\n%s", args, got.status, got.stdout, want.status, want.stdout)
		}
	}
	// Several ranges are not worth their trouble.
	if r := curl(t, "--cacert", h.pki.ca, "-r", "0-1,3-4", movable.url("/small")); r.stdout != "a few bytes\n" {
		t.Errorf("several ranges: %q", r.stdout)
	}
	two := curl(t, "-v", "--cacert", h.pki.ca, movable.url("/large"), "-o", os.DevNull, movable.url("/small"))
	if two.stdout != "a few bytes\n" || !strings.Contains(two.stderr, "Re-using existing connection") {
		t.Errorf("two files: %q, %s", two.stdout, two.stderr)
	}
}

func sortedLines(text string) []string {
	return slices.Sorted(slices.Values(strings.Split(text, "\r\n")))
}

// What is no request is refused, and the connection closed.
func TestHandoverBadRequests(t *testing.T) {
	h := newHandoverServer(t, "--kernel=off")
	s := h.start(t, nil)
	for text, want := range map[string]string{
		"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n": "400 Bad Request",
		"nonsense\r\n\r\n":                     "400 Bad Request",
		"GET /small HTTP/1.1\r\n\r\n":          "400 Bad Request", // no host
		"PRI * HTTP/2.0\r\n\r\n":               "505 HTTP Version Not Supported",
		"GET / HTTP/1.1\r\nA: " + strings.Repeat("a", maxHead) + "\r\n\r\n":                   "431 Request Header Fields Too Large",
		"GET /small HTTP/1.0\r\n\r\n":                                                         "200 OK",
		"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                         "200 OK",
		"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\nGET / HTTP/1.1\r\n\r\n": "405 Method Not Allowed",
	} {
		v := h.connect(t, s, "1.3")
		v.write(t, text)
		answer, err := io.ReadAll(v) // to close_notify
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+want+"\r\n") || strings.Count(string(answer), "HTTP/1.1 ") != 1 {
			t.Errorf("%.60q: %q, %v", text, answer, err)
		}
	}
}

// A signal stops the server when transfers are done, as it does without
// --handover.
func TestHandoverStop(t *testing.T) {
	h := newHandoverServer(t, "--kernel=off")
	s := h.start(t, nil)
	idle := h.connect(t, s, "1.3")
	idle.get(t, "GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
	busy := h.connect(t, s, "1.3")
	busy.write(t, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(busy.responses, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.await(t, regexp.MustCompile(`(?m)^stopping: waiting up to 10s for 1 transfer; `))
	if rest, err := io.ReadAll(idle.responses); err != nil || len(rest) > 0 {
		t.Errorf("between requests: %q, %v", rest, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || checksum(string(body)) != h.sum {
		t.Errorf("the transfer: %d bytes, %v", len(body), err)
	}
	if status := s.wait(); status != exitOK {
		t.Errorf("exit status %d: %s", status, s.stderr())
	}
	if _, err := os.Lstat(h.socket); !os.IsNotExist(err) {
		t.Errorf("the socket: %v", err)
	}
}

func TestHandoverErrors(t *testing.T) {
	dir, _ := directory(t)
	open, closed := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Chmod(open, 0o750), os.Chmod(closed, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{"serve", dir, "--handover", filepath.Join(open, "socket")}, exitError, "that nobody else may enter"},
		{[]string{"serve", dir, "--handover", filepath.Join(dir, "small", "socket")}, exitError, "that nobody else may enter"},
		{[]string{"serve", dir, "--handover", filepath.Join(dir, "a", "b", "socket")}, exitError, "no such file or directory"},
		{[]string{"serve", dir, "--handover", filepath.Join(closed, strings.Repeat("x", 200))}, exitError, "invalid argument"},
		{[]string{"serve", dir, "--handover", filepath.Join(dir, "socket"), "--http2"}, exitUsage, "can't be used together"},
		{[]string{"handover", "--times", "0"}, exitUsage, "--times 0 is not between 1 and 100"},
		{[]string{"handover", "--size", "10"}, exitUsage, "--size 10 is not between 48 and 4096"},
	} {
		handoff(t, nil, test.args...).want(t, test.status, test.text)
	}
}
