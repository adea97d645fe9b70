package tls

import (
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// Moving a direction to the kernel, and the plan when to. A direction tries
// once: it moves, or stays in user space and says why.
//
// The order is what keeps nonces and bytes in line. Sending: what is queued is
// sent under our key, the Sealer gives its key up together with the number of
// the next record, the kernel takes both. Receiving: what we have of the
// peer's ciphertext is consumed to the end of its last record, nobody reads, no
// handshake message is incomplete, and then the Opener's key goes.

// plan says when a direction tries to move to the kernel.
type plan struct {
	after   int64       // bytes of application data; math.MaxInt64 for not by their number
	mode    kernel.Mode // never ModeDefault
	stay    bool        // in user space, if the kernel cannot change keys
	settled bool        // it has moved, or will not
}

// checkPolicy refuses values that mean nothing.
func checkPolicy(p *kernel.Policy) error {
	switch {
	case max(p.TX, p.RX) > kernel.Require:
		return &ConfigError{"Kernel", "TX or RX is none of package kernel's modes"}
	case min(p.MoveTX, p.MoveRX) < kernel.AtTransfer:
		return &ConfigError{"Kernel", "MoveTX or MoveRX says no time"}
	case p.NoRekey > kernel.NoRekeyStay:
		return &ConfigError{"Kernel", "NoRekey says nothing"}
	}
	return nil
}

// planTX and planRX apply the defaults of a direction.
func planTX(p *kernel.Policy) plan {
	mode, when := p.TX, p.MoveTX
	if mode == kernel.ModeDefault {
		mode = kernel.Auto
	}
	if when == kernel.WhenDefault {
		when = kernel.AtTransfer
		if mode == kernel.Require {
			when = kernel.AtOnce
		}
	}
	return newPlan(mode, when, p.NoRekey == kernel.NoRekeyStay)
}

func planRX(p *kernel.Policy) plan {
	mode, when := p.RX, p.MoveRX
	if mode == kernel.ModeDefault {
		mode = kernel.Off
	}
	if when == kernel.WhenDefault {
		when = kernel.AtOnce
	}
	stay := p.NoRekey == kernel.NoRekeyStay || p.NoRekey == kernel.NoRekeyDefault && mode == kernel.Auto
	return newPlan(mode, when, stay)
}

func newPlan(mode kernel.Mode, when kernel.When, stay bool) plan {
	p := plan{mode: mode, stay: stay, settled: mode == kernel.Off}
	switch when {
	case kernel.AtOnce:
		p.after = 0
	case kernel.AtTransfer:
		p.after = math.MaxInt64
	default: // kernel.AfterBytes
		p.after = int64(when)
	}
	return p
}

// atTransfer reports whether a file or stream is what the direction waits for.
func (p plan) atTransfer() bool { return p.mode != kernel.Off && p.after == math.MaxInt64 }

// String says why a direction that keeps to p is in user space.
func (p plan) String() string {
	switch {
	case p.mode == kernel.Off:
		return "Config.Kernel does not want it in the kernel"
	case p.after == 0:
		return "not yet moved to the kernel"
	case p.after == math.MaxInt64:
		return "moves to the kernel with the first large ReadFrom or WriteTo"
	}
	return fmt.Sprintf("moves to the kernel after %d bytes", p.after)
}

// socket is the kernel's side of a connection, made when it is first needed.
type socket struct {
	mutex sync.Mutex
	sock  *kernel.Socket
}

func (s *socket) open(conn net.Conn) (*kernel.Socket, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.sock == nil {
		sock, err := kernel.Open(conn)
		if err != nil {
			return nil, err
		}
		s.sock = sock
	}
	return s.sock, nil
}

// device reports which directions a network device has.
func (s *socket) device() (tx, rx bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.sock == nil || !s.sock.TX() && !s.sock.RX() {
		return false, false
	}
	return s.sock.Device()
}

// canMove reports whether conn may be one that a kernel can take over.
func canMove(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, interface{ KernelTLS() kernel.System }:
		return true
	}
	return false
}

// moveAtOnce moves the directions that are to move right after the handshake.
// handshakeMutex and in are held.
func (c *Conn) moveAtOnce() error {
	c.in.plan = planRX(&c.config.Kernel)
	c.unplanned.Store(true)
	if !c.early.open.Load() {
		c.out.Lock()
	} else if !c.out.TryLock() {
		return c.moveRXAtOnce() // who writes beside the handshake must not keep it up
	}
	c.planTX()
	c.out.place.left.Store(c.out.sealer.Remaining())
	if c.out.moveDue() {
		if err := c.moveTX(); err != nil {
			c.out.Unlock()
			c.in.stop(err)
			return err
		}
	}
	c.out.Unlock()
	return c.moveRXAtOnce()
}

func (c *Conn) moveRXAtOnce() error {
	if c.in.moveDue() {
		return c.moveRX()
	}
	return nil
}

// planTX makes the plan of the sending side, once the handshake is complete. out
// is held.
func (c *Conn) planTX() {
	if c.unplanned.Load() {
		c.unplanned.Store(false)
		c.out.plan = planTX(&c.config.Kernel)
	}
}

func (o *outbound) moveDue() bool { return !o.plan.settled && o.written >= o.plan.after }

func (h *inbound) moveDue() bool { return !h.plan.settled && h.read >= h.plan.after }

// unfit returns why the kernel is not asked for a direction, if that is so.
func (c *Conn) unfit(sock *kernel.Socket, can kernel.Support, p plan) error {
	tls13 := c.engine.State().Version == keyschedule.VersionTLS13
	switch rekey := sock.Report().Rekey; {
	case !can.OK:
		return &kernel.Refusal{Op: "probe", Reason: can.Reason}
	case tls13 && p.stay && !rekey.OK:
		return &kernel.Refusal{Op: "probe", Reason: "new keys must be possible in the kernel (Config.Kernel.NoRekey), and are not: " + rekey.Reason}
	}
	return nil
}

// stuckTX reports whether the kernel sends and cannot change keys, which could
// be changed otherwise.
func (c *Conn) stuckTX() bool {
	return c.engine.State().Version == keyschedule.VersionTLS13 && c.out.place.moved.Load() && !c.sock.sock.Report().Rekey.OK
}

// moveTX tries to move the sending side. An error is final. out is held, and
// the handshake is complete.
func (c *Conn) moveTX() error {
	c.out.plan.settled = true
	err := c.tryMoveTX()
	switch {
	case err == nil:
		return nil
	case c.out.err != nil:
		return c.out.err
	}
	c.out.place.refuse(reasonOf(err))
	if c.out.plan.mode != kernel.Require {
		return nil
	}
	e := newLocalError(required(err))
	c.enqueue(outgoing{typ: record.Alert, body: []byte{alertLevelFatal, byte(e.alert)}, final: e})
	_ = c.conn.SetWriteDeadline(time.Now().Add(alertTimeout))
	_ = c.writeQueued(c.takeQueue())
	return c.out.stop(e)
}

func (c *Conn) tryMoveTX() error {
	if c.config.RecordPadding != nil {
		return &kernel.Refusal{Op: "probe", Reason: "Config.RecordPadding is set, and the kernel does not pad"}
	}
	sock, err := c.sock.open(c.conn)
	if err != nil {
		return err
	}
	if err := c.unfit(sock, sock.Report().TX(c.engine.State().Suite), c.out.plan); err != nil {
		return err
	}
	c.answerUpdate()
	if err := c.writeQueued(c.takeQueue()); err != nil || c.out.err != nil {
		return errors.Join(err, c.out.err)
	}
	limit := c.out.sealer.Seq() + c.out.sealer.Remaining()
	keys := c.out.sealer.Release()
	next := keys.Seq
	if err := sock.InstallTX(keys); err != nil {
		c.out.seal(keys, c.config)
		c.out.sealer.SetLimit(limit)
		return err
	}
	c.out.kernel, c.out.next, c.out.limit = sock, next, limit
	c.out.forget()
	c.out.sealer = nil // an idle connection holds little
	c.out.place.enterKernel(next)
	return nil
}

// moveRX tries to move the receiving side. If we hold ciphertext, it only sees
// to it that no more is read than the record it belongs to; then it is called
// again. An error is final. in is held, and the handshake is complete.
func (c *Conn) moveRX() error {
	c.in.exact = true
	if len(c.in.bytes()) > 0 || !c.engine.ReadAligned() {
		return nil
	}
	c.in.plan.settled = true
	err := c.tryMoveRX()
	if err == nil {
		return nil
	}
	c.in.exact = false
	c.in.place.refuse(reasonOf(err))
	if c.in.plan.mode == kernel.Require && !kernel.PeerClosed(err) {
		return c.fail(required(err))
	}
	return nil
}

func (c *Conn) tryMoveRX() error {
	sock, err := c.sock.open(c.conn)
	if err != nil {
		return err
	}
	if err := c.unfit(sock, sock.Report().RX(c.engine.State().Suite), c.in.plan); err != nil {
		return err
	}
	keys := c.in.opener.Release()
	next := keys.Seq
	if err := sock.InstallRX(keys); err != nil {
		c.in.reopen(keys)
		return err
	}
	c.in.kernel = sock
	c.in.forget()
	c.in.opener = nil
	c.in.place.enterKernel(next)
	return nil
}

// reasonOf returns why the kernel did not take a direction, in words.
func reasonOf(err error) string {
	if r := (*kernel.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return err.Error()
}

// required makes a refusal the end of the connection.
func required(err error) error {
	return alert.Errorf(alert.InternalError, "the kernel was required to take the connection over: %w", err)
}
