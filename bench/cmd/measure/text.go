package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchunit"

	"github.com/go-handoff/tls/bench"
)

// writeText writes every sample in the format of Go benchmarks.
func (r *report) writeText(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := benchfmt.NewWriter(f)
	for _, result := range r.results {
		for _, s := range result.Stacks {
			for _, sample := range result.Samples[s] {
				if err := w.Write(r.line(result, s, sample)); err != nil {
					return err
				}
			}
		}
	}
	return f.Close()
}

func (r *report) line(result *bench.Result, s bench.Stack, sample bench.Figures) *benchfmt.Result {
	line := &benchfmt.Result{
		Config: r.config(),
		Name:   benchfmt.Name(fmt.Sprintf("%s/stack=%s-%d", result.Case.Name, s, r.machine.Procs)),
		Iters:  result.N,
	}
	for _, unit := range result.Units(s) {
		if v, ok := sample[unit]; ok {
			tidied, tidyUnit := benchunit.Tidy(v, unit)
			line.Values = append(line.Values, benchfmt.Value{Value: tidied, Unit: tidyUnit, OrigValue: v, OrigUnit: unit})
		}
	}
	return line
}

func (r *report) config() []benchfmt.Config {
	var config []benchfmt.Config
	for _, c := range [][2]string{
		{"goos", runtime.GOOS}, {"goarch", runtime.GOARCH}, {"pkg", "github.com/go-handoff/tls/bench"},
		{"cpu", r.machine.CPU}, {"kernel", r.machine.Kernel}, {"go", r.machine.Go}, {"date", r.date.Format(time.DateOnly)},
	} {
		config = append(config, benchfmt.Config{Key: c[0], Value: []byte(c[1]), File: true})
	}
	for _, o := range r.others {
		if o.program != nil {
			config = append(config, benchfmt.Config{Key: string(o.program.Stack), Value: []byte(o.program.Version), File: true})
		}
	}
	return config
}
