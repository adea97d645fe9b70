package https

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// origin is a server while it is in use: while requests to it are under way, or
// connections to it open. The first request makes a connection to learn which
// protocol the server speaks; the others wait for that. It then goes to the
// http.Transport that asks for a connection first.
type origin struct {
	addr   string
	cancel context.CancelFunc // of what finds out the protocol
	known  chan struct{}      // closed when it is known, or has failed
	http2  bool
	err    error

	first     chan struct{} // who sends to it has the first turn with HTTP/2
	pooled    chan struct{} // closed when the connection is there for all
	setPooled func()

	// Protected by the route's mutex.
	users int // requests and connections
	spare *clientConn
}

var (
	// errNotHTTP2 means that a server that spoke HTTP/2 a moment ago does not.
	errNotHTTP2 = errors.New("https: the server has stopped speaking HTTP/2")
	errNoHTTP1  = errors.New("https: the server does not speak HTTP/2, and HTTP/1 is not enabled")
)

func newOrigin(addr string, cancel context.CancelFunc) *origin {
	o := &origin{addr: addr, cancel: cancel, known: make(chan struct{}), first: make(chan struct{}, 1), pooled: make(chan struct{})}
	o.setPooled = sync.OnceFunc(func() { close(o.pooled) })
	return o
}

// wait waits until the protocol is known.
func (o *origin) wait(ctx context.Context) error {
	select {
	case <-o.known:
		return o.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// acquire returns the origin at addr for one more user, who releases it.
func (r *route) acquire(ctx context.Context, addr string) *origin {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	o := r.origins[addr]
	if o == nil {
		// Others may come to wait for this too, and must not lose it when the
		// first one gives up. When all do, it ends.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		o = newOrigin(addr, cancel)
		r.origins[addr] = o
		go r.discover(ctx, o)
	}
	o.users++
	return o
}

// release forgets the origin if it was the last user's.
func (r *route) release(o *origin) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	r.forget(o)
	o.cancel()
	if o.spare != nil {
		go o.spare.Close()
		o.spare = nil
	}
}

// forget makes the next request find out the protocol anew. The mutex is held.
func (r *route) forget(o *origin) {
	if r.origins[o.addr] == o {
		delete(r.origins, o.addr)
	}
}

// discover makes the origin's first connection.
func (r *route) discover(ctx context.Context, o *origin) {
	conn, err := r.dialer.dial(ctx, o.addr, r.protocols)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	defer close(o.known)
	if err == nil {
		o.http2 = conn.speaksHTTP2()
		if !o.http2 && !r.protocols.HTTP1() {
			err = errNoHTTP1
		}
	}
	switch {
	case err != nil:
		o.err = err
		r.forget(o)
		if conn != nil {
			go conn.Close()
		}
	case o.users == 0:
		go conn.Close()
	default:
		o.spare = conn
	}
}

// takeSpare returns the connection that was made to learn the protocol, if
// nobody has had it yet.
func (r *route) takeSpare(o *origin) *clientConn {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	conn := o.spare
	o.spare = nil
	return conn
}

// adopt makes conn a user of its origin until it is closed. If o was forgotten
// in the meantime, that is the one which is there now.
func (r *route) adopt(o *origin, conn *clientConn) *clientConn {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if now := r.origins[o.addr]; now != nil {
		o = now
	} else {
		r.origins[o.addr] = o
	}
	o.users++
	conn.release = func() { r.release(o) }
	return conn
}

// dialHTTP1 is the dial function of the http.Transports for HTTP/1. Requests that
// can be sent by HTTP/1 only have no origin.
func (r *route) dialHTTP1(ctx context.Context, _, addr string) (net.Conn, error) {
	o, _ := ctx.Value(originKey{}).(*origin)
	if o != nil {
		if conn := r.takeSpare(o); conn != nil {
			return r.adopt(o, conn), nil
		}
	}
	var p http.Protocols
	p.SetHTTP1(true)
	conn, err := r.dialer.dial(ctx, addr, p)
	if err != nil {
		return nil, err
	}
	if o != nil {
		r.adopt(o, conn)
	}
	return conn, nil
}

// dialHTTP2 is the dial function of the http.Transport for HTTP/2.
func (r *route) dialHTTP2(ctx context.Context, _, addr string) (net.Conn, error) {
	o := ctx.Value(originKey{}).(*origin)
	if conn := r.takeSpare(o); conn != nil {
		return r.adopt(o, conn), nil
	}
	conn, err := r.dialer.dial(ctx, addr, r.protocols)
	if err != nil {
		return nil, err
	}
	if !conn.speaksHTTP2() {
		conn.Close()
		r.mutex.Lock()
		defer r.mutex.Unlock()
		r.forget(o)
		return nil, errNotHTTP2
	}
	return r.adopt(o, conn), nil
}

// canonicalAddr returns the host and port of a URL as net/http gives them to
// dial functions.
func canonicalAddr(u *url.URL) (addr string, err error) {
	for _, c := range []byte(u.Hostname()) {
		if c >= 0x80 {
			return askCanonicalAddr(u)
		}
	}
	return addrOf(u), nil
}

// addrOf returns the host and port of a URL.
func addrOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// askCanonicalAddr has net/http translate a name with other letters than
// ASCII's (IDNA), for which it shows no function.
func askCanonicalAddr(u *url.URL) (addr string, err error) {
	errAnswered := errors.New("answered")
	t := &http.Transport{DialTLSContext: func(_ context.Context, _, a string) (net.Conn, error) {
		addr = a
		return nil, errAnswered
	}}
	_, err = t.RoundTrip(&http.Request{URL: &url.URL{Scheme: u.Scheme, Host: u.Host}, Header: http.Header{}})
	if errors.Is(err, errAnswered) {
		err = nil
	}
	return addr, err
}
