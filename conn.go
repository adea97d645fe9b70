package tls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/session"
)

// Conn is a TLS connection over another connection. It is a net.Conn. Read and
// Write may be called at the same time, and everything else at any time.
type Conn struct {
	guard

	// The locks, in the order in which they are taken: handshakeMutex for the
	// whole handshake; in for everything about what is received; out for
	// everything about what is sent; engineMutex for calls into the engine;
	// queueMutex for the list of what the engine wants sent. Whoever reads never
	// waits for out: what it causes to be sent is queued, and sent by whoever has
	// out or gets it next. The answer to a KeyUpdate is not even sent by readers
	// where out is free, or two ends that both answer before they read on could
	// wait for each other.

	conn  net.Conn
	trace *Trace // of the first Config, its calls in turn; nil for none
	sock  socket // what the kernel's side needs, once a direction moves there
	// prompt is for connections that take a few bytes without a reader at the
	// other end. On others, tickets are sent with what comes next.
	prompt bool
	role   role

	handshakeMutex sync.Mutex
	handshakeErr   error
	complete       atomic.Bool // the handshake, without an error
	unplanned      atomic.Bool // it is, and out has no plan yet

	// Set during the handshake, constant afterwards.
	config        *Config
	engine        *handshake.Engine
	forgetSession func(failed bool)

	in    inbound
	out   outbound
	early earlyData

	engineMutex sync.Mutex
	engineWiped bool
	adopted     bool             // what the peer has shown was verified elsewhere
	exported    atomic.Bool      // ExportKeys has taken the keys
	detached    atomic.Bool      // Detach has taken everything
	newSessions []*session.State // to be stored

	queueMutex sync.Mutex
	queue      []outgoing
	queued     atomic.Bool                // there is something in queue
	due        atomic.Bool                // something in queue should not wait
	owesUpdate atomic.Bool                // the peer asked for new keys of ours
	refusal    atomic.Pointer[localError] // of a record by the kernel, told to who was sending

	deadline atomic.Pointer[time.Time] // of Write, as the application set it

	// calls counts, in steps of two, what is being written. Its lowest bit says
	// that Close was called.
	calls atomic.Int32
	over  atomic.Bool // Close has sent what it had to send
}

// role is the side of the connection.
type role uint8

const (
	roleClient role = iota
	roleServer
)

const (
	// alertTimeout bounds how long a dead or closing connection waits for its
	// last alert to be taken.
	alertTimeout = 5 * time.Second

	callsClosed = 1
	oneCall     = 2
)

func newConn(conn net.Conn, config *Config, r role) *Conn {
	c := &Conn{conn: conn, config: config, role: r}
	if config != nil {
		c.trace = inTurn(config.Trace)
	}
	movable := canMove(conn)
	_, unix := conn.(*net.UnixConn)
	c.prompt = movable || unix
	c.in.init(conn, movable && config != nil && !planRX(&config.Kernel).settled)
	c.out.init(r)
	return c
}

// inTurn returns t so that Sent is called for one message at a time: several
// goroutines may cause them. What is received is looked at in turn anyway.
func inTurn(t *Trace) *Trace {
	if t == nil || t.Sent == nil {
		return t
	}
	var mutex sync.Mutex
	return &Trace{Received: t.Received, Sent: func(m TracedMessage) {
		mutex.Lock()
		defer mutex.Unlock()
		t.Sent(m)
	}}
}

// LocalAddr returns the local network address.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the remote network address.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline sets both deadlines. After a Write has timed out, the connection
// cannot be written to any more; after a Read has, it can be read from.
func (c *Conn) SetDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.conn.SetDeadline(t)
}

// SetReadDeadline sets the deadline of Read; see [Conn.SetDeadline].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write; see [Conn.SetDeadline].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.conn.SetWriteDeadline(t)
}

// writeDeadline is what the application has set last.
func (c *Conn) writeDeadline() time.Time {
	if t := c.deadline.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// NetConn returns the connection below. Reading from it or writing to it
// breaks this one.
func (c *Conn) NetConn() net.Conn { return c.conn }

// SyscallConn returns [ErrUserSpace] while the records of either direction are
// protected in user space: what is written to the socket then is no record.
// Where the kernel has both, or after [Conn.ExportKeys], it returns the raw
// connection, if there is one. What reads from it in kernel mode must expect
// records of other types than data.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.detached.Load() {
		return nil, ErrDetached
	}
	offload := c.Offload()
	inKernel := offload.TX.Where != UserSpace && offload.RX.Where != UserSpace
	if !inKernel && !c.exported.Load() {
		return nil, ErrUserSpace
	}
	sc, ok := c.conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("tls: %T has no raw connection", c.conn)
	}
	return sc.SyscallConn()
}

// Handshake runs the handshake unless that was done. Read and Write do so too.
func (c *Conn) Handshake() error {
	if c.complete.Load() { // here too, as then a Read or a Write makes no call for it
		return nil
	}
	return c.HandshakeContext(context.Background())
}

// HandshakeContext is [Conn.Handshake] with a context. If ctx ends before the
// handshake does, the connection is closed and the context's error returned.
// Afterwards ctx has no effect.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	if c.complete.Load() {
		return nil
	}
	if ctx.Done() == nil { // as with Handshake, Read and Write
		call := &handshakeCall{handshake: c.handshake, scope: scope{Context: ctx}}
		call.ctx = &call.scope
		defer call.scope.end()
		return c.handshakeOnce(call)
	}
	return c.within(ctx, func(ctx context.Context) error {
		return c.handshakeOnce(&handshakeCall{handshake: c.handshake, ctx: ctx})
	})
}

// handshakeOnce runs the handshake, unless that was done or has failed.
func (c *Conn) handshakeOnce(call *handshakeCall) error {
	c.handshakeMutex.Lock()
	defer c.unlockHandshake()
	if c.handshakeErr != nil || c.complete.Load() {
		return c.handshakeErr
	}
	c.in.Lock()
	defer c.unlockIn()
	c.handshakeErr = errBrokenOff // unless it returns: a callback may panic
	err := call.wait()
	if c.goesOn(err) {
		c.handshakeErr = nil
		return err
	}
	c.handshakeErr = err
	c.complete.Store(err == nil)
	return err
}

// within calls f, with a context that ends when f does, and closes the
// connection if ctx ends before.
func (c *Conn) within(ctx context.Context, f func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	err := f(inner)
	if !stop() {
		return ctx.Err()
	}
	return err
}

// VerifyHostname checks that the server's certificate, which must have been
// verified, is for host.
func (c *Conn) VerifyHostname(host string) error {
	if c.role != roleClient {
		return errors.New("tls: VerifyHostname called on TLS server connection")
	}
	state := c.ConnectionState()
	switch {
	case !state.HandshakeComplete:
		return errNotComplete
	case len(state.VerifiedChains) == 0:
		return errors.New("tls: handshake did not verify certificate chain")
	}
	return state.PeerCertificates[0].VerifyHostname(host)
}

// OCSPResponse returns the OCSP response that the server stapled, if any
// (RFC 9846, section 4.5.1.1).
func (c *Conn) OCSPResponse() []byte { return c.ConnectionState().OCSPResponse }

// CloseWrite sends close_notify (RFC 9846, section 6.1): the peer reads to its
// end, and reading goes on here. It does not close the sending side of the
// connection below.
func (c *Conn) CloseWrite() error {
	if !c.canSend() {
		return errEarlyCloseWrite
	}
	c.out.Lock()
	defer c.unlockOut()
	sendErr, earlier := c.closeNotify()
	if earlier != nil {
		return earlier
	}
	return sendErr
}

// Close closes the connection, after sending close_notify if the handshake is
// complete and nobody is writing. It ends a Read or Write that is in progress,
// and overwrites the keys. Where the kernel has the sending side, it also waits
// until the peer's TCP has everything, for 5 seconds at most.
func (c *Conn) Close() error {
	writing, first := c.markClosed()
	if !first {
		return net.ErrClosed
	}
	defer c.wipeClosed()
	defer c.over.Store(true)
	if c.detached.Load() {
		return nil
	}
	if writing || c.exported.Load() {
		// Close has come to break the Write off, so it must not wait for it; and
		// what another owner of the keys sends and receives is not ours to touch.
		return c.conn.Close()
	}
	var alertErr error
	if c.canSend() {
		deadline := time.Now().Add(alertTimeout)
		// Before the lock, so that who has it does not keep us for longer.
		_ = c.conn.SetWriteDeadline(deadline)
		c.out.Lock()
		err, _ := c.closeNotify()
		sock := c.out.kernel
		c.unlockOut()
		if sock != nil && err == nil {
			// The kernel drops records that it has not sent when the last
			// descriptor goes, though it has accepted them.
			_ = sock.Drain(deadline)
		}
		if err != nil {
			alertErr = fmt.Errorf("tls: failed to send closeNotify alert (but connection was closed anyway): %w", err)
		}
	}
	discardUnread(c.conn)
	if err := c.conn.Close(); err != nil {
		return err
	}
	return alertErr
}

// Abort ends the connection with a fatal alert that says why, in place of
// close_notify (RFC 9846, section 6.2), and closes it. What is being written is cut
// off. close_notify, user_canceled and no_renegotiation say nothing of the kind and are
// refused. It does nothing but return an error if the handshake is not complete, where
// the error of a callback says what the alert is, and after ExportKeys or Detach.
func (c *Conn) Abort(a AlertError) error {
	if !c.complete.Load() {
		return errNotComplete
	}
	if err := c.gone(); err != nil {
		return err
	}
	switch alert.Description(a) {
	case alert.CloseNotify, alert.UserCanceled, alert.NoRenegotiation:
		return fmt.Errorf("tls: Abort with %v, which is no error", a)
	}
	c.sendAlert(alert.Description(a), net.ErrClosed)
	return cmp.Or[error](c.Close(), c.gone()) // it may have left meanwhile
}

// markClosed notes that Close was called: whether somebody writes, and whether
// it is the first time.
func (c *Conn) markClosed() (writing, first bool) {
	old := c.calls.Or(callsClosed)
	return old&^callsClosed != 0, old&callsClosed == 0
}

func (c *Conn) closed() bool { return c.calls.Load()&callsClosed != 0 }

// enterWrite counts a call that writes, which Close then does not wait for.
func (c *Conn) enterWrite() error {
	if c.calls.Add(oneCall)&callsClosed != 0 {
		c.leaveWrite()
		return net.ErrClosed
	}
	return nil
}

func (c *Conn) leaveWrite() { c.calls.Add(-oneCall) }

func (c *Conn) unlockHandshake() {
	c.handshakeMutex.Unlock()
	c.wipeClosed()
}

func (c *Conn) unlockIn() {
	c.in.Unlock()
	c.wipeClosed()
}

func (c *Conn) unlockOut() {
	c.out.Unlock()
	if c.due.Load() {
		_ = c.sendDue() // what fails here is kept for the next Write
	}
	if c.over.Load() {
		c.wipeClosed()
	}
}

// wipeClosed overwrites the keys of a connection that was closed, as far as
// they are not in use: whoever uses them calls this again. Whoever comes while
// Close is at work must leave it the keys for its close_notify.
func (c *Conn) wipeClosed() {
	if !c.over.Load() {
		return
	}
	if c.in.TryLock() {
		c.in.stop(net.ErrClosed)
		c.in.Unlock()
	}
	if c.out.TryLock() {
		c.out.stop(net.ErrClosed)
		for _, q := range c.takeQueue() {
			q.drop()
		}
		c.out.Unlock()
	}
	if c.handshakeMutex.TryLock() {
		c.wipeEngine()
		c.handshakeMutex.Unlock()
	}
}

func (c *Conn) wipeEngine() {
	c.engineMutex.Lock()
	defer c.engineMutex.Unlock()
	if c.engine != nil {
		c.engine.Wipe()
		c.engineWiped = true
	}
	if c.forgetSession != nil { // the handshake was begun and left
		c.forgetSession(false)
		c.forgetSession = nil
	}
}
