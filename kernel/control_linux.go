package kernel

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Control messages of level SOL_TLS, from linux/tls.h.
const (
	cmsgSetRecordType = 1
	cmsgGetRecordType = 2
)

// message is what sendmsg and recvmsg work on: one buffer, and room for one
// control message with a record's type. It is part of a socket, so that a call
// allocates nothing.
type message struct {
	hdr unix.Msghdr
	iov unix.Iovec
	// oob has the alignment and, on every architecture, the room for a control
	// message with one byte.
	oob [3]uint64

	n     int
	errno syscall.Errno
	try   func(fd uintptr) (done bool) // for RawConn
}

// set makes b the buffer of the next call.
func (m *message) set(b []byte) {
	m.iov.Base = unsafe.SliceData(b)
	m.iov.SetLen(len(b))
	m.hdr.Iov = &m.iov
	m.hdr.SetIovlen(1)
	m.hdr.Control = (*byte)(unsafe.Pointer(&m.oob))
}

// result lets go of the buffer, and returns what the call returned.
func (m *message) result(pollErr error) (int, error) {
	m.iov.Base = nil
	if pollErr != nil {
		return 0, pollError(pollErr)
	}
	if m.errno != 0 {
		return 0, m.errno
	}
	return m.n, nil
}

// call makes the system call. It reports false if the socket is not ready.
func (m *message) call(trap, fd uintptr) bool {
	for {
		// Somebody may have made the descriptor blocking, as File does.
		n, _, errno := unix.Syscall(trap, fd, uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if errno == unix.EINTR {
			continue
		}
		m.n, m.errno = int(n), errno
		return errno != unix.EAGAIN
	}
}

// header is the control message.
func (m *message) header() *unix.Cmsghdr { return (*unix.Cmsghdr)(unsafe.Pointer(&m.oob)) }

// typ is the byte that the control message carries.
func (m *message) typ() *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(&m.oob), unix.CmsgLen(0)))
}

type receiver struct{ message }

func (r *receiver) init() {
	r.try = func(fd uintptr) bool {
		r.hdr.SetControllen(int(unsafe.Sizeof(r.oob)))
		return r.call(unix.SYS_RECVMSG, fd)
	}
}

// typed reports whether the call returned the type of a record.
func (r *receiver) typed() bool {
	return int(r.hdr.Controllen) >= unix.CmsgLen(1) && r.header().Level == unix.SOL_TLS && r.header().Type == cmsgGetRecordType
}

// Receive implements [System].
func (s *linuxSocket) Receive(p []byte) (Received, error) {
	r := &s.receiver
	r.set(p)
	n, err := r.result(s.raw.Read(r.try))
	if err != nil {
		return Received{}, err
	}
	return Received{N: n, Type: *r.typ(), Typed: r.typed(), EOR: r.hdr.Flags&unix.MSG_EOR != 0}, nil
}

type sender struct{ message }

func (s *sender) init() {
	h := s.header()
	h.Level, h.Type = unix.SOL_TLS, cmsgSetRecordType
	h.SetLen(unix.CmsgLen(1))
	s.hdr.SetControllen(unix.CmsgLen(1))
	s.try = func(fd uintptr) bool { return s.call(unix.SYS_SENDMSG, fd) }
}

// SendControl implements [System].
func (s *linuxSocket) SendControl(typ byte, b []byte) (int, error) {
	m := &s.sender
	*m.typ() = typ
	m.set(b)
	return m.result(s.raw.Write(m.try))
}
