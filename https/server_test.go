package https

import (
	"bufio"
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// Request.TLS is complete: in both versions of HTTP, the exporter too.
func TestRequestTLS(t *testing.T) {
	for _, v := range versions {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(v.proto+" "+tls.VersionName(version), func(t *testing.T) {
				var state *tls.ConnectionState
				s := serve(t, func(w http.ResponseWriter, r *http.Request) {
					state = r.TLS
					key, err := r.TLS.ExportKeyingMaterial("EXPERIMENTAL test", []byte("context"), 32)
					if err != nil {
						t.Error(err)
					}
					w.Header().Set("Proto", r.Proto)
					_, _ = w.Write(key)
				}, func(_ *http.Server, c *tls.Config) {
					c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, newIdentity().pool
				})
				c := stockClient(t, v.protocols)
				c.Transport.(*http.Transport).TLSClientConfig.MaxVersion = version
				resp, body := get(t, c, s.url("/"))
				key, err := resp.TLS.ExportKeyingMaterial("EXPERIMENTAL test", []byte("context"), 32)
				if err != nil || string(key) != body {
					t.Errorf("exported %x and %x: %v", body, key, err)
				}
				if got := resp.Header.Get("Proto"); resp.Proto != v.proto || got != v.proto {
					t.Errorf("response by %s to a request by %s", resp.Proto, got)
				}
				if !state.HandshakeComplete || state.Version != version || len(state.PeerCertificates) != 1 || len(state.VerifiedChains) != 1 {
					t.Errorf("state %+v", state)
				}
			})
		}
	}
}

// curl runs curl, which must be there, and returns its output.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	curlTo(t, &out, args...)
	return out.String()
}

// curlTo is curl with its output going to w, and returns what it says otherwise.
func curlTo(t *testing.T, w io.Writer, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing: apt-get install curl")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, newIdentity().certPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(withTimeout(t, 3*patience), "curl", append([]string{"-q", "--silent", "--show-error", "--noproxy", "*", "--cacert", ca}, args...)...)
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return stderr.String()
}

func TestCurl(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20
	if _, err := io.Copy(f, &pattern{end: size}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	files := http.FileServer(http.Dir(dir))
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			fmt.Fprintln(w, checksum(t, r.Body))
			return
		}
		files.ServeHTTP(w, r)
	})
	want := checksum(t, &pattern{end: size})
	for flag, version := range map[string]string{"--http1.1": "1.1", "--http2": "2"} {
		got := filepath.Join(t.TempDir(), "got")
		if v := curl(t, flag, "-o", got, "-w", "%{http_version} %{http_code}", s.url("/file")); v != version+" 200" {
			t.Errorf("%s: %q", flag, v)
		}
		f, err := os.Open(got)
		if err != nil {
			t.Fatal(err)
		}
		if checksum(t, f) != want {
			t.Errorf("%s: the wrong file", flag)
		}
		f.Close()
		if sum := curl(t, flag, "-T", file, s.url("/")); sum != want+"\n" {
			t.Errorf("%s: sent the wrong file", flag)
		}
	}
}

const largeBody = 64 << 20

func TestLargeBodies(t *testing.T) {
	want := checksum(t, &pattern{end: largeBody})
	pairs(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			fmt.Fprint(w, checksum(t, r.Body))
			return
		}
		_, _ = io.Copy(w, &pattern{end: largeBody})
	}, func(t *testing.T, p pair) {
		resp, err := p.client.Get(p.server.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if checksum(t, resp.Body) != want || resp.Proto != p.proto {
			t.Errorf("the wrong body by %s", resp.Proto)
		}
		resp, err = p.client.Post(p.server.url("/"), "", &pattern{end: largeBody})
		if err != nil {
			t.Fatal(err)
		}
		if readBody(t, resp) != want {
			t.Error("sent the wrong body")
		}
	})
}

func TestConcurrentRequests(t *testing.T) {
	pairs(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %v", r.URL.Path, r.TLS.HandshakeComplete)
	}, func(t *testing.T, p pair) {
		var wait sync.WaitGroup
		for i := range 100 {
			wait.Go(func() {
				for j := range 5 {
					path := fmt.Sprintf("/%d/%d", i, j)
					resp, err := p.client.Get(p.server.url(path))
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(body) != path+" true" || resp.Proto != p.proto || resp.TLS == nil {
						t.Errorf("%q by %s: %v", body, resp.Proto, err)
					}
				}
			})
		}
		wait.Wait()
	})
}

// Somebody who connects and says nothing keeps nobody else waiting, and is
// dropped after the server's timeout.
func TestSilentClients(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {}, func(srv *http.Server, _ *tls.Config) {
		srv.WriteTimeout = 500 * time.Millisecond
	})
	var silent []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	get(t, stockClient(t, nil), s.url("/"))
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
	}
	eventually(t, "the log has a line for each", func() bool {
		return strings.Count(s.log.String(), "http: TLS handshake error from 127.0.0.1:") == len(silent)
	})
	contains(t, s.log.String(), ": not complete after 500ms")
}

func TestHandshakeTimeout(t *testing.T) {
	for _, test := range []struct {
		srv  *http.Server
		want time.Duration
	}{
		{&http.Server{}, 10 * time.Second},
		{&http.Server{ReadTimeout: 3, WriteTimeout: 2}, 2},
		{&http.Server{ReadHeaderTimeout: 1, ReadTimeout: 3, IdleTimeout: -1}, 1},
		{&http.Server{ReadHeaderTimeout: -1, ReadTimeout: 20 * time.Second}, 20 * time.Second},
	} {
		if got := handshakeTimeout(test.srv); got != test.want {
			t.Errorf("%v, want %v", got, test.want)
		}
	}
}

func TestPlainHTTP(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("handled") })
	for _, size := range []int{0, 100_000} {
		resp, err := http.Post("http://"+s.addr, "", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		if body := readBody(t, resp); resp.StatusCode != 400 || body != "Client sent an HTTP request to an HTTPS server.\n" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
	}
	eventually(t, "log", func() bool {
		return strings.Contains(s.log.String(), ": client sent an HTTP request to an HTTPS server\n")
	})
}

func TestGarbage(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("handled") })
	for _, garbage := range []string{"SSH-2.0-OpenSSH\r\n", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", strings.Repeat("\xff", 1000), "GET", ""} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, garbage)
		_ = c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: %v", garbage, err)
		}
		c.Close()
	}
	eventually(t, "a line each", func() bool { return strings.Count(s.log.String(), "\n") == 5 })
	if n := strings.Count(s.log.String(), "http: TLS handshake error from"); n != 5 {
		t.Errorf("logged %s", s.log.String())
	}
}

// begun is a handler whose requests begin and wait to be let go on.
func begun() (h http.HandlerFunc, started chan struct{}, goOn chan struct{}) {
	started, goOn = make(chan struct{}, 10), make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			return
		}
		_, _ = io.WriteString(w, "begun ")
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "done")
	}, started, goOn
}

// Shutdown waits for what is being answered, by either version.
func TestShutdown(t *testing.T) {
	for _, v := range versions {
		t.Run(v.proto, func(t *testing.T) {
			h, started, goOn := begun()
			var closed atomic.Int32
			called := make(chan struct{}, 2)
			s := serve(t, h, func(srv *http.Server, _ *tls.Config) {
				srv.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						closed.Add(1)
					}
				}
				srv.RegisterOnShutdown(func() { called <- struct{}{} })
			})
			idle := stockClient(t, v.protocols)
			get(t, idle, s.url("/idle"))
			resp, err := stockClient(t, v.protocols).Get(s.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			wait(t, started)
			if err := s.Shutdown(withTimeout(t, 100*time.Millisecond)); err != context.DeadlineExceeded {
				t.Errorf("Shutdown: %v", err)
			}
			wait(t, called)
			if err := wait(t, s.done); err != http.ErrServerClosed {
				t.Errorf("Serve: %v", err)
			}
			s.done <- http.ErrServerClosed // for the end of the test
			if v.proto == "HTTP/2.0" {     // which closes idle connections itself, a second after GOAWAY
				eventually(t, "the idle connection is closed", func() bool { return closed.Load() == 1 })
			} else if n := closed.Load(); n > 1 {
				t.Errorf("%d connections were closed", n)
			}
			down := make(chan error, 1)
			go func() { down <- s.Shutdown(t.Context()) }()
			select {
			case err := <-down:
				t.Fatalf("Shutdown does not wait: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			close(goOn)
			if body := readBody(t, resp); body != "begun done" {
				t.Errorf("got %q", body)
			}
			if err := wait(t, down); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := Serve(s.Server, listenLoopback(t), serverConfig()); err != http.ErrServerClosed {
				t.Errorf("Serve after Shutdown: %v", err)
			}
		})
	}
}

func TestShutdownBreaksHandshakesOff(t *testing.T) {
	leaks(t)
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := stockClient(t, nil)
	get(t, client, s.url("/"))
	client.CloseIdleConnections()
	if err := s.Shutdown(withTimeout(t, patience)); err != nil {
		t.Error(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	if s.log.String() != "" {
		t.Errorf("logged %q", s.log.String())
	}
}

func TestClose(t *testing.T) {
	for _, v := range versions {
		t.Run(v.proto, func(t *testing.T) {
			leaks(t)
			h, started, _ := begun()
			s := serve(t, h)
			c := stockClient(t, v.protocols)
			resp, err := c.Get(s.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			wait(t, started)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("read %q to the end", body)
			}
			if err := wait(t, s.done); err != http.ErrServerClosed {
				t.Error(err)
			}
			s.done <- http.ErrServerClosed
			c.CloseIdleConnections()
		})
	}
}

// Hooks see the same connection from its beginning to its end, and contexts
// come from them.
func TestHooks(t *testing.T) {
	type key struct{ name string }
	want := map[string]string{"HTTP/1.1": "[new active idle closed]", "HTTP/2.0": "[new active idle active idle closed]"}
	for _, v := range versions {
		t.Run(v.proto, func(t *testing.T) {
			var mutex sync.Mutex
			states := make(map[net.Conn][]http.ConnState)
			var s *server
			s = serve(t, func(w http.ResponseWriter, r *http.Request) {
				ctx := r.Context()
				conn := Conn(ctx.Value(key{"conn"}).(net.Conn))
				fmt.Fprintln(w, ctx.Value(key{"base"}), conn.ConnectionState().HandshakeComplete, ctx.Value(http.ServerContextKey) == s.Server, ctx.Value(http.LocalAddrContextKey), r.RemoteAddr == conn.RemoteAddr().String())
			}, func(srv *http.Server, _ *tls.Config) {
				srv.BaseContext = func(l net.Listener) context.Context {
					return context.WithValue(context.Background(), key{"base"}, l.Addr())
				}
				srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
					return context.WithValue(ctx, key{"conn"}, c)
				}
				srv.ConnState = func(c net.Conn, state http.ConnState) {
					mutex.Lock()
					defer mutex.Unlock()
					states[c] = append(states[c], state)
				}
			})
			c := stockClient(t, v.protocols)
			seen := fmt.Sprintln(s.addr, true, true, s.addr, true)
			if _, body := get(t, c, s.url("/")); body != seen {
				t.Errorf("%q, want %q", body, seen)
			}
			c.CloseIdleConnections()
			eventually(t, "there was one connection, with the states that net/http has for its own", func() bool {
				mutex.Lock()
				defer mutex.Unlock()
				for _, got := range states {
					return len(states) == 1 && fmt.Sprint(got) == want[v.proto]
				}
				return false
			})
		})
	}
	if Conn(&net.TCPConn{}) != nil {
		t.Error("a connection that is none of ours")
	}
}

func TestContinueAndTrailers(t *testing.T) {
	pairs(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			http.Error(w, "no", http.StatusExpectationFailed)
			return
		}
		w.Header().Set("Trailer", "Sum")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
		w.Header().Set("Sum", r.Trailer.Get("Count")+" counted")
	}, func(t *testing.T, p pair) {
		switch rt := p.client.Transport.(type) {
		case *http.Transport:
			rt.ExpectContinueTimeout = patience
		case *Transport:
			rt.base.ExpectContinueTimeout = patience
		}
		continued := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued = true }})
		for _, path := range []string{"/", "/refuse"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server.url(path), io.MultiReader(strings.NewReader("body")))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Expect", "100-continue")
			req.Trailer = http.Header{"Count": {"4"}}
			continued = false
			resp, err := p.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body := readBody(t, resp)
			if path == "/refuse" {
				if resp.StatusCode != http.StatusExpectationFailed || continued {
					t.Errorf("status %d, continue %v", resp.StatusCode, continued)
				}
			} else if body != "body" || resp.Trailer.Get("Sum") != "4 counted" || !continued {
				t.Errorf("body %q, trailer %v, continue %v", body, resp.Trailer, continued)
			}
		}
	})
}

// Like WebSocket: the connection goes on by another protocol, both ways.
func TestHijack(t *testing.T) {
	for name, client := range map[string]func(testing.TB, *http.Protocols) *http.Client{"stock": stockClient, "ours": ourClient} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if Conn(conn) == nil {
					t.Errorf("got a %T", conn)
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				line, err := rw.ReadString('\n')
				if err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(conn, strings.ToUpper(line))
			})
			req, err := http.NewRequest(http.MethodGet, s.url("/"), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Connection", "keep-alive, Upgrade")
			req.Header.Set("Upgrade", "websocket")
			c := client(t, nil) // HTTP/2 is on, and not used
			c.Timeout = 0       // or the body cannot be written to
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			rw := resp.Body.(io.ReadWriter)
			if _, err := io.WriteString(rw, "echo\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(rw).ReadString('\n'); err != nil || line != "ECHO\n" || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("%d %q: %v", resp.StatusCode, line, err)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	cancelled := make(chan struct{}, 10)
	started := make(chan struct{}, 10)
	pairs(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/after" {
			return
		}
		started <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
		panic(http.ErrAbortHandler) // an answer could overtake the end of the connection
	}, func(t *testing.T, p pair) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server.url("/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			resp, err := p.client.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			failed <- err
		}()
		wait(t, started)
		cancel()
		if err := wait(t, failed); !errors.Is(err, context.Canceled) {
			t.Errorf("the client's error is %v", err)
		}
		wait(t, cancelled)
		reused := false
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
		req, err = http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, p.server.url("/after"), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		if want := p.proto == "HTTP/2.0"; reused != want {
			t.Errorf("the connection was reused: %v", reused)
		}
	})
}

// recorder is a listener for tests that look at what net/http does with our
// connections.
type recorder struct {
	net.Listener
	got chan io.Reader // by ReadFrom
}

func (l *recorder) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if c, ok := c.(*tls.Conn); ok {
		return &recordedConn{c, l.got}, err
	}
	return c, err
}

type recordedConn struct {
	*tls.Conn
	got chan io.Reader
}

func (c *recordedConn) ReadFrom(r io.Reader) (int64, error) {
	c.got <- r
	return c.Conn.ReadFrom(r)
}

// Whole files reach ReadFrom on HTTP/1.1, and not on HTTP/2.
func TestReadFrom(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	ln := &recorder{NewListener(srv, listenLoopback(t), serverConfig()), make(chan io.Reader, 10)}
	go srv.Serve(ln)
	defer srv.Close()
	for _, v := range versions {
		resp, body := get(t, stockClient(t, v.protocols), "https://"+ln.Addr().String()+"/file")
		if resp.Proto != v.proto || len(body) != 1<<20 {
			t.Errorf("%d bytes by %s", len(body), resp.Proto)
		}
	}
	limited, ok := wait(t, ln.got).(*io.LimitedReader)
	if !ok {
		t.Fatal("ReadFrom got no LimitedReader")
	}
	if _, ok := limited.R.(*os.File); !ok {
		t.Errorf("within it is a %T", limited.R)
	}
	if len(ln.got) != 0 {
		t.Error("ReadFrom was called on HTTP/2")
	}
}

// What net/http gets on HTTP/1.1 is the connection itself.
func TestConnIsOurs(t *testing.T) {
	got := make(chan net.Conn, 1)
	s := serve(t, func(http.ResponseWriter, *http.Request) {}, func(srv *http.Server, _ *tls.Config) {
		srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			got <- c
			return ctx
		}
	})
	get(t, stockClient(t, versions[0].protocols), s.url("/"))
	if c, ok := wait(t, got).(*tls.Conn); !ok {
		t.Errorf("net/http got a %T", c)
	}
}

func TestProtocols(t *testing.T) {
	for name, test := range map[string]struct {
		configure func(*http.Server, *tls.Config)
		want      string
	}{
		"default":     {func(*http.Server, *tls.Config) {}, "HTTP/2.0"},
		"HTTP/1 only": {func(s *http.Server, _ *tls.Config) { s.Protocols = versions[0].protocols }, "HTTP/1.1"},
		"as of old": {func(s *http.Server, _ *tls.Config) {
			s.TLSNextProto = map[string]func(*http.Server, *stdtls.Conn, http.Handler){}
		}, "HTTP/1.1"},
		"HTTP/1 first":    {func(_ *http.Server, c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, "HTTP/1.1"},
		"standard Config": {func(s *http.Server, _ *tls.Config) { s.TLSConfig = &stdtls.Config{} }, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(http.ResponseWriter, *http.Request) {}, test.configure)
			c := stockClient(t, nil)
			c.Transport.(*http.Transport).ForceAttemptHTTP2 = true
			if resp, _ := get(t, c, s.url("/")); resp.Proto != test.want {
				t.Errorf("%s, want %s", resp.Proto, test.want)
			}
		})
	}
}

// client connects to a server and agrees on a protocol, by crypto/tls.
func dialStock(t *testing.T, s *server, config *stdtls.Config) *stdtls.Conn {
	t.Helper()
	config.RootCAs = newIdentity().pool
	c, err := stdtls.Dial("tcp", s.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// Who agreed on one protocol does not get to speak another one.
func TestOtherProtocol(t *testing.T) {
	h := func(http.ResponseWriter, *http.Request) { t.Error("handled") }
	both := serve(t, h)
	other := serve(t, h, func(srv *http.Server, c *tls.Config) {
		srv.Protocols = versions[0].protocols
		c.NextProtos = []string{"acme-tls/1"}
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			own := serverConfig()
			own.NextProtos = []string{"h2", "acme-tls/1"} // which the server does not speak
			return own, nil
		}
	})
	for _, test := range []struct {
		server *server
		proto  string
	}{{both, "h2"}, {other, "h2"}, {other, "acme-tls/1"}} {
		c := dialStock(t, test.server, &stdtls.Config{NextProtos: []string{test.proto}})
		if got := c.ConnectionState().NegotiatedProtocol; got != test.proto {
			t.Fatalf("agreed on %q", got)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if answer, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) || len(answer) > 0 {
			t.Errorf("%s: %q, %v", test.proto, answer, err)
		}
	}
}

// HTTP/2 prohibits some cipher suites.
func TestProhibitedSuite(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("handled") }, func(_ *http.Server, c *tls.Config) {
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	})
	c := dialStock(t, s, &stdtls.Config{
		NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA},
	})
	frame, err := io.ReadAll(c)
	if err != nil || string(frame) != inadequateSecurity {
		t.Errorf("got %x, %v", frame, err)
	}
}

func TestPanickingCallback(t *testing.T) {
	first := true
	s := serve(t, func(http.ResponseWriter, *http.Request) {}, func(_ *http.Server, c *tls.Config) {
		c.VerifyConnection = func(tls.ConnectionState) error {
			if first {
				first = false
				panic("oh")
			}
			return nil
		}
	})
	c := stockClient(t, nil)
	if _, err := c.Get(s.url("/")); err == nil {
		t.Error("no error")
	}
	get(t, c, s.url("/"))
	contains(t, s.log.String(), "http: panic serving 127.0.0.1:")
	contains(t, s.log.String(), ": oh\n")
}

// One server may have several listeners at once.
func TestTwoListeners(t *testing.T) {
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.NegotiatedProtocol) })}
	done := make(chan error, 3)
	var addrs []string
	var started sync.WaitGroup
	for range 3 {
		ln := NewListener(srv, listenLoopback(t), serverConfig())
		addrs = append(addrs, ln.Addr().String())
		started.Go(func() { go func() { done <- srv.Serve(ln) }() })
	}
	c := stockClient(t, versions[1].protocols)
	for _, addr := range addrs {
		if _, body := get(t, c, "https://"+addr); body != "h2" {
			t.Errorf("got %q", body)
		}
	}
	if err := srv.Shutdown(withTimeout(t, patience)); err != nil {
		t.Error(err)
	}
	for range addrs {
		if err := wait(t, done); err != http.ErrServerClosed {
			t.Error(err)
		}
	}
}

// brokenListener fails once, in a way that passes.
type brokenListener struct {
	net.Listener
	failed bool
}

type temporaryError struct{ error }

func (temporaryError) Timeout() bool   { return false }
func (temporaryError) Temporary() bool { return true }

func (l *brokenListener) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, temporaryError{errors.New("no file descriptors")}
	}
	return l.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	var text logBuffer
	srv := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: logTo(&text)}
	inner := listenLoopback(t)
	done := make(chan error, 1)
	go func() { done <- Serve(srv, &brokenListener{Listener: inner}, serverConfig()) }()
	get(t, stockClient(t, nil), "https://"+inner.Addr().String())
	contains(t, text.String(), "http: Accept error: no file descriptors; retrying in 5ms")
	inner.Close() // by somebody else
	if err := wait(t, done); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	srv.Close()
}

// Connections that have TLS already keep it.
func TestServeTLSListener(t *testing.T) {
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.HandshakeComplete) })}
	inner := listenLoopback(t)
	config := serverConfig()
	config.NextProtos = []string{"h2"}
	go func() { _ = Serve(srv, tls.NewListener(inner, config), serverConfig()) }()
	defer srv.Close()
	if resp, body := get(t, stockClient(t, nil), "https://"+inner.Addr().String()); body != "true" {
		t.Errorf("%q by %s", body, resp.Proto)
	}
}

func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for name, text := range map[string][]byte{certFile: newIdentity().certPEM, keyFile: newIdentity().keyPEM} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, srv := range map[string]*http.Server{
		"files":    {},
		"config":   {TLSConfig: &stdtls.Config{Certificates: []tls.Certificate{newIdentity().cert}}},
		"callback": {TLSConfig: &stdtls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &newIdentity().cert, nil }}},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := certFile, keyFile
			if name != "files" {
				cert, key = "", ""
			}
			ln := listenLoopback(t)
			done := make(chan error, 1)
			srv.Handler = http.NotFoundHandler()
			go func() { done <- ServeTLS(srv, ln, cert, key) }()
			if resp, _ := get(t, stockClient(t, versions[1].protocols), "https://"+ln.Addr().String()); resp.Proto != "HTTP/2.0" {
				t.Errorf("by %s", resp.Proto)
			}
			srv.Close()
			if err := wait(t, done); err != http.ErrServerClosed {
				t.Error(err)
			}
		})
	}
}

// A server that cannot be does not begin, and leaves no listener behind.
func TestServeErrors(t *testing.T) {
	ln := listenLoopback(t)
	var configError *tls.ConfigError
	if err := Serve(&http.Server{}, ln, &tls.Config{}); !errors.As(err, &configError) || configError.Field != "Certificates" {
		t.Errorf("without a certificate: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	srv := &http.Server{Addr: "127.0.0.1:0"}
	if err := ListenAndServeTLS(srv, "missing", "missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without files: %v", err)
	}
	srv.TLSConfig = &stdtls.Config{Renegotiation: stdtls.RenegotiateOnceAsClient}
	if err := ListenAndServeTLS(srv, "", ""); !errors.As(err, &configError) || configError.Field != "Renegotiation" {
		t.Errorf("with renegotiation: %v", err)
	}
	srv.Addr = "nonsense"
	for _, err := range []error{ListenAndServe(srv, serverConfig()), ListenAndServeTLS(srv, "", "")} {
		if e := (*net.OpError)(nil); !errors.As(err, &e) {
			t.Errorf("without an address: %v", err)
		}
	}
	srv = &http.Server{Addr: "127.0.0.1:0"}
	srv.Close()
	if err := ListenAndServe(srv, serverConfig()); err != http.ErrServerClosed {
		t.Errorf("after Close: %v", err)
	}
}
