package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/https"
)

const (
	connectTimeout   = 30 * time.Second
	handshakeTimeout = 15 * time.Second
	headerTimeout    = time.Minute
	maxRedirects     = 10
)

// dialed is a connection and how long it took.
type dialed struct {
	*tls.Conn
	connect, handshake time.Duration
	ready              time.Time
	early              string // what became of early data, if there was some
}

// dial connects and handshakes, each for a bounded time. Early data is sent as
// such if it can be, and otherwise after the handshake.
func dial(ctx context.Context, addr string, config *tls.Config, early []byte) (*dialed, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	start := time.Now()
	raw, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	d := &dialed{Conn: tls.Client(raw, config), connect: time.Since(start)}
	start = time.Now()
	if err := d.shakeHands(ctx, early); err != nil {
		raw.Close()
		return nil, explainHandshake(err)
	}
	d.ready = time.Now()
	d.handshake = d.ready.Sub(start)
	return d, d.sendAgain(early)
}

// shakeHands handshakes, with early data if there is some.
func (d *dialed) shakeHands(ctx context.Context, early []byte) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if len(early) > 0 {
		_ = d.SetWriteDeadline(time.Now().Add(handshakeTimeout))
		_, err := d.WriteEarlyData(early)
		if err != nil && !errors.Is(err, tls.ErrNoEarlyData) && !errors.Is(err, tls.ErrEarlyDataLimit) {
			return err
		}
		_ = d.SetWriteDeadline(time.Time{})
	}
	return d.HandshakeContext(ctx)
}

// sendAgain sends what was not accepted as early data, or was too much for it.
func (d *dialed) sendAgain(early []byte) error {
	if len(early) == 0 {
		return nil
	}
	rest := early
	switch state := d.EarlyData(); {
	case state.Accepted:
		rest = early[state.Bytes:]
		d.early = fmt.Sprintf("%d bytes accepted", state.Bytes)
	case state.Offered:
		d.early = fmt.Sprintf("%d bytes not accepted", state.Bytes)
	default:
		d.early = "the session does not allow it"
	}
	if len(rest) == 0 {
		return nil
	}
	d.early += fmt.Sprintf(", %d bytes sent after the handshake", len(rest))
	_, err := d.Write(rest)
	return err
}

var (
	errHandshakeTimeout = fmt.Errorf("the server did not complete the handshake within %v", handshakeTimeout)
	errPlainHTTP        = errors.New("the server answered in plain HTTP: it does not speak TLS on this port")
	errNotTLS           = errors.New("the server does not speak TLS on this port")
	errEarlyEnd         = errors.New("the server closed the connection during the handshake")
)

// explainHandshake says what errors of a handshake mean to a user.
func explainHandshake(err error) error {
	var header tls.RecordHeaderError
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		return errHandshakeTimeout
	case errors.Is(err, http.ErrSchemeMismatch): // net/http found the header below
		return errPlainHTTP
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errEarlyEnd
	case !errors.As(err, &header) || header.Conn == nil:
		return hintAtTrust(err)
	case strings.HasPrefix(string(header.RecordHeader[:]), "HTTP/"):
		return errPlainHTTP
	}
	return errNotTLS
}

// httpFlags choose between the versions of HTTP.
type httpFlags struct {
	HTTP1 bool `name:"http1.1" xor:"http" help:"Speak HTTP/1.1 only."`
	HTTP2 bool `name:"http2" xor:"http" help:"Speak HTTP/2 only."`
}

// protocols returns what net/http shall speak.
func (f httpFlags) protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!f.HTTP2)
	p.SetHTTP2(!f.HTTP1)
	return p
}

// newHTTPClient returns net/http's client over our connections. Each client
// makes its own, directly to the server.
func newHTTPClient(config *tls.Config, protocols *http.Protocols) *http.Client {
	return &http.Client{
		Transport: https.NewTransport(config, &http.Transport{
			DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSHandshakeTimeout:   handshakeTimeout,
			Protocols:             protocols,
			DisableCompression:    true, // so that Content-Length is the file's
			ResponseHeaderTimeout: headerTimeout,
		}),
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case r.URL.Scheme != "https":
				return fmt.Errorf("redirected to %s, which is not https", r.URL.Redacted())
			case len(via) > maxRedirects:
				return fmt.Errorf("redirected more than %d times", maxRedirects)
			}
			return nil
		},
	}
}

// fetch requests a file. The caller closes the response's body.
func fetch(ctx context.Context, client *http.Client, target string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, explainURL(err)
	}
	request.Header.Set("User-Agent", "handoff")
	var failed atomic.Bool // the handshake
	request = request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { failed.Store(err != nil) },
	}))
	response, err := client.Do(request)
	if err != nil {
		if e := (*url.Error)(nil); failed.Load() && errors.As(err, &e) {
			e.Err = explainHandshake(e.Err)
		}
		return nil, explainURL(err)
	}
	if response.StatusCode/100 != 2 {
		response.Body.Close()
		return nil, fmt.Errorf("%s: the server answered %s", response.Request.URL.Redacted(), response.Status)
	}
	return response, nil
}

// explainURL drops from net/http's errors what the user knows.
func explainURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s: %w", e.URL, e.Err)
	}
	return err
}

// save copies a response's body to w and checks that it is whole.
func save(w io.Writer, response *http.Response) (int64, error) {
	n, err := io.Copy(w, response.Body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && response.ContentLength >= 0:
		return n, fmt.Errorf("%s: the connection ended after %d of %d bytes", response.Request.URL.Redacted(), n, response.ContentLength)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%s: the connection was cut off after %d bytes", response.Request.URL.Redacted(), n)
	case err != nil:
		return n, fmt.Errorf("%s: %w", response.Request.URL.Redacted(), err)
	}
	return n, nil
}
