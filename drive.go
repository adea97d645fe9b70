package tls

import (
	"context"
	"errors"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// maxHandshakeBytes bounds what a peer can make us read before it has proved
// anything: a certificate chain of the largest size, twice.
const maxHandshakeBytes = 1 << 19

// outgoing is one effect on the sending side, in the order in which the engine
// wants them.
type outgoing struct {
	typ     record.ContentType
	body    []byte
	install *handshake.InstallWrite // instead of the two above
	patient bool                    // may wait for what is sent next
	final   error                   // after it nothing is sent, but this returned
}

// handshake runs the handshake, or what is left of it. handshakeMutex and in are
// held.
func (c *Conn) handshake(ctx context.Context) error {
	err := c.begin(ctx)
	if err == nil {
		err = c.drive(c.engine.Established)
		c.engine.SetContext(context.Background())
	}
	if c.goesOn(err) {
		return err
	}
	if err == nil {
		c.forget(nil)
		c.storeSessions()
		c.in.established()
		c.in.release() // nobody may ever read
		c.trimQueue()
		err = c.moveAtOnce()
	}
	if err != nil {
		c.fails(err)
	}
	return err
}

// begin makes the engine, unless early data has done so.
func (c *Conn) begin(ctx context.Context) error {
	if c.engine != nil {
		c.engine.SetContext(ctx)
		return nil
	}
	cfg, err := c.bind()
	switch {
	case err != nil:
		return err
	case c.role == roleClient:
		c.engine = handshake.NewClient(ctx, cfg)
	default:
		c.engine = handshake.NewServer(ctx, cfg)
	}
	return nil
}

// fails ends a handshake for err.
func (c *Conn) fails(err error) {
	c.forget(err)
	c.wipeEngine()
}

// forget drops the session that was offered, and on errors what else is known
// of the server.
func (c *Conn) forget(err error) {
	if c.forgetSession != nil {
		c.forgetSession(err != nil)
		c.forgetSession = nil
	}
}

// drive feeds records to the engine and sends what it wants sent, until done
// says so. All that the engine has to say at one time is sent by one Write.
func (c *Conn) drive(done func() bool) error {
	if err := c.step(c.engine.Start); err != nil {
		return newLocalError(err) // nothing was sent, so the peer needs no alert
	}
	for {
		if err := c.sendQueued(); err != nil {
			return err
		}
		if done() {
			return nil
		}
		if _, err := c.advance(nil); err != nil {
			return err
		}
	}
}

// step calls into the engine and takes its events, in their order: effects on
// the receiving side happen at once, and those on the sending side are queued.
// Only calls that consume what was received, whose caller has in, cause the
// former.
func (c *Conn) step(call func() error) error {
	if c.complete.Load() || c.early.open.Load() {
		c.engineMutex.Lock()
		defer c.engineMutex.Unlock()
	}
	err := call()
	// One call's effects are queued together: whoever sends must not find a
	// KeyUpdate there and not yet the keys that follow it.
	var room [maxBatch]outgoing
	batch := room[:0]
	for {
		ev, ok := c.engine.NextEvent()
		if !ok {
			c.enqueue(batch...)
			return err
		}
		batch = c.apply(batch, ev)
	}
}

// apply does what ev is about, or appends it to batch.
func (c *Conn) apply(batch []outgoing, ev handshake.Event) []outgoing {
	switch ev := ev.(type) {
	case *handshake.SendHandshake:
		return append(batch, outgoing{typ: record.Handshake, body: ev.Bytes, patient: c.patient(ev.Level)})
	case handshake.SendChangeCipherSpec:
		return append(batch, outgoing{typ: record.ChangeCipherSpec, body: changeCipherSpec})
	case *handshake.InstallWrite:
		return append(batch, outgoing{install: ev})
	case *handshake.InstallRead:
		c.in.install(ev)
	case handshake.EarlyDataAccepted:
		c.early.offered.Store(true)
		c.early.accepted.Store(true)
	case handshake.EarlyDataRejected:
		c.early.offered.Store(true)
		if c.role == roleServer {
			c.in.skipEarlyData(ev.MaxBytes)
		}
	case handshake.StoreSession:
		c.newSessions = append(c.newSessions, ev.Session)
	case handshake.PeerKeyUpdate:
		if ev.Requested {
			c.owesUpdate.Store(true) // to be done before we send application data again
		}
	}
	return batch
}

// patient reports whether a message need not be sent before anything else is:
// session tickets need not, and could not on a connection without buffers,
// whose other end may not be reading.
func (c *Conn) patient(level handshake.Level) bool {
	return !c.prompt && level == handshake.LevelApplication && c.engine.State().Version == keyschedule.VersionTLS13
}

// changeCipherSpec is the content of that record. Nobody changes it.
var changeCipherSpec = []byte{1}

// maxBatch is more than the engine mostly has to say at one time.
const maxBatch = 6

func (c *Conn) enqueue(batch ...outgoing) {
	if len(batch) == 0 {
		return
	}
	for i := range batch {
		if batch[i].typ == record.Alert {
			c.trace.OnSent(uint8(record.Alert), batch[i].body)
		}
	}
	c.queueMutex.Lock()
	if c.queue == nil && !c.complete.Load() {
		c.queue = make([]outgoing, 0, 2*maxBatch) // for the whole handshake
	}
	c.queue = append(c.queue, batch...)
	c.queued.Store(true)
	c.queueMutex.Unlock()
}

// trimQueue gives up the memory of a queue that is empty.
func (c *Conn) trimQueue() {
	c.queueMutex.Lock()
	defer c.queueMutex.Unlock()
	if len(c.queue) == 0 {
		c.queue = nil
	}
}

// storeSessions gives new sessions to the cache, which is the application's, so
// not from within a call into the engine.
func (c *Conn) storeSessions() {
	b := binding{conn: c, cfg: c.config}
	for _, s := range c.newSessions {
		b.storeSession(s)
	}
	c.newSessions = nil
}

// takeHandshake gives the content of a handshake record to the engine.
func (c *Conn) takeHandshake(content []byte) error {
	if !c.complete.Load() {
		if c.in.handshakeBytes += int32(len(content)); c.in.handshakeBytes > maxHandshakeBytes {
			return alert.Errorf(alert.UnexpectedMessage, "handshake of more than %d bytes", maxHandshakeBytes)
		}
		c.in.useless = 0
	}
	c.in.messages = true
	level := c.in.level
	err := c.step(func() error { return c.engine.Handle(level, content) })
	if err == nil {
		err = c.in.broken
	}
	if c.complete.Load() && err == nil {
		c.storeSessions()
	}
	return err
}

// fail ends the connection for an error of this side, which carries the alert
// to send, and returns what the application gets. in is held.
func (c *Conn) fail(err error) error {
	local := c.headerError(err)
	if local == nil {
		e := newLocalError(err)
		c.sendAlert(e.alert, e)
		local = e
	}
	c.in.stop(local)
	return local
}

// sendAlert queues the last alert and tries to send it, for a bounded time. If
// the sending side is busy, it follows what is being sent.
func (c *Conn) sendAlert(d alert.Description, final error) {
	level := alertLevelFatal
	if d == alert.NoRenegotiation {
		level = alertLevelWarning // always, by RFC 5246, section 7.2.2
	}
	c.enqueue(outgoing{typ: record.Alert, body: []byte{level, byte(d)}, final: final})
	c.due.Store(true)
	_ = c.conn.SetWriteDeadline(time.Now().Add(alertTimeout))
	_ = c.sendDue() // it has failed already, with an error that says more
}

// headerError returns a RecordHeaderError, as crypto/tls has it, for a peer that
// does not speak TLS; nil for other errors. Such a peer gets no alert, so that
// the application can answer it on RecordHeaderError.Conn, unless it speaks SSL.
func (c *Conn) headerError(err error) error {
	var h *record.HeaderError
	if !errors.As(err, &h) {
		return nil
	}
	e := RecordHeaderError{Msg: h.Msg, RecordHeader: h.Header}
	if ssl2 := h.Header[0]&0x80 != 0; c.in.begun || ssl2 {
		c.sendAlert(alert.Of(err), e)
		return e
	}
	e.Conn = c.conn
	return e
}
