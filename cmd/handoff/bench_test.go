package main

import (
	"encoding/json"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/kernel"
)

// A run as short as can be has every part of the report.
func TestBench(t *testing.T) {
	report := kernel.Probe()
	args := []string{"bench", "--cases", "^(HS12Resume|BulkWrite16K/13-aes128|BulkWrite64K/13-aes128)$", "--pairs", "2", "--time", "1ms"}
	text := handoff(t, nil, args...)
	text.want(t, exitOK, "")
	for _, want := range []string{
		runtime.Version(), "GOMAXPROCS", "2 pairs of samples of about 1ms",
		map[bool]string{true: ": kernel TLS\n", false: ": no kernel TLS\n  " + report.Reason}[report.Available],
		"\n  HS12Resume ", "≥ 1.80", " (cipher alone) ",
	} {
		if !strings.Contains(text.stdout, want) {
			t.Errorf("no %q in\n%s", want, text.stdout)
		}
	}
	if skips := strings.Contains(text.stdout, "\nNot measured: sending by the kernel: "+report.Reason); skips == report.Available {
		t.Errorf("kernel TLS: %v\n%s", report.Available, text.stdout)
	}
	if want := "3 of 3: BulkWrite64K/13-aes128\n"; !strings.Contains(text.stderr, want) {
		t.Errorf("no %q in %q", want, text.stderr)
	}
	r := handoff(t, nil, append(args, "--json")...)
	r.want(t, exitOK, "")
	var got measurements
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) < 5 || got.Machine.Go != runtime.Version() || got.Probe.System != report.System || got.Pairs != 2 {
		t.Errorf("%+v", got)
	}
	if row := got.Rows[0]; row.Case != "HS12Resume" || row.Value <= 0 || len(row.Pairs) != 2 || row.Target == nil {
		t.Errorf("%+v", row)
	}
}

func TestBenchList(t *testing.T) {
	r := handoff(t, nil, "bench", "--list")
	r.want(t, exitOK, "")
	if n := strings.Count(r.stdout, "\n"); n != len(bench.All()) || !strings.Contains(r.stdout, "\nHS12Resume\n") {
		t.Errorf("%d names:\n%s", n, r.stdout)
	}
	if n := len(bench.Short()); n != 15 {
		t.Errorf("%d of the cases that say most exist", n)
	}
}

// The verdicts, and what is printed of each kind of row.
func TestBenchTable(t *testing.T) {
	ratio, most := 1.3, 60.0
	m := measurements{Version: "handoff", Probe: newFindings(&kernel.Report{System: "one", Reason: "no module"}), Rows: []bench.Row{
		{Case: "A", Unit: "cpu-ns/op", Stack: bench.Ours, Beside: bench.Std, Other: 1.4e6, Value: 1e6, Ratio: 1.4, Pairs: []float64{1.5, 1.3}, Target: &ratio},
		{Case: "A", Unit: "cpu-ns/op", Stack: bench.Ours, Beside: bench.Std, Other: 1.2e3, Value: 1e3, Ratio: 1.2, Pairs: []float64{1.5, 1.1}, Target: &ratio},
		{Case: "B", Unit: "allocs/op", Stack: bench.Ours, Beside: bench.Std, Other: 3, Value: 61, Ratio: 3.0 / 61, Most: &most},
		{Case: "C", Unit: "cpu-ns/op", Stack: bench.Ours, Beside: bench.Std, Other: 90, Value: 100, Ratio: 0.9, Pairs: []float64{0.8, 0.95}},
		{Case: "C", Unit: "cpu-ns/op", Stack: bench.Kernel, Beside: bench.Std, Other: 90, Value: 45, Ratio: 2, Pairs: []float64{2, 2}},
	}, Skipped: []skipped{{"D", "it failed"}}}
	var b strings.Builder
	if err := m.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`A +cpu-ns/op +1\.40 ms +1 ms +1\.40 +1\.30 to 1\.50 +≥ 1\.30 +met`,
		`A +cpu-ns/op +1\.20 µs +1 µs +1\.20 +1\.10 to 1\.50 +≥ 1\.30 +missed`,
		`B +allocs/op +3 +61 +0\.05 +≤ 60 +missed`,
		`C +cpu-ns/op +90 ns +100 ns +0\.90 +0\.80 to 0\.95 +slower`,
		`C +cpu-ns/op +90 ns +45 ns \(kernel sends\) +2\.00 +2\.00 to 2\.00`,
	} {
		if !regexp.MustCompile(`(?m)^  ` + line + ` *$`).MatchString(b.String()) {
			t.Errorf("no line %s in\n%s", line, b.String())
		}
	}
	if !strings.HasSuffix(b.String(), "\nNot measured: D: it failed\n") {
		t.Errorf("printed\n%s", b.String())
	}
}

// A signal ends it between two samples, and its children with it.
func TestBenchInterrupted(t *testing.T) {
	b := &background{cmd: command(t, "bench", "--cases", "BulkWrite64K/13-aes128", "--pairs", "100000")}
	out, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("1 of 1"))); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(&b.errors, out) }()
	if status := b.stop(t, syscall.SIGINT); status != 130 {
		t.Errorf("exit status %d: %s", status, b.stderr())
	}
}

// Where the kernel has TLS, what it sends is measured beside both.
// The lab counts CPU time in ticks of 10 ms, so there must be many.
func TestKernelBench(t *testing.T) {
	needKernel(t)
	r := handoff(t, nil, "bench", "--cases", "^BulkWrite64K/13-aes128$", "--pairs", "1", "--time", "500ms", "--json")
	r.want(t, exitOK, "")
	var got measurements
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(got.Rows, func(r bench.Row) bool { return r.Stack == bench.Kernel && r.Value > 0 }) {
		t.Errorf("%+v", got.Rows)
	}
}
