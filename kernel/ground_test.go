package kernel_test

import (
	"os"
	"testing"

	"github.com/go-handoff/tls/kernel"
)

// inLab reports whether the tests run where kernel TLS must be.
var inLab = os.Getenv("HANDOFF_LAB") == "1"

// needKernel skips a test where the kernel has no TLS, but not in the lab.
func needKernel(t *testing.T) *kernel.Report {
	t.Helper()
	r := kernel.Probe()
	switch {
	case r.Available:
	case inLab:
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED: this kernel has no TLS: %s", r.Reason)
	}
	return r
}

func TestKernelProbe(t *testing.T) {
	r := needKernel(t)
	t.Logf("%+v", r)
}
