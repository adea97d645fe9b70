package bench

import (
	"fmt"
	"slices"
	"testing"
)

// Rows of a result with all kinds of goals, in their order.
func TestRows(t *testing.T) {
	r := &Result{
		Case: Case{
			Name: "X", Unit: "cpu-ns/op", Target: 1.3, Also: []Goal{{Unit: "p50-ns/op"}, {Unit: "none"}},
			Most: map[string]float64{"allocs/op": 0, "writes/op": 2}, OfRaw: 0.9,
		},
		Stacks: []Stack{Std, Ours, Raw, Kernel},
		Samples: map[Stack][]Figures{
			Std:    {{"cpu-ns/op": 100, "p50-ns/op": 8, "allocs/op": 1, "writes/op": 4}, {"cpu-ns/op": 160, "p50-ns/op": 8, "allocs/op": 1, "writes/op": 4}},
			Ours:   {{"cpu-ns/op": 100, "p50-ns/op": 9, "allocs/op": 0.04, "writes/op": 3}, {"cpu-ns/op": 100, "p50-ns/op": 10, "allocs/op": 2, "writes/op": 3}},
			Raw:    {{"cpu-ns/op": 80}, {"cpu-ns/op": 80}},
			Kernel: {{"cpu-ns/op": 50}, {"cpu-ns/op": 50}},
		},
	}
	var got []string
	for _, row := range r.Rows() {
		got = append(got, fmt.Sprintf("%s %s/%s %s -> %s: %s %s %s, %d pairs", row.Unit, row.Beside, row.Stack,
			Format(row.Other, row.Unit), Format(row.Value, row.Unit), row.RatioText(), row.Asked(), row.Verdict(), len(row.Pairs)))
	}
	want := []string{
		"cpu-ns/op std/ours 130 ns -> 100 ns: 1.30 ≥ 1.30 met, 2 pairs",
		"p50-ns/op std/ours 8 ns -> 9.50 ns: 0.84  slower, 2 pairs",
		"cpu-ns/op std/kernel 130 ns -> 50 ns: 2.60  , 2 pairs",
		"allocs/op std/ours 1 -> 0: - ≤ 0 met, 0 pairs",
		"writes/op std/ours 4 -> 3: 1.33 ≤ 2 missed, 2 pairs",
		"cpu-ns/op raw/ours 80 ns -> 100 ns: 0.80 ≥ 0.90 missed, 2 pairs",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
