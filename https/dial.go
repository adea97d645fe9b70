package https

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
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
	conn, err := d.reachProxy(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
	}
	if err := d.tunnel(ctx, conn, addr); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
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

func (d *dialer) reachProxy(ctx context.Context) (net.Conn, error) {
	if d.proxy.Scheme != "http" && d.proxy.Scheme != "https" {
		return nil, fmt.Errorf("proxies with the scheme %q are not supported", d.proxy.Scheme)
	}
	addr, err := canonicalAddr(d.proxy)
	if err != nil {
		return nil, err
	}
	conn, err := d.dialTCP(ctx, addr)
	if err != nil || d.proxy.Scheme == "http" {
		return conn, err
	}
	return d.handshake(ctx, conn, addr, []string{protoHTTP1})
}

// tunnelTimeout is how long net/http waits for a proxy's answer.
const tunnelTimeout = time.Minute

// tunnel asks a proxy to connect conn with addr (RFC 9110, section 9.3.6).
func (d *dialer) tunnel(ctx context.Context, conn net.Conn, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := d.connect(ctx, conn, addr)
	if !stop() {
		return ctx.Err()
	}
	return err
}

func (d *dialer) connect(ctx context.Context, conn net.Conn, addr string) error {
	header, err := d.connectHeader(ctx, addr)
	if err != nil {
		return err
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: header}
	if err := req.Write(conn); err != nil {
		return err
	}
	// What is buffered beyond the answer is lost, and there is nothing: a server
	// speaks TLS after it was spoken to.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, d.maxHeader())), req)
	if err != nil {
		return err
	}
	if d.base.OnProxyConnectResponse != nil {
		if err := d.base.OnProxyConnectResponse(ctx, d.proxy, req, resp); err != nil {
			return err
		}
	}
	if resp.StatusCode != http.StatusOK {
		_, text, _ := strings.Cut(resp.Status, " ")
		return errors.New(text) // as net/http says it
	}
	return nil
}

// maxHeader is net/http's bound on the answer's size.
func (d *dialer) maxHeader() int64 {
	if d.base.MaxResponseHeaderBytes > 0 {
		return d.base.MaxResponseHeaderBytes
	}
	return 10 << 20
}

func (d *dialer) connectHeader(ctx context.Context, addr string) (http.Header, error) {
	header := d.base.ProxyConnectHeader
	if d.base.GetProxyConnectHeader != nil {
		var err error
		if header, err = d.base.GetProxyConnectHeader(ctx, d.proxy, addr); err != nil {
			return nil, err
		}
	}
	if header = header.Clone(); header == nil {
		header = make(http.Header)
	}
	if user := d.proxy.User; user != nil {
		password, _ := user.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	return header, nil
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
