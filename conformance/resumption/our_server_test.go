package resumption

import (
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// A situation is two connections of a client to servers of ours: what is
// different when it comes back, and whether its session is resumed then.
type situation struct {
	name     string
	means    string
	sharing  sharing
	both     func(*tls.Config)                     // changes both servers
	again    func(*fleet, *tls.Config)             // changes the second server
	same     bool                                  // the second server is the first one
	other    bool                                  // the client asks for another name
	damages  []damage                              // one of them hits the session's name at the client
	resumes  func(form) bool                       // nil: never
	nameless bool                                  // there is nothing left to offer
	checks   func(*testing.T, tls.ConnectionState) // of the second connection
}

func always(form) bool { return true }

// keyed reports whether the keys of tickets seal the session.
func keyed(f form) bool { return f.kind != cached }

// expire is longer than any session lives.
const expire = 8 * 24 * time.Hour

var situations = []situation{
	{name: "again", means: "the same server, with a Config that says nothing of tickets", same: true, resumes: always},
	{name: "restart", means: "the server was started anew; keys (file.Ring) and sessions (file.Store) are in files", sharing: files, resumes: keyed},
	{name: "two", means: "a second server shares keys (MemoryRing), MemoryStore and session ID cache", sharing: memory, resumes: always},
	{name: "keys lost", means: "the server was started anew and shares nothing with what it was"},
	{
		name: "rotated 1", means: "another server of a fleet rotated the shared keys once (KeyRing.Rotate), and is met",
		sharing: memory, resumes: always, again: func(f *fleet, cfg *tls.Config) { f.rotate(cfg, 1) },
	},
	{
		name: "rotated 2", means: "the same, twice: the oldest key that opens",
		sharing: memory, resumes: always, again: func(f *fleet, cfg *tls.Config) { f.rotate(cfg, 2) },
	},
	{
		name: "rotated 3", means: "the same, three times: the key is gone",
		sharing: memory, resumes: func(f form) bool { return !keyed(f) }, again: func(f *fleet, cfg *tls.Config) { f.rotate(cfg, 3) },
	},
	{
		name: "13 h", means: "the clock of the same server's keys went on by more than the interval of 12 hours",
		sharing: files, same: true, resumes: always, again: func(f *fleet, cfg *tls.Config) { f.pass(cfg, 13*time.Hour, 1) },
	},
	{
		name: "2 d", means: "the same, by more than four intervals, during which the server was used: the key is gone",
		sharing: files, same: true, resumes: func(f form) bool { return !keyed(f) },
		again: func(f *fleet, cfg *tls.Config) { f.pass(cfg, 4*time.Hour, 13) },
	},
	{
		name: "expired", means: "the clock of the server went on by eight days, that of its keys did not",
		sharing: memory, again: func(_ *fleet, cfg *tls.Config) { cfg.Time = func() time.Time { return time.Now().Add(expire) } },
	},
	{name: "SNI", means: "the client offers the session under another server name", sharing: memory, same: true, other: true},
	{
		name: "ALPN", means: "another application protocol is negotiated",
		sharing: memory, again: func(_ *fleet, cfg *tls.Config) { cfg.NextProtos = nil },
	},
	{
		name: "certificate", means: "the server has a new certificate for the same name",
		sharing: memory, again: func(_ *fleet, cfg *tls.Config) { cfg.Certificates = []tls.Certificate{renewed.cert} },
	},
	{
		name: "client auth", means: "the server began to demand a client certificate",
		sharing: memory, again: func(_ *fleet, cfg *tls.Config) { demand(cfg) }, checks: isPerson,
	},
	{
		name: "known client", means: "client certificates are demanded from the start; the session remembers whose it was",
		sharing: memory, both: demand, resumes: always, checks: isPerson,
	},
	{name: "altered", means: "one bit of the ticket, handle or ID is wrong, in four places", sharing: memory, damages: altered},
	{name: "cut", means: "the ticket, handle or ID is cut, to one byte, by half and by one byte", sharing: memory, damages: cut},
	{name: "longer", means: "the ticket or handle is one byte longer", sharing: memory, damages: longer},
	{name: "emptied", means: "the ticket, handle or ID is empty", sharing: memory, damages: emptied, nameless: true},
}

func demand(cfg *tls.Config) {
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
}

func isPerson(t *testing.T, s tls.ConnectionState) {
	t.Helper()
	if len(s.VerifiedChains) == 0 || !s.PeerCertificates[0].Equal(person.cert.Leaf) {
		t.Errorf("the client is not known: %d certificates, %d chains", len(s.PeerCertificates), len(s.VerifiedChains))
	}
}

// visit is one connection of a client.
type visit struct {
	server *tls.Config // where it goes
	name   string      // that it asks for
	damage *damage     // what happened to its session before, nil for nothing
	n      int         // 0, 1, ...
}

// visitor is a client of somebody else that comes with the session it got.
type visitor interface {
	// visit connects, exchanges data in both directions, and tells how the
	// connection is for the server and whether the client says it was resumed.
	visit(visit) (s tls.ConnectionState, resumed bool)
}

// client is a peer that our servers are tested with.
type client struct {
	name string
	// edits says that what is stored can be changed; otherwise the server has to
	// send what is damaged.
	edits bool
	// cannot says why the client cannot take part; "" if it can.
	cannot  func(form, *situation) string
	visitor func(testing.TB, *listener, form) visitor
}

// impossible says why there is no such test; "" if there is.
func (c *client) impossible(f form, s *situation) string {
	switch {
	case f.byID() && s.name == "longer":
		return "a session ID has no more than 32 bytes"
	case !c.edits && (s.name == "emptied" || f.byID() && s.name == "cut"):
		return "the client keeps its sessions in memory, and no server can send it this"
	}
	return c.cannot(f, s)
}

// run plays the situation, once for each damage, and reports whether the
// session was resumed.
func (s *situation) run(t *testing.T, c *client, f form) (resumed bool) {
	if s.damages == nil {
		return s.play(t, c, f, nil)
	}
	for i := range s.damages {
		resumed = s.play(t, c, f, &s.damages[i]) || resumed
	}
	return resumed
}

func (s *situation) play(t *testing.T, c *client, f form, d *damage) (resumed bool) {
	fl, l := newFleet(t, f, s.sharing), listen(t)
	first, back := fl.start(), visit{name: serverName, damage: d, n: 1}
	if s.both != nil {
		s.both(first)
	}
	if d != nil && !c.edits {
		fl.damaging(first, *d)
		back.damage = nil
	}
	v := c.visitor(t, l, f)
	state, says := v.visit(visit{server: first, name: serverName})
	if state.DidResume || says || state.Version != f.version {
		t.Errorf("first connection: version %x, resumed here %v, there %v", state.Version, state.DidResume, says)
	}
	back.server = s.next(fl, first)
	if s.other {
		back.name = otherName
	}
	state, says = v.visit(back)
	s.check(t, f, d, state, says)
	if offered := l.hello.offered(t, f); offered == s.nameless {
		t.Errorf("the client offers a session: %v", offered)
	}
	return state.DidResume
}

// next returns the second server.
func (s *situation) next(fl *fleet, first *tls.Config) *tls.Config {
	cfg := first
	if !s.same {
		cfg = fl.start()
		if s.both != nil {
			s.both(cfg)
		}
	}
	if s.again != nil {
		s.again(fl, cfg)
	}
	return cfg
}

// check judges the second connection.
func (s *situation) check(t *testing.T, f form, d *damage, state tls.ConnectionState, says bool) {
	t.Helper()
	want := s.resumes != nil && s.resumes(f)
	if state.DidResume != want || says != want || state.Version != f.version {
		which := ""
		if d != nil {
			which = d.name
		}
		t.Errorf("%s: version %x, resumed here %v, there %v, want %v", which, state.Version, state.DidResume, says, want)
	}
	if s.checks != nil {
		s.checks(t, state)
	}
}
