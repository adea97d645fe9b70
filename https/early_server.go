package https

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls"
)

// Early data on a server (RFC 8470). What a client sends before the handshake is
// complete may be a replay. So of HTTP/1.1 one request is let in then, if it is
// safe and has no body; it gets the header field Early-Data, and all that comes
// after it waits. On HTTP/2, whose requests cannot be told apart on the
// connection, the handler of each that is not safe waits.

const (
	// earlyHeader is the header field of RFC 8470, section 5.1.
	earlyHeader = "Early-Data"
	// earlyHead is how much of a request is looked at while it is early.
	earlyHead = 16 << 10
	// settleTimeout is how long Close and CloseWrite wait for a client to complete
	// its handshake: it may not have what was answered to its early data yet.
	settleTimeout = 5 * time.Second
)

// TooEarly returns a handler that refuses requests with 425 (Too Early) that
// were sent as early data to somebody on the way to this server, and are not
// safe (RFC 8470, section 5.2). It is for servers behind proxies that accept
// early data. Those on a connection of this package whose handshake is not
// complete do not come that far.
func TooEarly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(earlyHeader) != "" && !safe(r.Method) {
			http.Error(w, "425 too early: send it again when the handshake is complete", http.StatusTooEarly)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// safe reports whether a request may be made twice (RFC 9110, section 9.2.1).
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// earlyConn is a server's connection that has brought early data.
type earlyConn struct {
	*tls.Conn
	state    *tls.ConnectionState
	settled  chan struct{} // closed when Read has completed the handshake
	complete func()        // closes settled, once
	closed   atomic.Bool

	// What was received and may be read, and what must wait for the handshake.
	// Who reads has them.
	ready, held []byte
	open        bool // early data may come still
	all         bool // and may be read as it comes
}

// newEarlyConn returns a connection whose early data begins with first.
func newEarlyConn(conn *tls.Conn, state *tls.ConnectionState, first []byte) *earlyConn {
	c := &earlyConn{Conn: conn, state: state, settled: make(chan struct{}), held: first, open: true}
	c.complete = sync.OnceFunc(func() { close(c.settled) })
	return c
}

// admitAll lets all early data in.
func (c *earlyConn) admitAll() { c.all, c.ready, c.held = true, c.held, nil }

// isComplete reports whether the handshake is complete.
func (c *earlyConn) isComplete() bool {
	select {
	case <-c.settled:
		return true
	default:
		return false
	}
}

// admit lets the first request in if it is one that may be early. It returns
// when that is decided.
func (c *earlyConn) admit() error {
	for {
		end := bytes.Index(c.held, []byte("\r\n\r\n"))
		if end < 0 && len(c.held) < earlyHead && c.open && mayBeSafe(c.held) {
			if err := c.readEarly(); err != nil {
				return err
			}
			continue
		}
		if end < 0 {
			return nil
		}
		head := c.held[:end+4]
		line := bytes.IndexByte(head, '\n') + 1
		if !earlyRequest(head) {
			return nil
		}
		c.ready = append(append(bytes.Clone(head[:line]), earlyHeader+": 1\r\n"...), head[line:]...)
		c.held = c.held[end+4:]
		return nil
	}
}

// readEarly reads more early data.
func (c *earlyConn) readEarly() error {
	buf := make([]byte, 4<<10)
	n, err := c.Conn.ReadEarlyData(buf)
	c.held = append(c.held, buf[:n]...)
	if err == io.EOF {
		c.open = false
		return nil
	}
	return err
}

// mayBeSafe reports whether what begins with b can become a safe request.
func mayBeSafe(b []byte) bool {
	method, _, found := bytes.Cut(b, []byte(" "))
	if found {
		return safe(string(method))
	}
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace} {
		if len(b) < len(m) && m[:len(b)] == string(b) || m == string(b) {
			return true
		}
	}
	return false
}

// earlyRequest reports whether a request may be let in early: it is safe, and
// ends with its head. Line feeds without a carriage return are not for it:
// net/http takes them for the ends of lines too, and so would find the end of the
// request, and another one, before we do. Nor are folded lines, the first of
// which would be part of our header field.
func earlyRequest(head []byte) bool {
	if !mayBeSafe(head) {
		return false
	}
	for line := range bytes.Lines(head) {
		if len(line) < 2 || bytes.IndexByte(line, '\r') != len(line)-2 || line[0] == ' ' || line[0] == '\t' {
			return false
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")), bytes.EqualFold(name, []byte("Transfer-Encoding")),
			bytes.EqualFold(name, []byte("Upgrade")), bytes.EqualFold(name, []byte("Expect")):
			return false
		}
	}
	return true
}

// Read reads what may be read now, and completes the handshake before the rest.
func (c *earlyConn) Read(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	if n := copy(b, c.ready); n > 0 || len(b) == 0 {
		c.ready = c.ready[n:]
		return n, nil
	}
	if c.all && c.open {
		n, err := c.Conn.ReadEarlyData(b)
		if err != io.EOF {
			return n, err
		}
		c.open = false
	}
	if err := c.settle(); err != nil {
		return 0, err
	}
	if n := copy(b, c.held); n > 0 {
		c.held = c.held[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// settle completes the handshake, keeping early data that comes meanwhile.
func (c *earlyConn) settle() error {
	for c.open {
		if err := c.readEarly(); err != nil {
			return err
		}
	}
	if c.isComplete() {
		return nil
	}
	if err := c.Conn.Handshake(); err != nil {
		return err
	}
	c.complete()
	return nil
}

// Write answers early data too.
func (c *earlyConn) Write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.WriteEarlyData(b)
}

// ReadFrom implements [io.ReaderFrom] as the connection does, once it can.
func (c *earlyConn) ReadFrom(r io.Reader) (int64, error) {
	if c.isComplete() {
		return c.Conn.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// ConnectionState returns the state that the early data was accepted in. What
// follows in the handshake changes nothing but that it is complete.
func (c *earlyConn) ConnectionState() tls.ConnectionState {
	state := *c.state
	state.HandshakeComplete = c.isComplete()
	return state
}

// CloseWrite sends close_notify when the handshake is complete. If that takes too
// long, the connection is closed.
func (c *earlyConn) CloseWrite() error {
	if err := c.await(); err != nil {
		return err
	}
	return c.Conn.CloseWrite()
}

// Close closes the connection when the client has completed the handshake, or
// after a while: what it sends to a socket that is closed would take away what
// it has not read yet. It does not wait for that, as net/http closes all of a
// server's connections one after the other.
func (c *earlyConn) Close() error {
	if c.isComplete() {
		return c.Conn.Close()
	}
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	go func() {
		_ = c.await()
		_ = c.Conn.Close()
	}()
	return nil
}

// await completes the handshake beside whoever reads, or closes the connection
// after a while. It does not rely on a deadline, which net/http may change.
func (c *earlyConn) await() error {
	if c.isComplete() {
		return nil
	}
	_ = c.Conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	return c.Conn.HandshakeContext(ctx)
}

// gate makes a request of HTTP/2 wait that must not be early, and marks it if it
// is.
func (c *earlyConn) gate(r *http.Request) {
	switch {
	case c.isComplete():
	case safe(r.Method):
		r.Header.Set(earlyHeader, "1")
	default:
		select {
		case <-c.settled:
		case <-r.Context().Done(): // the connection's end is one of the reasons
			panic(http.ErrAbortHandler)
		}
	}
	state := c.ConnectionState()
	r.TLS = &state
}

// earlyHandshake runs a handshake, and returns what early data it brings first.
// For that it waits until the connection is closed.
func earlyHandshake(ctx context.Context, conn *tls.Conn) (first []byte, err error) {
	buf := make([]byte, 4<<10)
	n, err := conn.ReadEarlyDataContext(ctx, buf)
	if err == io.EOF {
		return nil, conn.HandshakeContext(ctx) // which may have ended like this
	}
	return buf[:n], err
}
