//go:build unix

package tls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

// TestKernelCutAnywhere ends the stream, by FIN or reset, after each byte of a
// record: what was whole before is read, and the end is an error.
func TestKernelCutAnywhere(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for cut := 0; ; cut++ {
			client, server := kernelConfigs(v, both)
			c, peer := connectRaw(t, g.network, client, server, roleClient)
			whole, rec := peer.seal(record.ApplicationData, []byte("whole")), peer.seal(record.ApplicationData, []byte("cut"))
			peer.send(whole, rec[:min(cut, len(rec))])
			if tcp, ok := peer.Conn.(*net.TCPConn); ok && cut%2 == 1 {
				_ = tcp.SetLinger(0)
			}
			peer.Close()
			got, err := readers(t)[[]string{"large reads", "large reads", "splice", "splice"}[cut%4]](c)
			reset := errors.Is(err, syscall.ECONNRESET) // which overtakes what was sent
			if want := []byte("whole"); err == nil || !reset && cut < len(rec) && !bytes.Equal(got, want) {
				t.Errorf("cut at %d: %q, %v", cut, got, err)
			}
			if _, again := c.Read(make([]byte, 1)); again == nil || again == io.EOF {
				t.Errorf("cut at %d: second Read: %v", cut, again)
			}
			c.Close()
			if cut > len(rec) {
				return
			}
		}
	})
}

// TestKernelSilentPeer has a peer that never reads: nothing waits for it longer
// than it was told to.
func TestKernelSilentPeer(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, both)
		c, _ := connect(t, g.network, client, server)
		fillUp(t, c)
		start := time.Now()
		if v == VersionTLS13 && g.rekey {
			_ = c.SetWriteDeadline(time.Time{})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := c.(*Conn).KeyUpdate(ctx); err == nil {
				t.Error("KeyUpdate succeeds")
			}
		}
		for err := error(nil); !errors.Is(err, os.ErrDeadlineExceeded); { // there may be a little room again
			_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err = c.(*Conn).ReadFrom(bytes.NewReader(stream())); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("ReadFrom: %v", err)
			}
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("calls with deadlines take %v", d)
		}
		_ = c.(*Conn).NetConn().Close()
	})
}

// sizedConn notes what room there is in recvmsg.
type sizedConn struct {
	net.Conn
	kernel.System
	room chan int
}

func (c *sizedConn) KernelTLS() kernel.System { return c }

func (c *sizedConn) Receive(p []byte) (kernel.Received, error) {
	select {
	case c.room <- len(p):
	default:
	}
	return c.System.Receive(p)
}

// TestKernelIdleMemory has a connection wait for data, as net/http does and as
// proxies do, which must not hold a buffer for it; but once there is much, one.
func TestKernelIdleMemory(t *testing.T) {
	waits := map[string]func(c *Conn) error{
		"Read": func(c *Conn) error {
			_, err := io.Copy(io.Discard, struct{ io.Reader }{oneByteReader{c}})
			return err
		},
		"WriteTo": func(c *Conn) error {
			_, err := c.WriteTo(new(bytes.Buffer))
			return err
		},
	}
	for name, wait := range waits {
		sized := &sizedConn{room: make(chan int, 100)}
		nw := func(t testing.TB) (client, server net.Conn) {
			client, server = modelNetwork(kernel.RulesLinux)(t)
			sized.Conn, sized.System = client, client.(interface{ KernelTLS() kernel.System }).KernelTLS()
			return sized, server
		}
		client, server := kernelConfigs(VersionTLS13, kernel.Policy{TX: kernel.Off, RX: kernel.Require})
		c, s := connect(t, nw, client, server)
		done := make(chan error, 1)
		go func() { done <- wait(c.(*Conn)) }()
		for range 3 {
			if n := <-sized.room; n > 1000 {
				t.Errorf("%s waits with a buffer of %d bytes", name, n)
			}
			if _, err := s.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Write(stream()); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		largest := 0
		for len(sized.room) > 0 {
			largest = max(largest, <-sized.room)
		}
		if largest < record.MaxPlaintext {
			t.Errorf("%s receives no more than %d bytes at once", name, largest)
		}
	}
}

// TestKernelHalfClosed moves a direction when the peer has ended its own: Linux
// then refuses a socket that had no key before. Nothing is lost.
func TestKernelHalfClosed(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if g.model {
			continue // they take keys at any time
		}
		forEachVersion(t, func(t *testing.T, v uint16) {
			client, server := kernelConfigs(v, kernel.Policy{TX: kernel.Auto, MoveTX: kernel.AfterBytes(1), RX: kernel.Auto, NoRekey: kernel.NoRekeyClose, MoveRX: kernel.AfterBytes(1)})
			c, s := connect(t, g.network, client, server)
			if _, err := s.Write(stream()[:50000]); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.CloseWrite(), s.(*Conn).NetConn().(*net.TCPConn).CloseWrite()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond) // until the FIN is there
			for _, part := range []string{"a", "b", "c"} {
				if err := exchange(c, s, part); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, stream()[:50000]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if o := c.(*Conn).Offload(); o.TX.Where != UserSpace || !strings.Contains(o.TX.Reason, "not established") {
				t.Errorf("TX %v, RX %v", o.TX, o.RX)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKernelCrossCopies has proxies that send everything back, and to one another.
func TestKernelCrossCopies(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, both)
		server.Kernel = both
		a, b := connectUnhurried(t, g, client, server), connectUnhurried(t, g, client, server)
		const n = 2 << 20
		errs := make(chan error, 4)
		// a[0] sends through a[1] and b[0] to b[1], which copies to itself, and back.
		go func() { _, err := io.Copy(b[0], a[1]); errs <- errors.Join(err, b[0].CloseWrite()) }()
		go func() { _, err := io.Copy(a[1], b[0]); errs <- errors.Join(err, a[1].CloseWrite()) }()
		go func() { _, err := io.Copy(b[1], b[1]); errs <- errors.Join(err, b[1].CloseWrite()) }()
		go func() { errs <- sendByWrite(t, a[0], n) }()
		if got, err := receiveByRead(t, a[0]); got != n || err != nil {
			t.Errorf("%d bytes come back, %v", got, err)
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}
