package https

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
)

// earlyServer serves requests and says of each whether it was early.
func earlyServer(t *testing.T, change func(*tls.Config), h http.HandlerFunc) (addr string) {
	t.Helper()
	config := serverConfig()
	config.MaxEarlyData = 16 << 10
	if change != nil {
		change(config)
	}
	if h == nil {
		h = func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s early=%s body=%s complete=%v", r.Method, r.URL.Path, r.Header.Get("Early-Data"), body, r.TLS.HandshakeComplete)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- Serve(srv, ln, config) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return ln.Addr().String()
}

// earlyTransport returns a client's transport that has a session.
func earlyTransport(t *testing.T, addr string) *Transport {
	t.Helper()
	config := clientConfig()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	tr := NewTransport(config, &http.Transport{})
	tr.EarlyData = true
	t.Cleanup(tr.CloseIdleConnections)
	if got, early := ask(t, tr, http.MethodGet, addr, ""); early || !strings.Contains(got, "early= ") {
		t.Errorf("the first request: %q, early %v", got, early)
	}
	tr.CloseIdleConnections()
	return tr
}

// ask sends a request, and returns the answer and whether the server let early
// data in.
func ask(t *testing.T, tr *Transport, method, addr, body string) (answer string, early bool) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, "https://"+addr+"/path", r)
	if err != nil {
		t.Fatal(err)
	}
	var conn atomic.Pointer[tls.Conn]
	resp, err := tr.RoundTrip(traced(req, &conn))
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.TLS == nil || !resp.TLS.HandshakeComplete {
		t.Errorf("Response.TLS: %+v", resp.TLS)
	}
	return string(b), conn.Load().EarlyData().Accepted
}

func TestEarlyData(t *testing.T) {
	addr := earlyServer(t, nil, nil)
	tr := earlyTransport(t, addr)
	for range 3 {
		got, early := ask(t, tr, http.MethodGet, addr, "")
		if want := "GET /path early=1 body= complete=false"; got != want || !early {
			t.Errorf("%q, accepted %v", got, early)
		}
		got, _ = ask(t, tr, http.MethodGet, addr, "")
		if want := "GET /path early= body= complete="; !strings.HasPrefix(got, want) {
			t.Errorf("the second request on the connection: %q", got)
		}
		tr.CloseIdleConnections()
	}
}

// TestEarlyDataUnsafe: what is not safe is not sent early.
func TestEarlyDataUnsafe(t *testing.T) {
	addr := earlyServer(t, nil, nil)
	tr := earlyTransport(t, addr)
	for method, body := range map[string]string{http.MethodPost: "data", http.MethodDelete: "", http.MethodGet: "a body"} {
		got, early := ask(t, tr, method, addr, body)
		if want := method + " /path early= body=" + body + " complete=true"; got != want || early {
			t.Errorf("%q, accepted %v", got, early)
		}
		tr.CloseIdleConnections()
	}
}

// TestEarlyDataRefused: servers that do not take early data get the request
// after the handshake.
func TestEarlyDataRefused(t *testing.T) {
	var refuse atomic.Bool
	addr := earlyServer(t, func(c *tls.Config) {
		plain := c.Clone()
		plain.MaxEarlyData = 0
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if refuse.Load() {
				return plain, nil
			}
			return nil, nil
		}
	}, nil)
	tr := earlyTransport(t, addr)
	refuse.Store(true)
	if got, early := ask(t, tr, http.MethodGet, addr, ""); early || got != "GET /path early= body= complete=true" {
		t.Errorf("%q, accepted %v", got, early)
	}
}

// TestEarlyOtherProtocol: a server that does not take early data, and speaks
// another protocol than before, or says none, does not get it again on that
// connection, but on a new one (RFC 9846, section 4.3.10).
func TestEarlyOtherProtocol(t *testing.T) {
	for name, tt := range map[string]struct {
		protocols []string
		hellos    int32
	}{
		"same": {[]string{"http/1.1"}, 1},
		"none": {nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var refuse atomic.Bool
			var hellos atomic.Int32
			addr := earlyServer(t, func(c *tls.Config) {
				plain := c.Clone()
				plain.MaxEarlyData, plain.NextProtos = 0, tt.protocols
				c.NextProtos = []string{"http/1.1"}
				c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
					if refuse.Load() {
						hellos.Add(1)
						return plain, nil
					}
					return nil, nil
				}
			}, nil)
			tr := earlyTransport(t, addr)
			refuse.Store(true)
			if got, early := ask(t, tr, http.MethodGet, addr, ""); early || got != "GET /path early= body= complete=true" {
				t.Errorf("%q, accepted %v", got, early)
			}
			if n := hellos.Load(); n != tt.hellos {
				t.Errorf("%d connections, want %d", n, tt.hellos)
			}
		})
	}
}

// TestTooEarly: a handler refuses what is early, and the request comes again.
func TestTooEarly(t *testing.T) {
	var early, later atomic.Int32
	addr := earlyServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Early-Data") != "" {
			early.Add(1)
			w.WriteHeader(http.StatusTooEarly)
			return
		}
		later.Add(1)
		fmt.Fprint(w, "early= ")
	})
	tr := earlyTransport(t, addr)
	if got, _ := ask(t, tr, http.MethodGet, addr, ""); got != "early= " || early.Load() != 1 || later.Load() != 2 {
		t.Errorf("%q after %d early requests and %d later", got, early.Load(), later.Load())
	}
}

func TestTooEarlyHandler(t *testing.T) {
	h := TooEarly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") }))
	for _, test := range []struct {
		method, header string
		want           int
	}{
		{http.MethodGet, "1", 200}, {http.MethodPost, "", 200}, {http.MethodPost, "1", 425}, {http.MethodDelete, "0", 425},
	} {
		w := new(answer)
		r, _ := http.NewRequest(test.method, "/", nil)
		if test.header != "" {
			r.Header.Set("Early-Data", test.header)
		}
		h.ServeHTTP(w, r)
		if got := w.status(); got != test.want {
			t.Errorf("%s with %q: %d, want %d", test.method, test.header, got, test.want)
		}
	}
}

// answer is a ResponseWriter that keeps the status.
type answer struct{ code int }

func (*answer) Header() http.Header         { return http.Header{} }
func (a *answer) WriteHeader(code int)      { a.code = code }
func (*answer) Write(b []byte) (int, error) { return len(b), nil }
func (a *answer) status() int               { return max(a.code, 200) }

// rawEarly sends early data by hand, and returns what the server answers before
// and after the handshake.
func rawEarly(t *testing.T, addr string, config *tls.Config, data string) *tls.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	config = config.Clone()
	config.ServerName, config.NextProtos = "127.0.0.1", []string{protoHTTP1}
	c := tls.Client(raw, config)
	if _, err := c.WriteEarlyData([]byte(data)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEarlyRequests sends requests in early data that a client of this package
// would not: what must not be early waits for the handshake, and nothing is lost.
func TestEarlyRequests(t *testing.T) {
	addr := earlyServer(t, nil, nil)
	tr := earlyTransport(t, addr)
	const end = " HTTP/1.1\r\nHost: a\r\n"
	tests := []struct {
		name, data string
		want       []string
	}{
		{"one", "GET /a" + end + "\r\n", []string{"GET /a early=1 body= complete=false"}},
		{"two", "GET /a" + end + "\r\nGET /b" + end + "\r\n", []string{"GET /a early=1 body= complete=false", "GET /b early= body= complete=false"}},
		{"POST", "POST /a" + end + "Content-Length: 4\r\n\r\nbody", []string{"POST /a early= body=body complete=false"}},
		{"PUT after GET", "GET /a" + end + "\r\nPUT /b" + end + "Content-Length: 1\r\n\r\nx", []string{"GET /a early=1 body= complete=false", "PUT /b early= body=x complete=false"}},
		{"GET with a body", "GET /a" + end + "Content-Length: 2\r\n\r\nxy", []string{"GET /a early= body=xy complete=false"}},
		{"chunked", "GET /a" + end + "Transfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n", []string{"GET /a early= body=z complete=false"}},
		{"another request behind bare line feeds", "GET /a HTTP/1.1\nHost: a\n\nPOST /b HTTP/1.1\r\nHost: a\r\n\r\n", []string{"GET /a early= body= complete=false", "POST /b early= body= complete=false"}},
		{"another request behind a line feed", "GET /a HTTP/1.1\r\nHost: a\r\n\nDELETE /b HTTP/1.1\r\nHost: a\r\n\r\n", []string{"GET /a early= body= complete=false", "DELETE /b early= body= complete=false"}},
		{"folded line", "GET /a HTTP/1.1\r\n fold: x\r\nHost: a\r\n\r\n", []string{"400 Bad Request"}},
		{"bare line feeds", "GET /a HTTP/1.1\nHost: a\n\n", []string{"GET /a early= body= complete=false"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ask(t, tr, http.MethodPost, addr, "for another session")
			tr.CloseIdleConnections()
			c := rawEarly(t, addr, tr.config, test.data)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			if !c.EarlyData().Accepted {
				t.Fatal("not accepted")
			}
			got := readAnswers(t, c, len(test.want))
			for i := range test.want {
				if got[i] != test.want[i] {
					t.Errorf("answer %d is %q, want %q", i, got[i], test.want[i])
				}
			}
		})
	}
}

// readAnswers reads the bodies of so many answers.
func readAnswers(t *testing.T, c net.Conn, n int) (bodies []string) {
	t.Helper()
	r := bufio.NewReader(c)
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(b))
	}
	return bodies
}

// TestEarlyAnswer: the answer is sent before the client completes the handshake.
func TestEarlyAnswer(t *testing.T) {
	answered := make(chan struct{})
	var once sync.Once
	addr := earlyServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "early= ")
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		if r.Header.Get("Early-Data") != "" {
			once.Do(func() { close(answered) })
		}
	})
	tr := earlyTransport(t, addr)
	c := rawEarly(t, addr, tr.config, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	select {
	case <-answered: // and the client has not even read the ServerHello
	case <-time.After(10 * time.Second):
		t.Fatal("no answer before the handshake is complete")
	}
	if got := readAnswers(t, c, 1); got[0] != "early= " {
		t.Errorf("%q", got)
	}
}

// TestEarlyClose: an answer that ends the connection arrives whole.
func TestEarlyClose(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	addr := earlyServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Early-Data") == "" {
			fmt.Fprint(w, "early= ")
			return
		}
		w.Header().Set("Connection", "close")
		_, _ = w.Write(body)
	})
	tr := earlyTransport(t, addr)
	for range 5 {
		got, early := ask(t, tr, http.MethodGet, addr, "")
		if early && got != string(body) {
			t.Errorf("%d bytes of %d", len(got), len(body))
		}
		tr.CloseIdleConnections()
		ask(t, tr, http.MethodPost, addr, "x")
		tr.CloseIdleConnections()
	}
}

// TestEarlySilent: a client that never completes its handshake is not waited for
// for ever.
func TestEarlySilent(t *testing.T) {
	addr := earlyServer(t, nil, nil)
	tr := earlyTransport(t, addr)
	c := rawEarly(t, addr, tr.config, "GET / HTTP/1.0\r\n\r\n")
	wantEnd(t, c.NetConn(), settleTimeout+10*time.Second)
}

// helloOnly sends the first record and no other.
type helloOnly struct {
	net.Conn
	sent bool
}

func (c *helloOnly) Write(b []byte) (int, error) {
	if c.sent {
		return len(b), nil
	}
	c.sent = true
	_, err := c.Conn.Write(b[:5+int(binary.BigEndian.Uint16(b[3:]))])
	return len(b), err
}

// mute returns the network's side of a client that offers early data, and sends
// none.
func mute(t *testing.T, addr string, config *tls.Config) net.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	config = config.Clone()
	config.ServerName, config.NextProtos = "127.0.0.1", []string{protoHTTP1}
	if _, err := tls.Client(&helloOnly{Conn: raw}, config).WriteEarlyData([]byte("GET")); err != nil {
		t.Fatal(err)
	}
	return raw
}

// wantEnd waits until the other side has closed.
func wantEnd(t *testing.T, raw net.Conn, within time.Duration) {
	t.Helper()
	_ = raw.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, raw)
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		t.Error("the server waits for ever")
	}
}

// TestEarlyMute: early data that is accepted and does not come is waited for
// no longer than a handshake.
func TestEarlyMute(t *testing.T) {
	config := serverConfig()
	config.MaxEarlyData = 16 << 10
	ln := listenLoopback(t)
	srv := &http.Server{ReadHeaderTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "early= ")
	})}
	done := make(chan error, 1)
	go func() { done <- Serve(srv, ln, config) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	tr := earlyTransport(t, ln.Addr().String())
	wantEnd(t, mute(t, ln.Addr().String(), tr.config), 20*time.Second)
}

// TestEarlyCloseDeadline: a deadline that net/http sets on a connection while
// Close waits for the client does not make it wait for ever.
func TestEarlyCloseDeadline(t *testing.T) {
	config := serverConfig()
	config.MaxEarlyData = 16 << 10
	config.AntiReplay, config.TicketKeys = session.NewAntiReplay(0), new(session.KeyRing)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "early= ") })}
	ln, direct := listenLoopback(t), listenLoopback(t)
	defer direct.Close()
	done := make(chan error, 1)
	go func() { done <- Serve(srv, ln, config) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	tr := earlyTransport(t, ln.Addr().String())
	c := rawEarly(t, direct.Addr().String(), tr.config, "GET / HTTP/1.1\r\n")
	inner, err := direct.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Server(inner, withProtocols(config, protocols(srv)))
	first, err := earlyHandshake(t.Context(), conn)
	if first == nil || err != nil {
		t.Fatalf("%q, %v", first, err)
	}
	state := conn.ConnectionState()
	early := newEarlyConn(conn, &state, first)
	if err := early.Close(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(settleTimeout / 2)
	for time.Now().Before(end) {
		_ = early.SetReadDeadline(time.Time{})
		time.Sleep(settleTimeout / 50)
	}
	wantEnd(t, c.NetConn(), settleTimeout+10*time.Second)
}

// TestEarlyServerClose: a server that is closed does not wait for clients that
// never complete their handshakes.
func TestEarlyServerClose(t *testing.T) {
	config := serverConfig()
	config.MaxEarlyData = 16 << 10
	ln := listenLoopback(t)
	handled := make(chan struct{}, 10)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "early= ")
		if r.Header.Get("Early-Data") != "" {
			handled <- struct{}{}
		}
	})}
	done := make(chan error, 1)
	go func() { done <- Serve(srv, ln, config) }()
	addr := ln.Addr().String()
	tr := earlyTransport(t, addr)
	const clients = 5
	for range clients {
		rawEarly(t, addr, tr.config, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		ask(t, tr, http.MethodPost, addr, "for another session")
		tr.CloseIdleConnections()
	}
	for range clients {
		wait(t, handled)
	}
	start := time.Now()
	srv.Close()
	<-done
	if took := time.Since(start); took > settleTimeout {
		t.Errorf("Close took %v, with %d clients that are silent for %v each", took, clients, settleTimeout)
	}
}

// traced notes the connection that a request is sent on.
func traced(req *http.Request, conn *atomic.Pointer[tls.Conn]) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conn.Store(Conn(info.Conn)) },
	}))
}
