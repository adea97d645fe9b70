//go:build unix

package tls

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

// pieces cuts the first n bytes of the stream, with empty pieces in between.
func pieces(n, size int) (b net.Buffers) {
	for at := 0; at < n; at += size {
		b = append(b, stream()[at:min(n, at+size)], nil)
	}
	return b
}

func testWriteBuffers(t *testing.T, nw network, policy kernel.Policy, limit uint64) {
	t.Helper()
	for _, size := range []int{1, 100, 5000, 200000} {
		n := min(streamLen, size*3000)
		client, server := kernelConfigs(VersionTLS13, policy)
		client.recordLimit = limit
		c, s := connect(t, nw, client, server)
		received := make(chan []byte, 1)
		go func() {
			got, err := io.ReadAll(s)
			if err != nil {
				t.Errorf("Read: %v", err)
			}
			received <- got
		}()
		b := pieces(n, size)
		if m, err := c.(*Conn).WriteBuffers(&b); m != int64(n) || err != nil || len(b) != 0 {
			t.Errorf("pieces of %d: %d, %v, %d left", size, m, err, len(b))
		}
		_ = c.CloseWrite()
		if got := <-received; !bytes.Equal(got, stream()[:n]) {
			t.Errorf("pieces of %d: %d bytes arrived of %d", size, len(got), n)
		}
	}
}

func TestWriteBuffers(t *testing.T) { testWriteBuffers(t, sockets, kernel.Policy{TX: kernel.Off}, 0) }

func TestKernelWriteBuffers(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			limit := uint64(0)
			if g.rekey {
				limit = 4
			}
			testWriteBuffers(t, g.network, both, limit)
		})
	}
}

// TestKernelWriteBuffersTimeout counts what was taken when a deadline passes.
func TestKernelWriteBuffersTimeout(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, both)
			c, s := connect(t, g.network, client, server)
			fillUp(t, c)
			b := pieces(streamLen, 5000)
			m, err := c.(*Conn).WriteBuffers(&b)
			left := 0
			for _, part := range b {
				left += len(part)
			}
			if e, ok := err.(net.Error); !ok || !e.Timeout() || int(m)+left != streamLen {
				t.Errorf("%d written, %d left, %v", m, left, err)
			}
			s.Close()
		})
	}
}

// TestKernelWriteBuffersLimit sends so many buffers that it takes several calls
// of writev, each of which ends a record: they count against the key's limit.
func TestKernelWriteBuffersLimit(t *testing.T) {
	const limit = 40
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS12, both)
			client.recordLimit = limit
			c, peer := connectRaw(t, g.network, client, server, roleClient)
			done := make(chan error, 1)
			go func() {
				b := pieces(100000, 1)
				_, err := c.WriteBuffers(&b)
				done <- errors.Join(err, c.CloseWrite())
			}()
			records := 1 // Finished
			for typ := record.ApplicationData; typ != record.Alert; records++ {
				typ, _ = peer.receive()
			}
			if err := <-done; records > limit || err != nil && !errors.Is(err, ErrRecordLimit) {
				t.Errorf("%d records with a limit of %d, %v", records, limit, err)
			}
		})
	}
}
