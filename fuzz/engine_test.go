package fuzz

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// The bits of FuzzEngine's mode.
const (
	modeServer = 1 << iota // the engine that is attacked is the server
	modeTLS12
	modeClientAuth
	modeRetry // TLS 1.3 with a HelloRetryRequest, TLS 1.2 with session IDs
	modeResume
	modeEarlyData
	modeCompress
)

// What a chunk of FuzzEngine's script may be besides a level.
const (
	scriptCCS    = 4
	scriptReal   = 5 // the next real message, to the side that is attacked
	scriptAnswer = 6 // the next real message, to the other one
)

const finishedType = 20

var engineNow = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// engineCert signs without randomness.
var engineCert = func() *handshake.Certificate {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"server.test"},
		NotBefore: engineNow.Add(-time.Hour), NotAfter: engineNow.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &handshake.Certificate{Chain: [][]byte{der}, Leaf: leaf, PrivateKey: key, OCSPStaple: []byte("staple"), SCTs: [][]byte{{1}}}
}()

// engineTickets knows one ticket of each version.
type engineTickets struct{ mode byte }

func (engineTickets) Seal(context.Context, *handshake.State, *session.State) ([]byte, error) {
	return []byte("new"), nil
}

func (e engineTickets) Open(_ context.Context, conn *handshake.State, ticket []byte) (*session.State, error) {
	if string(ticket) != "old" {
		return nil, nil
	}
	return e.session(conn.Version), nil
}

func (e engineTickets) SessionIDs() handshake.SessionIDs { return e }

func (engineTickets) Put(context.Context, []byte, *session.State) error { return nil }

func (e engineTickets) Get(_ context.Context, id []byte) (*session.State, error) {
	if string(id) != "named" {
		return nil, nil
	}
	return e.session(keyschedule.VersionTLS12), nil
}

// session is the server's side: it knows a certificate only of a client that was
// asked for one.
func (e engineTickets) session(version uint16) *session.State {
	s := engineSession(version)
	if e.mode&modeClientAuth == 0 {
		s.PeerChain = nil
	}
	return s
}

func engineSession(version uint16) *session.State {
	s := &session.State{
		Version: version, CipherSuite: keyschedule.TLS_AES_128_GCM_SHA256,
		CreatedAt: engineNow, Lifetime: time.Hour, Secret: keyschedule.NewSecret(make([]byte, 32)),
		ExtendedMasterSecret: true, ServerName: "server.test", Group: uint16(handshake.X25519),
		ALPN: "b", PeerChain: engineCert.Chain, Ticket: []byte("old"), MaxEarlyData: 100, EarlyData: true,
	}
	if version == keyschedule.VersionTLS12 {
		s.CipherSuite = keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
		s.Secret = keyschedule.NewSecret(make([]byte, 48))
	}
	return s
}

// engineConfigs returns what both sides of a mode know. Their randomness is the
// same in every run, and so is every byte that they send; in another mode it is
// another, or one mode's Finished would be good in several.
func engineConfigs(mode byte) (client, server *handshake.Config) {
	base := func(seed byte) *handshake.Config {
		return &handshake.Config{
			Rand: rand.NewChaCha8([32]byte{seed, mode}), Time: func() time.Time { return engineNow },
			Groups: []handshake.NamedGroup{handshake.X25519, handshake.Secp256r1},
			CipherSuites: []uint16{
				keyschedule.TLS_AES_128_GCM_SHA256, keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			},
			MiddleboxCompat: true, CompressCertificates: mode&modeCompress != 0, AcceptSessions: true,
		}
	}
	client, server = base(1), base(2)
	client.ServerName, client.ALPN, server.ALPN = "server.test", []string{"a", "b"}, []string{"b"}
	server.GetCertificate = func(context.Context, *handshake.ClientHelloInfo) (*handshake.Certificate, error) {
		return engineCert, nil
	}
	server.Tickets, server.TicketCount, server.MaxEarlyData = engineTickets{mode}, 2, 100
	version := keyschedule.VersionTLS13
	if mode&modeTLS12 != 0 {
		version = keyschedule.VersionTLS12
		server.MaxVersion = version
	}
	if mode&modeClientAuth != 0 {
		server.ClientAuth, server.ClientCAs = handshake.RequireClientCert, [][]byte{engineCert.Leaf.RawSubject}
		client.GetClientCertificate = func(context.Context, *handshake.CertificateRequestInfo) (*handshake.Certificate, error) {
			return engineCert, nil
		}
	}
	if mode&modeRetry != 0 {
		server.Groups = []handshake.NamedGroup{handshake.Secp256r1}
	}
	if mode&modeResume != 0 {
		client.Session = engineSession(version)
		if mode&modeTLS12 != 0 && mode&modeRetry != 0 {
			client.Session.Ticket, client.Session.SessionID = nil, []byte("named")
		}
	}
	client.EarlyData = mode&modeEarlyData != 0
	server.AcceptEarlyData = func(context.Context, *handshake.ClientHelloInfo, *session.State, []byte) bool {
		return mode&modeEarlyData != 0
	}
	return client, server
}

// flightUnit is one message, or a ChangeCipherSpec, on its way.
type flightUnit struct {
	level handshake.Level
	ccs   bool
	bytes []byte
}

// party is one engine of FuzzEngine.
type party struct {
	*handshake.Engine
	t      testing.TB
	in     []flightUnit // that the other one has sent
	peer   *party
	err    error
	events int
	sent   int // bytes

	established bool     // by an event
	finished    [][]byte // that were given to it

	said, heard []byte // messages of the handshake, as they were sent and as they were given
	edited      bool   // all that it is given comes from the other one, or is changed
	misled      bool   // what it had heard before its Finished was not what the other one had said
}

func newParties(t testing.TB, mode byte) (client, server *party) {
	clientConfig, serverConfig := engineConfigs(mode)
	client = &party{Engine: handshake.NewClient(context.Background(), clientConfig), t: t}
	server = &party{Engine: handshake.NewServer(context.Background(), serverConfig), t: t}
	client.peer, server.peer = server, client
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	client.drain()
	return client, server
}

// drain takes the engine's events, and splits what is sent into messages.
func (p *party) drain() {
	for {
		ev, ok := p.NextEvent()
		if !ok {
			return
		}
		p.events++
		switch ev := ev.(type) {
		case *handshake.SendHandshake:
			p.note(ev.Bytes)
			for b := ev.Bytes; len(b) > 0; {
				n := 4 + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
				p.peer.in = append(p.peer.in, flightUnit{level: ev.Level, bytes: bytes.Clone(b[:n])})
				b = b[n:]
			}
		case handshake.SendChangeCipherSpec:
			p.peer.in = append(p.peer.in, flightUnit{ccs: true})
		case handshake.Established:
			if p.established {
				p.t.Fatal("established twice")
			}
			p.established = true
			p.checkHeard()
		case *handshake.InstallRead:
			if !p.ReadAligned() {
				p.t.Fatal("new keys while a part of a message is pending")
			}
		}
	}
}

// note keeps what is sent.
func (p *party) note(b []byte) {
	p.sent += len(b)
	p.said = append(p.said, b...)
	if b[0] == finishedType {
		p.misled = p.misled || !p.heardAll()
	}
}

// heardAll reports whether the engine was given what the other one sent, as far
// as it came. A HelloRequest is no part of a handshake (RFC 5246, section
// 7.4.1.1).
func (p *party) heardAll() bool {
	var heard []byte
	for b := p.heard; len(b) >= 4; {
		n := min(len(b), 4+int(b[1])<<16+int(b[2])<<8+int(b[3]))
		if b[0] != 0 {
			heard = append(heard, b[:n]...)
		}
		b = b[n:]
	}
	return bytes.HasPrefix(p.peer.said, heard)
}

// checkHeard makes sure that an engine is established only if both have heard
// what the other one had said.
func (p *party) checkHeard() {
	if p.edited && (!p.heardAll() || p.peer.misled) {
		p.t.Fatal("established though messages were changed on their way")
	}
}

// give hands u to the engine and checks what holds after anything: errors have
// an alert and are for ever, and a dead engine says nothing more.
func (p *party) give(u flightUnit) {
	before := p.events
	if !p.established {
		p.heard = append(p.heard, u.bytes...)
	}
	var err error
	if u.ccs {
		err = p.HandleChangeCipherSpec()
	} else {
		err = p.Handle(u.level, u.bytes)
	}
	p.drain()
	if p.Established() != p.established {
		p.t.Fatalf("Established reports %v, the event came: %v", p.Established(), p.established)
	}
	if p.err != nil {
		if err != p.err || p.events != before {
			p.t.Fatalf("after %v: %v, %d events", p.err, err, p.events-before)
		}
		return
	}
	if p.err = err; err == nil {
		return
	}
	if e := (*alert.Error)(nil); !errors.As(err, &e) || e.Description == alert.InternalError {
		p.t.Fatalf("a peer causes %v", err)
	}
}

// next delivers the next real message to p. It reports whether there was one.
func (p *party) next() bool {
	if len(p.in) == 0 {
		return false
	}
	u := p.in[0]
	p.in = p.in[1:]
	if len(u.bytes) > 0 && u.bytes[0] == finishedType {
		p.finished = append(p.finished, u.bytes)
	}
	p.give(u)
	return true
}

// step goes on with the real handshake by one message, to the client first.
func (p *party) step() bool { return p.next() || p.peer.next() }

// realFinished is the Finished that the attacked side gets in the real
// handshake of a mode.
func realFinished(t testing.TB, mode byte) []byte {
	client, server := newParties(t, mode)
	for client.step() {
	}
	if client.err != nil || server.err != nil || !client.established || !server.established {
		t.Fatalf("mode %#x: the real handshake fails: client %v, server %v", mode, client.err, server.err)
	}
	st := client.State()
	retried := mode&(modeTLS12|modeRetry) == modeRetry
	early := mode&(modeTLS12|modeRetry|modeResume|modeEarlyData) == modeResume|modeEarlyData
	if st.Resumed != (mode&modeResume != 0) || st.HelloRetryRequest != retried || st.EarlyData != early {
		t.Fatalf("mode %#x: resumed %v, retried %v, early data %v", mode, st.Resumed, st.HelloRetryRequest, st.EarlyData)
	}
	return target(mode, client, server).finished[0]
}

func target(mode byte, client, server *party) *party {
	if mode&modeServer != 0 {
		return server
	}
	return client
}

// appendChunk appends one chunk to a script: its kind and, for a level, bytes
// behind their length.
func appendChunk(script []byte, u flightUnit) []byte {
	if u.ccs {
		return append(script, scriptCCS)
	}
	script = binary.BigEndian.AppendUint16(append(script, byte(u.level)), uint16(len(u.bytes)))
	return append(script, u.bytes...)
}

// play gives a script to p. Of what it says as bytes, all is kept in said.
func (p *party) play(script []byte) (said []byte) {
	for len(script) > 0 {
		kind := script[0] % (scriptAnswer + 1)
		script = script[1:]
		switch kind {
		case scriptCCS:
			p.give(flightUnit{ccs: true})
		case scriptReal:
			p.next()
		case scriptAnswer:
			p.peer.next()
		default:
			n := 0
			if len(script) >= 2 {
				n, script = int(binary.BigEndian.Uint16(script)), script[2:]
			}
			n = min(n, len(script))
			said = append(said, script[:n]...)
			p.give(flightUnit{level: handshake.Level(kind), bytes: script[:n:n]})
			script = script[n:]
		}
	}
	return said
}

// FuzzEngine attacks one side of a real handshake after its first messages, by
// messages of any kind, level and order, and by real ones in between. Whatever
// it is told, the engine does not panic, says no more than a real one would by
// much, stays dead after an error, and is established by nothing but the real
// Finished of its peer.
func FuzzEngine(f *testing.F) {
	for mode := range byte(2 * modeCompress) {
		seedEngine(f, mode)
	}
	f.Fuzz(func(t *testing.T, mode, prefix byte, script []byte) {
		mode %= 2 * modeCompress
		client, server := newParties(t, mode)
		for range prefix % 32 {
			client.step()
		}
		p := target(mode, client, server)
		before, events, sent := p.established, p.events, p.sent
		said := p.play(script)
		if p.events-events > 200 || p.sent-sent > 1<<17 {
			t.Fatalf("%d events, %d bytes sent", p.events-events, p.sent-sent)
		}
		if p.established && !before && len(p.finished) == 0 && !bytes.Contains(said, realFinished(t, mode)) {
			t.Fatal("established without the peer's Finished")
		}
	})
}

// seedEngine adds the real rest of a mode's handshake after each of its
// messages: in bytes, and as it is.
func seedEngine(f *testing.F, mode byte) {
	realFinished(f, mode) // which makes sure that the mode works
	for prefix := byte(0); ; prefix++ {
		client, server := newParties(f, mode)
		for range prefix {
			client.step()
		}
		p := target(mode, client, server)
		var script, real []byte
		for len(client.in)+len(server.in) > 0 {
			if (len(client.in) > 0) == (p == client) {
				script, real = appendChunk(script, p.in[0]), append(real, scriptReal)
			} else {
				script, real = append(script, scriptAnswer), append(real, scriptAnswer)
			}
			client.step()
		}
		checkSeed(f, mode, prefix, script)
		f.Add(mode, prefix, script)
		if len(script) == 0 {
			return
		}
		if prefix == 0 {
			f.Add(mode, prefix, append(real, script...))
		}
	}
}

// checkSeed makes sure that a run's bytes complete another run, as they must if
// the fuzzer is to begin anywhere near.
func checkSeed(f *testing.F, mode, prefix byte, script []byte) {
	client, server := newParties(f, mode)
	for range prefix {
		client.step()
	}
	p := target(mode, client, server)
	if p.play(script); p.err != nil || !p.established {
		f.Fatalf("mode %#x, after %d messages: %v", mode, prefix, p.err)
	}
}
