// Package https runs net/http's server and client over the connections of
// package tls, with HTTP/1.1 and HTTP/2, on the stock net/http.
//
// net/http knows crypto/tls's Conn only: over another one it speaks no HTTP/2,
// runs no handshake before it looks at the connection's state, and leaves
// Response.TLS empty. This package hands it connections in the way in which it
// can use them. Its Server and Transport do all the rest: timeouts, keep-alive,
// Shutdown and Close, hooks and pools are net/http's own.
//
// # Servers
//
//	was                                       is
//	srv.ServeTLS(ln, certFile, keyFile)       https.ServeTLS(srv, ln, certFile, keyFile)
//	srv.ListenAndServeTLS(certFile, keyFile)  https.ListenAndServeTLS(srv, certFile, keyFile)
//	srv.Serve(tls.NewListener(ln, config))    https.Serve(srv, ln, config)
//
// Requests have their TLS field set, exporter included. Shutdown counts
// connections of both protocols: HTTP/2 clients get GOAWAY and may finish what
// they have begun. On HTTP/1.1 whole files reach [tls.Conn.ReadFrom], which is
// where sendfile is once the kernel has the keys. HTTP/2 cannot have that: it
// cuts files into frames.
//
// What differs from crypto/tls under net/http:
//
//   - net/http gets to see a connection when its handshake is complete, but for
//     early data. So ConnContext sees the complete state, ConnState hears nothing of
//     handshakes that fail, Shutdown breaks handshakes off, and the context of
//     the Config's callbacks comes from neither BaseContext nor ConnContext.
//   - A handshake may take 10 seconds if srv has no timeout that says
//     otherwise; net/http then waits for ever. Callbacks that take longer, to
//     obtain a certificate for example, need a longer ReadHeaderTimeout.
//   - The number of handshakes at a time has no bound, as in net/http: with
//     one, so many silent clients would keep everybody else out. Each costs a
//     socket and a goroutine, until the timeout. A listener that bounds the
//     number of connections does what is missing.
//   - What hooks and Hijack get is a *[tls.Conn] on HTTP/1.1 and something that
//     holds one on HTTP/2: see [Conn].
//   - srv.Protocols and srv.TLSNextProto are changed: see [NewListener].
//   - Entries of srv.TLSNextProto for other protocols take crypto/tls's Conn,
//     and are not called: such connections are closed after the handshake.
//
// # Early data
//
// A server whose config has MaxEarlyData accepts early data (RFC 9846, section
// 2.3; RFC 8470), which may be a replay. On HTTP/1.1 one request is let in before
// the handshake is complete, if its method is safe (GET, HEAD, OPTIONS, TRACE) and
// it has no body. It has the header field Early-Data, with the value 1, its
// Request.TLS says that the handshake is not complete, and the answer is sent at
// once. Everything after it waits for the handshake. On HTTP/2, requests whose
// method is safe are handled and marked so, and the handlers of all others are
// called when the handshake is complete. A handler that cannot take a request
// which may come twice answers with 425 (Too Early). It goes by the header field:
// net/http looks at an HTTP/1.1 connection's state once, so that Request.TLS says
// the same for later requests on it, which are not early.
//
// [TooEarly] is for servers that get requests through proxies which accept early
// data, and [Transport].EarlyData for clients.
//
// # Clients
//
// A [Transport] takes the place of an [http.Transport]. It asks a server once
// which protocol it speaks, and then uses one http.Transport for HTTP/1.1 and
// another one for HTTP/2. See there for what differs.
package https

import (
	"net"

	"github.com/go-handoff/tls"
)

// Conn returns the connection behind c, which is what net/http gave to a
// ConnContext or ConnState hook, to httptrace's GotConn, or as the result of
// Hijack. It returns nil if there is none of this package's. Reading from it or
// writing to it disturbs net/http; everything that asks, such as
// [tls.Conn.Offload], does not.
func Conn(c net.Conn) *tls.Conn {
	switch c := c.(type) {
	case *tls.Conn:
		return c
	case *http2Conn:
		return c.tls
	case *earlyConn:
		return c.Conn
	case *clientConn:
		return c.Conn
	case *earlyClient:
		return c.Conn
	}
	return nil
}
