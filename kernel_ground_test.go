//go:build unix

package tls

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/kernel/kerneltest"
)

// ground is a kernel to run on: this machine's, or a model.
type ground struct {
	name    string
	network network
	rekey   bool // it can change keys
	model   bool
}

// kernelGrounds returns the models and, where it has TLS, this machine's kernel.
// In the lab, which HANDOFF_LAB says, it must, and the models are left out.
func kernelGrounds(t testing.TB) []ground {
	t.Helper()
	r := kernel.Probe()
	real := ground{name: "kernel", network: sockets, rekey: r.Rekey.OK}
	switch lab := os.Getenv("HANDOFF_LAB") != ""; {
	case lab && !r.Available:
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	case lab:
		return []ground{real}
	case r.Available:
		return append(modelGrounds(), real)
	}
	t.Logf("ONLY ON MODELS: %s (make lab boots kernels that have it)", r.Reason)
	return modelGrounds()
}

// modelGrounds are models of the kernels that there are.
func modelGrounds() []ground {
	return []ground{
		{name: "Linux", network: modelNetwork(kernel.RulesLinux), rekey: true, model: true},
		{name: "Linux without rekey", network: modelNetwork(kernel.RulesLinux, kerneltest.NoRekey()), model: true},
		{name: "FreeBSD", network: modelNetwork(kernel.RulesFreeBSD), model: true},
	}
}

func modelNetwork(rules kernel.Rules, options ...kerneltest.Option) network {
	return func(t testing.TB) (client, server net.Conn) {
		t.Helper()
		client, server, err := kerneltest.Pair(rules, options...)
		if err != nil {
			t.Fatal(err)
		}
		return client, server
	}
}

// refusing refuses what it has announced to take.
func refusing() network {
	return modelNetwork(kernel.RulesLinux, kerneltest.RefuseTX(syscall.ENOMEM), kerneltest.RefuseRX(syscall.ENOMEM))
}
