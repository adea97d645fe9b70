package tls

import (
	"errors"
	"net"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/record"
)

// Sending where the kernel has the keys. What is written to the socket becomes
// records there: of application data as they come, of other types by sendmsg.
// The kernel counts no records against the key's limit, so we do: for what we
// write, and by asking the kernel after transfers and near the limit.
//
// A write that times out has been taken up to a record's end or will be
// completed by what is sent next, so unlike in user space one can go on.

// writeKernel writes some of b, and first what is queued. out is held.
func (c *Conn) writeKernel(b []byte) (int, error) {
	room, err := c.kernelRoom()
	if err != nil {
		return 0, err
	}
	b = b[:min(len(b), transferBytes(room))]
	n, err := c.conn.Write(b)
	c.out.count((n + record.MaxPlaintext - 1) / record.MaxPlaintext)
	return n, c.kernelError(err)
}

// transferBytes is how much is given to the kernel at once if a key allows for so
// many records.
func transferBytes(room uint64) int {
	return int(min(room, transferChunk/record.MaxPlaintext)) * record.MaxPlaintext
}

// kernelRoom sends what is queued, changes keys if that is due, and returns how
// many records of application data may be sent: one at least. out is held.
func (c *Conn) kernelRoom() (uint64, error) {
	if c.out.err != nil {
		return 0, c.out.err
	}
	c.answerUpdate()
	if err := c.sendKernel(c.takeQueue()); err != nil {
		return 0, err
	}
	if c.out.err == nil && c.out.kernelRoom() < margin {
		c.out.ask()
	}
	if c.out.err == nil && c.out.kernelRoom() == 0 {
		c.replaceKeys()
		if err := c.sendKernel(c.takeQueue()); err != nil {
			return 0, err
		}
	}
	if c.out.err != nil {
		return 0, c.out.err
	}
	return max(1, c.out.kernelRoom()), nil
}

// sendKernel applies queued effects in their order. What a timeout keeps from
// being sent is queued again, in front. out is held.
func (c *Conn) sendKernel(queue []outgoing) error {
	for i := range queue {
		if err := c.applyKernel(&queue[i]); err != nil {
			if c.out.err == nil {
				c.requeue(queue[i:])
				return err
			}
			for j := range queue[i:] {
				queue[i+j].drop()
			}
			return err
		}
	}
	return nil
}

func (c *Conn) applyKernel(q *outgoing) error {
	switch {
	case c.out.err != nil:
		q.drop()
		return nil
	case q.install != nil:
		if err := c.out.rekey(q.install); err != nil {
			return c.out.stop(newLocalError(err))
		}
	case q.body != nil:
		if err := c.sendControl(q); err != nil {
			return err
		}
	}
	if q.final != nil {
		c.out.stop(q.final)
	}
	return nil
}

// sendControl sends records that are not application data, and takes off q what
// was sent.
func (c *Conn) sendControl(q *outgoing) error {
	for len(q.body) > 0 {
		n := min(len(q.body), record.MaxPlaintext)
		if err := c.out.kernel.SendControl(byte(q.typ), q.body[:n]); err != nil {
			return c.kernelError(c.opError("write", err))
		}
		c.out.count(1)
		q.body = q.body[n:]
	}
	return nil
}

// requeue puts back what was taken off the queue and not done.
func (c *Conn) requeue(queue []outgoing) {
	c.queueMutex.Lock()
	c.queue = append(queue[:len(queue):len(queue)], c.queue...)
	c.queued.Store(true)
	c.queueMutex.Unlock()
}

// kernelError returns an error of sending as the application gets it, and ends
// the sending side if it is no timeout.
func (c *Conn) kernelError(err error) error {
	if err == nil {
		return nil // e would be allocated
	}
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		return err
	}
	if broken := c.out.kernel.ReceivingFailed(err); broken != nil {
		return c.refused(broken)
	}
	return c.out.stop(permanent(err))
}

// refused ends the connection for a record that the kernel has refused. Who sends
// learns of it if the one who read before got only what was in front of it, and
// perhaps nobody will read again. out is held.
func (c *Conn) refused(err error) error {
	local := newLocalError(err)
	if !c.refusal.CompareAndSwap(nil, local) {
		return c.out.stop(c.refusal.Load())
	}
	c.out.kernel.ClearError() // or the alert cannot be sent
	c.enqueue(outgoing{typ: record.Alert, body: []byte{alertLevelFatal, byte(local.alert)}, final: local})
	c.due.Store(true)
	return local
}

// count notes that n records were sent.
func (o *outbound) count(n int) {
	o.next += uint64(n)
	o.place.left.Store(o.kernelLeft())
}

// ask asks the kernel how many records there were, and reports whether it says.
func (o *outbound) ask() bool {
	next, err := o.kernel.NextTX()
	if err != nil {
		return false
	}
	o.next = next
	o.count(0)
	return true
}

// recount is ask after n bytes were sent: where the kernel does not say, they
// are taken to be in records of a page each.
func (o *outbound) recount(n int64) {
	const page = 4096
	if !o.ask() {
		o.count(int(n/page) + 1)
	}
}

// kernelLeft returns how many records the kernel's key allows for.
func (o *outbound) kernelLeft() uint64 { return o.limit - min(o.limit, o.next) }

// margin is how many records are kept back, beside [reserve], where the limit is
// large: a transfer whose pages are not full makes more records than its bytes
// say. Limits as low as those of tests have nearly none, and such a transfer can
// pass them.
const margin = 1 << 14

// kernelRoom returns how many of them are for application data.
func (o *outbound) kernelRoom() uint64 {
	left := o.kernelLeft()
	return left - min(left, reserve+min(margin, o.limit/16))
}

// rekey gives the kernel the keys that follow a KeyUpdate.
func (o *outbound) rekey(ev *handshake.InstallWrite) error {
	if err := o.kernel.RekeyTX(ev.Keys); err != nil {
		return err
	}
	o.next = 0
	o.place.rekeys.Add(1)
	o.count(0)
	return nil
}
