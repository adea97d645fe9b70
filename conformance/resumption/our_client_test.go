package resumption

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// A revisit is two connections of our client to servers of somebody else: what
// is different when it comes back, and whether it resumes its session then.
type revisit struct {
	name     string
	means    string
	keeps    bool                   // it is about servers that keep their ticket keys
	both     func(*options)         // changes both servers
	server   func(*options)         // changes the second server, which is another process; nil: it is the same one
	client   func(*tls.Config)      // changes the client
	files    bool                   // the client is another process, and its sessions are in files
	damages  []damage               // one of them hits the session's name in our cache
	resumes  func(*peer, form) bool // nil: never
	withheld bool                   // our client does not offer the session
}

func everywhere(*peer, form) bool { return true }

func withKeys(p *peer, _ form) bool { return p.keeps }

func laxly(p *peer, _ form) bool { return p.lax }

const otherProtocol = "other"

var revisits = []revisit{
	{name: "again", means: "the same server, NewLRUClientSessionCache", resumes: everywhere},
	{name: "our restart", means: "our client was started anew, NewFileClientSessionCache", files: true, resumes: everywhere},
	{name: "their restart", means: "the server was started anew with the same certificate and has other ticket keys", server: func(o *options) { o.keys = "B" }},
	{name: "two", means: "another server has the same ticket keys", keeps: true, server: func(*options) {}, resumes: everywhere},
	{name: "rotated", means: "the server's ticket key opens but seals no more", keeps: true, server: func(o *options) { o.keys = "BA" }, resumes: everywhere},
	{name: "expired here", means: "our clock went on by eight days", client: func(cfg *tls.Config) { cfg.Time = func() time.Time { return time.Now().Add(expire) } }, withheld: true},
	{name: "expired there", means: "the server's clock went on by eight days", server: func(o *options) { o.late = expire }},
	{name: "SNI", means: "our client asks for another name, and its cache gives it the session nevertheless", client: func(cfg *tls.Config) { cfg.ServerName = otherName }, withheld: true},
	{
		name: "ALPN", means: "our client speaks another protocol, which the server knows too",
		both: func(o *options) { o.protocols += "," + otherProtocol }, client: func(cfg *tls.Config) { cfg.NextProtos = []string{otherProtocol} },
		resumes: everywhere,
	},
	{name: "certificate", means: "the server has a new certificate; where it kept its keys, it resumes, and shows none", server: func(o *options) { o.who = &renewed }, resumes: withKeys},
	{
		name: "roots", means: "our client trusts another authority now, and the server has a certificate of that",
		server: func(o *options) { o.who = &foreign }, client: func(cfg *tls.Config) { cfg.RootCAs = stranger.Pool() }, withheld: true,
	},
	{name: "client auth", means: "the server began to demand a client certificate", server: func(o *options) { o.demand = true }},
	{name: "known client", means: "client certificates are demanded from the start", both: func(o *options) { o.demand = true }, resumes: everywhere},
	{name: "altered", means: "one bit of the ticket or ID in our cache is wrong, in four places", damages: altered},
	{name: "cut", means: "the ticket or ID in our cache is cut, to one byte, by half and by one byte", damages: cut},
	{name: "longer", means: "the ticket in our cache is one byte longer, which GnuTLS overlooks", damages: longer, resumes: laxly},
	{name: "emptied", means: "the ticket or ID in our cache is empty", damages: emptied, withheld: true},
}

// heldCache keeps one session, whatever the server's name.
type heldCache struct{ session *tls.ClientSessionState }

func (c *heldCache) Get(string) (*tls.ClientSessionState, bool) { return c.session, c.session != nil }
func (c *heldCache) Put(_ string, cs *tls.ClientSessionState)   { c.session = cs }

// damage changes the name of the session.
func (c *heldCache) damage(t testing.TB, f form, d *damage) {
	t.Helper()
	ticket, state, err := c.session.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	if !f.byID() {
		ticket = d.apply(append([]byte(nil), ticket...))
	} else if state, err = renamed(state, d); err != nil {
		t.Fatal(err)
	}
	if c.session, err = tls.NewResumptionState(ticket, state); err != nil {
		t.Fatal(err)
	}
}

// renamed returns the session under a damaged ID.
func renamed(ss *tls.SessionState, d *damage) (*tls.SessionState, error) {
	s, err := stateOf(ss)
	if err != nil {
		return nil, err
	}
	s.SessionID = d.apply(s.SessionID)
	b, err := s.Bytes()
	if err != nil {
		return nil, err
	}
	return tls.ParseSessionState(b)
}

// impossible says why there is no such test; "" if there is.
func (p *peer) impossible(f form, s *revisit) string {
	if f.byID() && s.name == "longer" {
		return "a session ID has no more than 32 bytes"
	}
	return p.cannot(f, s)
}

// run plays it, once for each damage, and reports whether the session was
// resumed.
func (s *revisit) run(t *testing.T, p *peer, f form) (resumed bool) {
	if s.damages == nil {
		return s.play(t, p, f, nil)
	}
	for i := range s.damages {
		resumed = s.play(t, p, f, &s.damages[i]) || resumed
	}
	return resumed
}

func (s *revisit) play(t *testing.T, p *peer, f form, d *damage) (resumed bool) {
	o := options{form: f, who: &server, protocols: protocol, keys: "A"}
	if s.both != nil {
		s.both(&o)
	}
	cfg, srv := s.newClient(t, f), p.start(t, o)
	if state, says, _ := meet(t, srv, cfg, 0); state.DidResume || says {
		t.Errorf("first connection: resumed here %v, there %v", state.DidResume, says)
	}
	if d != nil {
		cfg.ClientSessionCache.(*heldCache).damage(t, f, d)
	}
	if s.server != nil {
		s.server(&o)
		srv = p.start(t, o)
	}
	state, says, hello := meet(t, srv, s.comesBack(t, cfg), 1)
	if want := s.resumes != nil && s.resumes(p, f); state.DidResume != want || says != want || state.Version != f.version {
		which := ""
		if d != nil {
			which = d.name
		}
		t.Errorf("%s: version %x, resumed here %v, there %v, want %v", which, state.Version, state.DidResume, says, want)
	}
	if offered := hello.offered(t, f); offered == s.withheld {
		t.Errorf("our client offers a session: %v", offered)
	}
	return state.DidResume
}

// newClient returns our client, with the cache that it needs for this.
func (s *revisit) newClient(t *testing.T, f form) *tls.Config {
	cfg := &tls.Config{
		RootCAs: authority.Pool(), ServerName: serverName, NextProtos: []string{protocol}, Certificates: []tls.Certificate{person.cert},
		MinVersion: f.version, MaxVersion: f.version, ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	switch {
	case s.files:
		cfg.ClientSessionCache = fileCache(t, filepath.Join(t.TempDir(), "cache"))
	case s.damages != nil, s.client != nil:
		cfg.ClientSessionCache = new(heldCache)
	}
	return cfg
}

// comesBack returns the client as it is when it comes back.
func (s *revisit) comesBack(t *testing.T, cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	if s.client != nil {
		s.client(cfg)
	}
	return cfg
}

func fileCache(t *testing.T, dir string) tls.ClientSessionCache {
	t.Helper()
	cache, err := tls.NewFileClientSessionCache(dir, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// meet connects to a server, exchanges data, and tells how the connection is
// for our client, whether the server says it was resumed, and what was sent.
func meet(t *testing.T, srv running, cfg *tls.Config, n int) (s tls.ConnectionState, resumed bool, hello *tapped) {
	t.Helper()
	raw, err := net.Dial("tcp", srv.addr())
	if err != nil {
		t.Fatal(err)
	}
	hello = &tapped{Conn: raw}
	conn := handshake(t, tls.Client(hello, cfg))
	resumed = srv.exchange(conn, n)
	s = conn.ConnectionState()
	if len(s.VerifiedChains) == 0 || s.NegotiatedProtocol != cfg.NextProtos[0] {
		t.Errorf("connection %d: %d chains, protocol %q", n, len(s.VerifiedChains), s.NegotiatedProtocol)
	}
	conn.Close()
	return s, resumed, hello
}
