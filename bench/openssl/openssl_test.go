package openssl

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/bench"
)

func TestMain(m *testing.M) {
	bench.Peer()
	os.Exit(m.Run())
}

// strict are the flags that the program must be built with, and run with, in
// silence: they end it when it leaks at its end, and at undefined behaviour.
var strict = []string{"-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"}

func start(t *testing.T, flags ...string) *Program {
	t.Helper()
	p, err := Start(t.Context(), flags...)
	if err != nil {
		t.Fatalf("this needs gcc, libc6-dev and libssl-dev (make tools installs them): %v", err)
	}
	return p
}

// TestCases plays each case for a moment, and looks for what each must have.
// The sanitizers say whether memory leaks.
func TestCases(t *testing.T) {
	p := start(t, strict...)
	if !strings.HasPrefix(p.Version, "OpenSSL ") {
		t.Errorf("version %q", p.Version)
	}
	played := map[string]bool{}
	for _, c := range bench.All() {
		if p.can[c.Name] {
			play(t, p, c)
			played[c.Name] = true
		}
	}
	if !maps.Equal(played, p.can) {
		t.Errorf("played %v of %v", played, p.can)
	}
	for _, m := range p.Cannot {
		if !strings.Contains(m.Case, "/mlkem768") {
			t.Errorf("%s: %s", m.Case, m.Reason)
		}
	}
	if n := len(p.can) + len(p.Cannot); n != 15 {
		t.Errorf("%d cases", n)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files are left: %v", err)
	}
}

func play(t *testing.T, p *Program, c bench.Case) {
	r, err := bench.Run(t.Context(), p.Beside(c), bench.Options{Pairs: 2, Sample: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	units := []string{"cpu-ns/op"}
	if strings.HasPrefix(c.Name, "HS1") {
		units = append(units, "client-cpu-ns/op", "server-cpu-ns/op")
	}
	for _, unit := range units {
		if n := len(r.Values(bench.OpenSSL, unit)); n != 2 || r.Least(bench.OpenSSL, unit) <= 0 {
			t.Errorf("%s: %d samples of %s, at least %v", c.Name, n, unit, r.Least(bench.OpenSSL, unit))
		}
	}
	if n := len(r.Values(bench.Ours, "cpu-ns/op")); n != 2 {
		t.Errorf("%s: %d samples of this stack", c.Name, n)
	}
	for _, row := range r.Rows() {
		if row.Stack == bench.OpenSSL || row.Beside == bench.OpenSSL {
			t.Errorf("%s is among what has a goal: %+v", c.Name, row)
		}
	}
}

// What OpenSSL does not play stays as it is, and what the program says ends it.
func TestFails(t *testing.T) {
	p := start(t)
	c := bench.Case{Name: "Nothing"}
	if len(p.Beside(c).More) != 0 {
		t.Error("a case that it cannot play")
	}
	if f, err := p.play("HS12Resume", 1); err != nil || f["cpu-ns/op"] <= 0 {
		t.Errorf("%v, %v", f, err)
	}
	if f, err := p.play("HS12Resume", 0); err == nil || !strings.Contains(err.Error(), "no operations") {
		t.Errorf("%v, %v", f, err)
	}
	if f, err := p.play("HS12Resume", 1); err == nil {
		t.Errorf("%v", f)
	}
	c.Name = "HS12Resume"
	if p.Err() == nil || len(p.Beside(c).More) != 0 {
		t.Error("a program that has ended plays")
	}
	var exit *exec.ExitError
	if err := p.Close(); !errors.As(err, &exit) {
		t.Errorf("%v", err)
	}
}

// A program that does not answer is ended.
func TestPatience(t *testing.T) {
	p := start(t)
	old := patience
	patience = 10 * time.Millisecond
	t.Cleanup(func() { patience = old })
	if f, err := p.play("HS12Full/x25519-p256", 1<<30); err == nil {
		t.Errorf("%v", f)
	}
	if err := p.Close(); err == nil {
		t.Error("no error")
	}
}

// What is not there is named with its package.
func TestMissing(t *testing.T) {
	for _, test := range []struct{ name, cc, want string }{
		{"compiler", "", "apt-get install gcc"},
		{"headers", "echo 'openssl.c:22:10: fatal error: openssl/crypto.h: No such file or directory' >&2; exit 1", "apt-get install libssl-dev"},
		{"library", "echo 'cannot find -lssl' >&2; exit 1", "cannot find -lssl"},
		{"version", `echo "#!$(command -v sh)" >$3; echo 'echo error too old' >>$3; chmod +x $3`, "too old"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir()
			if test.cc != "" {
				if err := os.WriteFile(filepath.Join(path, "cc"), []byte("#!/bin/sh\nPATH=/bin:/usr/bin\n"+test.cc+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", path)
			if p, err := Start(context.Background()); err == nil || p != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestParse(t *testing.T) {
	f, err := parse("12.5 cpu-ns/op 3 client-cpu-ns/op")
	if err != nil || !maps.Equal(f, bench.Figures{"cpu-ns/op": 12.5, "client-cpu-ns/op": 3}) {
		t.Errorf("%v, %v", f, err)
	}
	for _, line := range []string{"", "12.5", "x cpu-ns/op", "12.5 cpu-ns/op 3"} {
		if f, err := parse(line); err == nil {
			t.Errorf("%q: %v", line, f)
		}
	}
}
