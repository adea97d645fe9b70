package openssl

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/session"
)

// oneSession is a cache that gives out the first session that it got for ever.
type oneSession struct {
	t  testing.TB
	cs *tls.ClientSessionState
}

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.cs, o.cs != nil }

func (o *oneSession) Put(_ string, cs *tls.ClientSessionState) {
	if o.cs != nil {
		return
	}
	ticket, state, err := cs.ResumptionState()
	if err == nil {
		o.cs, err = tls.NewResumptionState(ticket, state)
	}
	if err != nil {
		o.t.Error(err)
	}
}

// dialEarly connects to the server and sends early data.
func (s *server) dialEarly(t testing.TB, cfg *tls.Config, parts ...string) *tls.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, cfg)
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if n, err := conn.WriteEarlyData([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("WriteEarlyData: %d, %v", n, err)
		}
	}
	if err := conn.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return conn
}

// TestEarlyDataOfOurs sends early data to s_server.
func TestEarlyDataOfOurs(t *testing.T) {
	full := strings.Repeat("0123456789abcde\n", 1024) // is what s_server takes
	for _, test := range []struct {
		name           string
		args           []string
		parts          []string
		first, second  bool // connections whose early data is accepted
		resumed, retry bool // the second connection
	}{
		{"sha256", []string{"-ciphersuites", suites13[0].name}, []string{"hello\n"}, true, false, false, false},
		{"sha384", []string{"-ciphersuites", suites13[1].name}, []string{"hello\n"}, true, false, false, false},
		{"chacha20", []string{"-ciphersuites", suites13[2].name}, []string{"hello\n"}, true, false, false, false},
		{"again", []string{"-no_anti_replay"}, []string{"hello\n"}, true, true, true, false},
		{"parts", nil, []string{"hello\n", "world\n", "bye\n"}, true, false, false, false},
		{"full", nil, []string{full}, true, false, false, false},
		{"small-parts", []string{"-no_anti_replay"}, strings.SplitAfter(full[:1<<12], "\n"), true, true, true, false},
		{"nothing", []string{"-no_anti_replay"}, []string{""}, true, true, true, false},
		{"retry", []string{"-groups", "P-384", "-no_anti_replay"}, []string{"hello\n"}, false, false, true, true},
	} {
		row(t, test.name, func(t *testing.T) {
			s := startServer(t, slices.Concat([]string{"-early_data", "-tls1_3"}, identity(pki.P256), test.args))
			cfg := clientConfig()
			cfg.ClientSessionCache = &oneSession{t: t}
			conn := s.dial(t, cfg)
			talk(t, conn, s.Process, "first") // the ticket is there now
			conn.Close()
			for i, accepted := range []bool{test.first, test.second} {
				conn := s.dialEarly(t, cfg, test.parts...)
				e, state := conn.EarlyData(), conn.ConnectionState()
				if e.Accepted != accepted || !e.Offered || int(e.Bytes) != len(strings.Join(test.parts, "")) {
					t.Errorf("connection %d: %+v", i, e)
				}
				if want := i == 0 || test.resumed; state.DidResume != want || state.HelloRetryRequest != test.retry {
					t.Errorf("connection %d: resumed %v, retried %v", i, state.DidResume, state.HelloRetryRequest)
				}
				talk(t, conn, s.Process, strconv.Itoa(i)) // and so all that came before is printed
				conn.Close()
			}
			wantReceived(t, s.Output(), strings.Join(test.parts, ""), test.first, test.second)
		})
	}
}

// wantReceived checks what s_server has printed of early data: of the connections
// where it has accepted some.
func wantReceived(t *testing.T, out, data string, accepted ...bool) {
	t.Helper()
	want := 0
	for _, ok := range accepted {
		if ok && data != "" {
			want++
		}
	}
	if got := strings.Count(out, "Early data received:\n"); got != want {
		t.Errorf("s_server received early data %d times, want %d", got, want)
	}
	// Its own words come from a buffer, and so in between.
	out = strings.NewReplacer("shutting down SSL\n", "", "CONNECTION CLOSED\n", "", "Early data received:\n", "").Replace(out)
	if want > 0 && strings.Count(out, data) != want {
		t.Error("s_server received other early data")
	}
	if want == 0 && data != "" && strings.Contains(out, data) {
		t.Error("s_server received rejected early data")
	}
}

// earlyFile writes what s_client is to send.
func earlyFile(t *testing.T, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "early")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// acceptEarly takes the next connection, reads its early data, and answers it
// before the handshake is complete if there was some.
func (l *listener) acceptEarly(answer string) (*tls.Conn, string) {
	l.t.Helper()
	if err := l.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(limit)); err != nil {
		l.t.Fatal(err)
	}
	raw, err := l.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	conn := tls.Server(raw, l.cfg)
	l.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		l.t.Fatal(err)
	}
	var early bytes.Buffer
	buf := make([]byte, 1000)
	for {
		n, err := conn.ReadEarlyData(buf)
		if early.Write(buf[:n]); errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			l.t.Fatalf("ReadEarlyData: %v", err)
		}
		if early.Len() == n { // the first of it
			if _, err := conn.WriteEarlyData([]byte(answer)); err != nil {
				l.t.Fatalf("WriteEarlyData: %v", err)
			}
		}
	}
	if err := conn.Handshake(); err != nil {
		l.t.Fatalf("handshake: %v", err)
	}
	return conn, early.String()
}

// TestEarlyDataOfTheirs takes early data of s_client.
func TestEarlyDataOfTheirs(t *testing.T) {
	full := strings.Repeat("0123456789abcde\n", 1024)
	for _, test := range []struct {
		name     string
		args     []string
		data     string
		change   func(*tls.Config) // after the first connection
		accepted bool
	}{
		{"sha256", []string{"-ciphersuites", suites13[0].name}, "hello\n", nil, true},
		{"sha384", []string{"-ciphersuites", suites13[1].name}, "hello\n", nil, true},
		{"chacha20", []string{"-ciphersuites", suites13[2].name}, "hello\n", nil, true},
		{"full", nil, full, nil, true},
		{"without-middlebox", []string{"-no_middlebox"}, "hello\n", nil, true},
		{"alpn", []string{"-alpn", "h2"}, "hello\n", nil, true},
		{"retry", nil, "hello\n", func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, false},
		{"retry-full", nil, full, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, false},
		{"off", nil, "hello\n", func(c *tls.Config) { c.MaxEarlyData = 0 }, false},
		{"off-full", nil, full, func(c *tls.Config) { c.MaxEarlyData = 0 }, false},
		{"other-keys", nil, full, func(c *tls.Config) { c.SetSessionTicketKeys([][32]byte{{1}}) }, false},
	} {
		row(t, test.name, func(t *testing.T) {
			cfg := tls13.pin(serverConfig(pki.P256))
			cfg.NextProtos = []string{"h2"}
			cfg.MaxEarlyData = 1 << 14
			cfg.AntiReplay = &session.AntiReplay{Store: session.NewMemoryStore(0)}
			l := listen(t, cfg)
			file := filepath.Join(t.TempDir(), "session")
			p := l.client(slices.Concat([]string{"-sess_out", file}, test.args))
			conn := l.accept()
			talk(t, conn, p, "us") // s_client has its ticket now
			p.Kill()
			conn.Close()
			if test.change != nil {
				l.cfg = cfg.Clone()
				test.change(l.cfg)
			}
			for i := range 2 {
				p = l.client(slices.Concat([]string{"-sess_in", file, "-early_data", earlyFile(t, test.data)}, test.args))
				conn, early := l.acceptEarly("answer\n")
				verdict, want := "Early data was accepted", test.data
				if !test.accepted {
					verdict, want = "Early data was rejected", ""
				}
				p.Expect(verdict)
				if early != want || conn.EarlyData().Accepted != test.accepted || !conn.EarlyData().Offered {
					t.Errorf("connection %d: early data %.20q of %d bytes, %+v", i, early, len(early), conn.EarlyData())
				}
				if want != "" {
					p.Expect("answer\n")
				}
				talk(t, conn, p, "them")
				p.Kill()
				conn.Close()
			}
		})
	}
}

// TestEarlyDataReplayed records s_client's first flight and plays it again: it
// gets no more than a handshake that it cannot complete.
func TestEarlyDataReplayed(t *testing.T) {
	count(t)
	cfg := tls13.pin(serverConfig(pki.P256))
	cfg.MaxEarlyData = 1 << 14
	l := listen(t, cfg)
	file := filepath.Join(t.TempDir(), "session")
	p := l.client([]string{"-sess_out", file})
	conn := l.accept()
	talk(t, conn, p, "us")
	p.Kill()
	conn.Close()

	args := []string{"-sess_in", file, "-early_data", earlyFile(t, "transfer\n")}
	l.client(args)
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	var flight bytes.Buffer
	for !bytes.Contains(flight.Bytes(), []byte{23, 3, 3}) { // the early data has begun
		buf := make([]byte, 1<<14)
		n, err := raw.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		flight.Write(buf[:n])
	}
	for i := range 3 {
		replay, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer replay.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if err := server.SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		if _, err := replay.Write(flight.Bytes()); err != nil {
			t.Fatal(err)
		}
		replay.Close()
		conn := tls.Server(server, cfg)
		_, err = conn.ReadEarlyData(make([]byte, 100))
		if e := conn.EarlyData(); e.Accepted != (i == 0) || !e.Offered {
			t.Errorf("time %d: %+v, %v", i, e, err)
		}
	}
}
