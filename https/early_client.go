package https

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls"
)

// Early data on a client (RFC 8470). The connection is given to net/http before
// its handshake. The first thing that is written begins it: as early data, if
// that is a whole request which may be. What reads waits for it.

// earlyClient is a connection whose handshake waits for the first request.
type earlyClient struct {
	*clientConn
	ctx     context.Context // of what dialled, without its end
	timeout time.Duration

	used  atomic.Bool   // the first Write, or Close, has come; it is who closes begun
	begun chan struct{} // closed when there is something to begin with, or nothing will be
	once  sync.Once
	err   error // of the handshake

	// Until begun is closed these are of the first Write; late is set before.
	late  bool   // it must not be early
	early bool   // it was
	sent  []byte // what was given to WriteEarlyData
	left  int    // how much of it the session did not allow
}

func newEarlyClient(ctx context.Context, conn *tls.Conn, timeout time.Duration) *earlyClient {
	return &earlyClient{
		clientConn: &clientConn{Conn: conn, state: new(tls.ConnectionState)},
		ctx:        context.WithoutCancel(ctx), timeout: timeout, begun: make(chan struct{}),
	}
}

// Write writes a first request as early data if it may be. It returns when it is
// on its way; Read is who learns what became of it.
func (c *earlyClient) Write(b []byte) (int, error) {
	if c.used.Swap(true) {
		<-c.begun
		return c.writeAfter(b)
	}
	defer close(c.begun)
	if c.late || !bytes.HasSuffix(b, []byte("\r\n\r\n")) || !earlyRequest(b) {
		return c.writeAfter(b)
	}
	n, err := c.Conn.WriteEarlyData(b)
	switch {
	case errors.Is(err, tls.ErrNoEarlyData):
		return c.writeAfter(b)
	case err != nil && !errors.Is(err, tls.ErrEarlyDataLimit):
		return n, err
	}
	c.early, c.sent, c.left = true, bytes.Clone(b), len(b)-n
	return len(b), nil
}

// writeAfter writes after the handshake.
func (c *earlyClient) writeAfter(b []byte) (int, error) {
	if err := c.settle(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Read reads the answer. Before it, it completes the handshake, and sends again
// what the server has not accepted as early data: a safe request, as this package
// sends nothing else early (RFC 8470, section 3).
func (c *earlyClient) Read(b []byte) (int, error) {
	<-c.begun
	if err := c.settle(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// errOtherProtocol ends a connection whose server has not accepted early data and
// selected another protocol than the session's, or none: what was early must not
// be sent again there (RFC 9846, section 4.3.10).
var errOtherProtocol = errors.New("https: early data was not accepted, and the server selected another protocol than before")

func (c *earlyClient) settle() error {
	c.once.Do(func() {
		if c.err = c.handshake(); c.err != nil {
			return
		}
		*c.state = c.Conn.ConnectionState()
		again, early := c.sent, c.Conn.EarlyData()
		switch {
		case early.Accepted:
			again = c.sent[len(c.sent)-c.left:]
		case len(again) > 0 && c.state.NegotiatedProtocol != early.Protocol:
			c.err = errOtherProtocol
			return
		}
		if len(again) > 0 {
			_, c.err = c.Conn.Write(again)
		}
		c.sent = nil
	})
	return c.err
}

func (c *earlyClient) handshake() error {
	ctx, cancel := context.WithTimeoutCause(c.ctx, c.timeout, handshakeTimeoutError{})
	defer cancel()
	return handshake(ctx, c.Conn)
}

// Close closes the connection. It ends a Read that waits, and a Write.
func (c *earlyClient) Close() error {
	err := c.clientConn.Close()
	if !c.used.Swap(true) {
		close(c.begun)
	}
	return err
}

// ConnectionState returns the state at the end of the handshake. There is none
// until the first request is sent, as whoever asks must not begin the handshake.
func (c *earlyClient) ConnectionState() tls.ConnectionState {
	if !c.isBegun() || c.settle() != nil {
		return tls.ConnectionState{}
	}
	return *c.state
}

func (c *earlyClient) isBegun() bool {
	select {
	case <-c.begun:
		return true
	default:
		return false
	}
}

// handshake runs a handshake and tells the trace of ctx of it.
func handshake(ctx context.Context, c *tls.Conn) error {
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err := c.HandshakeContext(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(c.ConnectionState(), err)
	}
	return err
}

// dialEarly is dialHTTP1 for a Transport with EarlyData.
func (r *route) dialEarly(ctx context.Context, _, addr string) (net.Conn, error) {
	var p http.Protocols
	p.SetHTTP1(true)
	if ctx.Value(noEarlyData{}) != nil {
		conn, err := r.dialer.dial(ctx, addr, p)
		if err != nil {
			return nil, err // and not conn, which would be an interface that is not nil
		}
		return conn, nil
	}
	conn, err := r.dialer.reach(ctx, addr)
	if err != nil {
		return nil, err
	}
	config, err := r.dialer.configFor(addr, nextProtos(r.dialer.config.NextProtos, p))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return newEarlyClient(ctx, tls.Client(conn, config), r.dialer.timeout()), nil
}

// noEarlyData is the key of requests that must not be sent early.
type noEarlyData struct{}

// viaEarly sends a request by HTTP/1.1, as early data if a new connection is made
// for it that allows it. If the server says that it is too early, or the
// connection ends before there is an answer, it is sent again, later (RFC 8470,
// section 5.2; RFC 9846, appendix E.3).
func (r *route) viaEarly(req *http.Request) (*http.Response, error) {
	var conn *earlyClient
	first := false // on conn: net/http keeps connections that it had no use for
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			conn, _ = info.Conn.(*earlyClient)
			first = conn != nil && !conn.used.Load()
		},
	})
	resp, err := r.http1.RoundTrip(req.WithContext(ctx))
	if conn == nil {
		return resp, err
	}
	early := first && conn.isBegun() && conn.early
	switch {
	case err == nil && resp.StatusCode != http.StatusTooEarly, !early || req.Context().Err() != nil:
		if err == nil {
			resp.TLS = conn.state
		}
		return resp, err
	case err == nil:
		resp.Body.Close()
	}
	ctx = httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if c, ok := info.Conn.(*earlyClient); ok && !c.used.Load() {
				c.late = true // it was made for another request
			}
		},
	})
	return r.viaHTTP1(r.http1, req.WithContext(context.WithValue(ctx, noEarlyData{}, true)), nil)
}
