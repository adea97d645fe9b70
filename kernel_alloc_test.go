//go:build unix && !race

// The race detector makes pools forget, on purpose.

package tls

import "testing"

// TestKernelNoAllocations counts what a message costs where the kernel has
// both directions of both ends.
func TestKernelNoAllocations(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if g.model {
			continue // models are not made for this
		}
		forEachVersion(t, func(t *testing.T, v uint16) {
			for _, size := range []int{1, 1000, 16384, 65536} {
				client, server := kernelConfigs(v, both)
				server.Kernel = both
				c, s := connect(t, g.network, client, server)
				echo(t, c, s)
				checkAllocations(t, c, s, size)
			}
		})
	}
}
