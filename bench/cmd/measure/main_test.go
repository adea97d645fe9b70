package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/kernel"
)

func TestMain(m *testing.M) {
	bench.Peer()
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	const cases = "^(HS12Resume|BulkWrite16K/13-aes128|FirstBytes64K/13-aes128)$"
	if err := run(cases, bench.Options{Pairs: 6, Sample: time.Millisecond}, others("")[:1], dir); err != nil {
		t.Fatal(err)
	}
	checkText(t, filepath.Join(dir, "RESULTS.txt"))
	table, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n| HS12Resume | cpu-ns/op | ", "(raw) | ", "| ≥ 1.80 | ", "| FirstBytes64K/13-aes128 | writes/op | ", "GOMAXPROCS", "\n## All else\n",
		"\n## Beside OpenSSL\n\n", "\n\nOpenSSL ", "crypto/tls | handoff | ratio | interval |\n|---|---|---|---|---|---|---|---|---|\n| HS12Resume | cpu-ns/op | ",
	} {
		if !strings.Contains(string(table), want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	checkChart(t, filepath.Join(dir, "RESULTS.svg"), "HS12Resume  cpu-ns/op")
}

// checkText reads what benchstat would read.
func checkText(t *testing.T, name string) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]int{}
	r := benchfmt.NewReader(f, name)
	for r.Scan() {
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			t.Fatalf("%v", r.Result())
		}
		base, _ := result.Name.Parts()
		if _, ok := result.Value("cpu-sec/op"); !ok {
			if _, ok := result.Value("cpu-ns/op"); !ok {
				t.Errorf("%s: no CPU time in %v", base, result.Values)
			}
		}
		if result.GetConfig("kernel") == "" {
			t.Error("no kernel in the configuration")
		}
		if !strings.HasPrefix(result.GetConfig("openssl"), "OpenSSL ") {
			t.Errorf("OpenSSL %q in the configuration", result.GetConfig("openssl"))
		}
		seen[string(result.Name.Full())]++
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 9 { // three cases by two stacks, two by OpenSSL, and the cipher alone
		t.Errorf("%v", seen)
	}
	for name, n := range seen {
		if n != 6 {
			t.Errorf("%s: %d samples", name, n)
		}
	}
}

// checkChart looks for a text in what must be XML.
func checkChart(t *testing.T, name, want string) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text strings.Builder
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text.Write(chars)
		}
	}
	if !strings.Contains(text.String(), want) {
		t.Errorf("no %q in the chart", want)
	}
}

// What cannot be played is in the report, with the reason.
func TestFailure(t *testing.T) {
	r := &report{failed: []failure{{"X/y", errors.New("too many open files")}}, others: others("")}
	r.others[1].reasons = []error{errors.New("X/z: no memory")}
	r.kernel = &kernel.Report{Reason: "no module"}
	name := filepath.Join(t.TempDir(), "RESULTS.md")
	if err := r.writeTable(name); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"X/y was not measured: too many open files", "rustls was not measured: X/z: no memory\n", "Kernel TLS was not measured: no module"} {
		if !strings.Contains(string(table), want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

// Without a compiler there is everything but OpenSSL.
func TestNoCompiler(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := run("^HS12Resume$", bench.Options{Pairs: 1, Sample: time.Millisecond}, others(""), dir); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n| HS12Resume | cpu-ns/op | ", "\nOpenSSL was not measured: there is no C compiler (Debian: apt-get install gcc libc6-dev)",
		"\nrustls was not measured: there is no cargo (Debian 12: apt-get install cargo ",
	} {
		if !strings.Contains(string(table), want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

func TestRefused(t *testing.T) {
	good := bench.Options{Pairs: 1, Sample: time.Millisecond}
	for name, err := range map[string]error{
		"no such case":      run("^nothing$", good, nil, t.TempDir()),
		"no regexp":         run("(", good, nil, t.TempDir()),
		"no pairs":          run(".", bench.Options{Sample: time.Millisecond}, nil, t.TempDir()),
		"no time":           run(".", bench.Options{Pairs: 1}, nil, t.TempDir()),
		"no such directory": run(".", good, nil, filepath.Join(t.TempDir(), "none")),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
