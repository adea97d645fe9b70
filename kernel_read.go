package tls

import (
	"errors"
	"io"
	"net"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// Receiving where the kernel has the keys: it gives the content of records with
// their type, and several records of data at once. Everything else that comes
// in records is acted on as in user space.

// minDirect is the least length of a slice that is received into directly.
// Alerts and most handshake messages fit too, and are taken out again.
const minDirect = 256

// advanceKernel is advance.
func (c *Conn) advanceKernel(dst []byte) (int, error) {
	if err := c.refusal.Load(); err != nil { // the kernel may not say so again
		c.in.stop(err)
		return 0, err
	}
	buf := dst
	if len(dst) < minDirect {
		buf = c.in.borrow(len(dst))
	}
	typ, n, more, err := c.in.kernel.Receive(buf)
	c.in.flowing = len(dst) < minDirect && n == len(buf)
	if err != nil {
		return 0, c.kernelReadError(err)
	}
	content := buf[:n]
	if record.ContentType(typ) == record.ApplicationData && len(c.in.control) == 0 {
		if err := c.checkType(record.ApplicationData); err != nil {
			return 0, c.fail(err)
		}
		return c.takeData(dst, content)
	}
	defer clear(content)
	content, err = c.in.gather(record.ContentType(typ), content)
	if err != nil {
		return 0, c.fail(err)
	}
	if more {
		return 0, nil
	}
	c.in.control = nil
	if err := c.checkControl(record.ContentType(typ), content); err != nil {
		return 0, c.fail(err)
	}
	return c.act(nil, record.ContentType(typ), content)
}

// borrow returns a buffer of ours to receive into: a large one for readers that
// bring none at all, as they want much. Who waits for a record should hold none,
// so until there seems to be more to receive it has a few bytes.
func (h *inbound) borrow(want int) []byte {
	size := minDirect
	switch {
	case h.flowing && want == 0:
		size = burstBufferLen
	case h.flowing:
		size = recordBufferLen
	}
	if h.buf != nil && len(h.buf.b) != size {
		h.release()
	}
	if h.buf == nil {
		h.buf = getBufferOf(size)
	}
	return h.buf.b
}

// gather joins the parts of a record that is not data, which the kernel gives
// in pieces if the buffer is short.
func (h *inbound) gather(typ record.ContentType, part []byte) ([]byte, error) {
	switch {
	case typ == record.ApplicationData:
		return nil, alert.Errorf(alert.InternalError, "the kernel mixes records")
	case len(h.control)+len(part) > record.MaxPlaintext:
		return nil, alert.Errorf(alert.RecordOverflow, "%v record of more than %d bytes", typ, record.MaxPlaintext)
	}
	h.control = append(h.control, part...)
	return h.control, nil
}

// checkControl refuses records that no sender may make, which the kernel lets
// pass, and those that are not for their time (RFC 9846, section 5.1).
func (c *Conn) checkControl(typ record.ContentType, content []byte) error {
	switch typ {
	case record.ChangeCipherSpec, record.Alert, record.Handshake:
	default:
		return alert.Errorf(alert.UnexpectedMessage, "protected record of unknown type %d", uint8(typ))
	}
	if len(content) == 0 {
		return alert.Errorf(alert.UnexpectedMessage, "empty record of type %v", typ)
	}
	return c.checkType(typ)
}

// kernelReadError sorts the errors of Receive.
func (c *Conn) kernelReadError(err error) error {
	if err == io.EOF { // without close_notify
		err = io.ErrUnexpectedEOF
	}
	if e := (*alert.Error)(nil); errors.As(err, &e) {
		c.in.kernel.ClearError() // or the alert cannot be sent
	}
	return c.readError(c.opError("read", err))
}

// opError makes an error of the kernel's what the net package would make of it:
// programs look for a net.Error.
func (c *Conn) opError(op string, err error) error {
	switch {
	case err == nil, err == io.ErrUnexpectedEOF, errors.As(err, new(*alert.Error)), errors.As(err, new(*net.OpError)):
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// rekey gives the kernel the keys that follow a KeyUpdate of the peer's.
func (h *inbound) rekey(keys *keyschedule.TrafficKeys) error {
	if err := h.kernel.RekeyRX(keys); err != nil {
		return err
	}
	h.place.rekeys.Add(1)
	return nil
}

// reopen takes keys back that the kernel has refused.
func (h *inbound) reopen(keys *keyschedule.TrafficKeys) { h.opener = record.NewOpener(keys) }
