package openssl

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/bench/beside"
)

func TestMain(m *testing.M) {
	bench.Peer()
	os.Exit(m.Run())
}

// strict are the flags that the program must be built with, and run with, in
// silence: they end it when it leaks at its end, and at undefined behaviour.
var strict = []string{"-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"}

func start(t *testing.T, flags ...string) *beside.Program {
	t.Helper()
	p, err := Start(t.Context(), "", flags...)
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
		if slices.Contains(p.Can(), c.Name) {
			play(t, p, c)
			played[c.Name] = true
		}
	}
	for _, m := range p.Cannot {
		if !strings.Contains(m.Case, "/mlkem768") {
			t.Errorf("%s: %s", m.Case, m.Reason)
		}
	}
	if n := len(played) + len(p.Cannot); n != 15 {
		t.Errorf("%d cases", n)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func play(t *testing.T, p *beside.Program, c bench.Case) {
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
			if p, err := Start(context.Background(), ""); err == nil || p != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Libraries that somebody names are those that are loaded, with their own loader
// if they have one; without any it is an error.
func TestLibraries(t *testing.T) {
	out, err := exec.Command("cc", "-print-file-name=libssl.so.3").Output()
	library := strings.TrimSpace(string(out))
	if err != nil || !filepath.IsAbs(library) {
		t.Fatalf("libssl.so.3 is not found (package libssl3): %s, %v", library, err)
	}
	dir := t.TempDir()
	if p, err := Start(t.Context(), dir); p != nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no libraries: %v", err)
	}
	for _, name := range []string{"libssl.so.3", "libcrypto.so.3"} {
		if err := os.Symlink(filepath.Join(filepath.Dir(library), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	loader := filepath.Join(dir, "ld-linux-test.so.2")
	if err := os.WriteFile(loader, []byte("#!/bin/sh\necho error loaded by $1 $2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if p, err := Start(t.Context(), dir); p != nil || err == nil || !strings.Contains(err.Error(), "loaded by --library-path "+dir) {
		t.Errorf("its loader: %v", err)
	}
}
