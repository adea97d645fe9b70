package bench

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestCases plays every case once, and looks for what each must have.
func TestCases(t *testing.T) {
	names := map[string]bool{}
	for _, c := range All() {
		if names[c.Name] {
			t.Errorf("two cases have the name %s", c.Name)
		}
		names[c.Name] = true
		if strings.HasSuffix(c.Name, "-9000") {
			continue // which differs in nothing else
		}
		t.Run(c.Name, func(t *testing.T) {
			r, err := Run(t.Context(), c, Options{Pairs: 1, Sample: time.Microsecond})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range r.Stacks {
				if len(r.Samples[s]) != 1 {
					t.Fatalf("%s: %d samples", s, len(r.Samples[s]))
				}
				for _, unit := range append(wantUnits(c, s), c.Unit) {
					if r.Median(s, unit) <= 0 {
						t.Errorf("%s: no %s in %v", s, unit, r.Units(s))
					}
				}
			}
		})
	}
}

// wantUnits are what is counted beside the time.
func wantUnits(c Case, s Stack) []string {
	switch {
	case strings.HasPrefix(c.Name, "HS1"):
		return []string{"client-allocs/op", "server-allocs/op", "client-writes/op", "server-writes/op"}
	case strings.HasPrefix(c.Name, "BulkWrite16K") && s != Raw, strings.HasPrefix(c.Name, "FirstBytes"):
		return []string{"writes/op"}
	case strings.HasPrefix(c.Name, "RR1K"):
		return []string{"p50-ns/op", "p99-ns/op", "cpu-ns/op"}
	case strings.HasPrefix(c.Name, "FileServe"):
		return []string{"cpu-ns/MB"}
	case strings.HasPrefix(c.Name, "IdleProcess"):
		return []string{"heap-B/conn"}
	}
	return nil
}

// A child that cannot do what it is told ends the case, with its reason.
func TestChildFails(t *testing.T) {
	old := patience
	patience = time.Second
	t.Cleanup(func() { patience = old })
	s, err := openSite(Ours, v13)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.order.Addr = "127.0.0.1:1"
	if err := s.connect("open", 1, 0); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
	if _, err := s.ask(order{Do: "fly"}); err == nil || !strings.Contains(err.Error(), `"fly" is no order`) {
		t.Errorf("%v", err)
	}
}

func TestMain(m *testing.M) {
	Peer()
	idleConns = 20
	fileSize = 1 << 20
	// The race detector would sleep for a second at the end of each child.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}
