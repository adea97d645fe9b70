//go:build unix

package tls

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

// deadlineHook calls during, once, when a write deadline is set.
type deadlineHook struct {
	net.Conn
	during func()
}

func (d *deadlineHook) SetWriteDeadline(t time.Time) error {
	if during := d.during; during != nil {
		d.during = nil
		during()
	}
	return d.Conn.SetWriteDeadline(t)
}

// TestCloseMeetsRead has a Read end just when Close has begun: Close must still
// send close_notify.
func TestCloseMeetsRead(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		below := new(deadlineHook)
		nw := func(t testing.TB) (client, server net.Conn) {
			below.Conn, server = sockets(t)
			return below, server
		}
		server := serverConfig("P256")
		server.MaxVersion = v
		server.SessionTicketsDisabled = true
		c, peer := connectRaw(t, nw, clientConfig(), server, roleClient)
		peer.send(peer.seal(record.ApplicationData, []byte("ab")))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		below.during = func() {
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Errorf("Read: %v", err)
			}
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if typ, content := peer.receive(); typ != record.Alert || !bytes.Equal(content, []byte{alertLevelWarning, 0}) {
			t.Errorf("peer got %v %x", typ, content)
		}
		if _, err := c.Read(make([]byte, 1)); err != net.ErrClosed {
			t.Errorf("Read after Close: %v", err)
		}
	})
}

// TestCloseDuringReadFrom closes while ReadFrom waits for its source, and so
// writes nothing: the peer must see a clean end, as with crypto/tls.
func TestCloseDuringReadFrom(t *testing.T) {
	run := func(t *testing.T, nw network, client, server *Config) {
		c, s := connect(t, nw, client, server)
		from, to := sockets(t)
		defer from.Close()
		defer to.Close()
		done := make(chan error, 1)
		go func() {
			_, err := c.(*Conn).ReadFrom(from)
			done <- err
		}()
		for range 2 { // the second is sent when ReadFrom has come to wait once
			if _, err := to.Write(stream()[:100]); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; c.(*Conn).calls.Load() != 0; i++ { // until the write has returned
			if i == 1000 {
				t.Fatal("ReadFrom counts as writing while its source has nothing")
			}
			time.Sleep(time.Millisecond)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("peer's Read: %d, %v", n, err)
		}
		_, _ = to.Write([]byte("x")) // and ReadFrom finds out
		if err := <-done; err != net.ErrClosed {
			t.Errorf("ReadFrom: %v", err)
		}
	}
	t.Run("user space", func(t *testing.T) { run(t, sockets, clientConfig(), serverConfig("P256")) })
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, kernel.Policy{MoveTX: kernel.AtOnce})
			run(t, g.network, client, server)
		})
	}
}
