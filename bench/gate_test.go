//go:build !race

package bench

import (
	"slices"
	"testing"
)

// TestGate plays the cases that have bounds. It is not for the race detector,
// which costs more than anything here.
func TestGate(t *testing.T) {
	conns, size := idleConns, fileSize
	idleConns, fileSize = 500, 32<<20
	t.Cleanup(func() { idleConns, fileSize = conns, size })
	left := slices.Clone(Gates)
	for _, c := range All() {
		var gates []Gate
		left = slices.DeleteFunc(left, func(g Gate) bool {
			if g.Case == c.Name {
				gates = append(gates, g)
			}
			return g.Case == c.Name
		})
		if gates == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			broken, err := c.Check(t.Context(), gates)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range broken {
				t.Error(text)
			}
		})
	}
	for _, g := range left {
		t.Errorf("there is no case %s", g.Case)
	}
}

// What a gate says must be what breaks it, and nothing else.
func TestGateCheck(t *testing.T) {
	r := &Result{Case: Case{Name: "X"}, Stacks: []Stack{Std, Ours}, Samples: map[Stack][]Figures{
		Std:  {{"cpu-ns/op": 100, "allocs/op": 5}, {"cpu-ns/op": 120, "allocs/op": 5}},
		Ours: {{"cpu-ns/op": 100, "allocs/op": 3}, {"cpu-ns/op": 100, "allocs/op": 2}},
	}}
	for _, test := range []struct {
		gate   Gate
		broken bool
	}{
		{Gate{Unit: "cpu-ns/op", Ratio: 1.1}, false},
		{Gate{Unit: "cpu-ns/op", Ratio: 1.11}, true},
		{Gate{Unit: "allocs/op", Most: 2}, false},
		{Gate{Unit: "allocs/op", Most: 1}, true},
		{Gate{Unit: "allocs/op"}, true},
		{Gate{Unit: "writes/op", Most: 9}, true}, // which nobody has counted
	} {
		if text := test.gate.check(r); (text != "") != test.broken {
			t.Errorf("%+v: %q", test.gate, text)
		}
	}
}
