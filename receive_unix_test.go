//go:build unix

package tls

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/go-handoff/tls/record"
)

// socketPair returns both ends of a TCP connection.
func socketPair(t *testing.T) (from, to *net.TCPConn) {
	t.Helper()
	a, b := sockets(t)
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// TestReceive looks at what is held while nothing, little, and something has come.
func TestReceive(t *testing.T) {
	from, to := socketPair(t)
	var h inbound
	h.init(to, false)
	if err := to.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := h.readOnce(to, record.HeaderLen)
	if e := net.Error(nil); n != 0 || !errors.As(err, &e) || !e.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing has come: %d bytes, %v", n, err)
	}
	if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "read" || op.Net != "tcp" || op.Addr.String() != from.LocalAddr().String() {
		t.Errorf("the error is %#v", err)
	}
	if h.buf != nil {
		t.Error("a buffer is held after a timeout")
	}
	if err := to.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		send string
		held bool
	}{{"abc", false}, {"defghi", true}} {
		if _, err := from.Write([]byte(part.send)); err != nil {
			t.Fatal(err)
		}
		n, err := h.readOnce(to, record.HeaderLen)
		h.grow(n)
		if err != nil || (h.buf != nil) != part.held {
			t.Fatalf("%q: %d bytes, %v; a buffer is held: %v", part.send, n, err, h.buf != nil)
		}
		if !part.held {
			h.headN = 0
		}
	}
	h.r = h.w
	h.release()
	from.Close()
	if n, err := h.readOnce(to, record.HeaderLen); n != 0 || err != io.EOF || h.buf != nil {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
	to.Close()
	if n, err := h.readOnce(to, record.HeaderLen); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %d bytes, %v", n, err)
	}
}

// TestReceiveRefused gets an error of the system.
func TestReceiveRefused(t *testing.T) {
	from, to := socketPair(t)
	var h inbound
	h.init(to, false)
	if err := from.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	from.Close() // with a reset
	if n, err := h.readOnce(to, record.HeaderLen); n != 0 || !errors.As(err, new(*os.SyscallError)) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestReceiveMany sends full records: their reader takes a buffer for several.
func TestReceiveMany(t *testing.T) {
	from, to := socketPair(t)
	var h inbound
	h.init(to, false)
	rec := append([]byte{byte(record.Handshake), 3, 3, 64, 0}, make([]byte, record.MaxPlaintext)...)
	const records = 20
	go func() {
		for range records {
			_, _ = from.Write(rec)
		}
	}()
	for i := range records {
		got, err := h.record(to)
		if err != nil || len(got) != len(rec) {
			t.Fatalf("record %d: %d bytes, %v", i, len(got), err)
		}
		if h.r < h.w && i > 0 && len(h.buf.b) != burstBufferLen {
			t.Fatalf("record %d is in a buffer of %d bytes", i, len(h.buf.b))
		}
	}
}
