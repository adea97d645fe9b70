package main

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
		{[]string{"get", ""}, "an https URL is needed"},
		{[]string{"get", "https://localhost/", "--fingerprint", "AB:CD"}, `"AB:CD" is no SHA-256 fingerprint`},
		{[]string{"get", "https://localhost/", "--fingerprint", strings.Repeat("xy", 32)}, "is no SHA-256 fingerprint"},
		{[]string{"get", "https://localhost/", "--insecure", "--fingerprint", strings.Repeat("ab", 32)}, "can't be used together"},
		{[]string{"connect"}, `"<host:port>"`},
		{[]string{"connect", ""}, `"" names no host`},
		{[]string{"connect", ":443"}, `":443" names no host`},
		{[]string{"connect", "localhost:"}, `"localhost:" has no port`},
		{[]string{"connect", "localhost:65536"}, "65536 is no port"},
		{[]string{"connect", "https://localhost"}, `"https://localhost" is not HOST:PORT`},
		{[]string{"connect", "localhost/path"}, `"localhost/path" is not HOST:PORT`},
		{[]string{"connect", "::1:x"}, "needs brackets"},
		{[]string{"help", "fly"}, "unexpected argument fly"},
		{[]string{"connect", "localhost", "--key", "key.pem"}, "--cert and --key must be used together"},
		{[]string{"connect", "localhost", "--min", "1.3", "--max", "1.2"}, "--min 1.3 is above --max 1.2"},
		{[]string{"connect", "localhost", "--reconnect=-1"}, "is no number of connections"},
		{[]string{"connect", "localhost", "--reconnect", "2", "--resume"}, "can't be used together"},
		{[]string{"serve", ".", "--tickets", "nowhere"}, `--tickets "nowhere" is none of`},
		{[]string{"serve", ".", "--tickets", "file:"}, `--tickets "file:" is none of`},
		{[]string{"serve", ".", "--tickets", "file:keys"}, "--tickets file:keys needs --tickets-key"},
		{[]string{"serve", ".", "--tickets-key", "key"}, "give --tickets too"},
		{[]string{"serve", ".", "--tickets-interval", "1s"}, "--tickets-interval 1s is less than"},
		{[]string{"tickets"}, "which keys?"},
		{[]string{"tickets", "memory"}, "which keys?"},
		{[]string{"tickets", "file:keys"}, "file:keys needs --tickets-key"},
		{[]string{"tickets", "redis://me:password@localhost"}, "tickets: redis:... needs --tickets-key"},
		{[]string{"serve", ".", "--tickets", "reddis://me:password@localhost"}, `--tickets "reddis:..." is none of`},
		{[]string{"tickets", "file:keys", "--new-key", "key"}, "--new-key goes with nothing else"},
		{[]string{"demo", "extra"}, "unexpected argument extra"},
		{[]string{"bench", "--cases", "("}, "--cases: error parsing regexp"},
		{[]string{"bench", "--cases", "nothing"}, "--cases nothing matches no case"},
		{[]string{"bench", "--pairs", "0"}, "--pairs 0 is no number"},
		{[]string{"bench", "--time=-1s"}, "--time -1s is no time"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			r := handoff(t, nil, test.args...)
			r.want(t, exitUsage, test.text)
			if r.stdout != "" {
				t.Errorf("printed %q", r.stdout)
			}
			help := "handoff --help"
			if len(test.args) > 0 && test.args[0] != "fly" {
				help = "handoff " + test.args[0] + " --help"
			}
			if !strings.Contains(r.stderr, "\nRun \""+help+"\" for usage.\n") {
				t.Errorf("does not point at %q: %s", help, r.stderr)
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
	if asked := handoff(t, nil, "help"); asked != all {
		t.Errorf("help is not --help: %+v", asked)
	}
	for _, name := range []string{"serve", "get", "connect", "demo", "handover", "tickets", "probe", "bench"} {
		if !strings.Contains(all.stdout, "\n  "+name+" ") {
			t.Errorf("%s is not in the list:\n%s", name, all.stdout)
		}
		r := handoff(t, nil, name, "--help")
		r.want(t, exitOK, "")
		if asked := handoff(t, nil, "help", name); asked != r {
			t.Errorf("help %s is not %s --help: %+v", name, name, asked)
		}
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

// A signal ends a client, which says so by its status too.
func TestInterrupted(t *testing.T) {
	p := newPKI(t)
	reached := make(chan struct{}, 1)
	silent := rawServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<16)) // the ClientHello
		reached <- struct{}{}
		_, _ = c.Read(make([]byte, 1)) // until the client is gone
	})
	stuck := goServer(t, &stdtls.Config{Certificates: []stdtls.Certificate{p.server}}, func(c *stdtls.Conn) {
		_, _ = c.Read(make([]byte, 1<<12))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
		reached <- struct{}{}
		_, _ = c.Read(make([]byte, 1))
	})
	for _, test := range []struct {
		args   []string
		signal syscall.Signal
		status int
	}{
		{[]string{"get", silent.url("/")}, syscall.SIGINT, 130},
		{[]string{"get", silent.url("/")}, syscall.SIGTERM, 143},
		{[]string{"connect", silent.addr}, syscall.SIGINT, 130},
		{[]string{"get", stuck.url("/"), "--cacert", p.ca}, syscall.SIGINT, 130},
		{[]string{"connect", stuck.addr, "--cacert", p.ca}, syscall.SIGINT, 130},
	} {
		b := &background{cmd: command(t, test.args...)}
		b.cmd.Stderr = &b.errors
		in, err := b.cmd.StdinPipe() // which goes on
		if err != nil {
			t.Fatal(err)
		}
		if err := b.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "a request"); err != nil {
			t.Fatal(err)
		}
		<-reached
		status := b.stop(t, test.signal)
		in.Close()
		result{status: status, stderr: b.stderr()}.want(t, test.status, "interrupted")
	}
}

// What a signal only hastened is reported as what it is.
func TestConclude(t *testing.T) {
	interrupted, cancel := context.WithCancelCause(t.Context())
	cancel(interruption{syscall.SIGINT})
	for _, test := range []struct {
		ctx    context.Context
		err    error
		status int
		says   string
	}{
		{interrupted, nil, exitOK, ""},
		{interrupted, fmt.Errorf("get: %w", context.Canceled), 130, "handoff: interrupted\n"},
		{interrupted, fmt.Errorf("get: %w", context.Cause(interrupted)), 130, "handoff: interrupted\n"},
		{interrupted, errors.New("stopped"), exitError, "handoff: stopped\n"},
		{t.Context(), context.Canceled, exitError, "handoff: context canceled\n"},
	} {
		p, output := capture(t)
		if status := p.conclude(test.ctx, test.err); status != test.status || output() != test.says {
			t.Errorf("%v: status %d, says %q", test.err, status, output())
		}
	}
}

// capture returns a process and what it wrote to standard error so far.
func capture(t *testing.T) (*process, func() string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &process{stdout: f, stderr: f}, func() string { return string(readFile(t, f.Name())) }
}
