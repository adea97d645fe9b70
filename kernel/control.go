//go:build linux || freebsd

package kernel

import (
	"errors"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is what the two kernels' sockets have in common.
type socket struct {
	raw      syscall.RawConn
	receiver receiver
	sender   sender
}

func (s *socket) init(tcp *net.TCPConn) (err error) {
	s.raw, err = tcp.SyscallConn()
	s.receiver.init()
	s.sender.init()
	return err
}

// Receive implements [System].
func (s *socket) Receive(p []byte) (Received, error) {
	r := &s.receiver
	r.set(p)
	n, err := r.result(s.raw.Read(r.try))
	if err != nil {
		return Received{}, err
	}
	return Received{N: n, Type: *r.data(), Typed: r.typed(), EOR: r.hdr.Flags&unix.MSG_EOR != 0}, nil
}

// SendControl implements [System].
func (s *socket) SendControl(typ byte, b []byte) (int, error) {
	m := &s.sender
	*m.data() = typ
	m.set(b)
	return m.result(s.raw.Write(m.try))
}

// SocketError implements [System].
func (s *socket) SocketError() error {
	return s.control(func(fd int) error {
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		return err
	})
}

// Unsent implements [System].
func (s *socket) Unsent() (n int, err error) {
	err = s.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, ioctlUnsent)
		return err
	})
	return n, err
}

// control calls f with the socket's descriptor, which is open meanwhile.
func (s *socket) control(f func(fd int) error) error {
	var inner error
	err := s.raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	if err != nil {
		return pollError(err)
	}
	return inner
}

// pollError returns what the poller said, without what the net package tells
// beside it.
func pollError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// message is what sendmsg and recvmsg work on: one buffer, and room for one
// control message with a record's type. It is part of a socket, so that a call
// allocates nothing.
type message struct {
	hdr unix.Msghdr
	iov unix.Iovec
	// oob has the alignment and, on every architecture, the room for a control
	// message with a record's type: one byte, or on FreeBSD the first of six.
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
		// Somebody may have made the descriptor blocking, as os.File.Fd does with a copy.
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

// data is the first byte that the control message carries, the type.
func (m *message) data() *byte {
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
	return int(r.hdr.Controllen) >= unix.CmsgLen(1) && r.header().Level == cmsgLevel && r.header().Type == cmsgGetType
}

type sender struct{ message }

func (s *sender) init() {
	h := s.header()
	h.Level, h.Type = cmsgLevel, cmsgSetType
	h.SetLen(unix.CmsgLen(1))
	s.hdr.SetControllen(unix.CmsgLen(1))
	s.try = func(fd uintptr) bool { return s.call(unix.SYS_SENDMSG, fd) }
}

// setsockopt is here because package unix's functions for byte strings would
// leave copies of the keys.
func setsockopt(fd, level, option int, b []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
