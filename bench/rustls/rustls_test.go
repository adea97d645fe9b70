package rustls

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/bench"
)

func TestMain(m *testing.M) {
	bench.Peer()
	os.Exit(m.Run())
}

// TestCases builds the program, which takes minutes, and plays each case for a
// moment. HANDOFF_BENCH_RUSTLS asks for it: see packages.
func TestCases(t *testing.T) {
	if os.Getenv("HANDOFF_BENCH_RUSTLS") == "" {
		t.Skip("HANDOFF_BENCH_RUSTLS is not set: that takes cargo and 300 MB of Debian's packages")
	}
	p, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.Version, "rustls 0.20.8 ") || len(p.Can()) != 13 || len(p.Cannot) != 2 {
		t.Errorf("%s can play %v, not %v", p.Version, p.Can(), p.Cannot)
	}
	for _, c := range bench.All() {
		if !slices.Contains(p.Can(), c.Name) {
			continue
		}
		r, err := bench.Run(t.Context(), p.Beside(c), bench.Options{Pairs: 2, Sample: time.Microsecond})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(r.Values(bench.Rustls, "cpu-ns/op")); n != 2 || r.Least(bench.Rustls, "cpu-ns/op") <= 0 {
			t.Errorf("%s: %d samples, at least %v", c.Name, n, r.Least(bench.Rustls, "cpu-ns/op"))
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// What is not there is named with its package.
func TestMissing(t *testing.T) {
	for _, test := range []struct{ name, cargo, want string }{
		{"cargo", "", "there is no cargo (Debian 12: apt-get install cargo librust-rustls-dev "},
		{"source", "echo 'failed to read root of directory source: /usr/share/cargo/registry' >&2; exit 101", "there is no source of it (Debian 12: "},
		{"crate", "echo 'error: no matching package named `rustls` found' >&2; exit 101", "there is no source of it (Debian 12: "},
		{"else", "echo 'linker `cc` not found' >&2; exit 101", "linker `cc` not found"},
		{"version", `mkdir -p target/release; echo '#!/bin/sh
echo error too old' >target/release/beside; chmod +x target/release/beside`, "too old"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir()
			if test.cargo != "" {
				if err := os.WriteFile(filepath.Join(path, "cargo"), []byte("#!/bin/sh\nPATH=/bin:/usr/bin\n"+test.cargo+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", path)
			if p, err := Start(t.Context()); err == nil || p != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
