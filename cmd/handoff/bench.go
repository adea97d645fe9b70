package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/kernel"
)

// benchCmd measures this stack beside crypto/tls.
type benchCmd struct {
	Cases string        `placeholder:"REGEXP" help:"Play the cases whose names match, of all that there are."`
	List  bool          `help:"List the names of all cases, and play none."`
	Pairs int           `default:"5" placeholder:"N" help:"How many samples each stack gives. ${default} if not given."`
	Time  time.Duration `default:"50ms" placeholder:"DURATION" help:"How long a sample takes, about. ${default} if not given."`
	JSON  bool          `name:"json" help:"Print it as JSON, each pair's ratio included."`
}

// Help is printed below the flags.
func (benchCmd) Help() string {
	return `Measures the stack on this machine beside Go's crypto/tls: handshakes, records, connections over loopback, a file of 1 GiB through HTTPS, the memory of idle connections. It takes about half a minute. Where the kernel has TLS, what it sends is measured too.

Both stacks are played in turn, in this process, with peers in child processes. Times are CPU time of this process, so other work on the machine matters little; only p50 and p99 are latencies. A ratio above 1 means that this stack needs less than crypto/tls; the spread is that of the pairs of samples. Things that are counted, such as allocations, have a limit instead.

"missed" is a target of this project that is not reached here, and "slower" a case in which crypto/tls was ahead in every pair. That is no failure of the command: its exit status is 0 unless a case could not be played.

Examples:

  handoff bench

  handoff bench --pairs 15 --time 200ms --json

  handoff bench --cases "BulkRead|RR1K"`
}

// Validate refuses what cannot be played. It is called by the parser.
func (c *benchCmd) Validate() error {
	switch _, err := regexp.Compile(c.Cases); {
	case err != nil:
		return fmt.Errorf("--cases: %w", err)
	case len(c.chosen()) == 0:
		return fmt.Errorf("--cases %s matches no case: see --list", c.Cases)
	case c.Pairs < 1:
		return fmt.Errorf("--pairs %d is no number of samples", c.Pairs)
	case c.Time <= 0:
		return fmt.Errorf("--time %v is no time", c.Time)
	}
	return nil
}

func (c *benchCmd) chosen() []bench.Case {
	if c.Cases == "" {
		return bench.Short()
	}
	match := regexp.MustCompile(c.Cases)
	return slices.DeleteFunc(bench.All(), func(b bench.Case) bool { return !match.MatchString(b.Name) })
}

// measurements are what bench prints.
type measurements struct {
	Version string        `json:"version"`
	Date    time.Time     `json:"date"`
	Machine bench.Machine `json:"machine"`
	Probe   *findings     `json:"probe"`
	Pairs   int           `json:"pairs"`
	Sample  time.Duration `json:"sample_ns"`
	Rows    []bench.Row   `json:"rows"`
	Skipped []skipped     `json:"skipped"`
	failed  bool
}

// skipped is what was not measured, and why.
type skipped struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Run implements the command.
func (c *benchCmd) Run(ctx context.Context, p *process) error {
	if c.List {
		return listCases(p.stdout)
	}
	report := kernel.Probe()
	m := &measurements{
		Version: versionText(), Date: time.Now().UTC().Truncate(time.Second), Machine: bench.ThisMachine(), Probe: newFindings(report),
		Pairs: c.Pairs, Sample: c.Time, Rows: []bench.Row{}, Skipped: []skipped{},
	}
	if err := m.play(ctx, p.stderr, c.chosen(), bench.Options{Pairs: c.Pairs, Sample: c.Time, Kernel: report.Available}); err != nil {
		return err
	}
	if err := c.print(p.stdout, m); err != nil {
		return err
	}
	if m.failed {
		return fmt.Errorf("some cases could not be played")
	}
	return nil
}

func listCases(w io.Writer) error {
	for _, b := range bench.All() {
		if _, err := fmt.Fprintln(w, b.Name); err != nil {
			return err
		}
	}
	return nil
}

// play plays cases, saying which on w. One that fails is skipped.
func (m *measurements) play(ctx context.Context, w io.Writer, cases []bench.Case, o bench.Options) error {
	kernelCases := false
	for i, b := range cases {
		kernelCases = kernelCases || slices.Contains(b.More, bench.Kernel)
		fmt.Fprintf(w, "%d of %d: %s\n", i+1, len(cases), b.Name)
		r, err := bench.Run(ctx, b, o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			m.failed = true
			m.Skipped = append(m.Skipped, skipped{b.Name, err.Error()})
			continue
		}
		m.Rows = append(m.Rows, r.Rows()...)
	}
	if kernelCases && !o.Kernel {
		m.Skipped = append(m.Skipped, skipped{"sending by the kernel", m.Probe.Reason})
	}
	return nil
}

func (c *benchCmd) print(w io.Writer, m *measurements) error {
	if c.JSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(m)
	}
	return m.print(w)
}

// print prints the table, with what it depends on.
func (m *measurements) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s\n%s\n%d pairs of samples of about %v\n\n", m.Version, m.Date.Format(time.DateOnly), m.Machine, m.Pairs, m.Sample)
	if err := m.Probe.print(w); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nBeside crypto/tls")
	t := newTable(w)
	fmt.Fprintln(t, "  case\tunit\tcrypto/tls\thandoff\tratio\tspread\tasked for\t")
	for _, row := range m.Rows {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Case, row.Unit, figure(row.Beside, row.Other, row.Unit), figure(row.Stack, row.Value, row.Unit),
			row.RatioText(), spread(row), row.Asked(), row.Verdict())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range m.Skipped {
		if _, err := fmt.Fprintf(w, "\nNot measured: %s: %s\n", s.What, s.Reason); err != nil {
			return err
		}
	}
	return nil
}

// figure is a value, and whose it is where the heading of its column is wrong.
func figure(s bench.Stack, v float64, unit string) string {
	switch text := bench.Format(v, unit); s {
	case bench.Raw:
		return text + " (cipher alone)"
	case bench.Kernel:
		return text + " (kernel sends)"
	default:
		return text
	}
}

// spread is the least and the greatest ratio of a pair of samples.
func spread(r bench.Row) string {
	if len(r.Pairs) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f to %.2f", slices.Min(r.Pairs), slices.Max(r.Pairs))
}
