package matrix

import (
	"os"
	"testing"

	"github.com/go-handoff/tls/kernel"
)

// TestKernelMatrix plays cells with the records of our side in the kernel,
// where it has TLS. In the lab, which HANDOFF_LAB says, it must.
func TestKernelMatrix(t *testing.T) {
	switch r := kernel.Probe(); {
	case r.Available:
		playAll(t, inKernel, kernelFile)
	case os.Getenv("HANDOFF_LAB") != "":
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED, without kernel TLS: %s (make interop boots a kernel that has it)", r.Reason)
	}
}
