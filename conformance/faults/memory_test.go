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
func overWire(t testing.TB, make [2]makeConn, version uint16, f fault) (*wire, [2]*outcome) {
	t.Helper()
	w := newWire(f)
	client, server := w.ends()
	return w, converse(t, [2]net.Conn{client, server}, make, version)
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
// directions.
func record(t *testing.T, make [2]makeConn, version uint16) [2][]byte {
	t.Helper()
	w, o := overWire(t, make, version, fault{})
	for _, d := range directions {
		if !o[d].complete(d) {
			t.Fatalf("without a fault, who sends %v: %v, %q", d, o[d].err, o[d].read)
		}
	}
	return [2][]byte{w.streams[0].log, w.streams[1].log}
}

// trials runs n trials, several at a time.
func trials(n int, trial func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
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

// matrix has a conversation for each fault at each byte, and counts.
func matrix(t *testing.T, make [2]makeConn, mine isOurs, version uint16, c *counts) {
	recorded := record(t, make, version)
	for _, d := range directions {
		for _, k := range faultKinds {
			total := len(recorded[d])
			trials((total+*stride-1) / *stride, func(i int) {
				// Each kind of fault begins elsewhere, so that a stride leaves no byte
				// out for all of them.
				f := fault{k, d, min(i**stride+int(k)%*stride, total-1)}
				w, o := overWire(t, make, version, f)
				if !w.hit {
					t.Errorf("%v at %d %v: the byte was never sent", f.kind, f.offset, d)
				}
				if wrong := judge(f, recorded[d], o, mine); wrong != "" {
					t.Errorf("%v at %d of %d, %v: %s", f.kind, f.offset, total, d, wrong)
				}
				c.add(version, f, o, mine)
			})
		}
	}
}

// TestDeterministic has a conversation twice: an offset must mean the same byte
// each time.
func TestDeterministic(t *testing.T) {
	for _, v := range versions {
		first, second := record(t, [2]makeConn{ours, ours}, v.id), record(t, [2]makeConn{ours, ours}, v.id)
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
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) { matrix(t, [2]makeConn{ours, ours}, isOurs{true, true}, v.id, &c) })
	}
	t.Logf("\n%s", c.table())
	if *stride == 1 && !t.Failed() {
		c.checkResults(t)
	}
}

// TestMatrixStd is us against crypto/tls, in both roles.
func TestMatrixStd(t *testing.T) {
	noGoroutineLeft(t)
	for name, mine := range map[string]isOurs{"client": {true, false}, "server": {false, true}} {
		var c counts
		for _, v := range versions {
			t.Run(name+"/"+v.name, func(t *testing.T) {
				make := [2]makeConn{std, std}
				for d, is := range mine {
					if is {
						make[d] = ours
					}
				}
				matrix(t, make, mine, v.id, &c)
			})
		}
		t.Logf("our %s:\n%s", name, c.table())
	}
}
