package faults

import (
	"flag"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

var kernelStride = flag.Int("kernel.stride", 23, "try a fault at every so many bytes where the kernel has the keys")

// needKernel returns what the kernel can do with TLS, where it has that. In the
// lab, which HANDOFF_LAB says, it must.
func needKernel(t *testing.T) *kernel.Report {
	t.Helper()
	r := kernel.Probe()
	switch {
	case r.Available:
	case os.Getenv("HANDOFF_LAB") != "":
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED, without kernel TLS: %s (make lab boots kernels that have it)", r.Reason)
	}
	return r
}

// inKernel is ours, with both directions in the kernel as soon as there are keys.
func inKernel(raw net.Conn, d direction, version uint16) conn {
	cfg := config(d, version)
	cfg.Kernel = kernel.Policy{TX: kernel.Require, RX: kernel.Require, MoveTX: kernel.AtOnce, MoveRX: kernel.AtOnce}
	if d == fromClient {
		return tls.Client(raw, cfg)
	}
	return tls.Server(raw, cfg)
}

// TestKernelMatrix has conversations over TCP whose records the kernel protects,
// at both ends. In TLS 1.3 keys are changed where the kernel can do that.
func TestKernelMatrix(t *testing.T) {
	r := needKernel(t)
	noGoroutineLeft(t)
	s := setup{make: [2]makeConn{inKernel, inKernel}, mine: isOurs{true, true}, sockets: true, fixed: !r.Rekey.OK}
	var c counts
	s.tcpMatrix(t, *kernelStride, &c)
	fmt.Printf("%s\n%s", r.System, c.table())
}
