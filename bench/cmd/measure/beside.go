package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/bench/beside"
	"github.com/go-handoff/tls/bench/openssl"
	"github.com/go-handoff/tls/bench/rustls"
)

// other is a stack that is not in Go. It plays beside the others, unless reasons
// say why it does not.
type other struct {
	name    string
	start   func(context.Context) (*beside.Program, error)
	program *beside.Program
	reasons []error
}

// others are the stacks there are. libraries are for OpenSSL, as for openssl.Start.
func others(libraries string) []*other {
	return []*other{
		{name: "OpenSSL", start: func(ctx context.Context) (*beside.Program, error) { return openssl.Start(ctx, libraries) }},
		{name: "rustls", start: rustls.Start},
	}
}

// without says that a stack is not measured, and why.
func (o *other) without(err error) {
	fmt.Fprintf(os.Stderr, "%s is not measured: %v\n", o.name, err)
	o.reasons = append(o.reasons, err)
}

// startOthers builds what plays with other stacks. Without it all else is
// measured.
func (r *report) startOthers(ctx context.Context) {
	for _, o := range r.others {
		var err error
		if o.program, err = o.start(ctx); err != nil {
			o.without(err)
		}
	}
}

// stopOthers ends the programs. A failure then is one of what they have measured.
func (r *report) stopOthers() {
	for _, o := range r.others {
		if o.program == nil {
			continue
		}
		if err := o.program.Close(); err != nil && o.program.Err() == nil {
			o.without(err)
		}
	}
}

// run plays a case, by other stacks too if that can be. When one of them fails,
// the case is played again without it.
func (r *report) run(ctx context.Context, c bench.Case) (*bench.Result, error) {
	with := c
	var playing []*other
	for _, o := range r.others {
		if o.program != nil && o.program.Err() == nil {
			with = o.program.Beside(with)
			playing = append(playing, o)
		}
	}
	result, err := bench.Run(ctx, with, r.options)
	for _, o := range playing {
		if failed := o.program.Err(); failed != nil {
			o.without(fmt.Errorf("%s: %w", c.Name, failed))
			return r.run(ctx, c)
		}
	}
	return result, err
}

const besideOthers = `Programs in C and in Rust play in turn with both stacks: in memory, both sides in one thread, the same kinds of certificates, each verified.
Figures are medians, with the least and the largest sample. A ratio is that of the medians, the other stack by this one: above 1 this one is
better. Nothing is asked for. The CPU time of the other's sides is measured apart, and contains that of asking for it.

`

const othersHeading = `| case | unit | %s | its client | its server | crypto/tls | handoff | ratio | interval |
|---|---|---|---|---|---|---|---|---|
`

// printOthers writes the comparisons with other stacks, or why there are none.
func (r *report) printOthers(w io.Writer) {
	for i, o := range r.others {
		fmt.Fprintf(w, "## Beside %s\n\n", o.name)
		if i == 0 {
			fmt.Fprint(w, besideOthers)
		}
		if o.program != nil {
			fmt.Fprintf(w, "%s.\n\n", o.program.Version)
			fmt.Fprintf(w, othersHeading, o.name)
			for _, result := range r.results {
				if slices.Contains(result.Stacks, o.program.Stack) {
					printBeside(w, result, o.program.Stack)
				}
			}
			fmt.Fprintln(w)
			for _, m := range o.program.Cannot {
				fmt.Fprintf(w, "%s was not measured with %s: %s.\n\n", m.Case, o.name, m.Reason)
			}
		}
		for _, err := range o.reasons {
			fmt.Fprintf(w, "%s was not measured: %v\n\n", o.name, err)
		}
	}
}

func printBeside(w io.Writer, result *bench.Result, s bench.Stack) {
	unit := result.Case.Unit
	row := result.Compare(bench.Ours, s, unit)
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", row.Case, unit,
		spread(result, s, unit), spread(result, s, "client-"+unit), spread(result, s, "server-"+unit),
		spread(result, bench.Std, unit), spread(result, bench.Ours, unit), row.RatioText(), intervalText(row))
}

// spread is the median of a stack's samples, with the least and the largest one;
// empty without any.
func spread(result *bench.Result, s bench.Stack, unit string) string {
	values := result.Values(s, unit)
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s to %s)", bench.Format(result.Median(s, unit), unit),
		bench.Format(slices.Min(values), unit), bench.Format(slices.Max(values), unit))
}
