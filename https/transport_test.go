package https

import (
	"bufio"
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// stockServer is net/http's over crypto/tls, with both versions of HTTP.
func stockServer(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &stdtls.Config{Certificates: []tls.Certificate{newIdentity().cert}, ClientAuth: stdtls.RequestClientCert}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = logTo(io.Discard)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func sayProto(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Certificates", fmt.Sprint(len(r.TLS.PeerCertificates)))
	fmt.Fprint(w, r.Proto)
}

// connections counts those that a Transport makes, and those that are open.
type connections struct {
	made, open atomic.Int32
	net.Dialer
}

type countedConn struct {
	net.Conn
	close func()
}

func (c *countedConn) Close() error {
	c.close()
	return c.Conn.Close()
}

func (c *connections) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.Dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.made.Add(1)
	c.open.Add(1)
	return &countedConn{conn, sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

// Response.TLS is set, connections are used again, and closed when idle.
func TestTransport(t *testing.T) {
	for _, v := range versions {
		t.Run(v.proto, func(t *testing.T) {
			leaks(t)
			s := stockServer(t, sayProto)
			var dialer connections
			config := clientConfig()
			config.Certificates = []tls.Certificate{newIdentity().cert}
			c := newClient(t, NewTransport(config, &http.Transport{Protocols: v.protocols, DialContext: dialer.DialContext}))
			for range 5 {
				resp, body := get(t, c, s.URL)
				if body != v.proto || resp.Proto != v.proto || resp.Header.Get("Certificates") != "1" {
					t.Errorf("%q by %s", body, resp.Proto)
				}
				if resp.TLS == nil || !resp.TLS.HandshakeComplete || len(resp.TLS.VerifiedChains) != 1 {
					t.Errorf("state %+v", resp.TLS)
				}
				if _, err := resp.TLS.ExportKeyingMaterial("EXPERIMENTAL test", nil, 32); err != nil {
					t.Error(err)
				}
				if resp.Request.URL.String() != s.URL {
					t.Errorf("the request was for %s", resp.Request.URL)
				}
			}
			if n := dialer.made.Load(); n != 1 {
				t.Errorf("%d connections were made", n)
			}
			c.CloseIdleConnections()
			eventually(t, "all connections are closed", func() bool { return dialer.open.Load() == 0 })
			eventually(t, "the server is forgotten", func() bool { return origins(c) == 0 })
			s.Close()
		})
	}
}

// origins counts the servers that a client knows.
func origins(c *http.Client) (n int) {
	tr := c.Transport.(*Transport)
	tr.mutex.Lock()
	defer tr.mutex.Unlock()
	for _, r := range tr.routes {
		r.mutex.Lock()
		n += len(r.origins)
		r.mutex.Unlock()
	}
	return n
}

// By default the server chooses.
func TestTransportChoice(t *testing.T) {
	both := stockServer(t, sayProto)
	old := httptest.NewUnstartedServer(http.HandlerFunc(sayProto))
	old.TLS = &stdtls.Config{Certificates: []tls.Certificate{newIdentity().cert}}
	old.Config.ErrorLog = logTo(io.Discard)
	old.StartTLS()
	defer old.Close()
	c := newClient(t, NewTransport(clientConfig(), nil))
	for range 3 {
		if _, body := get(t, c, both.URL); body != "HTTP/2.0" {
			t.Errorf("%s with a server that speaks both", body)
		}
		if resp, body := get(t, c, old.URL); body != "HTTP/1.1" || resp.TLS == nil {
			t.Errorf("%s with a server that speaks HTTP/1 only", body)
		}
	}
	c = newClient(t, NewTransport(clientConfig(), &http.Transport{TLSNextProto: map[string]func(string, *stdtls.Conn) http.RoundTripper{}}))
	if resp, _ := get(t, c, both.URL); resp.Proto != "HTTP/1.1" {
		t.Errorf("%s without HTTP/2", resp.Proto)
	}
	c = newClient(t, NewTransport(clientConfig(), &http.Transport{Protocols: versions[1].protocols}))
	if _, err := c.Get(old.URL); !errors.Is(err, errNoHTTP1) && !errors.Is(err, stdtls.AlertError(120)) {
		t.Errorf("HTTP/2 only with a server that does not speak it: %v", err)
	}
}

// Many requests at once find out the protocol together.
func TestTransportBurst(t *testing.T) {
	leaks(t)
	s := stockServer(t, sayProto)
	var dialer connections
	c := newClient(t, NewTransport(clientConfig(), &http.Transport{DialContext: dialer.DialContext}))
	var all sync.WaitGroup
	for range 90 { // what HTTP/2 clients put on a connection before they know its limit
		all.Go(func() {
			resp, err := c.Get(s.URL)
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != "HTTP/2.0" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	all.Wait()
	if n := dialer.made.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	c.CloseIdleConnections()
	eventually(t, "all connections are closed", func() bool { return dialer.open.Load() == 0 })
	s.Close()
}

func TestTransportPlain(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS == nil) }))
	defer s.Close()
	c := newClient(t, NewTransport(clientConfig(), nil))
	if resp, body := get(t, c, s.URL); body != "true" || resp.TLS != nil {
		t.Errorf("%q", body)
	}
	for _, u := range []string{"ftp://localhost/", "https:///path"} {
		if _, err := c.Get(u); err == nil {
			t.Errorf("%s: no error", u)
		}
	}
	_, err := c.Get(strings.Replace(s.URL, "http:", "https:", 1))
	if !errors.Is(err, http.ErrSchemeMismatch) {
		t.Errorf("https to a server of http: %v", err)
	}
}

func TestTransportRedirect(t *testing.T) {
	var target *httptest.Server
	target = stockServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/" {
			http.Redirect(w, r, target.URL+"/there", http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprintf(w, "%s%s", r.URL.Path, body)
	})
	c := newClient(t, NewTransport(clientConfig(), nil))
	resp, err := c.Post(target.URL, "", strings.NewReader(" body"))
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, resp); body != "/there body" || resp.Request.URL.Path != "/there" || resp.TLS == nil {
		t.Errorf("%q at %s", body, resp.Request.URL)
	}
}

func TestTransportResumes(t *testing.T) {
	s := serve(t, sayProto)
	for _, v := range versions {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := clientConfig()
			config.MaxVersion = version
			config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			c := newClient(t, NewTransport(config, &http.Transport{Protocols: v.protocols}))
			for i := range 3 {
				resp, _ := get(t, c, s.url("/"))
				if resp.TLS.DidResume != (i > 0) || resp.Proto != v.proto {
					t.Errorf("%s %s, connection %d: resumed %v", resp.Proto, tls.VersionName(version), i, resp.TLS.DidResume)
				}
				c.CloseIdleConnections()
				eventually(t, "the connection is closed", func() bool { return origins(c) == 0 })
			}
		}
	}
}

// tracked is a request's body that notes what happens to it.
type tracked struct {
	io.Reader
	closed atomic.Bool
}

func (b *tracked) Close() error {
	b.closed.Store(true)
	return nil
}

// silentServer accepts connections and says nothing.
func silentServer(t *testing.T) (addr string, accepted chan net.Conn) {
	t.Helper()
	ln := listenLoopback(t)
	accepted = make(chan net.Conn, 10)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String(), accepted
}

// gone waits until the peer has closed c.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); err != nil && err.(net.Error).Timeout() {
		t.Error("the client keeps the connection")
	}
	c.Close()
}

// When all requests that wait for a handshake are given up, so is it; while one
// waits, it goes on.
func TestTransportCancel(t *testing.T) {
	for _, v := range append(versions, struct {
		proto     string
		protocols *http.Protocols
	}{"both", nil}) {
		t.Run(v.proto, func(t *testing.T) {
			leaks(t)
			addr, accepted := silentServer(t)
			c := newClient(t, NewTransport(clientConfig(), &http.Transport{Protocols: v.protocols, TLSHandshakeTimeout: 500 * time.Millisecond}))
			request := func(ctx context.Context) (*tracked, chan error) {
				body := &tracked{Reader: strings.NewReader("body")}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr, body)
				if err != nil {
					t.Fatal(err)
				}
				failed := make(chan error, 1)
				go func() {
					_, err := c.Do(req)
					failed <- err
				}()
				return body, failed
			}
			first, cancelFirst := context.WithCancel(t.Context())
			body, failed := request(first)
			conn := wait(t, accepted)
			second, cancelSecond := context.WithCancel(t.Context())
			defer cancelSecond()
			_, secondFailed := request(second)
			if v.proto == "HTTP/1.1" { // there is one for each, which net/http lets get ready
				other := wait(t, accepted)
				defer gone(t, other)
			} else {
				eventually(t, "both wait", func() bool { return users(c, addr) == 2 })
			}
			cancelFirst()
			if err := wait(t, failed); !errors.Is(err, context.Canceled) {
				t.Errorf("the first: %v", err)
			}
			if !body.closed.Load() {
				t.Error("the body is open")
			}
			if v.proto != "HTTP/1.1" {
				_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := io.Copy(io.Discard, conn); !err.(net.Error).Timeout() {
					t.Errorf("the connection ended with the first request: %v", err)
				}
			}
			cancelSecond()
			if err := wait(t, secondFailed); !errors.Is(err, context.Canceled) {
				t.Errorf("the second: %v", err)
			}
			gone(t, conn)
		})
	}
}

func users(c *http.Client, addr string) int {
	tr := c.Transport.(*Transport)
	r, err := tr.route(&http.Request{})
	if err != nil {
		return -1
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if o := r.origins[addr]; o != nil {
		return o.users
	}
	return 0
}

func TestTransportTimeouts(t *testing.T) {
	for _, p := range []*http.Protocols{versions[0].protocols, nil} {
		addr, accepted := silentServer(t)
		c := newClient(t, NewTransport(clientConfig(), &http.Transport{Protocols: p, TLSHandshakeTimeout: 50 * time.Millisecond}))
		_, err := c.Get("https://" + addr)
		if e := net.Error(nil); !errors.As(err, &e) || !e.Timeout() || !errors.Is(err, handshakeTimeoutError{}) {
			t.Errorf("handshake: %v", err)
		}
		gone(t, wait(t, accepted))
		expired := &net.Dialer{Deadline: time.Now().Add(-time.Second)}
		c = newClient(t, NewTransport(clientConfig(), &http.Transport{Protocols: p, DialContext: expired.DialContext}))
		if _, err = c.Get("https://" + addr); err == nil || !err.(net.Error).Timeout() {
			t.Errorf("dial: %v", err)
		}
		c = newClient(t, NewTransport(clientConfig(), &http.Transport{Protocols: p, TLSHandshakeTimeout: 500 * time.Millisecond}))
		c.Timeout = 50 * time.Millisecond
		if _, err = c.Get("https://" + addr); err == nil || !err.(net.Error).Timeout() {
			t.Errorf("client: %v", err)
		}
		gone(t, wait(t, accepted))
	}
}

// Errors of a handshake reach all who wait, and are not remembered.
func TestTransportErrors(t *testing.T) {
	s := stockServer(t, sayProto)
	config := clientConfig()
	config.RootCAs = nil
	c := newClient(t, NewTransport(config, nil))
	for range 2 {
		var unknown *tls.CertificateVerificationError
		if _, err := c.Get(s.URL); !errors.As(err, &unknown) {
			t.Errorf("got %v", err)
		}
		if n := origins(c); n != 0 {
			t.Errorf("%d servers are remembered", n)
		}
	}
}

// Servers change: HTTP/2 ends while the client counts on it.
func TestTransportProtocolChange(t *testing.T) {
	s := stockServer(t, sayProto)
	tr := NewTransport(clientConfig(), new(http.Transport))
	c := newClient(t, tr)
	get(t, c, s.URL)
	r, err := tr.route(&http.Request{})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Listener.Addr().String()
	keep := r.acquire(t.Context(), addr) // so that the server counts as one of HTTP/2
	defer r.release(keep)
	s.Close()
	eventually(t, "the connection is closed", func() bool { return users(c, addr) == 1 })
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	old := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Proto, body)
	}), Protocols: versions[0].protocols}
	go func() { _ = Serve(old, ln, serverConfig()) }()
	defer old.Close()
	once := io.MultiReader(strings.NewReader("body"))
	if _, err := c.Post("https://"+addr, "", once); !errors.Is(err, errNotHTTP2) {
		t.Errorf("a body that can be sent once only: %v", err)
	}
	r.mutex.Lock()
	r.origins[addr] = keep
	r.mutex.Unlock()
	resp, err := c.Post("https://"+addr, "", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, resp); body != "HTTP/1.1 body" {
		t.Errorf("got %q", body)
	}
}

// proxy is one that speaks CONNECT, and leads everywhere to one address.
type proxy struct {
	addr     string // where it leads
	requests chan *http.Request
	status   int
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests <- r
	if p.status != 0 {
		w.WriteHeader(p.status)
		return
	}
	server, err := net.Dial("tcp", p.addr)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, rw)
		server.Close()
	}()
	_, _ = io.Copy(client, server)
}

func TestTransportProxy(t *testing.T) {
	s := stockServer(t, sayProto)
	for _, scheme := range []string{"http", "https"} {
		for _, v := range versions {
			t.Run(scheme+" "+v.proto, func(t *testing.T) {
				p := &proxy{addr: s.Listener.Addr().String(), requests: make(chan *http.Request, 10)}
				start := httptest.NewUnstartedServer(p)
				if scheme == "https" {
					start.TLS = &stdtls.Config{Certificates: []tls.Certificate{newIdentity().cert}}
					start.StartTLS()
				} else {
					start.Start()
				}
				defer start.Close()
				proxyURL, err := url.Parse(start.URL)
				if err != nil {
					t.Fatal(err)
				}
				proxyURL.User = url.UserPassword("me", "secret")
				answered := false
				c := newClient(t, NewTransport(clientConfig(), &http.Transport{
					Protocols: v.protocols, Proxy: http.ProxyURL(proxyURL), ProxyConnectHeader: http.Header{"Mine": {"yes"}},
					OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
						answered = r.StatusCode == http.StatusOK
						return nil
					},
				}))
				for range 2 {
					if resp, body := get(t, c, "https://localhost:1/"); body != v.proto || resp.TLS == nil {
						t.Errorf("%q", body)
					}
				}
				r := wait(t, p.requests)
				user, password, ok := parseProxyAuth(r)
				if r.Method != "CONNECT" || r.Host != "localhost:1" || r.Header.Get("Mine") != "yes" || !ok || user != "me" || password != "secret" || !answered {
					t.Errorf("%s %s %v", r.Method, r.Host, r.Header)
				}
				if len(p.requests) != 0 {
					t.Error("the tunnel was not used again")
				}
				c.CloseIdleConnections()
			})
		}
	}
}

func parseProxyAuth(r *http.Request) (user, password string, ok bool) {
	r = &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	return r.BasicAuth()
}

func TestTransportProxyErrors(t *testing.T) {
	p := &proxy{requests: make(chan *http.Request, 10), status: http.StatusProxyAuthRequired}
	refusing := httptest.NewServer(p)
	defer refusing.Close()
	silent, accepted := silentServer(t)
	for proxyURL, want := range map[string]string{
		refusing.URL:       "Proxy Authentication Required",
		"ftp://127.0.0.1":  `proxyconnect tcp: proxies with the scheme "ftp" are not supported`,
		"http://" + silent: "context deadline exceeded",
	} {
		u, err := url.Parse(proxyURL)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, NewTransport(clientConfig(), &http.Transport{Proxy: http.ProxyURL(u)}))
		c.Timeout = 500 * time.Millisecond
		_, err = c.Get("https://localhost")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", proxyURL, err)
		}
	}
	gone(t, wait(t, accepted))
	broken := errors.New("no proxy")
	c := newClient(t, NewTransport(clientConfig(), &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, broken }}))
	body := &tracked{Reader: strings.NewReader("body")}
	if _, err := c.Post("https://localhost", "", body); !errors.Is(err, broken) || !body.closed.Load() {
		t.Errorf("%v, body closed: %v", err, body.closed.Load())
	}
}

// socksProxy answers one client with the replies, each after what it expects. It
// then leads to addr.
func socksProxy(t *testing.T, addr string, dialogue ...string) string {
	t.Helper()
	ln := listenLoopback(t)
	t.Cleanup(func() { ln.Close() })
	go func() {
		client, err := ln.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		for i := 0; i < len(dialogue); i += 2 {
			got := make([]byte, len(dialogue[i]))
			if _, err := io.ReadFull(client, got); err != nil || string(got) != dialogue[i] {
				t.Errorf("the client sends %q, want %q: %v", got, dialogue[i], err)
			}
			_, _ = io.WriteString(client, dialogue[i+1])
		}
		server, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(server, client)
			server.Close()
		}()
		_, _ = io.Copy(client, server)
	}()
	return ln.Addr().String()
}

func TestTransportSOCKS(t *testing.T) {
	s := stockServer(t, sayProto)
	addr := s.Listener.Addr().String()
	const (
		named = "\x05\x01\x00\x03\x09localhost\x01\xbb"
		ipv4  = "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01"
		ipv6  = "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"
	)
	for _, test := range []struct {
		user, url string
		dialogue  []string
		want      string
	}{
		{"", "https://localhost", []string{"\x05\x01\x00", "\x05\x00", named, "\x05\x00\x00\x01\x01\x02\x03\x04\x00\x05"}, ""},
		{"", "https://127.0.0.1:1", []string{"\x05\x01\x00", "\x05\x00", ipv4, "\x05\x00\x00\x03\x05proxy\x00\x05"}, ""},
		{"me:secret@", "https://localhost", []string{"\x05\x02\x00\x02", "\x05\x02", "\x01\x02me\x06secret", "\x01\x00", named, "\x05\x00\x00\x04" + strings.Repeat("\x00", 18)}, ""},
		{"me:secret@", "https://localhost", []string{"\x05\x02\x00\x02", "\x05\x02", "\x01\x02me\x06secret", "\x01\x01"}, "refuses user name"},
		{strings.Repeat("x", 256) + "@", "https://localhost", []string{"\x05\x02\x00\x02", "\x05\x02"}, "too long"},
		{"", "https://localhost", []string{"\x05\x01\x00", "\x05\x02"}, "no way to authenticate"},
		{"", "https://localhost", []string{"\x05\x01\x00", "HT"}, "does not speak SOCKS5"},
		{"", "https://localhost", []string{"\x05\x01\x00", "\x05\x00", named, "\x05\x05\x00\x01"}, "connection refused"},
		{"", "https://[::1]:1", []string{"\x05\x01\x00", "\x05\x00", ipv6, "\x05\x63\x00\x01"}, "error 99"},
		{"", "https://localhost", []string{"\x05\x01\x00", "\x05\x00", named, "\x05\x00\x00\x02"}, "unknown type 2"},
		{"", "https://" + strings.Repeat("x", 256), []string{"\x05\x01\x00", "\x05\x00"}, "host name too long"},
	} {
		proxyURL, err := url.Parse("socks5://" + test.user + socksProxy(t, addr, test.dialogue...))
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, NewTransport(clientConfig(), &http.Transport{Proxy: http.ProxyURL(proxyURL)}))
		resp, err := c.Get(test.url)
		switch {
		case err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%q: %v", test.dialogue, err)
		case err == nil:
			if body := readBody(t, resp); body != "HTTP/2.0" || test.want != "" {
				t.Errorf("%q: %q, no error", test.dialogue, body)
			}
		}
	}
}

// A connection that was made to learn the protocol, and that no request wants
// any more, is closed.
func TestTransportSpare(t *testing.T) {
	s := stockServer(t, sayProto)
	var dialer connections
	tr := NewTransport(clientConfig(), &http.Transport{DialContext: dialer.DialContext})
	r, err := tr.route(&http.Request{})
	if err != nil {
		t.Fatal(err)
	}
	o := r.acquire(t.Context(), s.Listener.Addr().String())
	if err := o.wait(t.Context()); err != nil || !o.http2 {
		t.Errorf("HTTP/2 %v: %v", o.http2, err)
	}
	r.release(o)
	eventually(t, "it is closed", func() bool { return dialer.made.Load() == 1 && dialer.open.Load() == 0 })
}

// Requests come, go and are given up, while idle connections are closed.
func TestTransportChurn(t *testing.T) {
	leaks(t)
	servers := []*httptest.Server{stockServer(t, sayProto), httptest.NewUnstartedServer(http.HandlerFunc(sayProto))}
	servers[1].TLS = &stdtls.Config{Certificates: []tls.Certificate{newIdentity().cert}}
	servers[1].Config.ErrorLog = logTo(io.Discard)
	servers[1].StartTLS()
	var dialer connections
	c := newClient(t, NewTransport(clientConfig(), &http.Transport{DialContext: dialer.DialContext}))
	var all sync.WaitGroup
	var done atomic.Int32
	for i := range 20 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 25 {
				s, patience := servers[random.IntN(2)], patience
				if random.IntN(3) == 0 {
					patience = time.Duration(random.IntN(3000)) * time.Microsecond
				}
				if random.IntN(10) == 0 {
					c.CloseIdleConnections()
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader("body"))
				if err != nil {
					t.Error(err)
				}
				resp, err := c.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				switch {
				case err == nil:
					done.Add(1)
				case !errors.Is(err, context.DeadlineExceeded):
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	t.Logf("%d requests were answered, on %d connections", done.Load(), dialer.made.Load())
	eventually(t, "all is closed and forgotten", func() bool {
		c.CloseIdleConnections()
		return dialer.open.Load() == 0 && origins(c) == 0
	})
	for _, s := range servers {
		s.Close()
	}
}

// Names with other letters are translated as net/http does it.
func TestTransportIDNA(t *testing.T) {
	s := stockServer(t, sayProto)
	c := newClient(t, NewTransport(clientConfig(), &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "xn--bcher-kva.example:443" {
			t.Errorf("dials %s", addr)
		}
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}}))
	for _, host := range []string{"bücher.example", "xn--bcher-kva.example"} {
		if _, body := get(t, c, "https://"+host); body != "HTTP/2.0" {
			t.Errorf("got %q", body)
		}
	}
}

// What httptrace shows is what it shows of net/http's own connections.
func TestTransportTrace(t *testing.T) {
	s := stockServer(t, sayProto)
	for _, v := range versions {
		var mutex sync.Mutex
		var events []string
		note := func(format string, args ...any) {
			mutex.Lock()
			defer mutex.Unlock()
			events = append(events, fmt.Sprintf(format, args...))
		}
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			ConnectDone:       func(string, string, error) { note("connected") },
			TLSHandshakeStart: func() { note("handshake") },
			TLSHandshakeDone:  func(state tls.ConnectionState, err error) { note("done %v %v", state.HandshakeComplete, err) },
			GotConn:           func(info httptrace.GotConnInfo) { note("got %v", Conn(info.Conn).ConnectionState().NegotiatedProtocol) },
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, NewTransport(clientConfig(), &http.Transport{Protocols: v.protocols}))
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		want := map[string]string{"HTTP/1.1": "got ", "HTTP/2.0": "got h2"}[v.proto]
		if got := fmt.Sprint(events); got != "[connected handshake done true <nil> "+want+"]" {
			t.Errorf("%s: %s", v.proto, got)
		}
	}
}

// Request bodies of a known length can reach ReadFrom, too.
func TestTransportReadFrom(t *testing.T) {
	s := stockServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, checksum(t, r.Body)) })
	c := ourClient(t, versions[0].protocols)
	req, err := http.NewRequest(http.MethodPut, s.URL, &pattern{end: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 1 << 20
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if readBody(t, resp) != checksum(t, &pattern{end: 1 << 20}) {
		t.Error("the wrong body arrived")
	}
	if _, ok := any(&clientConn{}).(io.ReaderFrom); !ok {
		t.Error("net/http cannot find ReadFrom")
	}
}

func TestIsUpgrade(t *testing.T) {
	for _, test := range []struct {
		connection, upgrade string
		want                bool
	}{{"Upgrade", "websocket", true}, {"keep-alive , upgrade", "WebSocket", true}, {"keep-alive", "websocket", false}, {"upgrade", "h2c", false}, {"", "", false}} {
		req := &http.Request{Header: http.Header{"Connection": {test.connection}, "Upgrade": {test.upgrade}}}
		if got := isUpgrade(req); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// A server that closes a connection at once does not confuse the count.
func TestTransportServerCloses(t *testing.T) {
	leaks(t)
	ln := listenLoopback(t)
	defer ln.Close()
	config := serverConfig()
	go func() {
		for i := 0; ; i++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(c, config)
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", i%10)
			}
			conn.Close()
		}
	}()
	c := newClient(t, NewTransport(clientConfig(), nil))
	for i := range 5 {
		if _, body := get(t, c, "https://"+ln.Addr().String()); body != fmt.Sprint(i) {
			t.Errorf("got %q", body)
		}
		eventually(t, "the server is forgotten", func() bool { return origins(c) == 0 })
	}
}
