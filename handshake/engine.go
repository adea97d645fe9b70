package handshake

import (
	"context"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// Engine is one side of one TLS connection's handshake, and of what follows it
// on the handshake layer: tickets and key updates. It does no I/O: bytes go in
// by [Engine.Handle], effects come out by [Engine.NextEvent]. It is not safe
// for concurrent use.
type Engine struct {
	redact.Value

	cfg *Config
	err error

	// What is small is together: it makes an engine smaller.
	state       waitState
	readLevel   Level
	flightLevel Level           // of flight
	peerType    CertificateType // how the peer shows its key
	earlyCCS    bool            // a ChangeCipherSpec came before the version was known
	established bool

	in     reassembler
	events []Event
	flight []byte // messages that make the next event
	neg    State

	// Exactly one of these is set, until the handshake ends.
	client *clientHandshake
	server *serverHandshake

	post postHandshake
}

// NewClient returns an engine for the client side. ctx is what the callbacks
// of cfg get.
func NewClient(ctx context.Context, cfg *Config) *Engine {
	e := &Engine{cfg: cfg}
	e.client = &clientHandshake{Engine: e}
	e.client.init(ctx)
	return e
}

// NewServer returns an engine for the server side. ctx is what the callbacks
// of cfg get.
func NewServer(ctx context.Context, cfg *Config) *Engine {
	e := &Engine{cfg: cfg, state: serverWaitCH}
	e.server = &serverHandshake{Engine: e}
	e.server.init(ctx)
	return e
}

// Start queues a client's ClientHello. A server has nothing to start with and
// does nothing.
func (e *Engine) Start() error {
	if e.err != nil || e.client == nil || e.state != stateStart {
		return e.err
	}
	e.err = e.guarded(e.client.sendClientHello)
	return e.err
}

// Handle takes bytes of handshake messages that arrived under the keys of
// level, cut in any way. Its error carries the alert to send (see [AlertOf]);
// after an error the engine is dead and every further call returns the same
// one. Events that were queued before the error are still there.
func (e *Engine) Handle(level Level, b []byte) error {
	if e.err != nil {
		return e.err
	}
	e.err = e.guarded(func() error { return e.handle(level, b) })
	return e.err
}

func (e *Engine) handle(level Level, b []byte) error {
	if level != e.readLevel {
		return alert.Errorf(alert.UnexpectedMessage, "handshake message at level %v, expected %v", level, e.readLevel)
	}
	e.in.add(b)
	for {
		// A type that is not legal here is refused by its first byte, and
		// nothing of it is kept.
		if typ, ok := e.in.peek(); ok && transition(e.state, typ) == nil {
			e.in.buf = nil
			return e.unexpected(typ)
		}
		m, ok, err := e.in.next()
		if !ok || err != nil {
			if e.established {
				e.in.release()
			}
			return err
		}
		e.cfg.Trace.OnReceived(contentHandshake, m.raw)
		if err := e.dispatch(m); err != nil {
			return err
		}
	}
}

// guarded makes an error of a message that does not fit its length fields.
func (e *Engine) guarded(f func() error) (err error) {
	defer wire.Catch(&err)
	return f()
}

// HandleChangeCipherSpec takes a ChangeCipherSpec record whose content was the
// single byte 1. In TLS 1.2 it is part of the handshake; in TLS 1.3 it is
// ignored where middlebox compatibility allows it.
func (e *Engine) HandleChangeCipherSpec() error {
	if e.err != nil {
		return e.err
	}
	e.err = e.guarded(e.handleChangeCipherSpec)
	return e.err
}

func (e *Engine) handleChangeCipherSpec() error {
	switch {
	case e.neg.Version == keyschedule.VersionTLS12:
		if _, err := e.in.aligned(); err != nil {
			return err
		}
		return e.dispatch(message{typ: changeCipherSpec})
	case e.established, e.state == serverWaitCH:
		return alert.Errorf(alert.UnexpectedMessage, "ChangeCipherSpec in state %v", e.state)
	}
	e.earlyCCS = e.earlyCCS || e.neg.Version == 0
	return nil
}

// NextEvent returns the oldest event that was not returned yet. The caller
// must drain the events after every call that may make some.
func (e *Engine) NextEvent() (Event, bool) {
	if len(e.events) == 0 {
		e.closeFlight()
	}
	if len(e.events) == 0 {
		return nil, false
	}
	ev := e.events[0]
	e.events[0] = nil
	if e.events = e.events[1:]; len(e.events) == 0 {
		e.events = nil
	}
	return ev, true
}

// State returns what is negotiated so far. The caller must not change it.
func (e *Engine) State() *State { return &e.neg }

// Established reports whether the handshake is complete.
func (e *Engine) Established() bool { return e.established }

// EarlyData returns how many bytes of early data a client that has started may
// send, or a server that has accepted some may get, and the application protocol
// that they are in. The limit is 0 if there is none.
func (e *Engine) EarlyData() (limit uint32, alpn string) {
	var s *session.State
	switch {
	case e.client != nil && e.client.hello != nil && e.client.hello.earlyData:
		s = e.client.psks[0].session
	case e.server != nil && e.server.schedule.earlyData:
		s = e.server.schedule.psk.session
	default:
		return 0, ""
	}
	return s.MaxEarlyData, s.ALPN
}

// ReadAligned reports whether no part of a handshake message is pending, so
// that the reading side may be handed to somebody else.
func (e *Engine) ReadAligned() bool { return len(e.in.buf) == 0 }

// SetContext replaces the context that callbacks get from here on.
func (e *Engine) SetContext(ctx context.Context) {
	if w := e.working(); w != nil {
		w.ctx = ctx
	}
}

// working is what both roles need until the handshake ends.
type working struct {
	eventRoom
	ctx        context.Context // of callbacks
	transcript keyschedule.Transcript
}

func (w *working) init(ctx context.Context) {
	w.eventRoom.init()
	w.ctx = ctx
}

// working returns nil after the handshake.
func (e *Engine) working() *working {
	switch {
	case e.client != nil:
		return &e.client.working
	case e.server != nil:
		return &e.server.working
	}
	return nil
}

// ExportKeyingMaterial returns n bytes bound to label and context
// (RFC 9846, section 7.5; RFC 5705). It needs a complete handshake, and in TLS
// 1.2 extended_master_secret.
func (e *Engine) ExportKeyingMaterial(label string, context []byte, n int) ([]byte, error) {
	if e.post.exporter == nil {
		return nil, alert.Errorf(alert.InternalError, "no keying material to export before the handshake is complete, or without extended_master_secret")
	}
	return e.post.exporter.Export(label, context, n)
}

// Wipe overwrites the secrets that the engine holds. It cannot be used
// afterwards.
func (e *Engine) Wipe() {
	if e.err == nil {
		e.err = alert.Errorf(alert.InternalError, "engine was wiped")
	}
	if e.client != nil {
		e.client.wipe()
	}
	if e.server != nil {
		e.server.wipe()
	}
	e.client, e.server, e.events, e.flight = nil, nil, nil, nil
	e.post.wipe()
}

func (e *Engine) emit(ev Event) {
	e.closeFlight()
	e.queueEvent(ev)
}

func (e *Engine) queueEvent(ev Event) {
	if w := e.working(); e.events == nil && w != nil {
		e.events = w.queue[:0]
	}
	e.events = append(e.events, ev)
}

// send queues one of our messages, which write appends to what it is given, and
// adds it to the transcript.
func (e *Engine) send(level Level, write func([]byte) []byte) {
	e.working().transcript.Add(e.queueMessage(level, write))
}

// queueMessage queues a message, joined with those queued right before, so that
// records are filled and not started for each message. It returns the message.
func (e *Engine) queueMessage(level Level, write func([]byte) []byte) []byte {
	if level != e.flightLevel {
		e.closeFlight()
	}
	if len(e.flight) == 0 {
		e.flight, e.flightLevel = e.flightRoom(), level
	}
	begin := len(e.flight)
	e.flight = write(e.flight)
	if e.cfg.rewrite != nil {
		e.flight = append(e.flight[:begin], e.cfg.rewrite(slices.Clone(e.flight[begin:]))...)
	}
	raw := e.flight[begin:]
	e.cfg.Trace.OnSent(contentHandshake, raw)
	return raw
}

// flightLen is room for all that a resumption sends; certificates make more.
const flightLen = 512

// flightRoom returns where to put a flight. During the handshake, what the one
// before has left is used.
func (e *Engine) flightRoom() []byte {
	switch {
	case e.established:
		return nil
	case cap(e.flight) == 0:
		return make([]byte, 0, flightLen)
	}
	return e.flight
}

// closeFlight makes an event of the messages that are queued.
func (e *Engine) closeFlight() {
	n := len(e.flight)
	if n > 0 {
		e.queueEvent(e.newSend(e.flightLevel, e.flight[:n:n]))
	}
	if e.flight = e.flight[n:]; e.established {
		e.flight = nil
	}
}

// sendChangeCipherSpec queues a ChangeCipherSpec.
func (e *Engine) sendChangeCipherSpec() {
	if e.cfg.Trace != nil {
		e.cfg.Trace.OnSent(contentChangeCipherSpec, []byte{1})
	}
	e.emit(SendChangeCipherSpec{})
}

// installRead changes the keys for what arrives to those of a traffic secret.
func (e *Engine) installRead(_ alignedProof, level Level, secret *keyschedule.TrafficSecret) {
	e.readLevel = level
	keys, kept := e.epoch(e.neg.Suite, level, secret)
	e.emit(e.newRead(level, keys, kept))
}

// installWrite changes the keys for what is sent to those of a traffic secret.
func (e *Engine) installWrite(level Level, secret *keyschedule.TrafficSecret) {
	e.installWriteFor(e.neg.Suite, level, secret)
}

// epoch returns the keys of a traffic secret, and where it is: those of the
// handshake are wiped before anybody has seen them, so there it is a copy.
func (e *Engine) epoch(suite *keyschedule.Suite, level Level, secret *keyschedule.TrafficSecret) (*keyschedule.TrafficKeys, *keyschedule.TrafficSecret) {
	if level == LevelApplication {
		return secret.Keys(suite), secret
	}
	return secret.Epoch(suite)
}

// installWriteFor is for early data, whose suite is that of its session.
func (e *Engine) installWriteFor(suite *keyschedule.Suite, level Level, secret *keyschedule.TrafficSecret) {
	keys, kept := e.epoch(suite, level, secret)
	e.emit(e.newWrite(level, keys, kept))
}

// installRead12 and installWrite12 are for TLS 1.2, which has no traffic secrets.

func (e *Engine) installRead12(_ alignedProof, keys *keyschedule.TrafficKeys) {
	e.readLevel = LevelApplication
	e.emit(e.newRead(LevelApplication, keys, nil))
}

func (e *Engine) installWrite12(keys *keyschedule.TrafficKeys) {
	e.emit(e.newWrite(LevelApplication, keys, nil))
}

// Alert is a TLS alert description: its value is the RFC's number, its String
// the RFC's name (RFC 9846, section 6).
type Alert = alert.Description

// AlertOf returns the alert that the peer is owed for an error of this
// package, internal_error if the error says nothing.
func AlertOf(err error) Alert { return alert.Of(err) }

func contains[T comparable](list []T, v T) bool { return slices.Contains(list, v) }
