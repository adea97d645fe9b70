package https

import (
	"context"
	stdtls "crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-handoff/tls"
)

// HTTP/2 on a server. net/http takes up HTTP/2 in two cases: by ALPN on
// crypto/tls's Conn, and on a connection that shows no TLS state and begins
// with the preface of HTTP/2. In the latter case it calls
// TLSNextProto["unencrypted_http2"], and the connection counts as any other:
// for hooks, Shutdown and Close. So it gets connections that hide their state,
// and the function there gets one before it that fills in Request.TLS.

const (
	protoUnencryptedHTTP2 = "unencrypted_http2" // net/http's key in TLSNextProto
	// protoHooked is the key that says that the function was hooked before. It is
	// no protocol that a connection could agree on.
	protoHooked = "github.com/go-handoff/tls/https"

	// preface is what an HTTP/2 client sends first (RFC 9113, section 3.4).
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// prefaceTimeout is how long net/http waits for it on crypto/tls's Conn.
	prefaceTimeout = 10 * time.Second
)

// serverMutex protects the fields of all servers that change here.
var serverMutex sync.Mutex

// protocols returns what srv speaks, as net/http decides it.
func protocols(srv *http.Server) (p http.Protocols) {
	serverMutex.Lock()
	defer serverMutex.Unlock()
	return protocolsLocked(srv)
}

func protocolsLocked(srv *http.Server) (p http.Protocols) {
	if srv.Protocols != nil {
		return *srv.Protocols
	}
	p.SetHTTP1(true)
	p.SetHTTP2(srv.TLSNextProto == nil || srv.TLSNextProto[protoHTTP2] != nil)
	return p
}

// enableHTTP2 makes srv look for HTTP/2 on connections that show no TLS state,
// if it speaks HTTP/2 at all.
func enableHTTP2(srv *http.Server) {
	serverMutex.Lock()
	defer serverMutex.Unlock()
	p := protocolsLocked(srv)
	if p.HTTP2() && !p.UnencryptedHTTP2() {
		p.SetUnencryptedHTTP2(true)
		srv.Protocols = &p
	}
}

// hookHTTP2 makes srv fill in Request.TLS. It reports whether srv has an
// implementation of HTTP/2.
func hookHTTP2(srv *http.Server) bool {
	serverMutex.Lock()
	defer serverMutex.Unlock()
	serve := srv.TLSNextProto[protoUnencryptedHTTP2]
	if serve == nil || srv.TLSNextProto[protoHooked] != nil {
		return serve != nil
	}
	hooked := func(srv *http.Server, conn *stdtls.Conn, h http.Handler) {
		// conn is nothing but a wrapper, which has this method.
		if w, ok := conn.NetConn().(interface{ UnencryptedNetConn() net.Conn }); ok {
			if c, ok := w.UnencryptedNetConn().(*http2Conn); ok {
				h = &secureHandler{h, c.state, c.early}
			}
		}
		serve(srv, conn, h)
	}
	srv.TLSNextProto[protoUnencryptedHTTP2] = hooked
	srv.TLSNextProto[protoHooked] = hooked
	return true
}

// secureHandler fills in Request.TLS for the requests of one connection.
type secureHandler struct {
	http.Handler
	state *tls.ConnectionState
	early *earlyConn // nil for none
}

func (h *secureHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.TLS = h.state
	if h.early != nil {
		h.early.gate(r)
	}
	h.Handler.ServeHTTP(w, r)
}

// BaseContext is how net/http gives its implementation of HTTP/2 the context of
// the connection; without one, that takes context.Background.
func (h *secureHandler) BaseContext() context.Context {
	if base, ok := h.Handler.(interface{ BaseContext() context.Context }); ok {
		return base.BaseContext()
	}
	return nil
}

// http2Conn is a connection that HTTP/2 was agreed on for. net/http must not
// find its ConnectionState, nor speak HTTP/1 on it.
type http2Conn struct {
	net.Conn // tls, without its other methods
	tls      *tls.Conn
	state    *tls.ConnectionState
	early    *earlyConn // nil for none
	seen     int        // of the preface
}

// newHTTP2Conn returns nil, after telling the peer, if HTTP/2 must not be spoken
// on conn.
func newHTTP2Conn(conn *tls.Conn, state *tls.ConnectionState, early *earlyConn) net.Conn {
	if prohibited(state.CipherSuite) {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(conn, inadequateSecurity)
		return nil
	}
	// net/http sets another deadline, if the server has one, and clears this one
	// when it has the preface.
	_ = conn.SetReadDeadline(time.Now().Add(prefaceTimeout))
	c := &http2Conn{Conn: conn, tls: conn, state: state, early: early}
	if early != nil {
		early.admitAll()
		c.Conn = early
	}
	return c
}

// Read ends the connection where it does not begin as HTTP/2 does: net/http
// would take it for HTTP/1.
func (c *http2Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.seen < len(preface) {
		m := min(n, len(preface)-c.seen)
		if string(b[:m]) != preface[c.seen:c.seen+m] {
			c.Close()
			return 0, io.EOF
		}
		c.seen += m
	}
	return n, err
}

// inadequateSecurity is a GOAWAY frame with the error INADEQUATE_SECURITY
// (RFC 9113, section 6.8).
const inadequateSecurity = "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x0c"

// prohibited reports whether suite is one that HTTP/2 prohibits (RFC 9113,
// appendix A): of those that exist here, the CBC suites.
func prohibited(suite uint16) bool {
	switch suite {
	case tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:
		return true
	}
	return false
}
