package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/perf/benchmath"

	"github.com/go-handoff/tls/bench"
)

// confidence is that of the intervals.
const confidence = 0.95

const preface = `# Beside crypto/tls

%s. %s. Measured on %s: %d pairs of samples of about %v for each case.

Both stacks are played in turn, in one process (A B A B). A ratio is that of the medians, crypto/tls by this stack: above 1 this one is
better. The interval is that of the pairs' ratios, at %.0f %% or what so few samples can say (order statistics; nothing is assumed of their
distribution). Time is CPU time of one process, garbage collection included, unless it says p50 or p99: those are latencies. What is counted, as
allocations are, is the least of all samples. "slower" is a case without a target in which every pair has crypto/tls ahead. Package bench's
documentation says what each case is. Made by ` + "`make bench`; `benchstat -col /stack RESULTS.txt`" + ` compares all units.

`

// writeTable writes the comparisons as Markdown: first what is asked for, then
// the rest.
func (r *report) writeTable(name string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, preface, r.machine, r.kernelSays(), r.date.Format(time.DateOnly), r.options.Pairs, r.options.Sample, 100*confidence)
	for _, part := range []struct {
		title string
		asked bool
	}{{"What is asked for", true}, {"All else", false}} {
		fmt.Fprintf(&b, "## %s\n\n| case | unit | crypto/tls | handoff | ratio | interval | asked for | |\n|---|---|---|---|---|---|---|---|\n", part.title)
		for _, result := range r.results {
			for _, row := range result.Rows() {
				if (row.Asked() != "") == part.asked {
					printRow(&b, row)
				}
			}
		}
		fmt.Fprintln(&b)
	}
	r.printOthers(&b)
	for _, f := range r.failed {
		fmt.Fprintf(&b, "%s was not measured: %v\n\n", f.name, f.err)
	}
	return os.WriteFile(name, bytes.TrimSpace(b.Bytes()), 0o666)
}

func printRow(w io.Writer, row bench.Row) {
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", row.Case, row.Unit, value(row.Beside, row.Other, row.Unit), value(row.Stack, row.Value, row.Unit),
		row.RatioText(), intervalText(row), row.Asked(), row.Verdict())
}

// value is a figure, and whose it is where the heading of its column is wrong.
func value(s bench.Stack, v float64, unit string) string {
	text := bench.Format(v, unit)
	if s == bench.Raw || s == bench.Kernel {
		text += " (" + string(s) + ")"
	}
	return text
}

func interval(r bench.Row) (low, high float64) {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(r.Pairs, &benchmath.DefaultThresholds), confidence)
	return s.Lo, s.Hi
}

// intervalText is empty where the samples are too few to say anything.
func intervalText(r bench.Row) string {
	if len(r.Pairs) == 0 {
		return ""
	}
	low, high := interval(r)
	if math.IsInf(low, 0) || math.IsInf(high, 0) {
		return ""
	}
	return fmt.Sprintf("%.2f to %.2f", low, high)
}

// kernelSays says whether the kernel was measured, and why not.
func (r *report) kernelSays() string {
	if r.kernel.Available {
		return r.kernel.System + " has TLS, and is measured too"
	}
	return "Kernel TLS was not measured: " + r.kernel.Reason
}
