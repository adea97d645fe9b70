package tls

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/go-handoff/tls/session"
)

// resumes makes a connection and reports whether it was resumed.
func resumes(t testing.TB, client, server *Config) bool {
	t.Helper()
	c, s := connect(t, sockets, client, server)
	echo(t, c, s) // the client reads its ticket
	resumed := c.ConnectionState().DidResume
	if s.ConnectionState().DidResume != resumed {
		t.Error("the two sides do not agree on what is resumed")
	}
	c.Close()
	s.Close()
	return resumed
}

func cachingClient() *Config {
	client := clientConfig()
	client.ClientSessionCache = NewLRUClientSessionCache(0)
	return client
}

func serverWith(change func(*Config)) *Config {
	server := serverConfig("P256")
	change(server)
	return server
}

// TestSessionTicketKeys checks which servers can open whose tickets.
func TestSessionTicketKeys(t *testing.T) {
	keyA, keyB := [32]byte{1}, [32]byte{2}
	base := serverConfig("P256")
	base.keyRing()
	source := new(session.MemoryRing)
	shared := func() *session.KeyRing {
		r := &session.KeyRing{Source: source, KEK: [32]byte{9}}
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	tests := []struct {
		name          string
		first, second *Config
		want          bool
	}{
		{"none set", serverConfig("P256"), serverConfig("P256"), false},
		{"same Config", base, base, true},
		{"clone", base, base.Clone(), true},
		{"same key", serverWith(func(c *Config) { c.SessionTicketKey = keyA }), serverWith(func(c *Config) { c.SessionTicketKey = keyA }), true},
		{"other key", serverWith(func(c *Config) { c.SessionTicketKey = keyA }), serverWith(func(c *Config) { c.SessionTicketKey = keyB }), false},
		{"rotated", serverWith(func(c *Config) { c.SetSessionTicketKeys([][32]byte{keyA}) }), serverWith(func(c *Config) { c.SetSessionTicketKeys([][32]byte{keyB, keyA}) }), true},
		{"set over field", serverWith(func(c *Config) { c.SessionTicketKey = keyA }), serverWith(func(c *Config) {
			c.SessionTicketKey = keyA
			c.SetSessionTicketKeys([][32]byte{keyB})
		}), false},
		{"shared keys", serverWith(func(c *Config) { c.TicketKeys = shared() }), serverWith(func(c *Config) { c.TicketKeys = shared() }), true},
		{"another zone", serverWith(func(c *Config) { c.TicketKeys = shared() }), serverWith(func(c *Config) {
			c.TicketKeys = shared()
			c.TicketKeys.Zone = "west"
		}), false},
		{"shared over field", serverWith(func(c *Config) { c.SessionTicketKey = keyA }), serverWith(func(c *Config) {
			c.SessionTicketKey = keyA
			c.TicketKeys = shared()
		}), false},
		{"set over shared", serverWith(func(c *Config) { c.TicketKeys = shared() }), serverWith(func(c *Config) {
			c.TicketKeys = shared()
			c.SetSessionTicketKeys([][32]byte{keyB})
		}), false},
		{"off", base, serverWith(func(c *Config) { c.SessionTicketsDisabled = true }), false},
		{"chosen Config uses ours", base, func() *Config {
			c := base.Clone()
			c.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return serverConfig("P256"), nil }
			return c
		}(), true},
		{"chosen Config has its own", base, func() *Config {
			c := base.Clone()
			c.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) {
				return serverWith(func(c *Config) { c.SessionTicketKey = keyB }), nil
			}
			return c
		}(), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, v uint16) {
				client := cachingClient()
				client.MaxVersion = v
				if resumes(t, client, test.first) {
					t.Error("the first connection is resumed")
				}
				if got := resumes(t, client, test.second); got != test.want {
					t.Errorf("resumed %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestSetNoSessionTicketKeys(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no keys are accepted")
		}
	}()
	new(Config).SetSessionTicketKeys(nil)
}

// TestWrapSession keeps sessions with what an application adds to them, once
// sealed and once under a handle.
func TestWrapSession(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		var seen [][]byte
		sealed := serverConfig("P256")
		sealed.MaxVersion = v
		sealed.WrapSession = func(cs ConnectionState, ss *SessionState) ([]byte, error) {
			if cs.Version != v {
				t.Errorf("WrapSession for version %x", cs.Version)
			}
			ss.Extra = append(ss.Extra, []byte("extra"))
			return sealed.EncryptTicket(cs, ss)
		}
		sealed.UnwrapSession = func(identity []byte, cs ConnectionState) (*SessionState, error) {
			ss, err := sealed.DecryptTicket(identity, cs)
			if ss != nil {
				seen = ss.Extra
			}
			return ss, err
		}
		client := cachingClient()
		if resumes(t, client, sealed) || !resumes(t, client, sealed) {
			t.Error("sealed by the application: not resumed, or too early")
		}
		if len(seen) != 1 || string(seen[0]) != "extra" {
			t.Errorf("extra data %q", seen)
		}

		stored := make(map[string][]byte)
		handles := serverConfig("P256")
		handles.MaxVersion = v
		handles.WrapSession = func(_ ConnectionState, ss *SessionState) ([]byte, error) {
			data, err := ss.Bytes()
			stored["handle"] = data
			return []byte("handle"), err
		}
		handles.UnwrapSession = func(identity []byte, _ ConnectionState) (*SessionState, error) {
			data, ok := stored[string(identity)]
			if !ok {
				return nil, nil
			}
			return ParseSessionState(data)
		}
		if resumes(t, client, handles) || !resumes(t, client, handles) {
			t.Error("under a handle: not resumed, or too early")
		}
		stored = nil
		broken := errors.New("broken")
		handles.UnwrapSession = func([]byte, ConnectionState) (*SessionState, error) { return nil, broken }
		c, s := pair(t, sockets, client, handles)
		if _, err := handshakes(c, s); !errors.Is(err, broken) {
			t.Errorf("UnwrapSession fails: %v", err)
		}
	})
}

// foreignCache is a cache of an application, which stores sessions as bytes.
type foreignCache struct {
	t       *testing.T
	entries map[string][2][]byte
}

func (f foreignCache) Get(key string) (*ClientSessionState, bool) {
	e, ok := f.entries[key]
	if !ok {
		return nil, false
	}
	state, err := ParseSessionState(e[1])
	if err != nil {
		f.t.Fatal(err)
	}
	cs, err := NewResumptionState(e[0], state)
	if err != nil {
		f.t.Fatal(err)
	}
	return cs, true
}

func (f foreignCache) Put(key string, cs *ClientSessionState) {
	if cs == nil {
		delete(f.entries, key)
		return
	}
	ticket, state, err := cs.ResumptionState()
	if err != nil {
		f.t.Fatal(err)
	}
	data, err := state.Bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	f.entries[key] = [2][]byte{ticket, data}
}

// TestForeignCache checks that sessions survive an application's cache, and
// that those of TLS 1.3 are used once only.
func TestForeignCache(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := clientConfig(), serverConfig("P256")
		cache := foreignCache{t, make(map[string][2][]byte)}
		client.ClientSessionCache, client.MaxVersion = cache, v
		if resumes(t, client, server) || !resumes(t, client, server) {
			t.Error("not resumed, or too early")
		}
		c, _ := pair(t, sockets, client, server)
		b := binding{conn: c.(*Conn), cfg: client}
		if b.loadSession() == nil {
			t.Fatal("no session left")
		}
		if again := b.loadSession() != nil; again != (v == VersionTLS12) {
			t.Errorf("a session can be used again: %v", again)
		}
	})
}

func TestLRUClientSessionCache(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := cachingClient(), serverConfig("P256")
		client.MaxVersion = v
		resumes(t, client, server)
		cache := client.ClientSessionCache
		cs, ok := cache.Get(testName)
		if !ok {
			t.Fatal("no session")
		}
		if _, again := cache.Get(testName); again != (v == VersionTLS12) {
			t.Errorf("a session can be used again: %v", again)
		}
		cache.Put("other", cs)
		if _, ok := cache.Get("other"); !ok {
			t.Error("a session that was put is not there")
		}
		cache.Put(testName, nil)
		cache.Put(testName, new(ClientSessionState))
		if _, ok := cache.Get(testName); ok {
			t.Error("a session that was removed is there")
		}
	})
}

// TestSessionsNotResumed checks what makes a client drop its session.
func TestSessionsNotResumed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
	}{
		{"trusts somebody else", func(c *Config) { c.RootCAs = makeAuthority("Other").pool; c.VerifyPeerCertificate = nil }},
		{"later than the certificate", func(c *Config) { c.Time = func() time.Time { return time.Now().Add(13 * time.Hour) } }},
		{"other version", func(c *Config) { c.MinVersion, c.MaxVersion = c.MaxVersion^1, c.MaxVersion^1 }},
	}
	for _, test := range tests {
		forEachVersion(t, func(t *testing.T, v uint16) {
			client, server := cachingClient(), serverConfig("P256")
			client.MaxVersion = v
			resumes(t, client, server)
			client = client.Clone()
			test.change(client)
			c, s := pair(t, sockets, client, server)
			if cerr, _ := handshakes(c, s); cerr == nil && c.ConnectionState().DidResume {
				t.Errorf("%s: resumed", test.name)
			}
		})
	}
}

// TestChainsStillGood checks what a client looks at again in chains that it has
// verified before.
func TestChainsStillGood(t *testing.T) {
	client, server := cachingClient(), serverConfig("P256")
	c, _ := connect(t, sockets, client, server)
	chains := c.ConnectionState().VerifiedChains
	leaf, root := chains[0][0], chains[0][len(chains[0])-1]
	above := makeAuthority("Above")
	der, err := x509.CreateCertificate(rand.Reader, root, above.cert, root.PublicKey, above.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*Config, *session.State)
		good   bool
	}{
		{"nothing", func(*Config, *session.State) {}, true},
		{"name", func(c *Config, _ *session.State) { c.ServerName = "other.example" }, false},
		{"roots", func(c *Config, s *session.State) {
			c.RootCAs = makeAuthority("Other").pool
			s.VerifiedRoots = c.RootCAs
		}, false},
		{"the same roots in another pool", func(c *Config, _ *session.State) { c.RootCAs = c.RootCAs.Clone() }, false},
		{"a root that others vouch for", func(c *Config, s *session.State) {
			c.RootCAs, s.VerifiedRoots, s.VerifiedChains = above.pool, above.pool, [][]*x509.Certificate{{leaf, signed}}
		}, false},
		{"a chain of nothing", func(_ *Config, s *session.State) { s.VerifiedChains = [][]*x509.Certificate{{}} }, false},
		{"one chain of two", func(_ *Config, s *session.State) { s.VerifiedChains = [][]*x509.Certificate{{leaf}, chains[0]} }, true},
		{"later", func(c *Config, _ *session.State) { c.Time = func() time.Time { return leaf.NotAfter.Add(time.Second) } }, false},
		{"earlier", func(c *Config, _ *session.State) {
			c.Time = func() time.Time { return leaf.NotBefore.Add(-time.Second) }
		}, false},
		{"leaf", func(_ *Config, s *session.State) { s.PeerChain = [][]byte{[]byte("another")} }, false},
		{"no leaf", func(_ *Config, s *session.State) { s.PeerChain = nil }, false},
		{"no chains", func(_ *Config, s *session.State) { s.VerifiedChains = nil }, false},
		{"verifies nothing", func(c *Config, _ *session.State) { c.InsecureSkipVerify = true }, false},
	}
	for _, test := range tests {
		cfg, state := client.Clone(), &session.State{PeerChain: [][]byte{leaf.Raw}, VerifiedChains: chains, VerifiedRoots: client.RootCAs}
		test.change(cfg, state)
		b := binding{conn: c.(*Conn), cfg: cfg}
		if good := b.stillGood(state) != nil; good != test.good {
			t.Errorf("%s: good: %v, want %v", test.name, good, test.good)
		}
	}
}

// TestChainsVerifiedOnce: a client's resumptions have the chains of the connection that
// the session is from, and connections share what they know of a certificate.
func TestChainsVerifiedOnce(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := cachingClient(), serverConfig("P256")
		client.MaxVersion = v
		c, s := connect(t, sockets, client, server)
		echo(t, c, s) // the ticket
		full := c.ConnectionState()
		for range 2 {
			c, s := connect(t, sockets, client, server)
			echo(t, c, s)
			resumed := c.ConnectionState()
			if !resumed.DidResume || &resumed.VerifiedChains[0][0] != &full.VerifiedChains[0][0] {
				t.Errorf("resumed %v, with chains of its own", resumed.DidResume)
			}
		}
		c, _ = connect(t, sockets, clientConfig(), server)
		if again := c.ConnectionState(); again.DidResume || again.PeerCertificates[0] != full.PeerCertificates[0] {
			t.Errorf("resumed %v, with a certificate of its own", again.DidResume)
		}
		runtime.KeepAlive(full)
	})
}

// TestRootsWithConstraint has another pool with the same root, whose constraint refuses
// what the session's did not ask about.
func TestRootsWithConstraint(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := cachingClient(), serverConfig("P256")
		client.MaxVersion = v
		c, s := connect(t, sockets, client, server)
		echo(t, c, s) // the ticket
		next := client.Clone()
		next.RootCAs = x509.NewCertPool()
		next.RootCAs.AddCertWithConstraint(newAuthority().cert, func([]*x509.Certificate) error { return errors.New("no more") })
		c, s = pair(t, sockets, next, server)
		if err, _ := handshakes(c, s); err == nil {
			t.Errorf("resumed %v with a chain that is refused now", c.ConnectionState().DidResume)
		}
	})
}

// TestSessionsOfAdopted checks that chains which another process has verified are
// verified again when a session is resumed.
func TestSessionsOfAdopted(t *testing.T) {
	client, server := cachingClient(), serverConfig("P256")
	tc, _ := connect(t, sockets, client, server)
	c := tc.(*Conn)
	for _, adopted := range []bool{false, true} {
		c.adopted = adopted
		s := &session.State{Version: VersionTLS13, CreatedAt: time.Now(), Lifetime: time.Hour, Ticket: []byte("ticket")}
		(&binding{conn: c, cfg: client}).storeSession(s)
		if kept := s.VerifiedChains != nil; kept == adopted {
			t.Errorf("adopted: %v, chains are kept: %v", adopted, kept)
		}
	}
}

// TestTicketBinding changes what a server's ticket is bound to: a full
// handshake, without an error. The certificate is asked for once in any case.
func TestTicketBinding(t *testing.T) {
	protos := func(p ...string) func(*Config) { return func(c *Config) { c.NextProtos = p } }
	tests := []struct {
		name           string
		client, server func(*Config)
		want           bool
	}{
		{"nothing", nil, nil, true},
		{"name", func(c *Config) { c.ServerName, c.InsecureSkipVerify = "second.example", true }, nil, false},
		{"protocol", protos("b"), nil, false},
		{"no protocol", protos(), nil, false},
		{"server's choice of protocol", nil, protos("b", "a"), false},
		{"certificate", nil, func(c *Config) { c.Certificates = []Certificate{testCert("RSA")} }, false},
		{"renewed certificate", nil, func(c *Config) {
			c.Certificates = []Certificate{newAuthority().issue(testKeys()["P256"], testName)}
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, v uint16) {
				client, server := clientConfig(), serverConfig("P256")
				client.ClientSessionCache, client.MaxVersion = new(replayCache), v
				client.NextProtos, server.NextProtos = []string{"a", "b"}, []string{"a", "b"}
				server.keyRing()
				resumes(t, client, server)
				if !resumes(t, client, server) {
					t.Fatal("not resumed with all as it was")
				}
				client, server = client.Clone(), server.Clone()
				for change, cfg := range map[*func(*Config)]*Config{&test.client: client, &test.server: server} {
					if *change != nil {
						(*change)(cfg)
					}
				}
				asked, certs := 0, server.Certificates
				server.Certificates = nil
				server.GetCertificate = func(*ClientHelloInfo) (*Certificate, error) {
					asked++
					return &certs[0], nil
				}
				if got := resumes(t, client, server); got != test.want || asked != 1 {
					t.Errorf("resumed %v, certificate asked for %d times", got, asked)
				}
			})
		})
	}
}

// TestResumedTicketBinding resumes with a ticket that a resumed connection got:
// it is bound as the first one was.
func TestResumedTicketBinding(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := cachingClient(), serverConfig("P256")
		client.MaxVersion = v
		for i := range 3 {
			if got := resumes(t, client, server); got != (i > 0) {
				t.Errorf("connection %d: resumed %v", i, got)
			}
		}
		server = server.Clone()
		server.Certificates = []Certificate{testCert("RSA")}
		if resumes(t, client, server) {
			t.Error("resumed with another certificate")
		}
	})
}

// TestUnverifiedSession checks that a session from a connection that verified
// nothing is of no use to one that does.
func TestUnverifiedSession(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		careless := &Config{ServerName: testName, InsecureSkipVerify: true, ClientSessionCache: NewLRUClientSessionCache(0), MaxVersion: v}
		server := serverWith(func(c *Config) {
			c.Certificates = []Certificate{makeAuthority("Attacker").issue(testKeys()["P256"], testName)}
		})
		resumes(t, careless, server)
		careful := clientConfig()
		careful.ClientSessionCache, careful.MaxVersion = careless.ClientSessionCache, v
		c, s := pair(t, sockets, careful, server)
		ua := x509.UnknownAuthorityError{}
		if cerr, _ := handshakes(c, s); !errors.As(cerr, &ua) {
			t.Errorf("client: %v", cerr)
		}
	})
}

// TestSessionIDs checks that the engine gets the cache of session IDs, or none:
// an interface with nothing in it would be something.
func TestSessionIDs(t *testing.T) {
	cache := session.NewServerCache(0, 0)
	for _, test := range []struct {
		config *Config
		want   ServerSessionCache
	}{{&Config{}, nil}, {&Config{ServerSessionCache: cache}, cache}} {
		if got := (tickets{&binding{cfg: test.config}}).SessionIDs(); got != test.want {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}

func TestTicketCount(t *testing.T) {
	client, server := cachingClient(), serverConfig("P256")
	server.SessionTicketCount = 3
	resumes(t, client, server)
	for i := range 3 {
		if _, ok := client.ClientSessionCache.Get(testName); !ok {
			t.Errorf("no ticket %d", i)
		}
	}
	if _, ok := client.ClientSessionCache.Get(testName); ok {
		t.Error("more than three tickets")
	}
}

// TestVerifyOnResumption checks which callbacks run when a session is resumed.
func TestVerifyOnResumption(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		var calls []string
		client, server := cachingClient(), serverConfig("P256")
		client.MaxVersion = v
		client.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			calls = append(calls, "peer")
			return nil
		}
		client.VerifyConnection = func(cs ConnectionState) error {
			if len(cs.VerifiedChains) == 0 || len(cs.PeerCertificates) == 0 || cs.ServerName != testName {
				t.Errorf("VerifyConnection sees %+v", cs)
			}
			calls = append(calls, "connection")
			return nil
		}
		resumes(t, client, server)
		if !resumes(t, client, server) {
			t.Error("not resumed")
		}
		if want := []string{"peer", "connection", "connection"}; !slices.Equal(calls, want) {
			t.Errorf("called %v, want %v", calls, want)
		}
	})
}

func TestSessionStateBytes(t *testing.T) {
	client, server := cachingClient(), serverConfig("P256")
	resumes(t, client, server)
	cs, _ := client.ClientSessionCache.Get(testName)
	ticket, state, err := cs.ResumptionState()
	if err != nil || len(ticket) == 0 {
		t.Fatalf("ticket of %d bytes, %v", len(ticket), err)
	}
	state.Extra, state.EarlyData = [][]byte{[]byte("mine")}, true
	data, err := state.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseSessionState(data)
	if err != nil || len(parsed.Extra) != 1 || string(parsed.Extra[0]) != "mine" || !parsed.EarlyData {
		t.Fatalf("parsed %v, %v", parsed, err)
	}
	again, err := parsed.Bytes()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("encoded again, it differs (%v)", err)
	}
	if _, err := ParseSessionState(data[:len(data)-1]); err == nil {
		t.Error("a truncated session is accepted")
	}
	if _, err := new(SessionState).Bytes(); err == nil {
		t.Error("an empty session has an encoding")
	}
	if _, err := NewResumptionState(ticket, new(SessionState)); err == nil {
		t.Error("an empty session can be resumed")
	}
	if ticket, state, err := (*ClientSessionState)(nil).ResumptionState(); ticket != nil || state != nil || err != nil {
		t.Error("no session has something in it")
	}
	if _, err := new(Config).EncryptTicket(ConnectionState{}, new(SessionState)); err == nil {
		t.Error("an empty session can be sealed")
	}
	if ss, err := new(Config).DecryptTicket([]byte("unknown"), ConnectionState{}); ss != nil || err != nil {
		t.Errorf("an unknown ticket: %v, %v", ss, err)
	}
}
