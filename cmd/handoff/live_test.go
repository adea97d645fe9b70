package main

import (
	"bytes"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 62: "4.0 EiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// The line stays below the log, changes only when there is something new, and
// fits the terminal.
func TestStatusLine(t *testing.T) {
	var out bytes.Buffer
	s := &statusLine{w: &out, terminal: true, width: func() int { return 10 }}
	step := func(want string, f func()) {
		t.Helper()
		out.Reset()
		f()
		if out.String() != want {
			t.Errorf("wrote %q, want %q", out.String(), want)
		}
	}
	log := func(text string) func() { return func() { _, _ = io.WriteString(s, text) } }
	step("before\n", log("before\n"))
	step("\r\x1b[Kone", func() { s.show("one") })
	step("", func() { s.show("one") })
	step("\r\x1b[Klog\none", log("log\n"))
	step("\r\x1b[K012345678", func() { s.show("0123456789abc") })
	step("\n", s.end)
	step("after\n", log("after\n"))

	s = &statusLine{w: &out}
	step("a long line of some words\n", func() { s.show("a long line of some words") })
	step("", func() { s.show("a long line of some words") })
	step("log\n", log("log\n"))
	step("", s.end)
}

// The line tells what a transfer does, and what the kernel does with it.
func TestServeStatus(t *testing.T) {
	quiet, _, _ := serveDirectory(t)
	s, cacert, _ := serveDirectory(t, "--status")
	pool, err := loadPool(cacert)
	if err != nil {
		t.Fatal(err)
	}
	s.await(t, regexp.MustCompile(`(?m)^0 open \| TX 0 kernel, 0 user \| RX 0 kernel, 0 user \| 0 B sent \| 0 rekeys$`))
	holdTransfer(t, pool, s.url("/large"))
	s.await(t, regexp.MustCompile(`(?m)^1 open \| TX 0 kernel, 1 user \| RX 0 kernel, 1 user \| \S+ [KM]?i?B sent \| 0 rekeys$`))
	curl(t, "--cacert", cacert, s.url("/large"))
	s.await(t, regexp.MustCompile(`(?m)^1 open .* (2[4-9]|[34]\d)\.\d MiB sent \| 0 rekeys$`))
	if quiet.stop(t, syscall.SIGTERM); strings.Contains(quiet.stderr(), "open |") {
		t.Errorf("unasked: %s", quiet.stderr())
	}
}

// Where the kernel has TLS, the server says what it sends by it: by default
// whole files on HTTP/1.1, and everything if that is required.
func TestKernelServe(t *testing.T) {
	needKernel(t)
	for _, test := range []struct {
		args, curl []string
		places     string // in the status line, while a transfer goes on
		log        string
		surprise   bool
	}{
		{nil, []string{"--http1.1"}, "TX 1 kernel, 0 user | RX 0 kernel, 1 user", "TX in kernel", false},
		{nil, []string{"--http2"}, "TX 0 kernel, 1 user | RX 0 kernel, 1 user", "TX in user space", true},
		{[]string{"--kernel=off"}, []string{"--http1.1"}, "TX 0 kernel, 1 user | RX 0 kernel, 1 user", "TX in user space", false},
		{[]string{"--kernel=require"}, []string{"--http2"}, "TX 1 kernel, 0 user | RX 0 kernel, 1 user", "TX in kernel", false},
		{[]string{"--kernel=require", "--kernel-rx=require"}, []string{"--http1.1"}, "TX 1 kernel, 0 user | RX 1 kernel, 0 user", "TX in kernel", false},
	} {
		s, cacert, sum := serveDirectory(t, append(test.args, "-v", "--status")...)
		if m := s.await(t, regexp.MustCompile(`(?m)^kernel TLS: (.+)$`)); (m[1] == "off") != (len(test.args) == 1 && test.args[0] == "--kernel=off") {
			t.Errorf("%v: announces %q", test.args, m[1])
		}
		file := filepath.Join(t.TempDir(), "file") // pipes are slow in the lab
		if r := curl(t, append(test.curl, "--cacert", cacert, "-o", file, s.url("/large"))...); r.status != 0 || checksum(string(readFile(t, file))) != sum {
			t.Errorf("%v: curl ended with %d: %s", test, r.status, r.stderr)
		}
		// On HTTP/2, a client that closes at once can keep net/http from counting
		// the end.
		s.await(t, regexp.MustCompile(`GET "/large" 200 .+, TLS 1\.3 \w+, `+test.log+`\n`))
		pool, err := loadPool(cacert)
		if err != nil {
			t.Fatal(err)
		}
		release := holdTransferOver(t, pool, s.url("/large"), httpFlags{HTTP1: test.curl[0] == "--http1.1", HTTP2: test.curl[0] == "--http2"})
		s.await(t, regexp.MustCompile(`(?m)^1 open \| `+regexp.QuoteMeta(test.places)+` \|`))
		release()
		s.stop(t, syscall.SIGINT)
		if n := strings.Count(s.stderr(), "kernel TLS: sent in user space by HTTP/2.0: "); (n == 1) != test.surprise {
			t.Errorf("%v: told %d times: %s", test, n, s.stderr())
		}
	}
}

// On HTTP/2 there is one reason, whatever the connection says of itself when it
// is open or closed.
func TestSurprises(t *testing.T) {
	var text strings.Builder
	s := &surprises{w: &text, told: map[string]bool{}}
	for _, reason := range []string{"not yet", "it is closed", "not yet"} {
		s.look(tls.DirectionOffload{Where: tls.UserSpace, Reason: reason}, "HTTP/2.0", largeResponse)
	}
	if n := strings.Count(text.String(), "\n"); n != 1 {
		t.Errorf("told %d times: %s", n, text.String())
	}
}

// What is required and not there is an error at once. What is wanted and not
// there is told.
func TestServeWithoutKernel(t *testing.T) {
	report := kernel.Probe()
	if report.Available {
		t.Skip("NOT TESTED HERE: this kernel has TLS, and the test is about those that have not")
	}
	dir, _ := directory(t)
	for _, args := range [][]string{
		{"serve", dir, "--kernel", "require"},
		{"serve", dir, "--kernel-rx", "require"},
		{"get", "--kernel", "require", "https://127.0.0.1:1/"},
		{"connect", "--kernel-rx", "require", "127.0.0.1:1"},
	} {
		handoff(t, nil, args...).want(t, exitError, "no kernel TLS here: "+report.Reason)
	}
	for args, want := range map[string]string{"--kernel=auto": "not here: " + report.Reason, "--kernel=off": "off"} {
		s, _, _ := serveDirectory(t, args)
		s.await(t, regexp.MustCompile(`(?m)^kernel TLS: `+regexp.QuoteMeta(want)+`$`))
	}
}

// What a client asks of the kernel, it gets and shows.
func TestKernelClients(t *testing.T) {
	needKernel(t)
	s, cacert, sum := serveDirectory(t, "--http1.1")
	file := filepath.Join(t.TempDir(), "file")
	r := handoff(t, nil, "get", "--kernel=require", "--kernel-rx=require", "--cacert", cacert, "-o", file, s.url("/large"))
	r.want(t, exitOK, "")
	if checksum(string(readFile(t, file))) != sum {
		t.Error("the wrong file")
	}
	r = handoff(t, strings.NewReader("GET / HTTP/1.0\r\n\r\n"), "connect", "--kernel=require", "--kernel-rx=require", "--cacert", cacert, s.addr)
	r.want(t, exitOK, "")
	for _, row := range []string{"sending", "receiving"} {
		if got := rows(r.stderr, row); len(got) != 1 || !strings.HasPrefix(got[0], tls.KernelSoftware.String()+" since record ") {
			t.Errorf("%s: %q", row, got)
		}
	}
}
