package resumption

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// tapped is a connection that keeps what its client sends first.
type tapped struct {
	net.Conn
	mu    sync.Mutex
	hello bytes.Buffer
}

// A ClientHello of these tests is in one record, which has this much room.
const helloLen = 5 + 1<<14

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.keep(b[:n])
	return n, err
}

func (c *tapped) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.keep(b[:n])
	return n, err
}

// keep is for one direction: in that of the server nothing goes before the
// whole ClientHello has come.
func (c *tapped) keep(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hello.Write(b[:min(len(b), helloLen-c.hello.Len())])
}

// Extensions that name sessions.
const (
	sessionTicket = 35
	preSharedKey  = 41
)

// offered reports whether the ClientHello offers a session of the form.
func (c *tapped) offered(t testing.TB, f form) bool {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := cryptobyte.String(c.hello.Bytes())
	var record, message, id, skipped, list, body cryptobyte.String
	if !s.Skip(3) || !s.ReadUint16LengthPrefixed(&record) || !record.Skip(1) || !record.ReadUint24LengthPrefixed(&message) ||
		!message.Skip(2+32) || !message.ReadUint8LengthPrefixed(&id) || !message.ReadUint16LengthPrefixed(&skipped) ||
		!message.ReadUint8LengthPrefixed(&skipped) || !message.ReadUint16LengthPrefixed(&list) {
		t.Fatalf("this is no ClientHello: %x", c.hello.Bytes())
	}
	if f.byID() {
		return len(id) > 0
	}
	want := map[bool]uint16{true: sessionTicket, false: preSharedKey}[f.version < ticket13.version]
	for !list.Empty() {
		var extension uint16
		if !list.ReadUint16(&extension) || !list.ReadUint16LengthPrefixed(&body) {
			t.Fatalf("malformed extensions: %x", list)
		}
		if extension == want {
			return len(body) > 0
		}
	}
	return false
}
