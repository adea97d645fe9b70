package handshake

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/session"
)

var update = flag.Bool("update", false, "write the golden files anew")

// dumpTables writes the legal order of messages as text.
func dumpTables(w io.Writer) {
	for _, m := range machines {
		_, _ = fmt.Fprintf(w, "%s\n", m.name)
		for _, r := range m.rows {
			typ := r.typ.String()
			if r.typ == changeCipherSpec {
				typ = "change_cipher_spec"
			}
			_, _ = fmt.Fprintf(w, "  %-19s %-22s -> %v\n", r.from, typ, r.to)
		}
	}
}

// TestTransitionsGolden shows every change of the legal order in a review.
func TestTransitionsGolden(t *testing.T) {
	var got bytes.Buffer
	dumpTables(&got)
	name := filepath.Join("testdata", "transitions.golden")
	if *update {
		if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the legal order of messages changed; -update if that is meant:\n%s", got.Bytes())
	}
}

// TestIllegalOrder puts a machine into every state and gives it every type.
func TestIllegalOrder(t *testing.T) {
	for state := range numStates {
		for typ := range 256 {
			if transition(state, handshakeType(typ)) != nil || handshakeType(typ) == changeCipherSpec {
				continue
			}
			e := NewClient(context.Background(), clientTestConfig())
			e.state = state
			err := e.Handle(LevelInitial, []byte{byte(typ), 0, 0, 0})
			if alert.Of(err) != alert.UnexpectedMessage || err == nil {
				t.Errorf("%v in state %v: %v", handshakeType(typ), state, err)
			}
		}
	}
}

// TestReachable makes sure that no state and no row of the tables is dead.
func TestReachable(t *testing.T) {
	reached := map[waitState]bool{stateStart: true, clientWaitSH: true, serverWaitCH: true}
	for range numStates {
		for _, m := range machines {
			for _, r := range m.rows {
				for _, to := range r.to {
					reached[to] = reached[to] || reached[r.from]
				}
			}
		}
	}
	for s := range numStates {
		if !reached[s] {
			t.Errorf("state %v (%d) cannot be reached", s, s)
		}
	}
}

// scenario is a kind of handshake.
type scenario struct {
	name           string
	client, server func() *Config
}

// scenarios lists handshakes that together walk through every row of the
// tables, but for refusals of renegotiation.
func scenarios() []scenario {
	var list []scenario
	add := func(name string, change func(client, server *Config)) {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.Groups = []NamedGroup{X25519, Secp256r1}
		change(client, server)
		list = append(list, scenario{name, func() *Config { c := *client; return &c }, func() *Config { s := *server; return &s }})
	}
	auth := func(client, server *Config) {
		server.ClientAuth = RequireClientCert
		client.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) {
			return testCerts()["p384"], nil
		}
	}
	resume := func(client, server *Config) {
		server.Tickets = &fakeTickets{}
		server.MaxEarlyData = 100
		p := newPair(client, server)
		if err := p.run(false); err != nil {
			panic(err)
		}
		client.Session = p.client.sessions[0]
	}
	for _, v := range []uint16{versionTLS12, versionTLS13} {
		v := v
		name := fmt.Sprintf("%#04x ", v)
		add(name+"full", func(c, s *Config) { c.MaxVersion = v; s.Tickets = &fakeTickets{} })
		add(name+"client certificate", func(c, s *Config) { c.MaxVersion = v; auth(c, s) })
		add(name+"no client certificate", func(c, s *Config) { c.MaxVersion = v; s.ClientAuth = RequestClientCert })
		add(name+"resumed", func(c, s *Config) { c.MaxVersion = v; resume(c, s) })
	}
	add("1.2 OCSP", func(c, s *Config) {
		c.MaxVersion = versionTLS12
		cert := *testCerts()["p256"]
		cert.OCSPStaple = []byte("staple")
		s.GetCertificate = func(context.Context, *ClientHelloInfo) (*Certificate, error) { return &cert, nil }
	})
	add("1.3 retry", func(_, s *Config) { s.Groups = []NamedGroup{Secp256r1} })
	add("1.3 compressed certificates", func(c, s *Config) {
		auth(c, s)
		c.CompressCertificates, s.CompressCertificates = true, true
	})
	add("1.3 compressed server certificate", func(c, s *Config) { c.CompressCertificates, s.CompressCertificates = true, true })
	add("1.2 OCSP staple promised but not sent", func(c, s *Config) {
		c.MaxVersion = versionTLS12
		s.rewrite = func(raw []byte) []byte {
			if handshakeType(raw[0]) != typeServerHello {
				return raw
			}
			m, err := parseServerHello(raw[messageHeaderLen:])
			if err != nil {
				panic(err)
			}
			m.ocspStapling = true
			return m.append(nil)
		}
	})
	add("1.3 early data", func(c, s *Config) {
		resume(c, s)
		c.EarlyData = true
		s.AcceptEarlyData = func(context.Context, *ClientHelloInfo, *session.State, []byte) bool { return true }
	})
	return list
}

// input is one handshake message or CCS on its way to a side.
type input struct {
	to     *side
	level  Level
	ccs    bool
	bytes  []byte // one whole message
	state  waitState
	number int
}

// walk runs a handshake one message at a time. visit may change what arrives
// or return false to stop.
func walk(sc scenario, visit func(*pair, *input) bool) error {
	p := newPair(sc.client(), sc.server())
	if err := p.client.Start(); err != nil {
		return err
	}
	p.client.drain()
	number := 0
	for len(p.client.out)+len(p.server.out) > 0 {
		for _, dir := range []struct{ from, to *side }{{p.client, p.server}, {p.server, p.client}} {
			out := dir.from.out
			dir.from.out = nil
			for _, in := range split(out) {
				in.to, in.state, in.number = dir.to, dir.to.state, number
				number++
				if !visit(p, in) {
					return nil
				}
				if err := in.deliver(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// split cuts records into messages.
func split(out []record) []*input {
	var list []*input
	for _, r := range out {
		if r.ccs {
			list = append(list, &input{ccs: true})
			continue
		}
		for b := r.bytes; len(b) > 0; {
			n := messageHeaderLen + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
			list = append(list, &input{level: r.level, bytes: b[:n:n]})
			b = b[n:]
		}
	}
	return list
}

func (in *input) deliver() error {
	var err error
	if in.ccs {
		err = in.to.HandleChangeCipherSpec()
	} else {
		err = in.to.Handle(in.level, in.bytes)
	}
	in.to.drain()
	return err
}

// TestWalkCoversTables makes sure that the scenarios take every row.
func TestWalkCoversTables(t *testing.T) {
	taken := map[string]bool{}
	for _, sc := range scenarios() {
		if err := walk(sc, func(_ *pair, in *input) bool {
			typ := changeCipherSpec
			if !in.ccs {
				typ = handshakeType(in.bytes[0])
			}
			taken[fmt.Sprint(uint8(in.to.state), typ)] = true
			return true
		}); err != nil {
			t.Fatalf("%s: %v", sc.name, err)
		}
	}
	for _, m := range machines {
		for _, r := range m.rows {
			switch {
			case taken[fmt.Sprint(uint8(r.from), r.typ)]:
			case r.typ == typeKeyUpdate, r.typ == typeHelloRequest, r.from == server12Connected: // after the handshake
			default:
				t.Errorf("%s: no scenario takes %v in %v", m.name, r.typ, r.from)
			}
		}
	}
}

// TestInjectedMessages puts an empty message of every type in front of every
// message of every real handshake.
func TestInjectedMessages(t *testing.T) {
	for _, sc := range scenarios() {
		for stop := range count(t, sc) {
			for typ := range handshakeType(30) {
				var err error
				legal := false
				_ = walk(sc, func(_ *pair, in *input) bool {
					if in.number < stop {
						return true
					}
					legal = transition(in.to.state, typ) != nil
					err = in.to.Handle(in.to.readLevel, []byte{byte(typ), 0, 0, 0})
					return false
				})
				switch {
				case legal && err != nil && alert.Of(err) != alert.InternalError:
				case legal && err == nil && (typ == typeHelloRequest || typ == typeServerHelloDone || typ == typeEndOfEarlyData || typ == typeFinished):
				case !legal && err != nil && alert.Of(err) == alert.UnexpectedMessage:
				default:
					t.Errorf("%s: empty %v before message %d (legal there: %v): %v", sc.name, typ, stop, legal, err)
				}
			}
		}
	}
}

// count returns how many messages a scenario has.
func count(t *testing.T, sc scenario) int {
	n := 0
	if err := walk(sc, func(*pair, *input) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSkippedMessages leaves out each message of every real handshake (the
// attack that SKIP was): nothing may be established without it.
func TestSkippedMessages(t *testing.T) {
	for _, sc := range scenarios() {
		for stop := range count(t, sc) {
			var victim *side
			var typ handshakeType
			optional := false
			err := walk(sc, func(_ *pair, in *input) bool {
				if in.number == stop {
					victim = in.to
					if in.ccs {
						optional = in.to.State().Version != versionTLS12
						in.ccs, in.bytes = false, nil
						return true
					}
					typ = handshakeType(in.bytes[0])
					optional = typ == typeNewSessionTicket && in.to.neg.Version == versionTLS13
					in.bytes = nil
				}
				return true
			})
			if !optional && victim.established && err == nil {
				t.Errorf("%s: %s established without message %d (%v)", sc.name, victim.name, stop, typ)
			}
		}
	}
}

// TestMutatedMessages truncates each message of every real handshake at each
// byte, and extends it by one: the alert names the fault, and nothing panics.
func TestMutatedMessages(t *testing.T) {
	for _, sc := range scenarios() {
		var sizes []int
		if err := walk(sc, func(_ *pair, in *input) bool {
			sizes = append(sizes, len(in.bytes))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		for stop, size := range sizes {
			step := 1 + size/40 // the parsers' own tests take every byte
			for n := messageHeaderLen; n <= size+1; n += step {
				if n != size {
					mutate(t, sc, stop, n)
				}
			}
			if size > 0 {
				mutate(t, sc, stop, size+1)
			}
		}
	}
}

// mutate runs sc with message stop cut or extended to n bytes. Signatures make
// sizes vary between runs by a few bytes.
func mutate(t *testing.T, sc scenario, stop, n int) {
	var typ handshakeType
	skip := false
	err := walk(sc, func(_ *pair, in *input) bool {
		if in.number != stop {
			return in.number < stop || !skip
		}
		if skip = in.ccs || len(in.bytes) == n; skip {
			return false
		}
		typ = handshakeType(in.bytes[0])
		b := append(bytes.Clone(in.bytes), 0)[:min(n, len(in.bytes)+1)]
		body := len(b) - messageHeaderLen
		b[1], b[2], b[3] = byte(body>>16), byte(body>>8), byte(body)
		in.bytes = b
		return true
	})
	if skip {
		return
	}
	switch alert.Of(err) {
	case alert.DecodeError, alert.IllegalParameter, alert.DecryptError, alert.BadCertificate, alert.MissingExtension, alert.ProtocolVersion:
		return
	case alert.UnexpectedMessage:
		if typ == typeServerHello { // of TLS 1.2, without its extensions
			return
		}
	}
	t.Errorf("%s: message %d (%v) of %d bytes: %v", sc.name, stop, typ, n, err)
}
