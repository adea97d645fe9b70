package faults

import (
	"flag"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

var stride = flag.Int("stride", defaultStride, "try a fault at every so many bytes")

// versions have the names of subtests.
var versions = []struct {
	id   uint16
	name string
}{{tls.VersionTLS12, "TLS 1.2"}, {tls.VersionTLS13, "TLS 1.3"}}

// overWire has a conversation over a wire with a fault.
func (s *setup) overWire(version uint16, f fault) (*wire, [2]*outcome) {
	w := newWire(f)
	client, server := w.ends()
	return w, s.converse([2]net.Conn{client, server}, version)
}

// noGoroutineLeft lets the test fail if more goroutines run after it than before.
func noGoroutineLeft(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 500 { // those that have been told to end need a moment
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
	})
}

// record has the conversation without a fault, and returns the bytes of both
// directions. They do not depend on where the keys are.
func (s *setup) record(t *testing.T, version uint16) [2][]byte {
	t.Helper()
	inMemory := *s
	if s.mine == alone.mine {
		inMemory.make = alone.make
	}
	w, o := inMemory.overWire(version, fault{})
	for _, d := range directions {
		if !o[d].complete(d) {
			t.Fatalf("without a fault, who sends %v: %v, %q", d, o[d].err, o[d].read)
		}
	}
	return [2][]byte{w.streams[0].log, w.streams[1].log}
}

// trials runs n trials, several at a time.
func trials(n, atOnce int, trial func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				trial(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// trial has a conversation with a fault, and reports whether its byte was sent.
type trial func(version uint16, f fault) (hit bool, o [2]*outcome)

// matrix has a conversation for each fault at each byte, or at every step-th, and
// counts.
func (s *setup) matrix(t *testing.T, version uint16, step, atOnce int, try trial, c *counts) {
	recorded := s.record(t, version)
	for _, d := range directions {
		for _, k := range faultKinds {
			total := len(recorded[d])
			trials((total+step-1)/step, atOnce, func(i int) {
				// Each kind of fault begins elsewhere, so that steps leave no byte out
				// for all of them.
				f := fault{k, d, min(i*step+int(k)%step, total-1)}
				hit, o := try(version, f)
				if !hit {
					t.Errorf("%v at %d %v: the byte was never sent", f.kind, f.offset, d)
				}
				if wrong := s.judge(f, recorded[d], o); wrong != "" {
					t.Errorf("%v at %d of %d, %v: %s", f.kind, f.offset, total, d, wrong)
				}
				c.add(version, f, o, s.mine)
			})
		}
	}
}

// inMemory is a matrix over wires.
func (s *setup) inMemory(t *testing.T, c *counts) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			s.matrix(t, v.id, *stride, runtime.GOMAXPROCS(0), func(version uint16, f fault) (bool, [2]*outcome) {
				w, o := s.overWire(version, f)
				return w.hit, o
			}, c)
		})
	}
}

// TestDeterministic has a conversation twice: an offset must mean the same byte
// each time.
func TestDeterministic(t *testing.T) {
	for _, v := range versions {
		first, second := alone.record(t, v.id), alone.record(t, v.id)
		for _, d := range directions {
			if string(first[d]) != string(second[d]) {
				t.Errorf("%s, %v: %d and %d bytes, which differ", v.name, d, len(first[d]), len(second[d]))
			}
			t.Logf("%s, %v: %d bytes", v.name, d, len(first[d]))
		}
	}
}

// TestMatrix is us against us. It updates RESULTS.md with -update, and otherwise
// checks that it counts the same conversations.
func TestMatrix(t *testing.T) {
	noGoroutineLeft(t)
	var c counts
	alone.inMemory(t, &c)
	t.Logf("\n%s", c.table())
	if *stride == 1 && !t.Failed() {
		c.checkResults(t)
	}
}

// TestMatrixStd is us against crypto/tls, in both roles.
func TestMatrixStd(t *testing.T) {
	noGoroutineLeft(t)
	for name, s := range map[string]setup{
		"client": {make: [2]makeConn{ours, std}, mine: isOurs{true, false}},
		"server": {make: [2]makeConn{std, ours}, mine: isOurs{false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			var c counts
			s.inMemory(t, &c)
			t.Logf("our %s:\n%s", name, c.table())
		})
	}
}
