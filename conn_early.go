package tls

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// Early data, or 0-RTT (RFC 9846, sections 2.3 and 4.3.10): what a client sends
// together with its ClientHello, and what a server answers before the handshake
// is complete. The handshake is left half-way for it. From then on others may be
// sending beside it, so it never waits for out: what it wants sent is queued, and
// sent by whoever has out.
//
//	client                                      server
//	WriteEarlyData  ClientHello, early data  -> ReadEarlyData
//	                ServerHello to Finished, <- ReadEarlyData
//	Read            data                     <- WriteEarlyData
//	                EndOfEarlyData           -> ReadEarlyData, to its end
//	                Finished                 -> Handshake, Read or Write

// earlyData is a connection's early data.
type earlyData struct {
	wanted bool // WriteEarlyData or ReadEarlyData began the handshake
	none   bool // and a client has no session for it

	// open says that the client has offered early data, or the server accepted
	// it. What follows it is set before, and constant afterwards.
	open     atomic.Bool
	limit    uint32
	protocol string

	offered, accepted atomic.Bool
	bytes             atomic.Int64
}

// EarlyDataState is what became of a connection's early data.
type EarlyDataState struct {
	// Offered says that the client has offered early data. A server knows it
	// once ReadEarlyData, or the handshake, has seen the ClientHello.
	Offered bool
	// Accepted says that the server has accepted it. A client knows it when its
	// handshake is complete: if it is false then, the server has seen nothing of
	// what was sent, and the application decides whether to send it again, and
	// whether it should be something else for the protocol that was negotiated.
	Accepted bool
	// Bytes is how much of it the client has sent, or the server received.
	Bytes int64
	// Limit is how much there may be, and Protocol the application protocol that
	// it is in, that of the session. Both are zero on a server that has not
	// accepted any.
	Limit    uint32
	Protocol string
}

// EarlyData returns what became of early data so far. It never waits.
func (c *Conn) EarlyData() EarlyDataState {
	s := EarlyDataState{
		Offered:  c.early.offered.Load(),
		Accepted: c.early.accepted.Load(),
		Bytes:    c.early.bytes.Load(),
	}
	if c.early.open.Load() {
		s.Limit, s.Protocol = c.early.limit, c.early.protocol
	}
	return s
}

// WriteEarlyData writes what must not wait for the handshake.
//
// On a client it begins the handshake: the first call sends the ClientHello and
// b together, if there is a session that allows early data. Otherwise it returns
// [ErrNoEarlyData], and Handshake, Read and Write go on as if it had not been
// called. With an empty b it only finds that out: EarlyData then says which
// protocol and how many bytes the session allows. It may be called again until
// that is reached ([ErrEarlyDataLimit], with how much of b was sent) or the
// handshake has gone on, which may be in another goroutine ([ErrEarlyDataOver],
// likewise). What was not sent goes by Write.
//
// Handshake, Read or Write complete the handshake. EarlyData then tells whether
// the server has accepted the data. It succeeds also where the server has not, but
// for a server that chose TLS 1.2 ([ErrEarlyDataVersion]).
//
// It does not read. A server that answers early data as it comes may end up
// waiting for the client to read, and the client for the server; and over a
// connection that buffers nothing, as net.Pipe, the first answer is enough. Then
// call Handshake and Read in another goroutine, after a first call with an empty
// b.
//
// Early data can be replayed: whoever records it may send it to servers again, and
// no server prevents that entirely. It is not forward secret either: who gets
// the server's ticket keys later can read it. So it must be nothing that does
// harm if it is done twice (RFC 9846, section 8 and appendix F.5).
//
// On a server it writes an answer before the handshake is complete, if early data
// was accepted: without waiting for the client to prove that it is there, and
// not somebody who replays what it said. Otherwise, and afterwards, it is Write.
func (c *Conn) WriteEarlyData(b []byte) (int, error) {
	if err := c.enterWrite(); err != nil {
		return 0, err
	}
	defer c.leaveWrite()
	if c.role == roleServer {
		return c.answerEarly(b)
	}
	if err := c.offerEarlyData(); err != nil {
		return 0, err
	}
	return c.writeEarlyData(b)
}

// ReadEarlyData is for servers. It reads early data as it comes. The first call
// runs the handshake up to our Finished; it must come before Handshake, Read or
// Write do, as it is what makes the server accept early data. It returns io.EOF
// when the client has ended its early data, or if there is none, or none that is
// accepted: then Handshake, Read and Write go on. If the connection ends before,
// it returns another error. After a timeout, once early data was accepted, it
// may be called again, and so may Handshake, Read and Write.
//
// Until the handshake is complete, what was read may be a replay: somebody other
// than the client may have sent it, a second time, though in all servers that
// share Config.AntiReplay's store only one accepts it. Act on it only where that
// does no harm, or call Handshake first, which fails for a replay. While nobody
// reads early data, Handshake keeps it, and afterwards Read returns it.
// ConnectionState's HandshakeComplete says whether the handshake is complete.
func (c *Conn) ReadEarlyData(b []byte) (int, error) {
	return c.ReadEarlyDataContext(context.Background(), b)
}

// ReadEarlyDataContext is [Conn.ReadEarlyData] with a context for the part of the
// handshake that the first call runs, as [Conn.HandshakeContext] has it. On
// reading itself it has no effect.
func (c *Conn) ReadEarlyDataContext(ctx context.Context, b []byte) (int, error) {
	if c.role == roleClient {
		return 0, errors.New("tls: ReadEarlyData called on TLS client connection")
	}
	if err := c.acceptEarlyData(ctx); err != nil {
		return 0, notEOF(err)
	}
	if !c.early.open.Load() || c.complete.Load() {
		return 0, io.EOF
	}
	c.in.Lock()
	defer c.unlockIn()
	defer c.in.release()
	for {
		n := c.in.takeEarly(b)
		if n > 0 {
			return n, nil
		}
		if c.in.level != handshake.LevelEarly {
			return 0, io.EOF
		}
		if len(b) == 0 {
			return 0, nil
		}
		n, err := c.advance(b)
		if n > 0 || err != nil {
			return n, notEOF(err)
		}
	}
}

// notEOF returns err, but for the end of the connection, which is not that of
// early data.
func notEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// canSend reports whether application data may be sent.
func (c *Conn) canSend() bool {
	return c.complete.Load() || c.role == roleServer && c.early.open.Load()
}

// goesOn reports whether a handshake that stopped for err can go on. Once a
// server has accepted early data, servers interrupt reading and read again.
func (c *Conn) goesOn(err error) bool {
	if err == nil {
		return false
	}
	e := net.Error(nil) // on the heap
	return errors.As(err, &e) && e.Timeout() && c.role == roleServer && c.early.open.Load() && c.in.err == nil
}

// offerEarlyData begins a client's handshake with early data, but sends nothing.
func (c *Conn) offerEarlyData() error {
	if c.early.open.Load() {
		return nil
	}
	c.handshakeMutex.Lock()
	defer c.unlockHandshake()
	switch {
	case c.handshakeErr != nil:
		return c.handshakeErr
	case c.early.open.Load():
		return nil
	case c.early.none:
		return ErrNoEarlyData
	case c.engine != nil:
		return ErrEarlyDataOver
	}
	c.early.wanted = true
	c.handshakeErr = errBrokenOff // unless this returns: a callback may panic
	err := c.begin(context.Background())
	if err == nil {
		if err = c.step(c.engine.Start); err != nil {
			err = newLocalError(err)
		}
	}
	c.handshakeErr = err
	if err != nil {
		c.fails(err)
		return err
	}
	if c.early.limit, c.early.protocol = c.engine.EarlyData(); c.early.limit == 0 {
		c.early.none = true
		return ErrNoEarlyData
	}
	c.out.Lock()
	c.out.earlyLeft = int64(c.early.limit)
	c.out.Unlock()
	c.early.offered.Store(true)
	c.early.open.Store(true)
	return nil
}

// writeEarlyData sends b, and the ClientHello if that was not done.
func (c *Conn) writeEarlyData(b []byte) (n int, err error) {
	c.out.Lock()
	defer c.unlockOut()
	for n < len(b) && err == nil {
		if c.out.kernel != nil || c.complete.Load() {
			return n, ErrEarlyDataOver
		}
		var m int
		m, err = c.writeEarlyBurst(b[n:])
		n += m
	}
	return n, err
}

// writeEarlyBurst is writeBurst for early data. out is held.
func (c *Conn) writeEarlyBurst(b []byte) (n int, err error) {
	if err := c.out.err; err != nil {
		return 0, err
	}
	size := recordBufferLen
	if len(b) > record.MaxPlaintext {
		size = burstBufferLen
	}
	buf := getBuffer(size)
	defer buf.put()
	var over error
	if buf.b, err = c.out.sealQueue(buf.b[:0], c.takeQueue(), c.config); err == nil && c.out.err == nil {
		if over = c.out.earlyEnd(); over == nil {
			buf.b, n, err = c.out.sealEarlyData(buf.b, b)
		}
	}
	if err == nil {
		err = c.out.flush(c.conn, buf.b)
	}
	if err != nil {
		return 0, c.out.stop(err)
	}
	c.early.bytes.Add(int64(n))
	return n, cmp.Or(c.out.err, over)
}

// earlyEnd returns why there can be no more early data, if that is so.
func (o *outbound) earlyEnd() error {
	switch {
	case !o.early:
		return ErrEarlyDataOver
	case o.earlyLeft <= 0, o.room() == 0: // early data has no KeyUpdate
		return ErrEarlyDataLimit
	}
	return nil
}

// sealEarlyData is sealData for early data. Padding counts too, and is cut where
// the limit is: a server that skips early data cannot tell it from content.
func (o *outbound) sealEarlyData(dst, b []byte) (_ []byte, n int, err error) {
	for i := 0; i < burstRecords && n < len(b) && o.earlyEnd() == nil; i++ {
		m := min(len(b)-n, o.recordSize(), int(min(o.earlyLeft, record.MaxPlaintext)))
		before := len(dst)
		if dst, err = o.sealer.Seal(dst, record.ApplicationData, b[n:n+m]); err != nil {
			return dst, 0, err
		}
		o.earlyLeft -= int64(len(dst) - before - bareRecord)
		n += m
	}
	return dst, n, nil
}

// sendBeside is sendQueued while others may be sending. It leaves to them what
// they keep it from sending, and, on a server, to meet what went wrong.
func (c *Conn) sendBeside() error {
	if c.urgent() {
		c.due.Store(true)
	}
	err := c.sendDue()
	if c.role == roleServer {
		return nil
	}
	if err == nil && c.out.TryLock() {
		err = c.out.err
		c.unlockOut()
	}
	return err
}

// urgent reports whether something is queued that should not wait.
func (c *Conn) urgent() bool {
	c.queueMutex.Lock()
	defer c.queueMutex.Unlock()
	for i := range c.queue {
		if !c.queue[i].patient {
			return true
		}
	}
	return false
}

// acceptEarlyData runs a server's handshake until it is known whether there is
// early data to accept, unless somebody has begun it.
func (c *Conn) acceptEarlyData(ctx context.Context) error {
	if c.early.open.Load() || c.complete.Load() {
		return nil
	}
	return c.within(ctx, c.takeHello)
}

// takeHello is acceptEarlyData for who comes first.
func (c *Conn) takeHello(ctx context.Context) error {
	c.handshakeMutex.Lock()
	defer c.unlockHandshake()
	if c.handshakeErr != nil || c.engine != nil {
		return c.handshakeErr
	}
	c.in.Lock()
	defer c.unlockIn()
	c.early.wanted = true
	c.handshakeErr = errBrokenOff // as above
	err := c.begin(ctx)
	if err == nil {
		err = c.drive(c.helloTaken)
		c.engine.SetContext(context.Background())
	}
	c.handshakeErr = err
	if err != nil {
		c.fails(err)
		return err
	}
	if c.early.limit, c.early.protocol = c.engine.EarlyData(); c.early.limit > 0 {
		c.in.early = &earlyInbound{left: int64(c.early.limit)}
		c.early.open.Store(true)
	}
	return nil
}

// helloTaken reports whether the server has answered the first ClientHello.
func (c *Conn) helloTaken() bool { return c.engine.State().Version != 0 }

// takeEarlyData delivers early data: to dst, where it may be already, and the
// rest to in.early.data.
func (c *Conn) takeEarlyData(dst, content []byte) (int, error) {
	early := c.in.early
	if early.left -= int64(len(content)); early.left < 0 {
		return 0, c.fail(alert.Errorf(alert.UnexpectedMessage, "more than %d bytes of early data", c.early.limit))
	}
	c.in.useless, c.in.warnings = 0, 0
	c.in.read += int64(len(content))
	c.early.bytes.Add(int64(len(content)))
	n := copy(dst, content)
	early.data = append(early.data, content[n:]...)
	return n, nil
}

// takeEarly moves early data that is there to b.
func (h *inbound) takeEarly(b []byte) int {
	if h.early == nil {
		return 0
	}
	n := copy(b, h.early.data)
	if h.early.data = h.early.data[n:]; len(h.early.data) == 0 {
		h.early.data = nil
	}
	return n
}

// answerEarly is WriteEarlyData on a server.
func (c *Conn) answerEarly(b []byte) (n int, err error) {
	if !c.early.open.Load() && !c.complete.Load() {
		c.handshakeMutex.Lock() // until ReadEarlyData knows
		c.unlockHandshake()
	}
	for c.early.open.Load() && !c.complete.Load() {
		m, err := c.answerSome(b[n:])
		n += m
		if err == errKeyUsedUp {
			err = c.Handshake() // then there is a KeyUpdate
		}
		if n == len(b) || err != nil {
			return n, err
		}
	}
	if err := c.Handshake(); err != nil {
		return n, err
	}
	m, err := c.writeAll(b[n:])
	return n + m, err
}

// errKeyUsedUp ends the answer to early data.
var errKeyUsedUp = errors.New("tls: the key is used up before the handshake is complete")

// answerSome writes b while the handshake goes on, as far as the key allows.
func (c *Conn) answerSome(b []byte) (n int, err error) {
	c.out.Lock()
	defer c.unlockOut()
	for n < len(b) && err == nil {
		if c.out.err == nil && c.out.kernel == nil && c.out.room() == 0 && !c.complete.Load() {
			return n, errKeyUsedUp
		}
		var m int
		m, err = c.writeSome(b[n:])
		n += m
	}
	return n, err
}
