package tls

import (
	"cmp"
	"context"
	"io"
	"sync"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// Sending, down to the network:
//
//	Conn.Write       application data, cut into bursts of what four records hold
//	Conn.writeBurst  what the engine has queued, then the burst, in one buffer
//	outbound.seal*   records
//	outbound.flush   one Write to the network
//
// Where the kernel has the keys, writeKernel (kernel_write.go) is in place of
// all but the first.

// Write writes application data. It handshakes first if that was not done.
// After an error nothing more can be written: part of a record may have been
// sent. A timeout is such an error in user space; where the kernel has the
// sending side, the result says how much it has taken, and one can go on.
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.enterWrite(); err != nil {
		return 0, err
	}
	defer c.leaveWrite()
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	return c.writeAll(b)
}

// writeAll writes b.
func (c *Conn) writeAll(b []byte) (int, error) {
	c.out.Lock()
	defer c.unlockOut()
	n := 0
	for n < len(b) {
		m, err := c.writeSome(b[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, c.out.err
}

// writeSome writes some of b, by whoever has the keys. out is held.
func (c *Conn) writeSome(b []byte) (n int, err error) {
	c.planTX()
	if c.out.moveDue() {
		if err := c.moveTX(); err != nil {
			return 0, err
		}
	}
	if c.out.kernel != nil {
		n, err = c.writeKernel(b)
	} else {
		n, err = c.writeBurst(b)
	}
	c.out.written += int64(n)
	return n, err
}

// KeyUpdate changes the keys of both directions (RFC 9846, section 4.7.3): ours
// at once, the peer's when it has read our request and sends again. While a
// Write is in progress, it takes effect within that. If ctx ends while the
// message is being sent, the sending side ends too; where the kernel has it, the
// message is sent with what comes next instead. TLS 1.2 has no such thing: there
// it fails.
func (c *Conn) KeyUpdate(ctx context.Context) error {
	if err := c.enterWrite(); err != nil {
		return err
	}
	defer c.leaveWrite()
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.gone(); err != nil {
		return err
	}
	if c.stuckTX() {
		return ErrNoRekey
	}
	if err := c.step(c.engine.RequestKeyUpdate); err != nil {
		return cmp.Or[error](c.gone(), newLocalError(err)) // it may have left meanwhile
	}
	c.due.Store(true)
	if !c.out.TryLock() {
		return nil // whoever sends now sends this too
	}
	defer c.unlockOut()
	broken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
		close(broken)
	})
	err := c.sendLocked()
	if !stop() {
		<-broken
		_ = c.conn.SetWriteDeadline(c.writeDeadline()) // the connection may live on
	}
	return err
}

// closeNotify ends the sending side, once. It returns what went wrong with
// that, or else why the sending side had ended before. out is held.
func (c *Conn) closeNotify() (sendErr, earlier error) {
	if c.out.err != nil && c.out.err != errShutdown {
		return nil, c.out.err
	}
	if c.out.err == nil {
		_ = c.conn.SetWriteDeadline(time.Now().Add(alertTimeout))
		c.enqueue(closing(errShutdown))
		c.out.closeErr = c.writeQueued(c.takeQueue())
		if c.out.closeErr != nil {
			c.out.stop(c.out.closeErr)
		}
		_ = c.conn.SetWriteDeadline(time.Now())
	}
	return c.out.closeErr, nil
}

// sendQueued sends what should not wait. It is for the handshake, when nobody
// else has out, but for early data.
func (c *Conn) sendQueued() error {
	if c.early.open.Load() {
		return c.sendBeside()
	}
	c.out.Lock()
	defer c.out.Unlock()
	c.due.Store(false)
	if err := c.writeQueued(c.takeUrgent()); err != nil {
		return err
	}
	return c.out.err // Close was called, and dropped what was to be sent
}

// sendDue sends what is queued and due, unless somebody else is sending: who
// has out calls this after giving it back.
func (c *Conn) sendDue() error {
	for c.due.Load() && c.out.TryLock() {
		err := c.sendLocked()
		c.out.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) sendLocked() error {
	c.due.Store(false)
	c.answerUpdate()
	ended := c.out.err
	if err := c.writeQueued(c.takeQueue()); err != nil {
		return err
	}
	return ended
}

// answerUpdate changes our keys if the peer has asked for it: once, however
// often it did (RFC 9846, section 4.7.3).
func (c *Conn) answerUpdate() {
	if c.owesUpdate.Load() && c.owesUpdate.Swap(false) && c.out.err == nil {
		c.updateKeys()
	}
}

// updateKeys queues a KeyUpdate and our next keys. Where the engine refuses, the
// connection has failed: the alert that says so is queued already, or is now.
// Where the kernel cannot change keys, the sending side ends instead.
func (c *Conn) updateKeys() {
	if c.stuckTX() {
		c.enqueue(closing(ErrNoRekey))
		return
	}
	if err := c.step(c.engine.UpdateWriteKeys); err != nil {
		e := newLocalError(err)
		c.enqueue(outgoing{typ: record.Alert, body: []byte{alertLevelFatal, byte(e.alert)}, final: e})
	}
}

// takeQueue returns all that is queued, and leaves nothing.
func (c *Conn) takeQueue() []outgoing {
	if !c.queued.Load() { // as nearly always
		return nil
	}
	c.queueMutex.Lock()
	defer c.queueMutex.Unlock()
	queue := c.queue
	c.queue = nil
	c.queued.Store(false)
	return queue
}

// takeUrgent is takeQueue up to the last effect that should not wait. What a
// client does on ServerHello, a ChangeCipherSpec for middleboxes and new keys,
// waits for the flight that they belong to.
func (c *Conn) takeUrgent() []outgoing {
	c.queueMutex.Lock()
	defer c.queueMutex.Unlock()
	n := len(c.queue)
	for n > 0 && c.queue[n-1].patient {
		n--
	}
	if n >= 2 && c.queue[n-1].install != nil && c.queue[n-2].typ == record.ChangeCipherSpec {
		n -= 2
	}
	queue := c.queue[:n:n]
	c.queue = c.queue[n:]
	c.queued.Store(len(c.queue) > 0)
	return queue
}

// writeQueued seals what was queued and sends it by one Write. out is held.
func (c *Conn) writeQueued(queue []outgoing) error {
	if len(queue) == 0 {
		return nil
	}
	if c.out.kernel != nil {
		return c.sendKernel(queue)
	}
	buf := getBuffer(recordBufferLen)
	defer buf.put()
	var err error
	if buf.b, err = c.out.sealQueue(buf.b[:0], queue, c.config); err != nil {
		return err
	}
	return c.out.flush(c.conn, buf.b)
}

// writeBurst sends what is queued and, in the same Write, as much of b as four
// records hold. It returns how much of b that was. out is held.
func (c *Conn) writeBurst(b []byte) (int, error) {
	if err := c.out.err; err != nil {
		return 0, err
	}
	c.answerUpdate()
	size := recordBufferLen
	if len(b) > record.MaxPlaintext {
		size = burstBufferLen
	}
	buf := getBuffer(size)
	var err error
	buf.b = buf.b[:0]
	if c.queued.Load() {
		buf.b, err = c.out.sealQueue(buf.b, c.takeQueue(), c.config)
	}
	if err == nil && c.out.room() == 0 {
		buf.b, err = c.renewKeys(buf.b)
	}
	n := 0
	if err == nil && c.out.err == nil {
		buf.b, n, err = c.out.sealData(buf.b, b)
	}
	if err == nil {
		err = c.out.flush(c.conn, buf.b)
	}
	buf.put()
	if err != nil {
		return 0, c.out.stop(err)
	}
	return n, c.out.err
}

// renewKeys changes our keys, which are nearly used up (RFC 9846, section 5.5),
// appending the KeyUpdate to dst.
func (c *Conn) renewKeys(dst []byte) ([]byte, error) {
	c.replaceKeys()
	return c.out.sealQueue(dst, c.takeQueue(), c.config)
}

// replaceKeys queues what is due when our key is nearly used up: new ones. TLS
// 1.2 has none: there the sending side ends, with close_notify, while the key
// still allows one record more.
func (c *Conn) replaceKeys() {
	if c.engine.State().Version != keyschedule.VersionTLS13 {
		c.enqueue(closing(ErrRecordLimit))
		return
	}
	c.updateKeys()
}

// closing is a close_notify after which err is what writers get.
func closing(err error) outgoing {
	return outgoing{typ: record.Alert, body: []byte{alertLevelWarning, byte(alert.CloseNotify)}, final: err}
}

// outbound is the sending side.
type outbound struct {
	sync.Mutex
	err      error // the end: nothing is sent after it
	closeErr error // of sending close_notify

	sealer *record.Sealer

	kernel  *kernel.Socket // instead of sealer, once it has the keys
	next    uint64         // about the number of the kernel's next record
	limit   uint64         // how many records the kernel's key may protect in all
	plan    plan
	written int64 // application data
	place   place

	// Records begin small, so that the first ones arrive whole in one packet
	// each, and grow.
	records   uint16
	fixedSize bool
	early     bool  // the keys are those of a client's early data
	earlyLeft int64 // how much of it there may still be
}

const (
	// reserve is how many records a key must still allow for: a KeyUpdate or an
	// alert of ours, and the answer to the peer's KeyUpdate.
	reserve = 2
	// firstRecordSize is what arrives in one packet nearly everywhere: IPv6's
	// least MTU without the headers of IP, TCP and TLS.
	firstRecordSize = 1280 - 40 - 32 - 32

	// helloVersion stands in the header of a client's first records (RFC 9846,
	// section 5.1).
	helloVersion = 0x0301
)

func (o *outbound) init(r role) {
	o.sealer = record.NewSealer(nil)
	o.plan.settled = true // until the handshake is complete
	if r == roleClient {
		o.sealer.SetPlaintextVersion(helloVersion)
	}
}

// stop ends the sending side: err is what it returns from now on, unless it has
// ended already. It returns what that is.
func (o *outbound) stop(err error) error {
	if o.err == nil {
		o.err = err
		o.forget()
	}
	return o.err
}

// forget overwrites the keys.
func (o *outbound) forget() {
	if o.sealer != nil { // the kernel has none
		o.sealer.Wipe()
	}
}

// install changes keys; none means no protection, again.
func (o *outbound) install(ev *handshake.InstallWrite, cfg *Config) {
	o.forget()
	wipeSecret(ev.Level, ev.Secret)
	o.early = ev.Level == handshake.LevelEarly
	if ev.Keys == nil {
		o.sealer = new(record.Sealer)
		return
	}
	o.seal(ev.Keys, cfg)
	if cfg.recordLimit > 0 && ev.Level != handshake.LevelHandshake {
		o.sealer.SetLimit(cfg.recordLimit)
	}
	if o.early && cfg.RecordPadding != nil {
		o.sealer.SetPadding(func(n int) int { return min(cfg.RecordPadding(n), int(min(o.earlyLeft, record.MaxPlaintext))-n) })
	}
	o.fixedSize = cfg.DynamicRecordSizingDisabled
}

// seal makes keys those of the next records.
func (o *outbound) seal(keys *keyschedule.TrafficKeys, cfg *Config) {
	if o.sealer == nil { // the kernel had none
		o.sealer = record.NewSealer(nil)
	}
	o.sealer.Install(keys, record.WithRand(cfg.rand()))
	o.sealer.SetPadding(cfg.RecordPadding)
}

// sealQueue applies queued effects in their order, appending records to dst.
// Once the sending side has ended, the rest is dropped.
func (o *outbound) sealQueue(dst []byte, queue []outgoing, cfg *Config) ([]byte, error) {
	var err error
	for i := range queue {
		q := &queue[i]
		switch {
		case o.err != nil:
			q.drop()
			continue
		case q.install != nil:
			o.install(q.install, cfg)
		case q.body != nil:
			if q.typ == record.ChangeCipherSpec {
				o.sealer.SetPlaintextVersion(0) // the first ClientHello is over
			}
			if dst, err = o.sealer.Seal(dst, q.typ, q.body); err != nil {
				o.stop(err)
			}
		}
		if q.final != nil {
			o.stop(q.final)
		}
	}
	return dst, err
}

// drop overwrites keys that come too late.
func (q *outgoing) drop() {
	if q.install != nil && q.install.Keys != nil {
		q.install.Keys.Wipe()
		wipeSecret(q.install.Level, q.install.Secret)
	}
}

// wipeSecret overwrites the secret that came with new keys, which nobody here asks
// for. That of the application level is the engine's.
func wipeSecret(level handshake.Level, secret *keyschedule.TrafficSecret) {
	if level != handshake.LevelApplication && secret != nil {
		secret.Wipe()
	}
}

// sealData appends records of b to dst, as many as four full ones hold, and returns
// how much of b that is.
func (o *outbound) sealData(dst, b []byte) (_ []byte, n int, err error) {
	b = b[:min(len(b), burstRecords*record.MaxPlaintext)]
	for n < len(b) && o.room() > 0 && (n == 0 || len(dst) <= burstBufferLen-recordBufferLen) {
		m := min(len(b)-n, o.recordSize())
		if dst, err = o.sealer.Seal(dst, record.ApplicationData, b[n:n+m]); err != nil {
			return dst, 0, err
		}
		n += m
	}
	if n == 0 {
		return dst, 0, ErrRecordLimit
	}
	return dst, n, nil
}

// flush sends records. If that fails, the sending side has ended.
func (o *outbound) flush(conn io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := conn.Write(b)
	if n < len(b) && err == nil {
		err = io.ErrShortWrite
	}
	if err != nil {
		err = permanent(err)
		o.stop(err)
		return err
	}
	o.sealer.SetPlaintextVersion(0)
	o.place.note(o.sealer.Remaining())
	return nil
}

// room returns how many records of application data the key allows for.
func (o *outbound) room() uint64 {
	return o.sealer.Remaining() - min(o.sealer.Remaining(), reserve)
}

// recordSize returns the size of the next record of application data: one
// packet more than the last one.
func (o *outbound) recordSize() int {
	n := firstRecordSize * (int(o.records) + 1)
	if o.fixedSize || n >= record.MaxPlaintext {
		return record.MaxPlaintext
	}
	o.records++
	return n
}
