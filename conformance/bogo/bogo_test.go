package bogo

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// runnerVar says where the runner is, and commitVar of which commit of
	// BoringSSL it is.
	runnerVar = "HANDOFF_BOGO_RUNNER"
	commitVar = "HANDOFF_BOGO_COMMIT"

	// asShim makes this test binary the shim, or, set to listing, one that only
	// tells the runner that it can do nothing.
	asShim    = "HANDOFF_BOGO_SHIM"
	listing   = "listing"
	flagsFile = "HANDOFF_BOGO_FLAGS"
)

var update = flag.Bool("update", false, "write RESULTS.md anew; needs "+runnerVar+" and "+commitVar)

func TestMain(m *testing.M) {
	switch os.Getenv(asShim) {
	case "":
		os.Exit(m.Run())
	case listing:
		if slices.Contains(os.Args, "-is-handshaker-supported") {
			fmt.Println("No")
			os.Exit(0)
		}
		os.Exit(statusUnimplemented)
	}
	os.Exit(shim(os.Args[1:]))
}

// TestBoGo runs all cases of the runner. None may fail, and what is not run must
// have a reason.
func TestBoGo(t *testing.T) {
	runner := os.Getenv(runnerVar)
	if runner == "" && *update {
		t.Fatalf("%s does not say where the runner is", runnerVar)
	}
	if runner == "" {
		t.Skipf("BORINGSSL'S TESTS ARE NOT RUN: %s does not say where their runner is (see doc.go)", runnerVar)
	}
	all, _ := run(t, runner, listing, "{}")
	config := readConfig(t)
	results, flags := run(t, runner, "1", config.text)
	table := tabulate(all, results, flags, config)
	t.Logf("%s", table.totals())
	if n := table.disabled[""]; n > 0 {
		t.Errorf("%d cases were not run, and no pattern of config.json says why", n)
	}
	for _, pattern := range config.unused(all) {
		t.Errorf("%q disables nothing", pattern)
	}
	for name, result := range results {
		if result != "PASS" && result != "SKIP" {
			t.Errorf("%s: %s", name, result)
		}
	}
	if *update && !t.Failed() {
		commit := os.Getenv(commitVar)
		if commit == "" {
			t.Fatalf("%s does not say which commit of BoringSSL it is", commitVar)
		}
		if err := os.WriteFile("RESULTS.md", []byte(table.markdown(commit)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs the runner, and returns the result of each case by its name and the
// flags that cases were not run for.
func run(t *testing.T, runner, mode, config string) (results map[string]string, flags []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	configFile, output, missing := filepath.Join(dir, "config.json"), filepath.Join(dir, "output.json"), filepath.Join(dir, "flags")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), runner, "-shim-path", self, "-shim-config", configFile, "-allow-unimplemented", "-json-output", output, "-num-workers", "4")
	cmd.Dir = filepath.Dir(runner)
	cmd.Env = append(os.Environ(), asShim+"="+mode, flagsFile+"="+missing)
	out, runErr := cmd.CombinedOutput()
	if runErr != nil {
		t.Logf("%s", failures(out))
	}
	text, err := os.ReadFile(output)
	if err != nil {
		t.Fatalf("the runner has left no output: %v", err)
	}
	var file struct {
		Tests map[string]struct {
			Actual string `json:"actual"`
		} `json:"tests"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	results, failed := make(map[string]string), false
	for name, v := range file.Tests {
		results[name] = v.Actual
		failed = failed || v.Actual != "PASS" && v.Actual != "SKIP"
	}
	if runErr != nil && !failed {
		t.Errorf("the runner fails, and no case does: %v", runErr)
	}
	lines, _ := os.ReadFile(missing) // there is none if no flag was missing
	return results, strings.FieldsFunc(string(lines), func(r rune) bool { return r == '\n' })
}

// failures cuts from the runner's output what is about cases that failed.
func failures(out []byte) []byte {
	if i := bytes.Index(out, []byte("FAILED (")); i >= 0 {
		return out[i:min(len(out), i+20_000)]
	}
	return out[:min(len(out), 2000)]
}

// configFile is config.json.
type configFile struct {
	DisabledTests map[string]string
	ErrorMap      map[string][]string
	text          string
}

func readConfig(t *testing.T) *configFile {
	t.Helper()
	text, err := os.ReadFile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	c := &configFile{text: string(text)}
	if err := json.Unmarshal(text, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// elsewhere begins the reasons of cases that are about another protocol: they are
// counted apart.
const elsewhere = "out of scope: "

// TestConfig checks that every pattern and flag has a reason.
func TestConfig(t *testing.T) {
	config := readConfig(t)
	for pattern, reason := range config.DisabledTests {
		if _, err := path.Match(pattern, ""); err != nil {
			t.Errorf("%q is no pattern: %v", pattern, err)
		}
		if len(reason) < 10 {
			t.Errorf("%q has no reason but %q", pattern, reason)
		}
	}
	for flag, reason := range reasons {
		if _, known := valued(flag); known && flag != "cipher" && flag != "expect-total-renegotiations" { // with some values
			t.Errorf("-%s is implemented and has a reason not to be", flag)
		}
		if reason == "" {
			t.Errorf("-%s has no reason", flag)
		}
	}
	for flag, f := range ignored {
		if flagKinds[flag] != 0 || reasons[flag] != "" || f.why == "" {
			t.Errorf("-%s is ignored, and implemented or not, or without a reason", flag)
		}
	}
	for name, ours := range config.ErrorMap {
		if len(ours) == 0 || slices.Contains(ours, "") {
			t.Errorf("%s stands for any error", name)
		}
	}
}

// TestResults checks that the table which is committed shows what it must.
func TestResults(t *testing.T) {
	text, err := os.ReadFile("RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	var passed, failed int
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "| **all**") {
			if _, err := fmt.Sscanf(line, "| **all** | %d | %d |", &passed, &failed); err != nil {
				t.Fatal(err)
			}
		}
	}
	if passed < 2300 || failed != 0 {
		t.Errorf("%d passed and %d failed; at least 2300 and none are wanted", passed, failed)
	}
}

// table is what becomes of all cases, by family.
type table struct {
	families map[string]*counts
	all      counts
	outside  int            // of scope
	disabled map[string]int // by reason
	flags    map[string]int // by reason
}

type counts struct{ passed, failed, unimplemented, disabled int }

func tabulate(all, results map[string]string, flags []string, config *configFile) *table {
	tab := &table{families: map[string]*counts{}, disabled: map[string]int{}, flags: map[string]int{}}
	for name := range all {
		result, ran := results[name]
		reason := ""
		if !ran {
			if reason = config.reason(name); strings.HasPrefix(reason, elsewhere) {
				tab.outside++
				continue
			}
			tab.disabled[reason]++
		}
		family, _, _ := strings.Cut(name, "-")
		if tab.families[family] == nil {
			tab.families[family] = new(counts)
		}
		for _, c := range [...]*counts{tab.families[family], &tab.all} {
			c.add(result)
		}
	}
	for _, f := range flags {
		tab.flags[reasonFor(f)]++
	}
	return tab
}

func (c *counts) add(result string) {
	switch result {
	case "PASS":
		c.passed++
	case "SKIP":
		c.unimplemented++
	case "":
		c.disabled++
	default:
		c.failed++
	}
}

// reason returns why a case is disabled. Where several patterns fit, one that puts
// it out of scope comes first.
func (c *configFile) reason(name string) (found string) {
	for _, pattern := range slices.Sorted(maps.Keys(c.DisabledTests)) {
		if ok, _ := path.Match(pattern, name); ok {
			if reason := c.DisabledTests[pattern]; found == "" || strings.HasPrefix(reason, elsewhere) {
				found = reason
			}
		}
	}
	return found
}

// unused returns the patterns that fit none of the cases.
func (c *configFile) unused(cases map[string]string) (patterns []string) {
	for _, pattern := range slices.Sorted(maps.Keys(c.DisabledTests)) {
		fits := func(name string) bool { ok, _ := path.Match(pattern, name); return ok }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(cases)), fits) {
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

func (tab *table) totals() string {
	c := &tab.all
	return fmt.Sprintf("%d cases in scope: %d passed, %d failed, %d unimplemented, %d disabled; %d out of scope",
		c.passed+c.failed+c.unimplemented+c.disabled, c.passed, c.failed, c.unimplemented, c.disabled, tab.outside)
}

func (tab *table) markdown(commit string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# BoringSSL's tests\n\nMade by `go test ./conformance/bogo -update` with the runner of BoringSSL %s.\n\n", commit)
	fmt.Fprintf(&b, "%s (DTLS, QUIC, and versions below TLS 1.2). What a failure must look like is checked too: each error of BoringSSL stands in\n", tab.totals())
	b.WriteString("config.json for the alerts that we may send in its place.\n\n")
	b.WriteString("| family | passed | failed | unimplemented | disabled |\n|---|---:|---:|---:|---:|\n")
	row := func(name string, c *counts) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", name, c.passed, c.failed, c.unimplemented, c.disabled)
	}
	row("**all**", &tab.all)
	for _, family := range slices.Sorted(maps.Keys(tab.families)) {
		row(family, tab.families[family])
	}
	b.WriteString("\n## Unimplemented: the flag of the case asks for what does not exist here\n\n| reason | cases |\n|---|---:|\n")
	writeReasons(&b, tab.flags)
	b.WriteString("\n## Disabled: we do otherwise\n\n| reason | cases |\n|---|---:|\n")
	writeReasons(&b, tab.disabled)
	b.WriteString("\n## Ignored: flags that change nothing here, with which cases are run all the same\n\n| flag | why |\n|---|---|\n")
	for _, flag := range slices.Sorted(maps.Keys(ignored)) {
		fmt.Fprintf(&b, "| %s | %s |\n", flag, ignored[flag].why)
	}
	return b.String()
}

// writeReasons writes the most frequent reason first.
func writeReasons(b *strings.Builder, n map[string]int) {
	for _, reason := range slices.SortedFunc(maps.Keys(n), func(x, y string) int {
		return 2*(n[y]-n[x]) + strings.Compare(x, y)
	}) {
		fmt.Fprintf(b, "| %s | %d |\n", reason, n[reason])
	}
}
