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
			checkAllocations(t, c, s, size)
		}
	})
}

// checkAllocations sends messages of so many bytes, for which nothing may be
// allocated at either end.
func checkAllocations(t *testing.T, from, to tlsConn, size int) {
	t.Helper()
	out, in := make([]byte, size), make([]byte, size)
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := from.Write(out); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, in); err != nil {
			t.Fatal(err)
		}
	})
	if allocs >= 1 {
		t.Errorf("%d bytes: %v allocations", size, allocs)
	}
}
