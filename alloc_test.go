//go:build !race

// The race detector makes pools forget, on purpose.

package tls

import (
	"io"
	"testing"
)

// TestNoAllocations counts what a message costs on a connection that is at work.
func TestNoAllocations(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		for _, size := range []int{1, 1000, 16384, 65536} {
			server := serverConfig("P256")
			server.MaxVersion = v
			c, s := connect(t, sockets, clientConfig(), server)
			echo(t, c, s)
			out, in := make([]byte, size), make([]byte, size)
			allocs := testing.AllocsPerRun(200, func() {
				if _, err := c.Write(out); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(s, in); err != nil {
					t.Fatal(err)
				}
			})
			if allocs >= 1 {
				t.Errorf("%d bytes: %v allocations", size, allocs)
			}
		}
	})
}
