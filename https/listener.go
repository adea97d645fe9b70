package https

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-handoff/tls"
)

// NewListener returns a listener to be given to srv.Serve, for those who must
// call that themselves; others use [Serve]. Its connections are those of inner
// whose handshake is complete. If inner has *[tls.Conn] itself, those are used
// as they are.
//
// For HTTP/2, srv.Protocols gets UnencryptedHTTP2, and net/http's function for
// that in srv.TLSNextProto gets one before it: this is how net/http speaks
// HTTP/2 over connections that are not crypto/tls's, and counts them. So srv
// must not be serving anything else yet when its first listener is made here,
// and if it later serves cleartext HTTP, then HTTP/2 too. Any number of
// listeners from here may serve at the same time.
func NewListener(srv *http.Server, inner net.Listener, config *tls.Config) net.Listener {
	l := &listener{Listener: inner, srv: srv, config: config, ready: make(chan accepted)}
	ctx := context.WithValue(context.Background(), http.ServerContextKey, srv)
	l.ctx, l.cancel = context.WithCancel(ctx)
	enableHTTP2(srv)
	return l
}

// listener runs handshakes, each in a goroutine of its own, so that silent
// clients keep nobody else waiting.
type listener struct {
	net.Listener
	srv *http.Server

	begin  sync.Once // the first Accept; what follows is set there
	config *tls.Config
	http2  bool

	ctx    context.Context // until Close
	cancel context.CancelFunc
	ready  chan accepted
}

// accepted is a result of Accept.
type accepted struct {
	conn net.Conn
	err  error
}

// Accept returns the next connection whose handshake is complete.
func (l *listener) Accept() (net.Conn, error) {
	l.begin.Do(func() {
		// Only now has net/http configured HTTP/2, if it has it at all.
		p := protocols(l.srv)
		l.http2 = p.HTTP2() && hookHTTP2(l.srv)
		p.SetHTTP2(l.http2)
		l.config = withProtocols(l.config, p)
		go l.accept()
	})
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close stops listening, and ends the handshakes that are under way. It does
// not wait for them: net/http calls it with a lock held that their callbacks
// may want.
func (l *listener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// accept starts handshakes. Errors go to net/http, which waits before it calls
// Accept again, and so does this.
func (l *listener) accept() {
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			go l.handshake(conn)
		} else if !l.deliver(accepted{err: err}) {
			return
		}
	}
}

// deliver waits for net/http to take a, or for the end.
func (l *listener) deliver(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}

func (l *listener) handshake(inner net.Conn) {
	conn, ok := inner.(*tls.Conn)
	if !ok {
		conn = tls.Server(inner, l.config)
	}
	defer l.recoverPanic(conn)
	timeout := handshakeTimeout(l.srv)
	ctx, cancel := context.WithTimeoutCause(l.ctx, timeout, fmt.Errorf("not complete after %v", timeout))
	defer cancel()
	// Once early data is accepted, what reads it has no context.
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()
	first, err := earlyHandshake(context.WithValue(ctx, http.LocalAddrContextKey, conn.LocalAddr()), conn)
	if err != nil {
		l.refuse(ctx, conn, err)
		return
	}
	c, err := l.dispatch(conn, first)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		l.refuse(ctx, conn, err)
		return
	}
	if c == nil || !l.deliver(accepted{conn: c}) {
		conn.Close()
	}
}

// recoverPanic keeps panics of the Config's callbacks from ending the process,
// as net/http does.
func (l *listener) recoverPanic(conn net.Conn) {
	if v := recover(); v != nil {
		l.logf("http: panic serving %v: %v\n%s", conn.RemoteAddr(), v, debug.Stack())
		conn.Close()
	}
}

// dispatch returns what net/http shall get for the protocol that was agreed on,
// or nil if that is none of its. What it brought as early data begins with first.
func (l *listener) dispatch(conn *tls.Conn, first []byte) (net.Conn, error) {
	state := conn.ConnectionState()
	var early *earlyConn
	if first != nil {
		early = newEarlyConn(conn, &state, first)
	}
	switch state.NegotiatedProtocol {
	case "", protoHTTP1, "http/1.0":
		if early != nil {
			return early, early.admit()
		}
		return conn, nil
	case protoHTTP2:
		if l.http2 {
			return newHTTP2Conn(conn, &state, early), nil
		}
	}
	return nil, nil
}

// defaultHandshakeTimeout is for servers and clients without a timeout of their
// own.
const defaultHandshakeTimeout = 10 * time.Second

// handshakeTimeout is the shortest of the server's timeouts that bound the
// handshake, as net/http has it.
func handshakeTimeout(srv *http.Server) time.Duration {
	shortest := time.Duration(0)
	for _, d := range []time.Duration{srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout} {
		if d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	if shortest == 0 {
		return defaultHandshakeTimeout
	}
	return shortest
}

// refuse ends a connection whose handshake has failed, and says so unless it is
// the server that ends. Those who forgot the s in https are told.
func (l *listener) refuse(ctx context.Context, conn *tls.Conn, err error) {
	defer conn.Close()
	var plain net.Conn
	switch header := (tls.RecordHeaderError{}); {
	case l.ctx.Err() != nil:
		return
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader):
		err, plain = errPlainHTTP, header.Conn
	}
	l.logf("http: TLS handshake error from %s: %v", conn.RemoteAddr(), err)
	if plain != nil {
		l.answerPlain(plain)
	}
}

var errPlainHTTP = errors.New("client sent an HTTP request to an HTTPS server")

func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// The bounds of what is read of a request in plain HTTP.
const (
	plainTimeout = 2 * time.Second
	plainLimit   = 1 << 20
)

// answerPlain answers a request in plain HTTP. It reads the rest of it, because
// the system resets connections that are closed with something unread, and the
// reset can overtake the answer.
func (l *listener) answerPlain(raw net.Conn) {
	defer context.AfterFunc(l.ctx, func() { raw.Close() })()
	_ = raw.SetDeadline(time.Now().Add(plainTimeout))
	_, err := io.WriteString(raw, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	if half, ok := raw.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, raw, plainLimit)
	}
}

func (l *listener) logf(format string, args ...any) {
	if l.srv.ErrorLog != nil {
		l.srv.ErrorLog.Printf(format, args...)
		return
	}
	log.Printf(format, args...)
}
