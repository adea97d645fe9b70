package bench

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Row is one comparison of a result.
type Row struct {
	Case   string  `json:"case"`
	Unit   string  `json:"unit"`
	Stack  Stack   `json:"stack"`
	Beside Stack   `json:"beside"` // what it is compared with
	Other  float64 `json:"other"`  // the median of that
	Value  float64 `json:"value"`  // the median of Stack, or of what is counted the least
	Ratio  float64 `json:"ratio"`  // Other/Value: above 1 Stack is better; 0 if Value is
	// Pairs are the ratios of the samples that were played one after the other.
	Pairs []float64 `json:"pairs"`
	// Target is the ratio that is asked for, Most how large Value may be; nil for
	// none.
	Target *float64 `json:"target,omitempty"`
	Most   *float64 `json:"most,omitempty"`
}

// background is how much of what is counted for an operation may come from
// elsewhere in the process, such as the runtime.
const background = 0.05

// Met reports whether what is asked for is there, and whether anything is. It is
// by the figures that are printed: a ratio has two digits behind the point.
func (r Row) Met() (met, asked bool) {
	switch {
	case r.Target != nil:
		return math.Round(r.Ratio*100) >= math.Round(*r.Target*100), true
	case r.Most != nil:
		return r.Value <= *r.Most+background, true
	}
	return false, false
}

// Rows returns the comparisons of a result: each other stack with crypto/tls by
// every unit that has a goal, ours by what is counted, and ours with the AEAD
// alone. Stacks that are not in Go are not among them: see [Result.Compare].
func (r *Result) Rows() []Row {
	var rows []Row
	for _, s := range r.Stacks[1:] {
		if s == Raw || s == OpenSSL || s == Rustls {
			continue
		}
		for _, g := range r.Case.Goals() {
			row := r.Compare(s, Std, g.Unit)
			if s == Ours && g.Target > 0 {
				row.Target = &g.Target
			}
			if _, counted := r.Case.Most[g.Unit]; row.Value > 0 && (!counted || row.Target != nil) {
				rows = append(rows, row)
			}
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(r.Case.Most)) {
		most := r.Case.Most[unit]
		row := r.Compare(Ours, Std, unit)
		row.Other, row.Value, row.Most = r.Least(Std, unit), r.Least(Ours, unit), &most
		if row.Value < background {
			row.Value, row.Ratio, row.Pairs = 0, 0, nil
		}
		rows = append(rows, row)
	}
	if slices.Contains(r.Stacks, Raw) {
		row := r.Compare(Ours, Raw, r.Case.Unit)
		if r.Case.OfRaw > 0 {
			row.Target = &r.Case.OfRaw
		}
		rows = append(rows, row)
	}
	return rows
}

// Compare compares a stack with another one that is beside it, in a unit.
func (r *Result) Compare(s, beside Stack, unit string) Row {
	row := Row{Case: r.Case.Name, Unit: unit, Stack: s, Beside: beside, Other: r.Median(beside, unit), Value: r.Median(s, unit)}
	others, values := r.Values(beside, unit), r.Values(s, unit)
	for i := range min(len(others), len(values)) {
		if values[i] > 0 {
			row.Pairs = append(row.Pairs, others[i]/values[i])
		}
	}
	if row.Value > 0 {
		row.Ratio = row.Other / row.Value
	}
	return row
}

// Asked says what is asked for, as in "≥ 1.30" or "≤ 110".
func (r Row) Asked() string {
	switch {
	case r.Target != nil:
		return fmt.Sprintf("≥ %.2f", *r.Target)
	case r.Most != nil:
		return fmt.Sprintf("≤ %.0f", *r.Most)
	}
	return ""
}

// RatioText is the ratio, if there is one.
func (r Row) RatioText() string {
	if r.Ratio == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

// Verdict says in a word how the row is: what is asked for, or else whether the
// stack is slower than crypto/tls by more than chance allows.
func (r Row) Verdict() string {
	met, asked := r.Met()
	switch {
	case asked && met:
		return "met"
	case asked:
		return "missed"
	case r.Beside == Std && r.Ratio > 0 && len(r.Pairs) > 0 && r.Ratio < 1 && slices.Max(r.Pairs) < 1:
		return "slower"
	}
	return ""
}

// Format returns a value in a unit: times with theirs, three digits of them.
func Format(v float64, unit string) string {
	if strings.HasSuffix(unit, "-ns/op") || strings.HasSuffix(unit, "-ns/MB") {
		return duration(v)
	}
	return digits(v)
}

func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return digits(ns/1e6) + " ms"
	case ns >= 1e3:
		return digits(ns/1e3) + " µs"
	}
	return digits(ns) + " ns"
}

// digits writes three significant digits, or more of what is large.
func digits(v float64) string {
	switch {
	case v == math.Trunc(v) || v >= 100 || v < background:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
