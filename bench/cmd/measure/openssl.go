package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/bench/openssl"
)

const besideOpenSSL = `%s, in a C program that plays in turn with both stacks: in memory, both sides in one thread, the same kinds of certificates, each
verified. Figures are medians, with the least and the largest sample. A ratio is OpenSSL by this stack: above 1 this one is better. Nothing is
asked for. The CPU time of OpenSSL's sides is measured apart, and contains that of asking for it.

| case | unit | OpenSSL | its client | its server | crypto/tls | handoff | ratio | interval |
|---|---|---|---|---|---|---|---|---|
`

// rustls says why there is no other stack.
const rustls = `rustls was not measured: Debian 12 has 0.20.8 on ring 0.16.20, of 2022, without X25519MLKEM768, and nothing of aws-lc-rs, which is what makes
rustls fast today.
`

// startOpenSSL builds what plays with OpenSSL. Without it all else is measured.
func (r *report) startOpenSSL(ctx context.Context) {
	p, err := openssl.Start(ctx)
	if err != nil {
		r.noOpenSSL(err)
		return
	}
	r.openssl = p
}

// noOpenSSL says so, and why.
func (r *report) noOpenSSL(err error) {
	fmt.Fprintln(os.Stderr, "OpenSSL is not measured:", err)
	r.withoutOpenSSL = append(r.withoutOpenSSL, err)
}

// stopOpenSSL ends the program. A failure then is one of what it has measured.
func (r *report) stopOpenSSL() {
	if r.openssl == nil {
		return
	}
	if err := r.openssl.Close(); err != nil && r.openssl.Err() == nil {
		r.noOpenSSL(err)
	}
}

// run plays a case, with OpenSSL too if that can be. If only OpenSSL fails, then
// without it.
func (r *report) run(ctx context.Context, c bench.Case) (*bench.Result, error) {
	if r.openssl == nil || r.openssl.Err() != nil {
		return bench.Run(ctx, c, r.options)
	}
	result, err := bench.Run(ctx, r.openssl.Beside(c), r.options)
	if failed := r.openssl.Err(); failed != nil {
		r.noOpenSSL(fmt.Errorf("%s: %w", c.Name, failed))
		return bench.Run(ctx, c, r.options)
	}
	return result, err
}

// printOpenSSL writes the comparisons with OpenSSL, or why there are none.
func (r *report) printOpenSSL(w io.Writer) {
	fmt.Fprintf(w, "## Beside OpenSSL\n\n")
	if r.openssl != nil {
		fmt.Fprintf(w, besideOpenSSL, r.openssl.Version)
		for _, result := range r.results {
			if slices.Contains(result.Stacks, bench.OpenSSL) {
				printBeside(w, result)
			}
		}
		fmt.Fprintln(w)
		for _, m := range r.openssl.Cannot {
			fmt.Fprintf(w, "%s was not measured with OpenSSL: %s.\n\n", m.Case, m.Reason)
		}
	}
	for _, err := range r.withoutOpenSSL {
		fmt.Fprintf(w, "OpenSSL was not measured: %v\n\n", err)
	}
	fmt.Fprintf(w, "%s\n", rustls)
}

func printBeside(w io.Writer, result *bench.Result) {
	unit := result.Case.Unit
	row := result.Compare(bench.Ours, bench.OpenSSL, unit)
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", row.Case, unit,
		spread(result, bench.OpenSSL, unit), spread(result, bench.OpenSSL, "client-"+unit), spread(result, bench.OpenSSL, "server-"+unit),
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
