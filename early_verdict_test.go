package tls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/session"
)

// tried is what became of one connection whose client would like to send early
// data.
type tried struct {
	client, server EarlyDataState
	offered        error  // of WriteEarlyData
	seen           string // by ReadEarlyData
	state          ConnectionState
}

// tryEarly makes a connection and uses it.
func tryEarly(t testing.TB, client, server *Config) (r tried) {
	t.Helper()
	a, b := pair(t, sockets, client, server)
	c, s := a.(*Conn), b.(*Conn)
	served := do(func() (err error) {
		if r.seen, err = readEarly(s); err == nil {
			err = s.Handshake()
		}
		return err
	})
	_, r.offered = c.WriteEarlyData([]byte("early"))
	if err := c.Handshake(); err != nil {
		t.Fatalf("client: %v", err)
	}
	if err := served(); err != nil {
		t.Fatalf("server: %v", err)
	}
	echo(t, c, s)
	r.client, r.server, r.state = c.EarlyData(), s.EarlyData(), c.ConnectionState()
	c.Close()
	s.Close()
	if r.state.DidResume != s.ConnectionState().DidResume || r.client.Accepted != r.server.Accepted || r.client.Accepted != (r.seen == "early") {
		t.Errorf("the two sides disagree: %+v", r)
	}
	return r
}

// aesServer is an earlyServer with the suite of AES-128.
func aesServer() *Config {
	return earlyServer(func(c *Config) {
		c.CipherSuites, c.NextProtos = []uint16{TLS_AES_128_GCM_SHA256}, []string{"a"}
	})
}

// TestEarlyDataVerdict changes a server, or its mind, between a session and its
// early data: then that is not accepted, and all else works.
func TestEarlyDataVerdict(t *testing.T) {
	later := func(d time.Duration) func() time.Time {
		return func() time.Time { return time.Now().Add(d) }
	}
	tests := []struct {
		name              string
		change            func(client, server *Config)
		accepted, resumed bool
	}{
		{"no change", func(_, _ *Config) {}, true, true},
		{"more is allowed", func(_, s *Config) { s.MaxEarlyData++ }, true, true},
		{"other certificate first", func(_, s *Config) {
			s.Certificates = append([]Certificate{makeAuthority("other").issue(testKeys()["P256"], "other.example")}, s.Certificates...)
		}, true, true},
		{"external PSKs", func(c, s *Config) {
			psk := ExternalPSK{Identity: []byte("id"), Secret: []byte("secret")}
			c.ExternalPSKs = []ExternalPSK{psk}
			s.GetExternalPSK = func(_ context.Context, id []byte) (*ExternalPSK, error) {
				if string(id) != "id" {
					return nil, nil
				}
				return &psk, nil
			}
		}, true, true},
		{"another Config", func(_, s *Config) {
			other := s.Clone()
			s.MaxEarlyData = 0
			s.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return other, nil }
		}, true, true},

		{"nothing is allowed", func(_, s *Config) { s.MaxEarlyData = 0 }, false, true},
		{"less is allowed", func(_, s *Config) { s.MaxEarlyData-- }, false, true},
		{"another Config allows nothing", func(_, s *Config) {
			other := s.Clone()
			other.MaxEarlyData = 0
			s.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return other, nil }
		}, false, true},
		{"HelloRetryRequest", func(_, s *Config) { s.CurvePreferences = []CurveID{CurveP521} }, false, true},
		{"suite of the same hash", func(_, s *Config) { s.CipherSuites = []uint16{TLS_CHACHA20_POLY1305_SHA256} }, false, true},
		{"suite of another hash", func(_, s *Config) { s.CipherSuites = []uint16{TLS_AES_256_GCM_SHA384} }, false, false},
		{"other protocol", func(_, s *Config) { s.NextProtos = []string{"b"} }, false, false},
		{"no protocol", func(_, s *Config) { s.NextProtos = nil }, false, false},
		{"other certificate", func(_, s *Config) { s.Certificates = []Certificate{testCert("P384")} }, false, false},
		{"other keys", func(_, s *Config) { s.rotating = nil }, false, false},
		{"no tickets", func(_, s *Config) { s.SessionTicketsDisabled = true }, false, false},
		{"client certificate", func(c, s *Config) {
			c.Certificates = []Certificate{testCert("P256")}
			s.ClientAuth, s.ClientCAs = RequireAndVerifyClientCert, newAuthority().pool
		}, false, false},
		{"late", func(c, s *Config) { s.Time = later(11 * time.Second) }, false, true},
		{"early", func(c, s *Config) { c.Time = later(11 * time.Second) }, false, true},
		{"UnwrapSession forbids", func(_, s *Config) {
			s.AntiReplay = ownAntiReplay()
			s.UnwrapSession = func(id []byte, cs ConnectionState) (*SessionState, error) {
				ss, err := s.DecryptTicket(id, cs)
				ss.EarlyData = false
				return ss, err
			}
		}, false, true},
		{"UnwrapSession allows", func(_, s *Config) {
			s.AntiReplay = ownAntiReplay()
			s.UnwrapSession = s.DecryptTicket
		}, true, true},
		{"store is newer", func(_, s *Config) {
			time.Sleep(2 * time.Millisecond) // tickets know their time to the millisecond
			s.AntiReplay = newMemoryAntiReplay()
		}, false, true},
		{"store is full", func(_, s *Config) {
			s.AntiReplay = session.NewAntiReplay(1)
			s.AntiReplay.Accept(context.Background(), new(session.State), nil)
		}, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := cachingClient(), aesServer()
			client.NextProtos = []string{"b", "a"}
			ticketFor(t, client, server)
			client, server = client.Clone(), server.Clone()
			test.change(client, server)
			r := tryEarly(t, client, server)
			if r.offered != nil || !r.client.Offered || !r.server.Offered || r.client.Bytes != 5 || r.client.Limit != 1<<16 || r.client.Protocol != "a" {
				t.Errorf("not offered: %+v", r)
			}
			if r.client.Accepted != test.accepted || r.state.DidResume != test.resumed {
				t.Errorf("accepted %v, resumed %v", r.client.Accepted, r.state.DidResume)
			}
			if test.accepted != (r.server.Bytes == 5 && r.server.Limit == 1<<16 && r.server.Protocol == "a") {
				t.Errorf("server: %+v", r.server)
			}
		})
	}
}

// ownAntiReplay accepts tickets of any age.
func ownAntiReplay() *session.AntiReplay { return session.NewAntiReplay(0) }

// TestEarlyDataNotAsked has servers that never call ReadEarlyData, or do so too
// late: they see no early data.
func TestEarlyDataNotAsked(t *testing.T) {
	for name, ask := range map[string]bool{"never": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			c, s := earlyPair(t, sockets, cachingClient(), earlyServer())
			served := do(func() error {
				if err := s.Handshake(); err != nil || !ask {
					return err
				}
				if n, err := s.ReadEarlyData(make([]byte, 10)); n != 0 || err != io.EOF {
					return errors.Join(errors.New("early data was read"), err)
				}
				return nil
			})
			mustWriteEarly(t, c, "early")
			if err := errors.Join(c.Handshake(), served()); err != nil {
				t.Fatal(err)
			}
			echo(t, c, s)
			if e := c.EarlyData(); e.Accepted || !e.Offered {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestNoEarlyData has clients without a session that allows early data. Nothing
// is lost by asking.
func TestNoEarlyData(t *testing.T) {
	tests := []struct {
		name    string
		before  func(client, server *Config)
		after   func(client, server *Config)
		resumed bool
	}{
		{"no cache", func(c, _ *Config) { c.ClientSessionCache = nil }, nil, false},
		{"no session", nil, func(c, _ *Config) { c.ClientSessionCache = NewLRUClientSessionCache(0) }, false},
		{"not allowed", func(_, s *Config) { s.MaxEarlyData = 0 }, nil, true},
		{"TLS 1.2", func(_, s *Config) { s.MaxVersion = VersionTLS12 }, nil, true},
		{"TLS 1.2 only", nil, func(c, _ *Config) { c.MaxVersion = VersionTLS12 }, false},
		{"no tickets", nil, func(c, _ *Config) { c.SessionTicketsDisabled = true }, false},
		{"other name", nil, func(c, _ *Config) { c.ServerName = "www." + testName }, false},
		{"protocol not offered", nil, func(c, _ *Config) { c.NextProtos = nil }, false},
		{"suite not offered", nil, func(c, _ *Config) { c.CipherSuites = []uint16{TLS_CHACHA20_POLY1305_SHA256} }, false},
		{"expired", nil, func(c, _ *Config) {
			c.InsecureSkipVerify = true // the certificate has expired too
			c.Time = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
		}, false},
		{"certificate not trusted", nil, func(c, s *Config) {
			other := makeAuthority("other")
			c.RootCAs = other.pool
			s.Certificates = []Certificate{other.issue(testKeys()["P256"], testName)}
		}, false},
		{"WrapSession forbids", func(_, s *Config) {
			s.AntiReplay = newMemoryAntiReplay()
			s.WrapSession = func(cs ConnectionState, ss *SessionState) ([]byte, error) {
				ss.EarlyData = false
				return s.EncryptTicket(cs, ss)
			}
		}, nil, true},
		{"cache forbids", nil, func(c, _ *Config) {
			cs, _ := c.ClientSessionCache.Get(testName)
			ticket, state, err := cs.ResumptionState()
			if err != nil {
				panic(err)
			}
			state.EarlyData = false
			if cs, err = NewResumptionState(ticket, state); err != nil {
				panic(err)
			}
			c.ClientSessionCache.Put(testName, cs)
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := cachingClient(), aesServer()
			client.NextProtos, server.CipherSuites = []string{"a"}, nil
			server.Certificates = []Certificate{newAuthority().issue(testKeys()["P256"], testName, "www."+testName)}
			if test.before != nil {
				test.before(client, server)
			}
			client.CipherSuites = []uint16{TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			ticketFor(t, client, server)
			client, server = client.Clone(), server.Clone()
			if test.after != nil {
				test.after(client, server)
			}
			r := tryEarly(t, client, server)
			if !errors.Is(r.offered, ErrNoEarlyData) || r.client != (EarlyDataState{}) || r.server != (EarlyDataState{}) {
				t.Errorf("offered: %+v", r)
			}
			if r.state.DidResume != test.resumed {
				t.Errorf("resumed %v", r.state.DidResume)
			}
		})
	}
}

// TestEarlyDataDowngrade meets a server of TLS 1.2: the connection must fail.
func TestEarlyDataDowngrade(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	ticketFor(t, client, server)
	server = server.Clone()
	server.MaxVersion = VersionTLS12
	a, b := pair(t, sockets, client, server)
	c := a.(*Conn)
	served := do(func() error { return b.HandshakeContext(context.Background()) })
	mustWriteEarly(t, c, "early")
	err := c.Handshake()
	if !errors.Is(err, ErrEarlyDataVersion) {
		t.Errorf("client: %v", err)
	}
	checkAlertOf(t, err, alert.ProtocolVersion)
	c.Close()
	if served() == nil {
		t.Error("the server's handshake succeeds")
	}
	if tryEarly(t, client, earlyServer()).offered == nil {
		t.Error("the session was kept")
	}
}

func checkAlertOf(t *testing.T, err error, want alert.Description) {
	t.Helper()
	if e := AlertError(0); !errors.As(err, &e) || alert.Description(e) != want {
		t.Errorf("%v, want alert %v", err, want)
	}
}

// TestEarlyDataVerifyConnection refuses a connection: none of its early data may
// be seen. It is asked once, and the exporter works.
func TestEarlyDataVerifyConnection(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	ticketFor(t, client, server)
	server = server.Clone()
	var calls atomic.Int32
	boom := errors.New("boom")
	var verdict error
	server.VerifyConnection = func(cs ConnectionState) error {
		calls.Add(1)
		if _, err := cs.ExportKeyingMaterial("label", nil, 32); err != nil || !cs.DidResume {
			t.Errorf("state: %v, resumed %v", err, cs.DidResume)
		}
		return verdict
	}
	if r := tryEarly(t, client, server); !r.client.Accepted || calls.Load() != 1 {
		t.Errorf("accepted %v, %d calls", r.client.Accepted, calls.Load())
	}
	verdict = boom
	a, b := pair(t, sockets, client, server)
	c, s := a.(*Conn), b.(*Conn)
	served := do(func() error {
		seen, err := readEarly(s)
		if seen != "" {
			t.Errorf("saw %q", seen)
		}
		return err
	})
	mustWriteEarly(t, c, "early")
	_, err := c.Read(make([]byte, 1))
	checkAlertOf(t, err, alert.BadCertificate)
	if err := served(); !errors.Is(err, boom) {
		t.Errorf("server: %v", err)
	}
}

// TestEarlyDataKeyLog finds the secret of early data in both logs.
func TestEarlyDataKeyLog(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	ticketFor(t, client, server)
	var logs [2]bytes.Buffer
	client, server = client.Clone(), server.Clone()
	client.KeyLogWriter, server.KeyLogWriter = &logs[0], &logs[1]
	tryEarly(t, client, server)
	var lines [2]string
	for i := range logs {
		for line := range strings.Lines(logs[i].String()) {
			if strings.HasPrefix(line, "CLIENT_EARLY_TRAFFIC_SECRET ") {
				lines[i] += line
			}
		}
	}
	if lines[0] == "" || lines[0] != lines[1] || strings.Count(lines[0], "\n") != 1 {
		t.Errorf("logs %q", lines)
	}
}

// TestEarlyDataConfig has servers whose tickets others may have.
func TestEarlyDataConfig(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		field  string
	}{
		{"own keys", func(*Config) {}, ""},
		{"own keys, own handles", func(c *Config) { c.ServerSessions = &session.Stateful{Store: session.NewMemoryStore(0)} }, ""},
		{"no early data", func(c *Config) { c.MaxEarlyData, c.SessionTicketKey = 0, [32]byte{1} }, ""},
		{"no tickets", func(c *Config) { c.SessionTicketsDisabled, c.SessionTicketKey = true, [32]byte{1} }, ""},
		{"set keys and AntiReplay", func(c *Config) {
			c.SetSessionTicketKeys([][32]byte{{1}})
			c.AntiReplay = newMemoryAntiReplay()
		}, ""},
		{"set keys", func(c *Config) { c.SetSessionTicketKeys([][32]byte{{1}}) }, "AntiReplay"},
		{"SessionTicketKey", func(c *Config) { c.SessionTicketKey = [32]byte{1} }, "AntiReplay"},
		{"TicketKeys", func(c *Config) { c.TicketKeys = new(session.KeyRing) }, "AntiReplay"},
		{"WrapSession", func(c *Config) { c.WrapSession = c.EncryptTicket }, "AntiReplay"},
		{"UnwrapSession", func(c *Config) { c.UnwrapSession = c.DecryptTicket }, "AntiReplay"},
		{"shared handles", func(c *Config) { c.ServerSessions = &session.Stateful{Store: brokenStore{}} }, "AntiReplay"},
		{"no store", func(c *Config) { c.AntiReplay = new(session.AntiReplay) }, "AntiReplay"},
		{"no store, no early data", func(c *Config) { c.MaxEarlyData, c.AntiReplay = 0, new(session.AntiReplay) }, "AntiReplay"},
	}
	check := func(t *testing.T, err error, field string) {
		t.Helper()
		var e *ConfigError
		if field == "" && err != nil || field != "" && (!errors.As(err, &e) || e.Field != field) {
			t.Errorf("error %v, want one about %q", err, field)
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := earlyServer(test.change)
			s := Server(nil, server)
			_, err := s.bind()
			check(t, err, test.field)
			base := serverConfig("P256")
			base.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return server, nil }
			_, err = refusedBy(t, base)
			check(t, err, test.field)
		})
	}
}

// refusedBy makes a connection to a server and returns its error.
func refusedBy(t *testing.T, server *Config) (*Conn, error) {
	t.Helper()
	c, s := pair(t, sockets, clientConfig(), server)
	_, err := handshakes(c, s)
	return s.(*Conn), err
}

// TestEarlyDataBorrowedKeys has GetConfigForClient's Config use the keys of
// another: what remembers early data goes with the keys, or must be set too.
func TestEarlyDataBorrowedKeys(t *testing.T) {
	own := func() *Config { return earlyServer() }
	keyed := func() *Config {
		return earlyServer(func(c *Config) {
			c.SetSessionTicketKeys([][32]byte{{1}})
			c.AntiReplay = newMemoryAntiReplay()
		})
	}
	keyedOnly := func() *Config {
		return serverWith(func(c *Config) { c.SetSessionTicketKeys([][32]byte{{1}}) })
	}
	wrapping := func() *Config {
		return earlyServer(func(c *Config) {
			c.WrapSession = func(ConnectionState, *SessionState) ([]byte, error) { return nil, nil }
		})
	}
	tests := []struct {
		name        string
		base, other *Config
		accepted    bool
		fails       bool
	}{
		{"own keys", own(), own(), true, false},
		{"set keys", keyed(), own(), true, false},
		{"set keys for another Config without", keyedOnly(), own(), false, true},
		{"own keys, others wrap", own(), wrapping(), false, true},
		{"set keys, others wrap", keyed(), wrapping(), false, false},
		{"nothing is allowed at first", serverConfig("P256"), own(), true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.base.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return test.other, nil }
			if test.fails {
				var e *ConfigError
				if _, err := refusedBy(t, test.base); !errors.As(err, &e) || e.Field != "AntiReplay" {
					t.Errorf("error %v", err)
				}
				return
			}
			client := cachingClient()
			ticketFor(t, client, test.base)
			if r := tryEarly(t, client, test.base); r.client.Accepted != test.accepted {
				t.Errorf("accepted %v", r.client.Accepted)
			}
		})
	}
}

// TestEarlyDataLimit reaches the limit of a session.
func TestEarlyDataLimit(t *testing.T) {
	client, server := cachingClient(), earlyServer(func(c *Config) { c.MaxEarlyData = 1000 })
	for _, sizes := range [][]int{{1000}, {1001}, {600, 400}, {600, 500}, {999, 1, 1}, {0, 5000}, {1000, 0}} {
		c, s := earlyPair(t, sockets, client, server)
		data := bytes.Repeat([]byte("0123456789"), 500)
		served := do(func() error {
			got, err := readEarly(s)
			if got != string(data[:1000]) {
				t.Errorf("%v: got %d bytes", sizes, len(got))
			}
			return errors.Join(err, s.Handshake())
		})
		sent := 0
		for i, size := range sizes {
			n, err := c.WriteEarlyData(data[sent : sent+size])
			if want := min(size, 1000-sent); n != want || (n < size) != errors.Is(err, ErrEarlyDataLimit) || n == size && err != nil {
				t.Errorf("%v: call %d: %d, %v", sizes, i, n, err)
			}
			sent += n
		}
		if err := errors.Join(c.Handshake(), served()); err != nil {
			t.Errorf("%v: %v", sizes, err)
		}
		echo(t, c, s)
		if a, b := c.EarlyData(), s.EarlyData(); a.Bytes != 1000 || a != b {
			t.Errorf("%v: %+v, %+v", sizes, a, b)
		}
	}
}

// TestEarlyDataKeyLimit has a key that allows for a few records: early data ends,
// as there is no KeyUpdate for it, and so does a server's answer, until there is
// one.
func TestEarlyDataKeyLimit(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	ticketFor(t, client, server)
	client, server = client.Clone(), server.Clone()
	client.recordLimit, server.recordLimit = 10, 10
	c, s := pairOf(t, sockets, client, server)
	answered := make(chan error, 1)
	served := do(func() error {
		got, err := readSome(s, 1)
		go func() {
			var err error
			for n := 0; n < 100 && err == nil; n++ {
				_, err = s.WriteEarlyData([]byte("x"))
			}
			answered <- err
		}()
		// The answer may have had to complete the handshake, which keeps the rest.
		rest := make([]byte, 10-reserve-len(got))
		_, restErr := io.ReadFull(io.MultiReader(earlyReader{s}, s), rest)
		return errors.Join(err, restErr)
	})
	var err error
	n := 0
	for ; err == nil; n++ {
		_, err = c.WriteEarlyData([]byte("x"))
	}
	if !errors.Is(err, ErrEarlyDataLimit) {
		t.Errorf("after %d records: %v", n, err)
	}
	answer := make([]byte, 100)
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatalf("answer: %v", err)
	}
	if err := errors.Join(served(), <-answered); err != nil {
		t.Fatal(err)
	}
	if e := s.EarlyData(); e.Bytes != 10-reserve {
		t.Errorf("%+v, want %d bytes", e, 10-reserve)
	}
	echo(t, c, s)
}

// pairOf is pair for our own type.
func pairOf(t testing.TB, nw network, client, server *Config) (c, s *Conn) {
	t.Helper()
	a, b := pair(t, nw, client, server)
	return a.(*Conn), b.(*Conn)
}

// TestEarlyDataPadding pads: a server that must skip early data cannot tell
// padding from content, so it counts against the limit.
func TestEarlyDataPadding(t *testing.T) {
	for _, test := range []struct{ padding, calls int }{
		{99, 200},
		{1 << 14, 2}, // the limit is within the second record
	} {
		for _, skipped := range []bool{false, true} {
			client, server := cachingClient(), earlyServer(func(c *Config) { c.MaxEarlyData = 20000 })
			client.RecordPadding = func(int) int { return test.padding }
			c, s := earlyPair(t, sockets, client, server)
			served := do(func() error {
				if skipped {
					return s.Handshake()
				}
				if got, err := readEarly(s); len(got) != test.calls || err != nil {
					return errors.Join(errors.New("early data: "+got), err)
				}
				return s.Handshake()
			})
			var err error
			n := 0
			for ; err == nil && n < 1000; n++ {
				_, err = c.WriteEarlyData([]byte("x"))
			}
			if n != test.calls+1 || !errors.Is(err, ErrEarlyDataLimit) {
				t.Errorf("padding %d, call %d: %v", test.padding, n, err)
			}
			if err := errors.Join(c.Handshake(), served()); err != nil {
				t.Errorf("padding %d: %v", test.padding, err)
			}
			echo(t, c, s)
		}
	}
}

// TestEarlyDataWrongTimes calls the methods when they are of no use.
func TestEarlyDataWrongTimes(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	c, s := earlyPair(t, sockets, client, server)
	if n, err := c.ReadEarlyData(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("ReadEarlyData on a client: %d, %v", n, err)
	}
	if err, serr := handshakes(c, s); err != nil || serr != nil {
		t.Fatal(err, serr)
	}
	if n, err := c.WriteEarlyData([]byte("x")); n != 0 || !errors.Is(err, ErrEarlyDataOver) {
		t.Errorf("WriteEarlyData after Handshake: %d, %v", n, err)
	}
	if err := exchange(writerFunc(s.WriteEarlyData, s), c, "answer"); err != nil {
		t.Errorf("WriteEarlyData on a server: %v", err)
	}
	for _, conn := range []*Conn{c, s} {
		conn.Close()
		if _, err := conn.WriteEarlyData([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteEarlyData after Close: %v", err)
		}
	}
	if _, err := Server(c.NetConn(), server).ReadEarlyData(nil); err == nil {
		t.Error("ReadEarlyData on a closed connection succeeds")
	}
	bad := Client(nil, &Config{})
	if _, err := bad.WriteEarlyData(nil); !errors.As(err, new(*ConfigError)) {
		t.Errorf("WriteEarlyData with a bad Config: %v", err)
	}
}

// writerFunc is conn with another Write.
func writerFunc(write func([]byte) (int, error), conn net.Conn) net.Conn {
	return &otherWriter{conn, write}
}

type otherWriter struct {
	net.Conn
	write func([]byte) (int, error)
}

func (w *otherWriter) Write(b []byte) (int, error) { return w.write(b) }

// TestEarlyDataServerAlone has a server answer by WriteEarlyData where nobody
// has read early data: it is Write.
func TestEarlyDataServerAlone(t *testing.T) {
	c, s := pairOf(t, sockets, clientConfig(), serverConfig("P256"))
	if err := exchange(writerFunc(s.WriteEarlyData, s), c, "answer"); err != nil {
		t.Error(err)
	}
	if !s.ConnectionState().HandshakeComplete {
		t.Error("the handshake is not complete")
	}
	echo(t, c, s)
}

// TestEarlyDataUnread reads some of early data, and the rest by Read, once the
// handshake has shown that the client is there.
func TestEarlyDataUnread(t *testing.T) {
	reads := map[string]func(s *Conn) (string, error){
		"Read": func(s *Conn) (string, error) { b, err := io.ReadAll(s); return string(b), err },
		"WriteTo": func(s *Conn) (string, error) {
			var b bytes.Buffer
			_, err := s.WriteTo(&b)
			return b.String(), err
		},
		"ReadEarlyData": func(s *Conn) (string, error) {
			early, err := readEarly(s)
			if early != "" || err != nil {
				return early, err
			}
			b, err := io.ReadAll(s)
			return string(b), err
		},
	}
	for name, read := range reads {
		for _, first := range []int{0, 2, 5} {
			t.Run(name, func(t *testing.T) {
				server := earlyServer()
				server.Kernel.RX = kernel.Off
				c, s := earlyPair(t, sockets, cachingClient(), server)
				served := do(func() error {
					got, err := readSome(s, first)
					if err == nil && first == 0 {
						_, err = s.ReadEarlyData(nil)
					}
					if err == nil {
						err = s.Handshake()
					}
					if err != nil {
						return err
					}
					rest, err := read(s)
					if got += rest; got != "0123456789after" {
						t.Errorf("read %q", got)
					}
					return err
				})
				for _, part := range []string{"0123", "456789"} {
					mustWriteEarly(t, c, part)
				}
				if _, err := io.WriteString(c, "after"); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(c.CloseWrite(), served()); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestEarlyDataClosed closes a server's side before the handshake is complete: its
// answer has a proper end.
func TestEarlyDataClosed(t *testing.T) {
	ends := map[string]func(s *Conn) error{"Close": (*Conn).Close, "CloseWrite": (*Conn).CloseWrite}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			c, s := earlyPair(t, sockets, cachingClient(), earlyServer())
			served := do(func() error {
				if _, err := readSome(s, 5); err != nil {
					return err
				}
				if _, err := s.WriteEarlyData([]byte("answer")); err != nil {
					return err
				}
				return end(s)
			})
			mustWriteEarly(t, c, "early")
			if err := served(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestEarlyDataSecretsWiped begins a handshake and leaves it.
func TestEarlyDataSecretsWiped(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	c, _ := earlyPair(t, sockets, client, server)
	var kept *session.State
	forget := func() {
		c.handshakeMutex.Lock()
		defer c.handshakeMutex.Unlock()
		inner := c.forgetSession
		c.forgetSession = func(failed bool) {
			kept = new(session.State)
			if failed {
				t.Error("the server's sessions are dropped")
			}
			inner(failed)
		}
	}
	if _, err := c.WriteEarlyData(nil); err != nil {
		t.Fatal(err)
	}
	if e := c.EarlyData(); e != (EarlyDataState{Offered: true, Limit: 1 << 16}) {
		t.Errorf("%+v", e)
	}
	forget()
	c.Close()
	if kept == nil {
		t.Error("the session's secret is kept")
	}
	if !c.engineWiped {
		t.Error("the engine's secrets are kept")
	}
}

// TestEarlyDataIdentity has a client with a certificate: while its early data is
// read it is who it was when it got its ticket, and is verified again.
func TestEarlyDataIdentity(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	client.Certificates = []Certificate{testCert("P384")}
	server.ClientAuth, server.ClientCAs = RequireAndVerifyClientCert, newAuthority().pool
	c, s := earlyPair(t, sockets, client, server)
	mustWriteEarly(t, c, "early")
	if got, err := readSome(s, 5); got != "early" || err != nil {
		t.Fatal(got, err)
	}
	st := s.ConnectionState()
	if st.HandshakeComplete || len(st.VerifiedChains) == 0 || !bytes.Equal(st.PeerCertificates[0].Raw, client.Certificates[0].Certificate[0]) {
		t.Errorf("complete %v, %d certificates, %d chains", st.HandshakeComplete, len(st.PeerCertificates), len(st.VerifiedChains))
	}
	if err, serr := handshakes(c, s); err != nil || serr != nil {
		t.Fatal(err, serr)
	}
	ticketFor(t, client, server)
	server = server.Clone()
	server.ClientCAs = makeAuthority("other").pool
	a, b := pairOf(t, sockets, client, server)
	served := do(func() error {
		seen, err := readEarly(b)
		if seen != "" {
			t.Errorf("saw %q", seen)
		}
		return errors.Join(err, b.Handshake())
	})
	mustWriteEarly(t, a, "early")
	_ = a.Handshake() // a client is done before it is refused
	if err := served(); err == nil {
		t.Error("a client that is not trusted any more is accepted")
	}
}
