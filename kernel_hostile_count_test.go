//go:build unix

package tls

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// TestKernelCountsRecords compares our number of records, which the limit of a
// key hangs on, with the kernel's own.
func TestKernelCountsRecords(t *testing.T) {
	needKernel(t)
	tiny := func(n int) (b net.Buffers) {
		for i := range n {
			b = append(b, stream()[i:i+1])
		}
		return b
	}
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := kernelConfigs(v, both)
		c, s := connect(t, sockets, client, server)
		conn := c.(*Conn)
		_ = conn.NetConn().(*net.TCPConn).SetWriteBuffer(5000)
		check := func(what string, n int64, err error) {
			t.Helper()
			next, kernelErr := conn.out.kernel.NextTX()
			if err != nil || kernelErr != nil {
				t.Fatal(what, err, kernelErr)
			}
			if ours := conn.out.next; ours < next || ours > next+next/8+100 {
				t.Errorf("%s of %d bytes: %d records by our count, %d by the kernel's", what, n, ours, next)
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{s}, make([]byte, 3000)) // a slow reader
		}()
		for _, n := range []int{1, 16384, 16385, 20000, 100000, 250000} {
			m, err := c.Write(stream()[:n])
			check("Write", int64(m), err)
			m64, err := conn.ReadFrom(bytes.NewReader(stream()[:n]))
			check("ReadFrom", m64, err)
		}
		for _, n := range []int{1, 1024, 1025, 5000, 20000} {
			b := tiny(n)
			m, err := conn.WriteBuffers(&b)
			check("WriteBuffers", m, err)
		}
		_ = c.CloseWrite()
		<-done
	})
}
