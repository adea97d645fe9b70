package tls

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/keyschedule"
)

// Adopt goes on with a connection that [Conn.Detach] took out of another process,
// or of this one: f is its descriptor, however that came here, and blob what
// came with it. The handshake is not repeated. If it succeeds the Conn owns f; if
// it fails f is the caller's still, and the blob can be tried again.
//
// The config supplies what is not the connection's: Rand, Time, RecordPadding,
// record sizing, Kernel, and a client's ClientSessionCache with the ServerName
// that new sessions are kept under. Nothing else in it matters, and nothing is
// verified again: ConnectionState says who the peer is. A direction that the
// kernel has stays there, whatever Kernel says. A nil config means the zero one.
//
// Like [net.FileConn], which it uses, it turns TCP_NODELAY and keep-alives on.
func Adopt(f *os.File, blob []byte, key *HandoverKey, config *Config) (*Conn, error) {
	plain, id, err := key.open(blob)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	h, err := parseHandover(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandoverVersion, err)
	}
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	if config == nil {
		config = new(Config)
	}
	c, err := h.adopt(conn, id, key, config)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = f.Close()
	return c, nil
}

// adopt makes the connection of h over conn, if h is for that.
func (h *handover) adopt(conn net.Conn, id blobID, key *HandoverKey, config *Config) (*Conn, error) {
	now := config.time()
	if err := key.checkAge(h.made, now); err != nil {
		return nil, err
	}
	if identify(conn) != h.socket {
		return nil, ErrHandoverSocket
	}
	c, err := h.conn(conn, config)
	if err != nil {
		return nil, err
	}
	if err := key.takeOnce(id, h.made, now); err != nil {
		c.leaveAlone()
		return nil, err
	}
	return c, nil
}

// conn makes the connection of h.
func (h *handover) conn(conn net.Conn, config *Config) (*Conn, error) {
	hc := &handshake.Config{Rand: config.rand(), Time: config.time}
	engine, err := handshake.Restore(hc, h.engine)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandoverVersion, err)
	}
	r := roleServer
	if engine.IsClient() {
		r = roleClient
	}
	c := newConn(conn, config, r)
	c.engine, c.adopted = engine, true
	hc.Trace = c.trace
	hc.AcceptSessions = r == roleClient && (&binding{conn: c, cfg: config}).resumes()
	c.owesUpdate.Store(h.owesUpdate)
	if err = c.adoptRX(h); err == nil {
		err = c.adoptTX(h)
	}
	if err != nil {
		c.leaveAlone()
		return nil, err
	}
	c.complete.Store(true)
	return c, nil
}

// leaveAlone overwrites the keys of a connection that nobody gets. The socket is
// not touched.
func (c *Conn) leaveAlone() {
	c.in.leave()
	c.out.leave()
	c.wipeEngine()
}

// adoptRX sets up the receiving direction.
func (c *Conn) adoptRX(h *handover) error {
	c.in.plan = planRX(&c.config.Kernel)
	c.in.established()
	c.in.received, c.in.begun, c.in.messages = true, true, true
	c.in.refill(h.plaintext, h.ciphertext)
	c.in.control = bytes.Clone(h.control)
	suite := c.engine.State().Suite
	switch h.in.mode {
	case modeUser:
		keys, err := h.in.keys(suite)
		if err != nil {
			return err
		}
		c.in.install(&handshake.InstallRead{Level: handshake.LevelApplication, Keys: keys})
		return nil
	case modeKernel:
		c.in.level, c.in.suite = handshake.LevelApplication, suite
		return c.adoptKernelRX(&h.in)
	case modeEnded:
		c.in.stop(io.EOF)
	}
	return nil
}

// refill takes what another inbound had received and not delivered.
func (h *inbound) refill(plaintext, ciphertext []byte) {
	if len(plaintext)+len(ciphertext) == 0 {
		return
	}
	h.buf = getBuffer(len(plaintext) + len(ciphertext))
	h.r = copy(h.buf.b, plaintext)
	h.w = h.r + copy(h.buf.b[h.r:], ciphertext)
	h.plain = h.buf.b[:h.r:h.r]
}

func (c *Conn) adoptKernelRX(d *half) error {
	c.in.plan.settled = true
	sock, err := c.sock.open(c.conn)
	if err != nil {
		return err
	}
	if err := sock.AdoptRX(c.in.suite); err != nil {
		return err
	}
	if d.inside != 0 {
		sock.GoOnInside(d.inside)
	}
	c.in.kernel = sock
	c.in.place.enterKernel(d.since)
	c.in.place.rekeys.Store(uint32(d.rekeys))
	return nil
}

// adoptTX sets up the sending direction.
func (c *Conn) adoptTX(h *handover) error {
	c.out.plan = planTX(&c.config.Kernel)
	c.out.records = uint16(h.records)
	suite := c.engine.State().Suite
	switch h.out.mode {
	case modeUser:
		keys, err := h.out.keys(suite)
		if err != nil {
			return err
		}
		c.out.install(&handshake.InstallWrite{Level: handshake.LevelApplication, Keys: keys}, c.config)
		c.out.place.left.Store(c.out.sealer.Remaining())
		return nil
	case modeKernel:
		return c.adoptKernelTX(&h.out, suite)
	case modeEnded:
		c.out.stop(errShutdown)
	}
	return nil
}

func (c *Conn) adoptKernelTX(d *half, suite *keyschedule.Suite) error {
	c.out.plan.settled = true
	sock, err := c.sock.open(c.conn)
	if err != nil {
		return err
	}
	if err := sock.AdoptTX(suite); err != nil {
		return err
	}
	c.out.kernel, c.out.next, c.out.limit = sock, d.next, suite.RecordLimit()
	if c.config.recordLimit > 0 {
		c.out.limit = min(c.out.limit, c.config.recordLimit)
	}
	c.out.recount(0)
	c.out.place.enterKernel(d.since)
	c.out.place.rekeys.Store(uint32(d.rekeys))
	return nil
}
