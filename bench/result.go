package bench

import (
	"maps"
	"slices"
)

// Result is what a case gave.
type Result struct {
	Case    Case
	Stacks  []Stack
	N       int // operations of one sample
	Samples map[Stack][]Figures
}

// Values returns what the samples of a stack say in a unit, in their order.
func (r *Result) Values(s Stack, unit string) []float64 {
	var values []float64
	for _, f := range r.Samples[s] {
		if v, ok := f[unit]; ok {
			values = append(values, v)
		}
	}
	return values
}

// Units returns the units that a stack was measured in, sorted.
func (r *Result) Units(s Stack) []string {
	units := map[string]bool{}
	for _, f := range r.Samples[s] {
		for unit := range f {
			units[unit] = true
		}
	}
	return slices.Sorted(maps.Keys(units))
}

// Median returns the median of a stack's samples in a unit, 0 without any.
func (r *Result) Median(s Stack, unit string) float64 { return median(r.Values(s, unit)) }

// Least returns the least of a stack's samples in a unit, 0 without any. For
// what is counted it is the exact figure: more comes from elsewhere in the
// process, such as pools that a garbage collection has emptied.
func (r *Result) Least(s Stack, unit string) float64 {
	values := r.Values(s, unit)
	if len(values) == 0 {
		return 0
	}
	return slices.Min(values)
}

// Ratio returns std/s of the medians of a unit: how many times better than
// crypto/tls s is.
func (r *Result) Ratio(s Stack, unit string) float64 { return r.Median(Std, unit) / r.Median(s, unit) }

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
