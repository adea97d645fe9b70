package tls

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// Receiving, from the network up:
//
//	inbound.fill     bytes into a pooled buffer, or, when none is needed yet,
//	                 into the five bytes for a header, or where one can wait for
//	                 a socket (receive_unix.go), into a buffer when something has come
//	inbound.record   the next whole record
//	Conn.open        unprotected, into the caller's slice where that is long enough
//	Conn.advance     acts on one record
//	Conn.Read        application data
//
// Where the kernel has the keys, advanceKernel (kernel_read.go) is in place of
// the first three.

// Read reads application data. It handshakes first if that was not done. After
// a close_notify of the peer it returns io.EOF; where the connection ended
// without one, io.ErrUnexpectedEOF (RFC 9846, section 6.1). After a timeout it
// may be called again.
func (c *Conn) Read(b []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	c.in.Lock()
	defer c.unlockIn()
	defer c.in.release()
	n := c.in.take(b)
	for n == 0 {
		var err error
		if n, err = c.advance(b); err != nil {
			return 0, err
		}
	}
	return c.readMore(b, n)
}

// readMore adds to the n bytes in b what is there already and fits, one record
// after the other. If the end is next, it is reported now: whoever keeps
// connections for later use then knows at once.
func (c *Conn) readMore(b []byte, n int) (int, error) {
	for len(c.in.plain) == 0 && c.in.buffered(len(b)-n) {
		m, err := c.advance(b[n:])
		n += m
		if err == io.EOF {
			return n, io.EOF
		}
		if err != nil {
			return n, nil // the next Read returns it
		}
	}
	return n, nil
}

const (
	alertLevelWarning byte = 1
	alertLevelFatal   byte = 2

	// maxUseless is how many records in a row may bring nothing: empty ones, and
	// ChangeCipherSpec in TLS 1.3. Of warnings fewer do: nobody has reason to
	// send many.
	maxUseless  = 32
	maxWarnings = 4
	// minSkipped is how much early data, padding included, a server passes over
	// even if it has never allowed any.
	minSkipped = 1<<14 + 1<<10
	// bareRecord is the length of a protected record without content: header,
	// type and tag.
	bareRecord = record.HeaderLen + 1 + 16
)

// advance reads one record and acts on it. Application data goes to dst and,
// what does not fit, to in.plain; the result is how much is in dst. An error is
// final, unless it is a timeout. in is held.
func (c *Conn) advance(dst []byte) (int, error) {
	if c.in.err != nil {
		return 0, c.in.err
	}
	if c.in.moveDue() {
		if err := c.moveRX(); err != nil {
			return 0, err
		}
	}
	if c.in.kernel != nil {
		return c.advanceKernel(dst)
	}
	rec, err := c.in.record(c.conn)
	if err != nil {
		return 0, c.readError(err)
	}
	typ, content, err := c.open(dst, rec)
	if err != nil {
		return 0, c.fail(err)
	}
	return c.act(dst, typ, content)
}

// act acts on the content of a record, whose beginning may be in dst already.
func (c *Conn) act(dst []byte, typ record.ContentType, content []byte) (_ int, err error) {
	switch typ {
	case record.ApplicationData:
		return c.takeData(dst, content)
	case record.Alert:
		c.trace.OnReceived(uint8(typ), content)
		return 0, c.takeAlert(content)
	case record.Handshake:
		err = c.takeHandshake(content)
	case record.ChangeCipherSpec:
		c.trace.OnReceived(uint8(typ), content)
		err = c.takeChangeCipherSpec(content)
	}
	if err != nil {
		return 0, c.fail(err)
	}
	return 0, nil
}

// readError sorts errors below a record: those of the network, and those of a
// header.
func (c *Conn) readError(err error) error {
	if e := (*alert.Error)(nil); errors.As(err, &e) {
		return c.fail(err)
	}
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		return err // what has arrived is kept
	}
	c.in.stop(err)
	return err
}

// open unprotects a record. A result of type 0 is nothing to act on.
func (c *Conn) open(dst, rec []byte) (record.ContentType, []byte, error) {
	typ := record.ContentType(rec[0])
	if typ == record.ChangeCipherSpec && c.in.bareCCS() {
		return typ, rec[record.HeaderLen:], nil
	}
	if typ == record.Alert && c.role == roleServer && c.in.bareAlert(rec[record.HeaderLen:]) {
		return typ, rec[record.HeaderLen:], nil
	}
	if c.in.skipping && c.in.level == handshake.LevelInitial && typ == record.ApplicationData {
		return 0, nil, c.in.skipRecord(rec)
	}
	typ, content, err := c.in.opener.Open(dst, rec)
	switch {
	case err == nil:
		c.in.begun = true
		return typ, content, c.checkType(typ)
	case c.in.skipping && alert.Of(err) == alert.BadRecordMAC:
		return 0, nil, c.in.skipRecord(rec)
	}
	return 0, nil, err
}

// checkType refuses records that are not for their time (RFC 9846, section 5.1).
func (c *Conn) checkType(typ record.ContentType) error {
	c.in.skipping = false
	switch {
	case typ == record.Handshake:
		return nil
	case !c.engine.ReadAligned() && (typ == record.ApplicationData || c.engine.State().Version == keyschedule.VersionTLS13):
		return alert.Errorf(alert.UnexpectedMessage, "%v record within a handshake message", typ)
	case typ == record.ApplicationData && c.in.level == handshake.LevelEarly:
		return nil
	case typ == record.ApplicationData && !c.engine.Established():
		return alert.Errorf(alert.UnexpectedMessage, "application data before the handshake is complete")
	}
	return nil
}

// takeData delivers application data: to dst, where it may be already, and the
// rest to in.plain.
func (c *Conn) takeData(dst, content []byte) (int, error) {
	if len(content) == 0 {
		if err := c.in.countUseless(); err != nil {
			return 0, c.fail(err)
		}
		return 0, nil
	}
	if c.in.level == handshake.LevelEarly {
		return c.takeEarlyData(dst, content)
	}
	c.progress(len(content))
	n := copy(dst, content)
	c.in.plain = content[n:]
	return n, nil
}

// progress notes that n bytes of application data arrived.
func (c *Conn) progress(n int) {
	c.in.useless, c.in.warnings = 0, 0
	c.in.read += int64(n)
	if c.in.messages {
		c.in.messages = false
		c.engineMutex.Lock()
		c.engine.Progress()
		c.engineMutex.Unlock()
	}
}

// takeAlert acts on an alert (RFC 9846, section 6; RFC 5246, section 7.2).
func (c *Conn) takeAlert(content []byte) error {
	if len(content) != 2 {
		return c.fail(alert.Errorf(alert.DecodeError, "alert of %d bytes", len(content)))
	}
	level, d := content[0], alert.Description(content[1])
	tls13 := c.engine.State().Version == keyschedule.VersionTLS13
	switch {
	case d == alert.CloseNotify:
		c.engineMutex.Lock()
		c.engine.PeerClosed()
		c.engineMutex.Unlock()
		c.in.stop(io.EOF)
		return io.EOF
	case level != alertLevelWarning && level != alertLevelFatal:
		return c.fail(alert.Errorf(alert.IllegalParameter, "alert of level %d", level))
	case tls13 && d == alert.UserCanceled, !tls13 && level == alertLevelWarning:
		if err := c.in.countWarning(); err != nil {
			return c.fail(err)
		}
		return nil
	}
	err := remoteError(d)
	c.in.stop(err)
	for _, q := range c.takeQueue() { // nobody is there to read it
		q.drop()
	}
	c.enqueue(outgoing{final: err})
	c.due.Store(true)
	_ = c.sendDue() // which sends nothing but ends the sending side
	return err
}

// takeChangeCipherSpec acts on a ChangeCipherSpec record, of which TLS 1.3 has
// only one that means nothing (RFC 9846, section 5).
func (c *Conn) takeChangeCipherSpec(content []byte) error {
	if len(content) != 1 || content[0] != 1 {
		return alert.Errorf(alert.UnexpectedMessage, "malformed ChangeCipherSpec")
	}
	if !c.engine.ReadAligned() {
		return alert.Errorf(alert.UnexpectedMessage, "ChangeCipherSpec within a handshake message")
	}
	if err := c.in.countUseless(); err != nil {
		return err
	}
	return c.step(c.engine.HandleChangeCipherSpec)
}

// inbound is the receiving side.
type inbound struct {
	sync.Mutex
	err error // the end: nothing is received after it

	opener *record.Opener
	suite  *keyschedule.Suite // of the keys, nil without

	kernel  *kernel.Socket // instead of opener, once it has the keys
	broken  error          // why the kernel did not take the next keys
	control []byte         // the beginning of a record that is not data
	plan    plan
	read    int64 // application data
	place   place

	raw   syscall.RawConn // of a socket, to wait for it without a buffer
	buf   *buffer
	r, w  int    // bytes r to w of buf were received and not looked at yet
	plain []byte // data that was not delivered yet, within buf

	early *earlyInbound // nil without early data

	// What is small is together: it makes a connection smaller.
	handshakeBytes    int32
	head              [record.HeaderLen]byte // the beginning of a record while there is no buffer
	headN             uint8                  // how much of it is there
	level             handshake.Level
	useless, warnings uint8
	bulk              bool // as much has come at once as a full record has
	flowing           bool // the kernel has filled our last buffer, so it may have more
	exact             bool // read no further than the end of a record
	received          bool // anything at all
	begun             bool // a record
	messages          bool // a handshake message, since the last application data
	skipping          bool // early data may come that was not accepted
}

// earlyInbound is a server's early data.
type earlyInbound struct {
	skip int64  // how much of it may be passed over
	left int64  // how much there may be to accept
	data []byte // that was not delivered yet
}

func (h *inbound) init(conn net.Conn, exact bool) {
	h.opener, h.raw, h.exact = record.NewOpener(nil), rawConn(conn), exact
	h.plan.settled = true // until the handshake is complete
}

// install changes keys. What is in the buffer was protected with the new ones.
func (h *inbound) install(ev *handshake.InstallRead) {
	h.forget()
	if h.kernel != nil {
		h.broken = h.rekey(ev.Keys)
		return
	}
	h.opener.Install(ev.Keys)
	h.level, h.suite = ev.Level, ev.Keys.Suite
	wipeSecret(ev.Level, ev.Secret)
}

// forget overwrites the keys.
func (h *inbound) forget() {
	if h.opener != nil { // the kernel has none
		h.opener.Wipe()
	}
}

// established ends reading record by record. Early data that nobody has read
// comes before all other.
func (h *inbound) established() {
	h.exact, h.skipping, h.useless, h.warnings = false, false, 0, 0
	if h.early != nil {
		h.plain, h.early = h.early.data, nil
	}
}

// stop ends the receiving side: err is what it returns from now on, unless it
// has ended already.
func (h *inbound) stop(err error) {
	if h.err != nil {
		return
	}
	h.err = err
	h.forget()
	h.plain, h.early, h.r, h.w, h.headN = nil, nil, 0, 0, 0
	h.release()
}

// bareCCS reports whether a ChangeCipherSpec record stands outside of record
// protection: it does before there is any, and always in TLS 1.3.
func (h *inbound) bareCCS() bool {
	return h.begun && (h.suite == nil || h.suite.Version == keyschedule.VersionTLS13)
}

// bareAlert reports whether an alert may stand outside of record protection: the
// fatal one of a TLS 1.3 client that refuses our first flight, and that, as
// OpenSSL does, turns its own protection on only with its Finished (RFC 9846,
// appendix A.1). Who could forge it could break the connection off by other
// means too.
func (h *inbound) bareAlert(content []byte) bool {
	return (h.level == handshake.LevelEarly || h.level == handshake.LevelHandshake && h.opener.Seq() == 0) &&
		len(content) == 2 && content[0] == alertLevelFatal && content[1] != byte(alert.CloseNotify)
}

func (h *inbound) countUseless() error {
	if h.useless++; h.useless > maxUseless {
		return alert.Errorf(alert.UnexpectedMessage, "too many records in a row that bring nothing")
	}
	return nil
}

func (h *inbound) countWarning() error {
	if h.warnings++; h.warnings > maxWarnings {
		return alert.Errorf(alert.UnexpectedMessage, "too many warnings in a row")
	}
	return nil
}

// skipEarlyData lets the server pass over early data that it has not accepted:
// records that it has no keys for (RFC 9846, section 4.3.10).
func (h *inbound) skipEarlyData(limit uint32) {
	h.skipping, h.early = true, &earlyInbound{skip: max(int64(limit), minSkipped)}
}

// skipRecord passes over a record. What counts is what it may hold at most: a
// client may send its data in records as small as it likes, but no empty ones.
func (h *inbound) skipRecord(rec []byte) error {
	n := int64(len(rec) - bareRecord)
	if n <= 0 {
		return h.countUseless()
	}
	h.useless = 0
	if h.early.skip -= n; h.early.skip < 0 {
		return alert.Errorf(alert.UnexpectedMessage, "too much early data")
	}
	return nil
}

// take moves data that is there to b.
func (h *inbound) take(b []byte) int {
	n := copy(b, h.plain)
	h.plain = h.plain[n:]
	return n
}

// bytes is what was received and not looked at yet.
func (h *inbound) bytes() []byte {
	if h.buf == nil {
		return h.head[:h.headN]
	}
	return h.buf.b[h.r:h.w]
}

// buffered reports whether a whole record is there that room bytes can take.
func (h *inbound) buffered(room int) bool {
	if h.kernel != nil {
		return false // it has all that is there
	}
	n, err := h.opener.Need(h.bytes())
	return h.err == nil && err == nil && n > record.HeaderLen && n <= h.w-h.r && n-record.HeaderLen <= room
}

// record returns the next whole record, which is valid until the next call.
// After a timeout it goes on where it was.
func (h *inbound) record(conn net.Conn) ([]byte, error) {
	h.release() // who waits for a record should hold no buffer
	n := record.HeaderLen
	for {
		if err := h.fill(conn, n); err != nil {
			return nil, err
		}
		need, err := h.opener.Need(h.bytes())
		if err != nil {
			return nil, err
		}
		if need <= n {
			rec := h.bytes()[:need:need]
			h.r += need
			return rec, nil
		}
		n = need
	}
}

// fill reads until n bytes are there, and perhaps more.
func (h *inbound) fill(conn net.Conn, n int) error {
	for idle := 0; len(h.bytes()) < n; {
		m, err := h.readOnce(conn, n)
		h.grow(m)
		switch {
		case len(h.bytes()) >= n:
			return nil
		case err == io.EOF && h.received:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case m > 0:
			idle = 0
		default:
			if idle++; idle > maxUseless {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// readOnce reads once, for n bytes in all.
func (h *inbound) readOnce(conn net.Conn, n int) (int, error) {
	if h.buf != nil || h.headN > 0 || h.raw == nil || h.exact {
		return conn.Read(h.room(n))
	}
	size := recordBufferLen
	if h.bulk {
		size = burstBufferLen
	}
	m, err := h.receive(conn, size)
	if h.bulk, h.w = m >= record.MaxPlaintext, 0; 0 < m && m < record.HeaderLen {
		copy(h.head[:], h.buf.b[:m]) // the rest may be long in coming
		h.release()
	}
	return m, err
}

// room returns where to read to, for n bytes in all. For a header no buffer is
// needed, so that a connection that waits for one has none.
func (h *inbound) room(n int) []byte {
	if h.buf == nil && n <= record.HeaderLen {
		return h.head[h.headN:]
	}
	switch {
	case h.buf == nil || h.r+n > len(h.buf.b):
		h.move(n)
	case !h.exact && h.r > len(h.buf.b)/2: // what is left behind it is little room
		h.move(n)
	}
	if h.exact {
		return h.buf.b[h.w : h.r+n]
	}
	return h.buf.b[h.w:]
}

// move brings what is there to the front of a buffer that takes n bytes. The
// first record says which size is good: who sends full ones sends many.
func (h *inbound) move(n int) {
	size := n
	if n >= record.MaxPlaintext && !h.exact {
		size = burstBufferLen
	}
	old, pending := h.buf, h.bytes()
	if old == nil || len(old.b) < size {
		h.buf = getBuffer(size)
	}
	h.r, h.w = 0, copy(h.buf.b, pending)
	h.headN = 0
	if old != nil && old != h.buf {
		old.put()
	}
}

func (h *inbound) grow(n int) {
	h.received = h.received || n > 0
	if h.buf == nil {
		h.headN += uint8(n)
		return
	}
	h.w += n
}

// release gives the buffer back if nothing is in it.
func (h *inbound) release() {
	if h.buf == nil || h.r < h.w || len(h.plain) > 0 {
		return
	}
	h.buf.put()
	h.buf, h.plain, h.r, h.w = nil, nil, 0, 0
}
