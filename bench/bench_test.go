package bench

import (
	"testing"
	"time"
)

// TestHandshakes plays every case once, and looks for what each must have.
func TestHandshakes(t *testing.T) {
	for _, c := range Handshakes {
		t.Run(c.Name, func(t *testing.T) {
			r, err := Run(c, Options{Pairs: 1, Sample: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			for s, samples := range r.Samples {
				for _, unit := range []string{c.Unit, "client-allocs/op", "server-allocs/op", "client-writes/op", "server-writes/op"} {
					if samples[0][unit] <= 0 {
						t.Errorf("%s: no %s", s, unit)
					}
				}
			}
		})
	}
}
