package https

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"

	"github.com/go-handoff/tls"
)

// Transport is an [http.RoundTripper] over connections of package tls. Its
// zero value is not usable: see [NewTransport]. It may be used by any number of
// goroutines.
type Transport struct {
	// EarlyData sends a request as early data (RFC 8470) where a new connection
	// is made for it, config has a session that allows it, and the request may be
	// sent twice: GET, HEAD, OPTIONS and TRACE without a body. That spares a round
	// trip; but somebody may record it and send it again. Requests that a server
	// has not accepted, or answered by 425 (Too Early), are sent again after the
	// handshake. Such a Transport speaks HTTP/1.1 only, and its connections'
	// handshakes wait for the first request. It must be set before the Transport
	// is used.
	EarlyData bool

	base      *http.Transport
	config    *tls.Config
	protocols http.Protocols

	mutex  sync.Mutex
	routes map[string]*route // by proxy
}

// NewTransport returns a Transport that connects by config, nil meaning the
// zero one, and otherwise behaves as base does: its timeouts, limits, proxies
// and dial functions are used. A nil base means a copy of
// [http.DefaultTransport]. Neither may change afterwards.
//
// URLs with another scheme than https go to base. For https
//
//   - base.TLSClientConfig, DialTLSContext and DialTLS are not used; FromStd
//     makes a config of the first, and what the others would do belongs into
//     DialContext or config;
//   - base.Protocols says which versions of HTTP there are, both if it is nil.
//     That base has a DialContext or a TLSClientConfig does not turn HTTP/2 off;
//   - base.Proxy may name proxies with the schemes http, https, socks5 and
//     socks5h. TLS to an https proxy is by config, too;
//   - a TLSHandshakeTimeout of 0 means 10 seconds;
//   - there is one pool of connections for each version of HTTP and each proxy,
//     and MaxIdleConns, MaxIdleConnsPerHost and MaxConnsPerHost hold for each;
//   - Response.TLS is set as net/http does it, and the connection that
//     httptrace shows is known to [Conn].
func NewTransport(config *tls.Config, base *http.Transport) *Transport {
	if config == nil {
		config = new(tls.Config)
	}
	if base == nil {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment}
		if t, ok := http.DefaultTransport.(*http.Transport); ok {
			base = t.Clone()
		}
	}
	return &Transport{base: base, config: config, protocols: clientProtocols(base), routes: make(map[string]*route)}
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.URL.Scheme != "https" || req.URL.Host == "" {
		return t.base.RoundTrip(req) // which knows what to say to nonsense
	}
	r, err := t.route(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := r.roundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	return resp, nil
}

// CloseIdleConnections closes the connections that no request is using.
func (t *Transport) CloseIdleConnections() {
	t.base.CloseIdleConnections()
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, r := range t.routes {
		r.http1.CloseIdleConnections()
		r.http2.CloseIdleConnections()
	}
}

// route returns what leads to the request's server through its proxy.
func (t *Transport) route(req *http.Request) (*route, error) {
	var proxy *url.URL
	var key string
	if t.base.Proxy != nil {
		var err error
		if proxy, err = t.base.Proxy(req); err != nil {
			return nil, err
		}
	}
	if proxy != nil {
		key = proxy.String()
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	r := t.routes[key]
	if r == nil {
		r = newRoute(&dialer{t.base, t.config, proxy}, t.protocols)
		if t.EarlyData {
			r.http1.DialTLSContext = r.dialEarly
			r.early = true
		}
		t.routes[key] = r
	}
	return r, nil
}

// route is a way to servers: directly, or through one proxy. One http.Transport
// speaks HTTP/1, the other one HTTP/2, which it takes for cleartext; both get
// connections that are ready from the dialer. net/http's way of choosing
// between the two after it has dialled works on crypto/tls's Conn only, so that
// is done here, before a request is given to either: see origin.
type route struct {
	dialer       *dialer
	protocols    http.Protocols
	early        bool
	http1, http2 *http.Transport
	upgrades     *http.Transport // HTTP/1 for WebSocket

	mutex   sync.Mutex
	origins map[string]*origin // by host:port
}

func newRoute(d *dialer, p http.Protocols) *route {
	r := &route{dialer: d, protocols: p, origins: make(map[string]*origin)}
	r.http1 = newInner(d.base, (*http.Protocols).SetHTTP1)
	r.http1.DialTLSContext = r.dialHTTP1
	// Its connections are of no use to other requests, which would take them for
	// the server's choice of HTTP/1.
	r.upgrades = r.http1.Clone()
	r.upgrades.DisableKeepAlives = true
	r.http2 = newInner(d.base, (*http.Protocols).SetUnencryptedHTTP2)
	r.http2.DialTLSContext = r.dialHTTP2
	r.http2.CloseIdleConnections() // which sets it up
	if r.http2.TLSNextProto[protoUnencryptedHTTP2] == nil {
		r.protocols.SetHTTP2(false) // by GODEBUG, or by a build tag
	}
	return r
}

// newInner returns a Transport like base for one version of HTTP.
func newInner(base *http.Transport, set func(*http.Protocols, bool)) *http.Transport {
	t := base.Clone()
	t.Protocols = new(http.Protocols)
	set(t.Protocols, true)
	t.TLSNextProto, t.TLSClientConfig, t.Proxy = nil, nil, nil
	return t
}

// clientProtocols returns what base speaks over TLS. A TLSNextProto without
// HTTP/2 is how that was turned off of old.
func clientProtocols(base *http.Transport) (p http.Protocols) {
	if base.Protocols != nil {
		return *base.Protocols
	}
	p.SetHTTP1(true)
	p.SetHTTP2(base.TLSNextProto == nil || base.TLSNextProto[protoHTTP2] != nil)
	return p
}

// maxAttempts bounds how often a request is tried while its server changes its
// mind about the protocol.
const maxAttempts = 3

func (r *route) roundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case r.early && !isUpgrade(req):
		return r.viaEarly(req)
	case !r.protocols.HTTP2() && !r.early:
		return r.viaHTTP1(r.http1, req, nil)
	case isUpgrade(req):
		return r.viaHTTP1(r.upgrades, req, nil)
	}
	addr, err := canonicalAddr(req.URL)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		o := r.acquire(req.Context(), addr)
		resp, err := r.via(req, o)
		r.release(o)
		if !errors.Is(err, errNotHTTP2) || attempt == maxAttempts {
			return resp, err
		}
		if req, err = rewind(req, err); err != nil {
			return nil, err
		}
	}
}

// via sends a request to o by the protocol that it speaks.
func (r *route) via(req *http.Request, o *origin) (*http.Response, error) {
	if err := o.wait(req.Context()); err != nil {
		closeBody(req)
		return nil, err
	}
	if o.http2 {
		return r.viaHTTP2(req, o)
	}
	return r.viaHTTP1(r.http1, req, o)
}

// viaHTTP2 lets one request go first. When that has its connection, the others
// find it in the pool and make none of their own.
func (r *route) viaHTTP2(req *http.Request, o *origin) (*http.Response, error) {
	ctx := withOrigin(req.Context(), o)
	select {
	case <-o.pooled:
	case o.first <- struct{}{}:
		defer func() { <-o.first }()
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { o.setPooled() },
		})
	case <-ctx.Done():
		closeBody(req)
		return nil, context.Cause(ctx)
	}
	return r.http2.RoundTrip(req.WithContext(ctx))
}

// viaHTTP1 also sets Response.TLS, which net/http's implementation of HTTP/2
// does itself.
func (r *route) viaHTTP1(t *http.Transport, req *http.Request, o *origin) (*http.Response, error) {
	var conn net.Conn
	ctx := httptrace.WithClientTrace(withOrigin(req.Context(), o), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn },
	})
	resp, err := t.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	switch c := conn.(type) {
	case *clientConn:
		resp.TLS = c.state
	case *earlyClient:
		resp.TLS = c.state
	}
	return resp, nil
}

// isUpgrade reports whether a request can be sent by HTTP/1 only, as net/http
// decides it: for WebSocket.
func isUpgrade(req *http.Request) bool {
	if !strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		return false
	}
	for token := range strings.SplitSeq(req.Header.Get("Connection"), ",") {
		if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
			return true
		}
	}
	return false
}

// rewind returns req to be sent again, or else err.
func rewind(req *http.Request, err error) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if req.GetBody == nil {
		return nil, err
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := *req
	again.Body = body
	return &again, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

type originKey struct{}

// withOrigin tells the dial functions below which origin a request is for.
func withOrigin(ctx context.Context, o *origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}
