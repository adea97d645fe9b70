package https

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"

	"github.com/go-handoff/tls"
)

// clientConn is a connection whose handshake is complete.
type clientConn struct {
	*tls.Conn
	state   *tls.ConnectionState
	once    sync.Once
	release func() // on Close; may be nil
}

func newClientConn(c *tls.Conn) *clientConn {
	state := c.ConnectionState()
	return &clientConn{Conn: c, state: &state}
}

func (c *clientConn) speaksHTTP2() bool { return c.state.NegotiatedProtocol == protoHTTP2 }

// ConnectionState returns the state at the end of the handshake, which is what
// it stays.
func (c *clientConn) ConnectionState() tls.ConnectionState { return *c.state }

// Close closes the connection. It is not counted any more before that is done,
// which can take a while.
func (c *clientConn) Close() error {
	c.once.Do(func() {
		if c.release != nil {
			c.release()
		}
	})
	return c.Conn.Close()
}

// dialer makes connections to servers, through a proxy if there is one.
type dialer struct {
	base   *http.Transport
	config *tls.Config
	proxy  *url.URL
}

// dial connects to addr and offers the protocols p.
func (d *dialer) dial(ctx context.Context, addr string, p http.Protocols) (*clientConn, error) {
	conn, err := d.reach(ctx, addr)
	if err != nil {
		return nil, err
	}
	c, err := d.handshake(ctx, conn, addr, nextProtos(d.config.NextProtos, p))
	if err != nil {
		return nil, err
	}
	return newClientConn(c), nil
}

// reach returns a connection to addr without TLS.
func (d *dialer) reach(ctx context.Context, addr string) (net.Conn, error) {
	if d.proxy == nil {
		return d.dialTCP(ctx, addr)
	}
	return d.reachByProxy(ctx, addr)
}

func (d *dialer) dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	if d.base.DialContext != nil {
		return d.base.DialContext(ctx, "tcp", addr)
	}
	//lint:ignore SA1019 who has it relies on it
	if dial := d.base.Dial; dial != nil {
		return dial("tcp", addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// handshake runs TLS on conn, which is closed if that fails.
func (d *dialer) handshake(ctx context.Context, conn net.Conn, addr string, protos []string) (*tls.Conn, error) {
	config := d.config.Clone()
	config.NextProtos = protos
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			conn.Close()
			return nil, err
		}
		config.ServerName = host
	}
	// net/http lets connections get ready that nobody waits for any more, so
	// there must be a bound.
	timeout := d.base.TLSHandshakeTimeout
	if timeout <= 0 {
		timeout = defaultHandshakeTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, handshakeTimeoutError{})
	defer cancel()
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	c := tls.Client(conn, config)
	err := c.HandshakeContext(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(c.ConnectionState(), err)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// handshakeTimeoutError is a net.Error, as net/http's is.
type handshakeTimeoutError struct{}

func (handshakeTimeoutError) Error() string   { return "https: TLS handshake timeout" }
func (handshakeTimeoutError) Timeout() bool   { return true }
func (handshakeTimeoutError) Temporary() bool { return true }
