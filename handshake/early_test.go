package handshake

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/session"
)

// earlyConfigs returns configs for early data, and a session for it.
func earlyConfigs(t *testing.T) (client, server *Config, s *session.State) {
	t.Helper()
	client, server = clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets, server.MaxEarlyData = &fakeTickets{}, 100
	server.AcceptEarlyData = func(context.Context, *ClientHelloInfo, *session.State, []byte) bool { return true }
	s = mustRun(t, client, server).client.sessions[0]
	if s.MaxEarlyData != 100 || !s.EarlyData {
		t.Fatalf("session allows %d bytes, %v", s.MaxEarlyData, s.EarlyData)
	}
	client.Session, client.EarlyData = s, true
	return client, server, s
}

// TestEarlyDataAsked checks that the caller is asked last, with the binder that
// the ClientHello has: what it remembers is not spent on what is rejected anyway.
func TestEarlyDataAsked(t *testing.T) {
	tests := []struct {
		name   string
		change func(client, server *Config)
		asked  bool
	}{
		{"all is well", func(_, _ *Config) {}, true},
		{"stale", func(_, s *Config) { s.Time = func() time.Time { return testNow.Add(11 * time.Second) } }, false},
		{"less is allowed", func(_, s *Config) { s.MaxEarlyData = 99 }, false},
		{"the session forbids", func(_, s *Config) {
			for _, state := range s.Tickets.(*fakeTickets).states {
				state.EarlyData = false
			}
		}, false},
		{"the session has no limit", func(_, s *Config) {
			for _, state := range s.Tickets.(*fakeTickets).states {
				state.MaxEarlyData = 0
			}
		}, false},
		{"retry", func(_, s *Config) { s.Groups = []NamedGroup{Secp521r1} }, false},
		{"no such ticket", func(_, s *Config) { s.Tickets = &fakeTickets{} }, false},
		{"other suite", func(c, s *Config) { s.CipherSuites = otherSuite(c.Session.CipherSuite) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server, s := earlyConfigs(t)
			asked := false
			server.AcceptEarlyData = func(_ context.Context, _ *ClientHelloInfo, state *session.State, binder []byte) bool {
				if asked || len(binder) < 32 || !state.CreatedAt.Equal(s.CreatedAt) {
					t.Errorf("asked with binder %x for %v", binder, state)
				}
				asked = true
				return true
			}
			test.change(client, server)
			p := newPair(client, server)
			var offered, accepted uint32
			if err := p.client.Start(); err != nil {
				t.Fatal(err)
			}
			offered, _ = p.client.EarlyData()
			p.client.drain()
			if err := p.server.deliver(p.client, false); err != nil {
				t.Fatal(err)
			}
			accepted, _ = p.server.EarlyData()
			if err := p.pump(false); err != nil {
				t.Fatal(err)
			}
			p.check(t)
			want := "rejected"
			if test.asked {
				want = "accepted"
			}
			if asked != test.asked || p.client.earlyVerdict != want || p.server.earlyVerdict != want {
				t.Errorf("asked %v; client %q, server %q", asked, p.client.earlyVerdict, p.server.earlyVerdict)
			}
			if offered != 100 || (accepted == 100) != test.asked {
				t.Errorf("%d bytes offered, %d accepted", offered, accepted)
			}
		})
	}
}

// otherSuite returns a suite with the same hash.
func otherSuite(id uint16) []uint16 {
	if id == 0x1301 {
		return []uint16{0x1303}
	}
	return []uint16{0x1301}
}

// TestEarlyDataBinder offers one session many times: each ClientHello has a
// binder of its own, and the same one when it comes again.
func TestEarlyDataBinder(t *testing.T) {
	client, server, _ := earlyConfigs(t)
	var binders [][]byte
	server.AcceptEarlyData = func(_ context.Context, _ *ClientHelloInfo, _ *session.State, binder []byte) bool {
		binders = append(binders, bytes.Clone(binder))
		return true
	}
	for range 3 {
		p := newPair(client, server)
		if err := p.client.Start(); err != nil {
			t.Fatal(err)
		}
		p.client.drain()
		for range 2 {
			again := NewServer(context.Background(), server)
			if err := again.Handle(LevelInitial, p.client.out[0].bytes); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, a := range binders {
		for j, b := range binders {
			if bytes.Equal(a, b) != (i/2 == j/2) {
				t.Errorf("binders of ClientHellos %d and %d: %x, %x", i/2, j/2, a, b)
			}
		}
	}
}

// TestEarlyDataNotOffered has sessions that a client must not use for early data.
func TestEarlyDataNotOffered(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"not asked for":    func(c *Config) { c.EarlyData = false },
		"no limit":         func(c *Config) { c.Session.MaxEarlyData = 0 },
		"forbidden":        func(c *Config) { c.Session.EarlyData = false },
		"other protocol":   func(c *Config) { c.Session.ALPN = "other" },
		"no TLS 1.3":       func(c *Config) { c.MaxVersion = versionTLS12 },
		"expired":          func(c *Config) { c.Time = func() time.Time { return testNow.Add(8 * 24 * time.Hour) } },
		"another name":     func(c *Config) { c.ServerName = "other.test" },
		"external PSK":     func(c *Config) { c.Session, c.PSKs = nil, pskOf(1) },
		"external only":    func(c *Config) { c.PSKOnly, c.PSKs = true, pskOf(1) },
		"another suite":    func(c *Config) { c.CipherSuites = otherSuite(c.Session.CipherSuite) },
		"no such suite":    func(c *Config) { c.Session.CipherSuite = 0x9999 },
		"without a ticket": func(c *Config) { c.Session.Ticket = nil },
	} {
		client, _, _ := earlyConfigs(t)
		change(client)
		e := NewClient(context.Background(), client)
		if err := e.Start(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if limit, _ := e.EarlyData(); limit != 0 || e.client.hello.has(extEarlyData) {
			t.Errorf("%s: early data is offered", name)
		}
	}
}

// forbidding makes tickets for no early data.
type forbidding struct{ *fakeTickets }

func (f forbidding) Seal(ctx context.Context, conn *State, s *session.State) ([]byte, error) {
	s.EarlyData = false
	return f.fakeTickets.Seal(ctx, conn, s)
}

// TestEarlyDataTicketForbids checks that a client is not told what its ticket is
// not good for.
func TestEarlyDataTicketForbids(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets, server.MaxEarlyData = forbidding{&fakeTickets{}}, 100
	if s := mustRun(t, client, server).client.sessions[0]; s.MaxEarlyData != 0 || s.EarlyData {
		t.Errorf("session allows %d bytes, %v", s.MaxEarlyData, s.EarlyData)
	}
}

// TestEarlyDataSkipLimit checks how much a server is told to skip.
func TestEarlyDataSkipLimit(t *testing.T) {
	for _, test := range []struct {
		ours, tickets, want uint32
	}{{0, 100, 100}, {50, 100, 100}, {200, 100, 200}} {
		client, server, _ := earlyConfigs(t)
		server.AcceptEarlyData, server.MaxEarlyData = nil, test.ours
		for _, retry := range []bool{false, true} {
			if retry {
				server.Groups = []NamedGroup{Secp521r1}
			}
			p := newPair(client, server)
			if err := p.client.Start(); err != nil {
				t.Fatal(err)
			}
			p.client.drain()
			if err := p.server.Handle(LevelInitial, p.client.out[0].bytes); err != nil {
				t.Fatal(err)
			}
			var got []uint32
			for ev, ok := p.server.NextEvent(); ok; ev, ok = p.server.NextEvent() {
				if ev, ok := ev.(EarlyDataRejected); ok {
					got = append(got, ev.MaxBytes)
				}
			}
			if len(got) != 1 || got[0] != test.want {
				t.Errorf("ours %d, retry %v: skip %d, want %d", test.ours, retry, got, test.want)
			}
		}
	}
}

// TestEarlyDataVersion has a client meet servers of TLS 1.2.
func TestEarlyDataVersion(t *testing.T) {
	client, server, _ := earlyConfigs(t)
	server.MaxVersion = versionTLS12
	p := newPair(client, server)
	if err := p.client.Start(); err != nil {
		t.Fatal(err)
	}
	p.client.drain()
	p.client.out = p.client.out[:1] // what follows it ends the server's side
	err := p.pump(false)
	if !errors.Is(err, ErrEarlyDataVersion) {
		t.Errorf("error %v", err)
	}
	wantFatal(t, err, alert.ProtocolVersion)
	client.EarlyData = false
	mustRun(t, client, server)
}

// TestEarlyDataVerifyConnection checks that a server's caller has its last word
// before early data may come, once.
func TestEarlyDataVerifyConnection(t *testing.T) {
	client, server, _ := earlyConfigs(t)
	p := newPair(client, server)
	calls := 0
	boom := errors.New("boom")
	var verdict error
	server.VerifyConnection = func(s *State) error {
		calls++
		if !s.EarlyData || p.server.Established() {
			t.Errorf("called with early data %v, established %v", s.EarlyData, p.server.Established())
		}
		if _, err := p.server.ExportKeyingMaterial("label", nil, 16); err != nil {
			t.Error(err)
		}
		return verdict
	}
	if err := p.run(false); err != nil || calls != 1 {
		t.Errorf("%v, %d calls", err, calls)
	}
	p.check(t)
	verdict = boom
	p = newPair(client, server)
	err := p.run(false)
	if !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	wantFatal(t, err, alert.BadCertificate)
}

// TestEarlyDataUninvited has a server accept early data that was not offered, or
// not with the session that it resumes.
func TestEarlyDataUninvited(t *testing.T) {
	accepting := func(raw []byte) []byte {
		if handshakeType(raw[0]) != typeEncryptedExtensions {
			return raw
		}
		m, err := parseEncryptedExtensions(raw[messageHeaderLen:])
		if err != nil {
			t.Fatal(err)
		}
		m.earlyData = true
		return m.append(nil)
	}
	tests := []struct {
		name   string
		change func(client, server *Config)
		want   alert.Description
	}{
		{"not offered", func(c, _ *Config) { c.EarlyData = false }, alert.UnsupportedExtension},
		{"retry", func(_, s *Config) { s.Groups = []NamedGroup{Secp521r1} }, alert.UnsupportedExtension},
		{"full handshake", func(_, s *Config) { s.Tickets = &fakeTickets{} }, alert.IllegalParameter},
		{"other suite", func(c, s *Config) { s.CipherSuites = otherSuite(c.Session.CipherSuite) }, alert.IllegalParameter},
		{"second key", func(c, s *Config) {
			c.PSKs = pskOf(1)
			s.Tickets = nil
			s.GetPSK = func(_ context.Context, id []byte) (*ExternalPSK, error) {
				if psk := &c.PSKs[0]; bytes.Equal(id, psk.Identity) {
					return psk, nil
				}
				return nil, nil
			}
		}, alert.IllegalParameter},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server, _ := earlyConfigs(t)
			test.change(client, server)
			server.AcceptEarlyData, server.rewrite = nil, accepting
			wantFatal(t, newPair(client, server).run(false), test.want)
		})
	}
}

// TestEarlyDataSecondIdentity offers early data with a ticket that the server
// does not know, and behind it one that it knows: only the first one counts.
func TestEarlyDataSecondIdentity(t *testing.T) {
	client, server, _ := earlyConfigs(t)
	server.AcceptEarlyData = func(context.Context, *ClientHelloInfo, *session.State, []byte) bool {
		t.Error("asked")
		return true
	}
	p := newPair(client, server)
	c := p.client.client
	m, err := c.newClientHello()
	if err == nil {
		err = c.offerKeyShares(m)
	}
	if err == nil {
		err = c.preparePSKs()
	}
	if err != nil {
		t.Fatal(err)
	}
	unknown := c.psks[0]
	unknown.identity = []byte("unknown")
	c.psks = append([]offeredPSK{unknown}, c.psks...)
	c.offerPSKs(m)
	m.earlyData = true
	if err := c.queueHello(m); err != nil {
		t.Fatal(err)
	}
	c.state = clientWaitSH
	c.startEarlyData()
	if err := p.pump(false); err != nil {
		t.Fatal(err)
	}
	p.check(t)
	if !p.server.State().Resumed || p.server.earlyVerdict != "rejected" || p.client.earlyVerdict != "rejected" {
		t.Errorf("resumed %v; client %q, server %q", p.server.State().Resumed, p.client.earlyVerdict, p.server.earlyVerdict)
	}
}
