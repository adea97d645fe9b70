//go:build linux || freebsd

package kernel

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is what the two kernels' sockets have in common.
type socket struct {
	raw      syscall.RawConn
	receiver receiver
}

func (s *socket) init(tcp *net.TCPConn) (err error) {
	s.raw, err = tcp.SyscallConn()
	s.receiver.init()
	return err
}

// Receive implements [System].
func (s *socket) Receive(p []byte) (Received, error) {
	r := &s.receiver
	r.p = p
	err := s.raw.Read(r.try)
	r.p = nil
	switch {
	case err != nil:
		return Received{}, pollError(err)
	case r.errno != 0:
		return Received{}, r.errno
	}
	return r.got, nil
}

// SendControl implements [System].
func (s *socket) SendControl(typ byte, b []byte) (int, error) {
	m := senders.Get().(*sender)
	m.typ, m.b = typ, b
	err := s.raw.Write(m.try)
	n, errno := m.n, m.errno
	m.b = nil
	senders.Put(m)
	switch {
	case err != nil:
		return 0, pollError(err)
	case errno != 0:
		return 0, errno
	}
	return n, nil
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

// receiver is what one Receive at a time works with. Its callback is made once,
// so that receiving allocates nothing; and what recvmsg needs beside the buffer
// exists only during that call, as a connection may wait in Receive for long.
type receiver struct {
	p     []byte
	got   Received
	errno syscall.Errno
	try   func(fd uintptr) (done bool) // for RawConn
}

func (r *receiver) init() {
	r.try = func(fd uintptr) bool {
		r.got, r.errno = receiveMessage(fd, r.p, 0)
		return r.errno != unix.EAGAIN
	}
}

// sender is what one SendControl works with, which no connection needs for long.
type sender struct {
	typ   byte
	b     []byte
	n     int
	errno syscall.Errno
	try   func(fd uintptr) (done bool) // for RawConn
}

var senders = sync.Pool{New: func() any {
	s := new(sender)
	s.try = func(fd uintptr) bool {
		s.n, s.errno = sendMessage(fd, s.typ, s.b)
		return s.errno != unix.EAGAIN
	}
	return s
}}

// controlMessage has the alignment and, on every architecture, the room for a
// control message with a record's type: one byte, or on FreeBSD the first of six.
type controlMessage [3]uint64

// header is how the message begins.
func (m *controlMessage) header() *unix.Cmsghdr { return (*unix.Cmsghdr)(unsafe.Pointer(m)) }

// data is the first byte that the message carries, the type.
func (m *controlMessage) data() *byte { return (*byte)(unsafe.Add(unsafe.Pointer(m), unix.CmsgLen(0))) }

// receiveMessage is one recvmsg, which does not wait. What it needs stays on the
// stack as long as only this function takes addresses.
func receiveMessage(fd uintptr, p []byte, flags int) (Received, syscall.Errno) {
	var control controlMessage
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	hdr := unix.Msghdr{Iov: &iov, Control: (*byte)(unsafe.Pointer(&control))}
	hdr.SetIovlen(1)
	hdr.SetControllen(int(unsafe.Sizeof(control)))
	n, errno := message(unix.SYS_RECVMSG, fd, &hdr, flags)
	if errno != 0 {
		return Received{}, errno
	}
	h := control.header()
	typed := int(hdr.Controllen) >= unix.CmsgLen(1) && h.Level == cmsgLevel && h.Type == cmsgGetType
	return Received{N: n, Type: *control.data(), Typed: typed, EOR: hdr.Flags&unix.MSG_EOR != 0}, 0
}

// sendMessage is one sendmsg of one record, which does not wait.
func sendMessage(fd uintptr, typ byte, b []byte) (int, syscall.Errno) {
	var control controlMessage
	h := control.header()
	h.Level, h.Type = cmsgLevel, cmsgSetType
	h.SetLen(unix.CmsgLen(1))
	*control.data() = typ
	iov := unix.Iovec{Base: unsafe.SliceData(b)}
	iov.SetLen(len(b))
	hdr := unix.Msghdr{Iov: &iov, Control: (*byte)(unsafe.Pointer(&control))}
	hdr.SetIovlen(1)
	hdr.SetControllen(unix.CmsgLen(1))
	return message(unix.SYS_SENDMSG, fd, &hdr, 0)
}

// message makes the system call of that number.
func message(trap, fd uintptr, hdr *unix.Msghdr, flags int) (int, syscall.Errno) {
	for {
		// Somebody may have made the descriptor blocking, as os.File.Fd does with a copy.
		n, _, errno := unix.Syscall(trap, fd, uintptr(unsafe.Pointer(hdr)), uintptr(flags|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
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
