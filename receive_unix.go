//go:build unix

package tls

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A connection over a socket waits for a record without a buffer, and receives by one
// system call when something has come. Others wait with room for a header, and receive
// the rest by a second one.

// rawConn returns what the socket is received from by, nil if conn is none.
func rawConn(conn net.Conn) syscall.RawConn {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err == nil {
			return raw
		}
	}
	return nil
}

// receipt is one time that something is received. They are in a pool, because
// callbacks are made once for each.
type receipt struct {
	size  int
	buf   *buffer
	n     int
	errno error
	try   func(fd uintptr) (done bool)
}

var receipts = sync.Pool{New: func() any {
	r := new(receipt)
	r.try = r.receive
	return r
}}

// receive receives into a buffer, which it gives back if there is nothing yet.
func (r *receipt) receive(fd uintptr) (done bool) {
	r.buf = getBuffer(r.size)
	// Package syscall's Read tells the race detector, as the net package's does, that what
	// was done before the peer has written was done before this.
	for {
		r.n, r.errno = syscall.Read(int(fd), r.buf.b)
		if r.errno != syscall.EINTR {
			break
		}
	}
	if r.errno != nil || r.n == 0 {
		r.buf.put()
		r.buf = nil
	}
	return r.errno != syscall.EAGAIN
}

// receive waits for something and puts it into a new buffer of about that size.
func (h *inbound) receive(conn net.Conn, size int) (int, error) {
	r := receipts.Get().(*receipt)
	r.size = size
	err := h.raw.Read(r.try)
	n, errno := r.n, r.errno
	if r.buf != nil {
		h.buf, h.r = r.buf, 0
	}
	r.buf, r.n, r.errno = nil, 0, nil
	receipts.Put(r)
	switch {
	case err != nil:
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // what is said beside it is about raw connections
		}
	case errno != nil:
		err = os.NewSyscallError("read", errno)
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
	return 0, &net.OpError{Op: "read", Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err}
}
