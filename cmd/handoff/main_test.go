package main

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct {
		args []string
		text string
	}{
		{nil, "expected one of"},
		{[]string{"fly"}, "unexpected argument fly"},
		{[]string{"serve"}, `"<dir>"`},
		{[]string{"serve", ".", "--cert", "cert.pem"}, "--cert and --key must be used together"},
		{[]string{"serve", ".", "--min", "1.1"}, "--min must be one of"},
		{[]string{"serve", ".", "--min", "1.3", "--max", "1.2"}, "--min 1.3 is above --max 1.2"},
		{[]string{"get"}, `"<url>"`},
		{[]string{"get", "http://localhost/"}, "an https URL is needed"},
		{[]string{"get", "localhost"}, "an https URL is needed"},
		{[]string{"get", "https://a b/"}, "invalid character"},
		{[]string{"get", "https://localhost/", "--nonsense"}, "unknown flag --nonsense"},
		{[]string{"get", "https://localhost/", "--min", "1.3", "--max", "1.2"}, "--min 1.3 is above --max 1.2"},
		{[]string{"get", "https://localhost/", "--insecure", "--cacert", "ca.pem"}, "can't be used together"},
		{[]string{"connect"}, `"<host:port>"`},
		{[]string{"connect", "localhost", "--key", "key.pem"}, "--cert and --key must be used together"},
		{[]string{"connect", "localhost", "--min", "1.3", "--max", "1.2"}, "--min 1.3 is above --max 1.2"},
		{[]string{"demo", "extra"}, "unexpected argument extra"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			r := handoff(t, nil, test.args...)
			r.want(t, exitUsage, test.text)
			if r.stdout != "" {
				t.Errorf("printed %q", r.stdout)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	writeFile(t, filepath.Join(dir, "text"), []byte("no certificate"))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		args []string
		text string
	}{
		{[]string{"serve", missing}, "no such file or directory"},
		{[]string{"serve", filepath.Join(dir, "text")}, "not a directory"},
		{[]string{"serve", dir, "--addr", taken.Addr().String()}, "address already in use"},
		{[]string{"serve", dir, "--addr", "nonsense"}, "missing port"},
		{[]string{"serve", dir, "--cert", missing, "--key", missing}, "certificate " + missing},
		{[]string{"serve", dir, "--addr", "127.0.0.1:0", "--client-ca", filepath.Join(dir, "text")}, "no certificate in PEM"},
		{[]string{"serve", dir, "--addr", "127.0.0.1:0", "--cert-out", filepath.Join(missing, "cert.pem")}, "no such file or directory"},
		{[]string{"get", "https://127.0.0.1:1/", "--cacert", missing}, "no such file or directory"},
		{[]string{"get", "https://127.0.0.1:1/"}, "https://127.0.0.1:1/: dial tcp 127.0.0.1:1: connect: connection refused"},
		{[]string{"connect", "127.0.0.1:1"}, "connection refused"},
		{[]string{"SSLKEYLOGFILE=" + filepath.Join(missing, "log"), "demo"}, "SSLKEYLOGFILE: open"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			handoff(t, nil, test.args...).want(t, exitError, test.text)
		})
	}
}

func TestHelp(t *testing.T) {
	all := handoff(t, nil, "--help")
	all.want(t, exitOK, "")
	for _, name := range []string{"serve", "get", "connect", "demo"} {
		if !strings.Contains(all.stdout, "\n  "+name+" ") {
			t.Errorf("%s is not in the list:\n%s", name, all.stdout)
		}
		r := handoff(t, nil, name, "--help")
		r.want(t, exitOK, "")
		if !strings.Contains(r.stdout, "Example") || !strings.Contains(r.stdout, "\n    handoff "+name) {
			t.Errorf("%s has no example:\n%s", name, r.stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		r := handoff(t, nil, arg)
		r.want(t, exitOK, "")
		if !regexp.MustCompile(`^handoff \S+ go1\.\S+ \w+/\w+\n$`).MatchString(r.stdout) {
			t.Errorf("%s: %q", arg, r.stdout)
		}
	}
}

// A signal ends a client that waits for a server.
func TestInterrupted(t *testing.T) {
	accepted := make(chan struct{}, 1)
	silent := rawServer(t, func(c net.Conn) {
		accepted <- struct{}{}
		_, _ = c.Read(make([]byte, 1<<16)) // the ClientHello
		_, _ = c.Read(make([]byte, 1))     // until the client is gone
	})
	for _, args := range [][]string{{"get", silent.url("/")}, {"connect", silent.addr}} {
		b := &background{cmd: command(t, args...)}
		b.cmd.Stderr = &b.errors
		if err := b.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-accepted
		status := b.stop(t, syscall.SIGINT)
		result{status: status, stderr: b.stderr()}.want(t, exitError, "interrupted")
	}
}
