//go:build linux

package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-handoff/tls/kernel"
)

// TestMain is also the servers that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		if err := run(nil); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// needKernel skips a test where the kernel has no TLS, but not in the lab.
func needKernel(t *testing.T) {
	t.Helper()
	r := kernel.Probe()
	switch {
	case r.Available:
	case os.Getenv("HANDOFF_LAB") != "":
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED HERE: %s (make lab boots kernels that have it)", r.Reason)
	}
}

// TestKernelGate bounds the exact counts of kernel mode, with a margin for how the
// scheduler cuts reads and writes.
func TestKernelGate(t *testing.T) {
	needKernel(t)
	const size = 2 << 20
	for _, g := range []struct {
		way    string
		buffer int
		calls  float64 // per MiB, at most
		copies float64 // bytes between program and kernel for each byte, at most
	}{
		{"kernel TLS, ReadFrom (sendfile)", bufferSize, 8, 0.05},
		{"kernel TLS, ReadFrom (splice)", bufferSize, 72, 0.05}, // before Linux 6.5 64 KiB a call
		{"kernel TLS, read and Write", bufferSize, 48, 2.05},
		{receiving + "kernel TLS", 64 << 10, 32, 1.05},
		{receiving + "kernel TLS", 256 << 10, 16, 1.05},
	} {
		c, err := countWay(g.way, size, g.buffer)
		if err != nil {
			t.Fatal(err)
		}
		calls, copies := float64(c.total())/(size>>20), float64(c.crossed)/size
		t.Logf("%s, %d KiB: %.1f calls/MiB, %.2f bytes copied for each: %v", g.way, g.buffer>>10, calls, copies, c.calls)
		if calls > g.calls || copies > g.copies {
			t.Errorf("%s: %.1f calls/MiB, at most %v; %.2f bytes copied for each, at most %v", g.way, calls, g.calls, copies, g.copies)
		}
	}
}

// TestKernelRecordsPerRead sees that large reads take several records.
func TestKernelRecordsPerRead(t *testing.T) {
	needKernel(t)
	for _, n := range []int{64 << 10, 256 << 10} {
		got, err := recordsPerRead(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d KiB: %.1f records", n>>10, got)
		// How much has arrived when a large read comes is the scheduler's to say.
		if want := 3.5; got < want {
			t.Errorf("a Read of %d KiB takes %.1f records, want %v at least", n>>10, got, want)
		}
	}
}

// TestKernelIdle bounds what an idle server's connection holds.
func TestKernelIdle(t *testing.T) {
	needKernel(t)
	for _, c := range []struct {
		tx, rx bool
		most   float64
	}{{false, false, 3800}, {true, false, 3000}, {true, true, 1900}} {
		got, err := idleOf(200, c.tx, c.rx)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("TX %v, RX %v: %.0f bytes", c.tx, c.rx, got)
		if got > c.most {
			t.Errorf("TX %v, RX %v: an idle connection holds %.0f bytes, at most %.0f", c.tx, c.rx, got, c.most)
		}
	}
}

// TestKernelMoveAllocs bounds what moving allocates.
func TestKernelMoveAllocs(t *testing.T) {
	needKernel(t)
	tx, rx, err := medianMove(allocs)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("TX %.0f, RX %.0f", tx, rx)
	if tx > 16 || rx > 10 {
		t.Errorf("moving allocates %.0f objects for TX and %.0f for RX", tx, rx)
	}
}
