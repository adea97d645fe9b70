//go:build unix

package kerneltest

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

// Conn is a TCP connection on a kernel with TLS. Until [kernel.Socket] installs
// keys it is what it wraps.
type Conn struct {
	tcp *net.TCPConn

	rules       kernel.Rules
	noRekey     bool
	noRX13      bool
	without     []keyschedule.Cipher
	unavailable string

	tx sendSide
	rx receiveSide

	mu       sync.Mutex
	soError  error // what SO_ERROR returns
	closed   bool
	dropped  bool
	counters map[string]uint64
}

var (
	_ net.Conn      = (*Conn)(nil)
	_ io.ReaderFrom = (*Conn)(nil)
)

// Wrap returns tcp on a kernel with TLS. It owns tcp.
func Wrap(tcp *net.TCPConn, options ...Option) *Conn {
	c := &Conn{tcp: tcp, rules: kernel.RulesLinux, counters: map[string]uint64{}}
	c.tx.init(c)
	c.rx.conn = c
	for _, o := range options {
		o(c)
	}
	return c
}

// Pair returns both ends of a connection over loopback, on kernels that follow
// the given rules.
func Pair(rules kernel.Rules, options ...Option) (client, server *Conn, err error) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		ln, err = net.ListenTCP("tcp6", &net.TCPAddr{IP: net.IPv6loopback})
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = ln.Close() }()
	addr := ln.Addr().(*net.TCPAddr)
	a, err := net.DialTCP("tcp", nil, addr)
	if err != nil {
		return nil, nil, err
	}
	for {
		b, err := ln.AcceptTCP()
		if err != nil {
			_ = a.Close()
			return nil, nil, err
		}
		if b.RemoteAddr().String() == a.LocalAddr().String() {
			options = append([]Option{WithRules(rules)}, options...)
			return Wrap(a, options...), Wrap(b, options...), nil
		}
		_ = b.Close() // somebody else's
	}
}

// KernelTLS returns the socket as its kernel shows it, for [kernel.Open].
func (c *Conn) KernelTLS() kernel.System { return system{c} }

// Read reads without asking for the types of records. Linux then returns EIO
// when the next record is not data; FreeBSD returns it as if it were data.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.rx.on() {
		return c.tcp.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	r, err := c.rx.receive(p, false)
	if err != nil {
		return 0, c.opError("read", err)
	}
	if r.N == 0 && !r.Typed {
		return 0, io.EOF
	}
	return r.N, nil
}

// Write sends p as application data.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.tx.on() {
		return c.tcp.Write(p)
	}
	n, err := c.tx.write(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// ReadFrom sends what r has as application data, in records of 16 KiB, as
// sendfile makes them of a file.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	if !c.tx.on() {
		return c.tcp.ReadFrom(r)
	}
	buf := make([]byte, maxContent)
	for {
		k, readErr := r.Read(buf)
		written, err := c.Write(buf[:k])
		n += int64(written)
		switch {
		case err != nil:
			return n, err
		case readErr == io.EOF:
			return n, nil
		case readErr != nil:
			return n, readErr
		}
	}
}

// Close closes the connection. What the kernel took into TCP's queue is still
// delivered, but on Linux nothing that exceeds its send buffer.
func (c *Conn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return c.opError("close", net.ErrClosed)
	}
	if c.rx.unread() {
		// As TCP does: the peer learns that its bytes were not read.
		_ = c.tcp.SetLinger(0)
	}
	_ = c.tcp.SetReadDeadline(time.Unix(1, 0)) // wakes readers
	if c.tx.on() {
		c.count(-1, "TlsCurrTxSw")
	}
	if c.rx.on() {
		c.count(-1, "TlsCurrRxSw")
	}
	return c.tx.close()
}

// CloseWrite ends what is sent, and on Linux loses what exceeds its send buffer.
func (c *Conn) CloseWrite() error {
	if !c.tx.on() {
		return c.tcp.CloseWrite()
	}
	c.tx.shutdown()
	return nil
}

// CloseRead ends what is received.
func (c *Conn) CloseRead() error { return c.tcp.CloseRead() }

// NetConn returns what Wrap was given.
func (c *Conn) NetConn() net.Conn { return c.tcp }

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.tcp.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.isClosed() {
		return c.opError("set", net.ErrClosed)
	}
	return c.tcp.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.isClosed() {
		return c.opError("set", net.ErrClosed)
	}
	return c.tx.setDeadline(t)
}

// Stat returns counters with the names of Linux's /proc/net/tls_stat, of this
// connection alone.
func (c *Conn) Stat() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]uint64{}
	for name, n := range c.counters {
		m[name] = n
	}
	return m
}

// count adds by to the counters of these names.
func (c *Conn) count(by int, names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		c.counters[name] += uint64(by)
	}
}

func (c *Conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// fail makes err the socket's pending error.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.soError = err
}

// drop is what FreeBSD does to a connection that lost its framing.
func (c *Conn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped = true
	_ = c.tcp.CloseWrite()
}

func (c *Conn) isDropped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// takeError returns the pending error, and clears it.
func (c *Conn) takeError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.soError
	c.soError = nil
	return err
}

func (c *Conn) pendingError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.soError
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.tcp.LocalAddr(), Addr: c.tcp.RemoteAddr(), Err: err}
}
