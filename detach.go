package tls

import (
	"net"
	"os"
)

// Detach takes the connection out of this process, to go on in another one, or
// here, by [Adopt]. It returns the socket's descriptor and a blob, which holds all
// else: what was negotiated, keys and secrets, the numbers of the next records,
// and what was received and not read. The blob is sealed with key; it fits this
// socket only, and only for a bounded time. Keys that the kernel has stay there.
//
// The peer notices nothing. The descriptor that this process used is closed,
// without close_notify. Deadlines stay behind. The connection must be over a TCP
// or Unix socket ([ErrNoDescriptor]).
//
// It handshakes first if that was not done, waits for Writes that are in
// progress, and sends what is still to be sent. Nobody may be reading
// ([ErrReadInProgress]): a read deadline in the past makes them stop. It works
// after CloseWrite and after the peer's close_notify too. If it fails the
// connection goes on as it was, unless it had failed before or sending has just
// failed. Afterwards everything but Close returns [ErrDetached].
//
// The descriptor and the blob must go to one place only: two that go on with one
// connection use the same nonces, which gives the keys away. Until somebody else
// has adopted the connection, this process can take it back by Adopt.
func (c *Conn) Detach(key *HandoverKey) (*os.File, []byte, error) {
	if err := c.enterWrite(); err != nil {
		return nil, nil, err
	}
	defer c.leaveWrite()
	if err := c.Handshake(); err != nil {
		return nil, nil, err
	}
	if !c.in.TryLock() {
		return nil, nil, ErrReadInProgress
	}
	defer c.unlockIn()
	c.out.Lock()
	defer c.unlockOut()
	if err := c.liveError(); err != nil {
		return nil, nil, err
	}
	return c.detach(key)
}

// liveError returns why the connection is of no use any more. Directions that
// have ended in good order are. in and out are held.
func (c *Conn) liveError() error {
	switch {
	case c.gone() != nil:
		return c.gone()
	case c.in.err != nil && !isEnd(c.in.err):
		return c.in.err
	case c.out.err != nil && !isEnd(c.out.err):
		return c.out.err
	}
	return c.out.closeErr
}

// gone returns where the connection is, if it is not here.
func (c *Conn) gone() error {
	switch {
	case c.detached.Load():
		return ErrDetached
	case c.exported.Load():
		return ErrKeysExported
	}
	return nil
}

// detach does first all that can fail. in and out are held.
func (c *Conn) detach(key *HandoverKey) (*os.File, []byte, error) {
	env, err := key.newEnvelope(c.config.rand())
	if err != nil {
		return nil, nil, err
	}
	id := identify(c.conn) // it is still open if the next step succeeds
	file, err := descriptorOf(c.conn)
	if err != nil {
		return nil, nil, err
	}
	blob, err := c.leave(env, id)
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	_ = c.conn.Close()
	return file, blob, nil
}

// descriptorOf returns another descriptor of the socket, which lives on when conn
// is closed.
func descriptorOf(conn net.Conn) (*os.File, error) {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return conn.File()
	case *net.UnixConn:
		return conn.File()
	}
	return nil, ErrNoDescriptor
}

// leave puts the connection into a blob, and ends it here. Suspend is the point
// of no return: nothing fails after it. in and out are held.
func (c *Conn) leave(env *envelope, id socketID) ([]byte, error) {
	made := c.config.time()
	if err := c.settle(); err != nil {
		return nil, err
	}
	defer c.engineMutex.Unlock()
	engine, err := c.engine.Suspend()
	switch {
	case c.closed() && err != nil:
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	}
	h := &handover{
		made:       made,
		socket:     id,
		owesUpdate: c.owesUpdate.Swap(false),
		records:    int(c.out.records),
		out:        c.out.handOver(),
		in:         c.in.handOver(),
		plaintext:  c.in.plain,
		ciphertext: c.in.bytes(),
		control:    c.in.control,
		engine:     engine,
	}
	blob := env.seal(h)
	h.wipe()
	c.engineWiped = true
	c.detached.Store(true)
	c.in.leave()
	c.out.leave()
	return blob, nil
}

func (h *handover) wipe() {
	h.out.wipe()
	h.in.wipe()
	clear(h.engine)
}

// settle sends what is queued. It returns with engineMutex held, so that
// nothing more is queued, unless it fails.
func (c *Conn) settle() error {
	for {
		c.due.Store(false)
		if err := c.writeQueued(c.takeQueue()); err != nil {
			return err
		}
		if err := c.liveError(); err != nil {
			return err // an alert was queued
		}
		c.engineMutex.Lock()
		if c.queueEmpty() {
			return nil
		}
		c.engineMutex.Unlock()
	}
}

func (c *Conn) queueEmpty() bool {
	c.queueMutex.Lock()
	defer c.queueMutex.Unlock()
	return len(c.queue) == 0
}

// handOver gives the direction's keys up. They are those of a half until that is
// wiped.
func (o *outbound) handOver() half {
	switch {
	case o.err != nil:
		return half{mode: modeEnded}
	case o.kernel != nil:
		return half{mode: modeKernel, next: o.next, since: o.place.since.Load(), rekeys: uint64(o.place.rekeys.Load())}
	}
	return userHalf(o.sealer.Release())
}

func (h *inbound) handOver() half {
	switch {
	case h.err != nil:
		return half{mode: modeEnded}
	case h.kernel != nil:
		d := half{mode: modeKernel, since: h.place.since.Load(), rekeys: uint64(h.place.rekeys.Load())}
		if typ, ok := h.kernel.Inside(); ok {
			d.inside = typ
		}
		return d
	}
	return userHalf(h.opener.Release())
}

// leave ends the direction here, also if it had ended.
func (o *outbound) leave() {
	o.err, o.closeErr, o.kernel = nil, nil, nil
	o.plan.settled = true
	o.place.moved.Store(false)
	o.stop(ErrDetached)
}

func (h *inbound) leave() {
	h.err, h.kernel, h.control = nil, nil, nil
	h.plan.settled = true
	h.place.moved.Store(false)
	h.stop(ErrDetached)
}
