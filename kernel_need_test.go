package tls

import (
	"os"
	"testing"

	"github.com/go-handoff/tls/kernel"
)

// needKernel skips a test where the kernel has no TLS, but not in the lab.
func needKernel(t testing.TB) {
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
