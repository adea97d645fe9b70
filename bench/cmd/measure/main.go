// Command measure plays the cases of package bench and writes what they gave:
//
//	RESULTS.txt  every sample, as lines of Go benchmarks: benchstat -col /stack RESULTS.txt
//	RESULTS.md   medians, ratios, targets
//	RESULTS.svg  the ratios as a chart
//
// It takes some minutes. Figures are CPU time, and both stacks are played in
// turn, so that the machine may have other work; a quiet one gives narrower
// intervals. OpenSSL and rustls play beside them where there is what
// it takes to build programs with them: packages bench/openssl and bench/rustls.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/kernel"
)

func main() {
	bench.Peer()
	cases := flag.String("cases", ".", "play the cases whose names match this `regexp`")
	pairs := flag.Int("pairs", 9, "how many samples each stack gives")
	sample := flag.Duration("time", 100*time.Millisecond, "how long a sample takes, about")
	libraries := flag.String("openssl", "", "take libssl.so.3 and libcrypto.so.3 from this `directory`, and their dynamic loader if it is there")
	dir := flag.String("o", ".", "the `directory` that the results are written to")
	flag.Parse()
	if err := run(*cases, bench.Options{Pairs: *pairs, Sample: *sample}, others(*libraries), *dir); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// report is what was measured.
type report struct {
	machine bench.Machine
	kernel  *kernel.Report
	date    time.Time
	options bench.Options
	results []*bench.Result
	failed  []failure
	others  []*other
}

// failure is a case that could not be played.
type failure struct {
	name string
	err  error
}

func run(cases string, o bench.Options, others []*other, dir string) error {
	match, err := regexp.Compile(cases)
	switch {
	case err != nil:
		return err
	case !slices.ContainsFunc(bench.All(), func(c bench.Case) bool { return match.MatchString(c.Name) }):
		return fmt.Errorf("no case matches %q", cases)
	case o.Pairs < 1 || o.Sample <= 0:
		return errors.New("-pairs and -time must be more than nothing")
	}
	if err := writable(dir); err != nil {
		return err // before all the work
	}
	r := &report{machine: bench.ThisMachine(), kernel: kernel.Probe(), date: time.Now().UTC(), options: o, others: others}
	r.options.Kernel = r.kernel.Available
	r.startOthers(context.Background())
	r.play(match)
	r.stopOthers()
	for name, write := range map[string]func(string) error{"RESULTS.txt": r.writeText, "RESULTS.md": r.writeTable, "RESULTS.svg": r.writeChart} {
		if err := write(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// writable says why nothing can be written to dir.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".measure")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// play plays what matches. A case that fails is reported as such: the others
// are worth something still.
func (r *report) play(match *regexp.Regexp) {
	for _, c := range bench.All() {
		if !match.MatchString(c.Name) {
			continue
		}
		result, err := r.run(context.Background(), c)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			r.failed = append(r.failed, failure{c.Name, err})
			continue
		}
		r.results = append(r.results, result)
		rows := result.Rows()
		for _, s := range []bench.Stack{bench.OpenSSL, bench.Rustls} {
			if slices.Contains(result.Stacks, s) {
				rows = append(rows, result.Compare(bench.Ours, s, c.Unit))
			}
		}
		for _, row := range rows {
			fmt.Fprintf(os.Stderr, "%-28s %-18s %-7s %-6s %10s -> %10s  %s %s %s\n", row.Case, row.Unit, row.Beside, row.Stack,
				bench.Format(row.Other, row.Unit), bench.Format(row.Value, row.Unit), row.RatioText(), row.Asked(), row.Verdict())
		}
	}
}
