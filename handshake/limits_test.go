package handshake

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

var bothVersions = []uint16{versionTLS12, versionTLS13}

// unfailing stands for no alert, in tables of alerts: 0 is close_notify.
const unfailing = alert.Description(255)

// wantOutcome demands what a table says of a handshake.
func wantOutcome(t *testing.T, err error, want alert.Description) {
	t.Helper()
	if want != unfailing {
		wantFatal(t, err, want)
	} else if err != nil {
		t.Error(err)
	}
}

// startClient returns a client that has sent its ClientHello.
func startClient(t *testing.T, cfg *Config) (*side, *clientHello) {
	t.Helper()
	c := newPair(cfg, testConfig()).client
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, lastHello(t, c)
}

// lastHello takes the ClientHello that c has sent.
func lastHello(t *testing.T, c *side) *clientHello {
	t.Helper()
	c.drain()
	sent := c.out[len(c.out)-1].bytes
	m, err := parseClientHello(sent[messageHeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCookieLimit has servers ask for a cookie back: one that the second
// ClientHello has room for, and some that it has not.
func TestCookieLimit(t *testing.T) {
	for _, test := range []struct {
		size int
		want alert.Description
	}{
		{1, unfailing},
		{1 << 14, unfailing},
		{1<<14 + 1, alert.IllegalParameter},
		{65300, alert.IllegalParameter},
	} {
		c, hello := startClient(t, clientTestConfig())
		retry := &serverHello{
			legacyVersion: versionTLS12, random: helloRetryRandom, sessionID: hello.sessionID,
			cipherSuite: hello.cipherSuites[0], supportedVersion: versionTLS13, cookie: make([]byte, test.size),
		}
		err := c.Handle(LevelInitial, retry.append(nil))
		wantOutcome(t, err, test.want)
		if err == nil && len(lastHello(t, c).cookie) != test.size {
			t.Errorf("a cookie of %d bytes does not come back", test.size)
		}
	}
}

// bigTickets seals into tickets of any size, and opens none.
type bigTickets int

func (b bigTickets) Seal(context.Context, *State, *session.State) ([]byte, error) {
	return make([]byte, b), nil
}

func (b bigTickets) Open(context.Context, *State, []byte) (*session.State, error) { return nil, nil }
func (b bigTickets) SessionIDs() SessionIDs                                       { return nil }

// TestTicketLimit checks that no ticket is kept, or sent back, that would leave
// a ClientHello no room, or that is empty, which TLS 1.3 does not allow.
func TestTicketLimit(t *testing.T) {
	for _, version := range bothVersions {
		for size, kept := range map[int]bool{0: false, 1: true, 100: true, maxTicketLen: true, maxTicketLen + 1: false, 65400: false} {
			client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
			client.MaxVersion, server.Tickets = version, bigTickets(size)
			p := mustRun(t, client, server)
			if got := len(p.client.sessions) > 0; got != kept {
				t.Errorf("version %#x: ticket of %d bytes: kept %v", version, size, got)
			}
			server.Tickets = &fakeTickets{}
			client.Session = mustRun(t, client, server).client.sessions[0].Clone()
			client.Session.Ticket = make([]byte, size)
			_, hello := startClient(t, client)
			if got := len(hello.pskIdentities)+len(hello.sessionTicket) > 0; got != kept {
				t.Errorf("version %#x: session with a ticket of %d bytes: offered %v", version, size, got)
			}
		}
	}
}

// limitCases are fields, of a peer or of a configuration, at their largest and
// beyond. want is for TLS 1.2 and for TLS 1.3.
var limitCases = []struct {
	name   string
	change func(client, server *Config, cert *Certificate)
	want   [2]alert.Description
}{
	{"server name of 255", func(c, _ *Config, _ *Certificate) { c.ServerName = strings.Repeat("a.", 127) + "a" }, each(unfailing)},
	{"server name of 256", func(c, _ *Config, _ *Certificate) { c.ServerName = strings.Repeat("a.", 128) }, each(alert.InternalError)},
	{"protocols of 60,000", func(c, _ *Config, _ *Certificate) { c.ALPN = protocols(60000) }, each(unfailing)},
	{"protocols of 60,000 on both sides", func(c, s *Config, _ *Certificate) { c.ALPN, s.ALPN = protocols(60000), protocols(60000) }, each(unfailing)},
	{"protocols of 65,535", func(c, _ *Config, _ *Certificate) { c.ALPN = protocols(65535) }, each(alert.InternalError)},
	{"protocols of 100,000", func(c, _ *Config, _ *Certificate) { c.ALPN = protocols(100000) }, each(alert.InternalError)},
	{"one group 32,800 times", func(c, _ *Config, _ *Certificate) { c.Groups = slices.Repeat([]NamedGroup{X25519}, 32800) }, each(unfailing)},
	{"schemes of 65,600", func(c, _ *Config, _ *Certificate) {
		c.SignatureSchemes = slices.Repeat([]SignatureScheme{EcdsaSecp256r1Sha256}, 32800)
	}, each(alert.InternalError)},
	{"suites of 65,600", func(c, _ *Config, _ *Certificate) { c.CipherSuites = slices.Repeat(DefaultCipherSuites(), 32800) }, each(alert.InternalError)},
	{"PSK identity of 60,000", func(c, _ *Config, _ *Certificate) { c.PSKs = pskOf(60000) }, each(unfailing)},
	{"PSK identity of 65,535", func(c, _ *Config, _ *Certificate) { c.PSKs = pskOf(65535) }, [...]alert.Description{unfailing, alert.InternalError}},
	{"PSK identity of 70,000", func(c, _ *Config, _ *Certificate) { c.PSKs = pskOf(70000) }, [...]alert.Description{unfailing, alert.InternalError}},
	{"session ID of 32", func(c, _ *Config, _ *Certificate) { c.Session = namedSession(32) }, each(unfailing)},
	{"session ID of 256", func(c, _ *Config, _ *Certificate) { c.Session = namedSession(256) }, each(unfailing)}, // not offered
	{"names of 600 authorities", func(_, s *Config, _ *Certificate) { s.ClientAuth, s.ClientCAs = RequestClientCert, authorities(600) }, each(unfailing)},
	{"names of 700 authorities", func(_, s *Config, _ *Certificate) { s.ClientAuth, s.ClientCAs = RequestClientCert, authorities(700) }, each(alert.InternalError)},
	{"server's schemes of 65,600", func(_, s *Config, _ *Certificate) {
		s.ClientAuth = RequestClientCert
		s.SignatureSchemes = slices.Repeat([]SignatureScheme{EcdsaSecp256r1Sha256}, 32800)
	}, each(alert.InternalError)},
	{"OCSP response of 65,000", func(_, _ *Config, cert *Certificate) { cert.OCSPStaple = make([]byte, 65000) }, each(unfailing)},
	{"OCSP response of 65,535", func(_, _ *Config, cert *Certificate) { cert.OCSPStaple = make([]byte, 65535) }, [...]alert.Description{alert.IllegalParameter, alert.InternalError}},
	{"OCSP response of 16 MiB", func(_, _ *Config, cert *Certificate) { cert.OCSPStaple = make([]byte, 1<<24) }, each(alert.InternalError)},
	{"SCTs of 60,000", func(_, _ *Config, cert *Certificate) { cert.SCTs = slices.Repeat([][]byte{make([]byte, 998)}, 60) }, each(unfailing)},
	{"SCTs of 70,000", func(_, _ *Config, cert *Certificate) { cert.SCTs = slices.Repeat([][]byte{make([]byte, 998)}, 70) }, each(alert.InternalError)},
	{"SCT of 65,536", func(_, _ *Config, cert *Certificate) { cert.SCTs = [][]byte{make([]byte, 65536)} }, each(alert.InternalError)},
	{"chain of 200 KiB", func(_, _ *Config, cert *Certificate) { lengthen(cert, 200<<10) }, each(unfailing)},
	{"chain of 300 KiB", func(_, _ *Config, cert *Certificate) { lengthen(cert, 300<<10) }, each(alert.IllegalParameter)},
	{"chain of 16 MiB", func(_, _ *Config, cert *Certificate) { lengthen(cert, 1<<24) }, each(alert.InternalError)},
	{"ticket of 65,400", func(_, s *Config, _ *Certificate) { s.Tickets = bigTickets(65400) }, each(unfailing)},
	{"ticket of 65,536", func(_, s *Config, _ *Certificate) { s.Tickets = bigTickets(65536) }, each(alert.InternalError)},
}

func each(d alert.Description) [2]alert.Description { return [2]alert.Description{d, d} }

// protocols returns names that make a list of n bytes, all with the same end.
func protocols(n int) []string {
	var list []string
	for n > 0 {
		size := min(n, 256) - 1
		list = append(list, strings.Repeat("p", size))
		n -= size + 1
	}
	return list
}

func pskOf(n int) []ExternalPSK {
	return []ExternalPSK{{Identity: make([]byte, n), Secret: make([]byte, 32)}}
}

// namedSession is a session of TLS 1.2 that its server has given an ID.
func namedSession(n int) *session.State {
	return &session.State{
		Version: versionTLS12, CipherSuite: keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		CreatedAt: testNow, Lifetime: time.Hour, Secret: keyschedule.NewSecret(make([]byte, 48)),
		ExtendedMasterSecret: true, ServerName: "server.test", SessionID: make([]byte, n),
	}
}

// authorities returns n names of 100 bytes.
func authorities(n int) [][]byte { return slices.Repeat([][]byte{make([]byte, 100)}, n) }

func lengthen(cert *Certificate, n int) {
	cert.Chain = slices.Repeat(cert.Chain, 1+n/len(cert.Chain[0]))
}

// TestLimits runs two engines with fields of every size: what fits goes well,
// and what does not ends in an error with an alert.
func TestLimits(t *testing.T) {
	for _, test := range limitCases {
		for i, version := range bothVersions {
			t.Run(fmt.Sprintf("%s/%#x", test.name, version), func(t *testing.T) {
				cert := *testCerts()["p256"]
				client, server := clientTestConfig(), serverTestConfig(&cert)
				client.MaxVersion, client.Groups = version, []NamedGroup{X25519}
				test.change(client, server, &cert)
				p := newPair(client, server)
				err := p.run(false)
				wantOutcome(t, err, test.want[i])
				if done := p.client.established && p.server.established; err == nil && !done {
					t.Error("the handshake is not complete")
				}
				if err != nil && len(err.Error()) >= 1<<10 {
					t.Errorf("error text of %d bytes", len(err.Error()))
				}
			})
		}
	}
}

// numbers returns n values that mean nothing to us, TLS_FALLBACK_SCSV (0x5600)
// not among them.
func numbers[T ~uint16](n int) []T {
	list := make([]T, 0, n+1)
	for i := range n + 1 {
		list = append(list, T(0x4100+i))
	}
	return slices.DeleteFunc(list, func(v T) bool { return v == 0x5600 })
}

// TestErrorTextLimit checks that a peer cannot fill our logs: its lists are as
// long as the wire allows, and nothing in them fits.
func TestErrorTextLimit(t *testing.T) {
	names := slices.Repeat([]string{"\xff"}, 31000)
	for _, test := range []struct {
		name   string
		change func(*clientHello)
		want   alert.Description
	}{
		{"groups", func(m *clientHello) { m.supportedGroups, m.keyShares = numbers[NamedGroup](31000), []keyShareEntry{} }, alert.HandshakeFailure},
		{"suites", func(m *clientHello) { m.cipherSuites = numbers[uint16](31000) }, alert.HandshakeFailure},
		{"schemes", func(m *clientHello) { m.signatureSchemes = numbers[SignatureScheme](31000) }, alert.HandshakeFailure},
		{"versions", func(m *clientHello) { m.supportedVersions = numbers[uint16](126) }, alert.ProtocolVersion},
		{"protocols", func(m *clientHello) { m.alpn = names }, alert.NoApplicationProtocol},
		{"protocol names", func(m *clientHello) { m.alpn = protocols(60000) }, alert.NoApplicationProtocol},
	} {
		for _, version := range bothVersions {
			if test.name == "versions" && version == versionTLS12 {
				continue // such a ClientHello lists none
			}
			client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
			client.MaxVersion, client.Groups = version, []NamedGroup{X25519}
			client.ALPN, server.ALPN = []string{"a"}, []string{"a"}
			_, hello := startClient(t, client)
			test.change(hello)
			err := NewServer(context.Background(), server).Handle(LevelInitial, hello.append(nil))
			wantFatal(t, err, test.want)
			if err != nil && len(err.Error()) >= 1<<10 {
				t.Errorf("%s, version %#x: error text of %d bytes", test.name, version, len(err.Error()))
			}
		}
	}
}

// TestIllegalTypeIsNotBuffered gives every state the first byte of what is not
// legal there: no length, and no body, is waited for.
func TestIllegalTypeIsNotBuffered(t *testing.T) {
	for state := range numStates {
		for typ := range 256 {
			if transition(state, handshakeType(typ)) != nil {
				continue
			}
			e := NewClient(context.Background(), clientTestConfig())
			e.state = state
			err := e.Handle(LevelInitial, []byte{byte(typ)})
			wantFatal(t, err, alert.UnexpectedMessage)
			if again := e.Handle(LevelInitial, make([]byte, 1<<14)); again != err {
				t.Errorf("%v in state %v: error %v, then %v", handshakeType(typ), state, err, again)
			}
			if len(e.in.buf) > 0 {
				t.Errorf("%v in state %v: %d bytes are kept", handshakeType(typ), state, len(e.in.buf))
			}
		}
	}
}

// TestIllegalTypeBehindLegal has the byte come with the end of a good message.
func TestIllegalTypeBehindLegal(t *testing.T) {
	p := mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	ticket := (&newSessionTicket13{lifetime: 1, ticket: []byte{1}}).append(nil)
	err := p.client.Handle(LevelApplication, append(ticket, byte(typeCertificateRequest)))
	wantFatal(t, err, alert.UnexpectedMessage)
	if p.client.drain(); len(p.client.sessions) != 1 {
		t.Error("the good message is lost")
	}
}

// TestTicketIsForItsName has a client offer a session under another name than
// that of its connection: behind that name other rules may hold.
func TestTicketIsForItsName(t *testing.T) {
	for _, version := range bothVersions {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.MaxVersion = version
		server.Tickets = &fakeTickets{}
		s := mustRun(t, client, server).client.sessions[0]
		for name, resumed := range map[string]bool{"server.test": true, "other.test": false, "": false} {
			client.Session = s.Clone()
			client.ServerName, client.Session.ServerName = name, name
			if st := mustRun(t, client, server).server.State(); st.Resumed != resumed {
				t.Errorf("version %#x: name %q: resumed %v", version, name, st.Resumed)
			}
		}
	}
}

// TestEarlyDataAge shifts the ages that the two sides see.
func TestEarlyDataAge(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets, server.MaxEarlyData = &fakeTickets{}, 100
	s := mustRun(t, client, server).client.sessions[0]
	client.EarlyData = true
	server.AcceptEarlyData = func(context.Context, *ClientHelloInfo, *session.State, []byte) bool { return true }
	for _, test := range []struct {
		ofClient, ofServer time.Duration
		want               string
	}{
		{0, 0, "accepted"},
		{9 * time.Second, 0, "accepted"},
		{0, 9 * time.Second, "accepted"},
		{time.Hour, time.Hour, "accepted"},
		{11 * time.Second, 0, "rejected"},
		{0, 11 * time.Second, "rejected"},
		{time.Hour, time.Minute, "rejected"},
	} {
		client.Session = s.Clone()
		client.Time = func() time.Time { return testNow.Add(test.ofClient) }
		server.Time = func() time.Time { return testNow.Add(test.ofServer) }
		p := mustRun(t, client, server)
		if p.server.earlyVerdict != test.want || p.client.earlyVerdict != test.want || !p.server.State().Resumed {
			t.Errorf("ages %v and %v: early data %s, resumed %v", test.ofClient, test.ofServer, p.server.earlyVerdict, p.server.State().Resumed)
		}
	}
}

// TestEmptyIsNone has fields that are empty but not nil: an empty vector where
// the format wants a byte would fail the peer's parser.
func TestEmptyIsNone(t *testing.T) {
	for name, change := range map[string]func(server *Config, cert *Certificate){
		"OCSPStaple": func(_ *Config, cert *Certificate) { cert.OCSPStaple = []byte{} },
		"SCTs":       func(_ *Config, cert *Certificate) { cert.SCTs = [][]byte{} },
		"ClientCAs":  func(server *Config, _ *Certificate) { server.ClientCAs = [][]byte{} },
		"ALPN":       func(server *Config, _ *Certificate) { server.ALPN = []string{} },
	} {
		for _, version := range bothVersions {
			cert := *testCerts()["p256"]
			client, server := clientTestConfig(), serverTestConfig(&cert)
			client.MaxVersion, client.ALPN = version, []string{}
			server.ClientAuth = RequestClientCert
			client.GetClientCertificate = func(_ context.Context, info *CertificateRequestInfo) (*Certificate, error) {
				if len(info.AcceptableCAs) != 0 {
					t.Errorf("%s: authorities %q", name, info.AcceptableCAs)
				}
				return &cert, nil
			}
			change(server, &cert)
			p := newPair(client, server)
			if err := p.run(false); err != nil {
				t.Errorf("%s, version %#x: %v", name, version, err)
				continue
			}
			p.check(t)
			if st := p.client.State(); !bytes.Equal(st.OCSPStaple, nil) || len(st.SCTs) != 0 {
				t.Errorf("%s, version %#x: staple %x, SCTs %x", name, version, st.OCSPStaple, st.SCTs)
			}
		}
	}
}
