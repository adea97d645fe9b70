package https

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

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
	config, err := d.configFor(addr, protos)
	if err != nil {
		conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout(), handshakeTimeoutError{})
	defer cancel()
	c := tls.Client(conn, config)
	if err := handshake(ctx, c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// configFor returns the config for a server.
func (d *dialer) configFor(addr string, protos []string) (*tls.Config, error) {
	config := d.config.Clone()
	config.NextProtos = protos
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	return config, nil
}

// timeout bounds a handshake: net/http lets connections get ready that nobody
// waits for any more.
func (d *dialer) timeout() time.Duration {
	if d.base.TLSHandshakeTimeout > 0 {
		return d.base.TLSHandshakeTimeout
	}
	return defaultHandshakeTimeout
}

// handshakeTimeoutError is a net.Error, as net/http's is.
type handshakeTimeoutError struct{}

func (handshakeTimeoutError) Error() string   { return "https: TLS handshake timeout" }
func (handshakeTimeoutError) Timeout() bool   { return true }
func (handshakeTimeoutError) Temporary() bool { return true }
