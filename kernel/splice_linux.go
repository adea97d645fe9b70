package kernel

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Pipe is a pipe to splice through: it holds pages of the kernel's and not
// copies of them. It is not for concurrent use, and must be closed.
type Pipe struct {
	r, w int
	n    int // bytes inside
}

// How much a new pipe shall hold. The system's limit for processes without
// privileges is usually 1 MiB; a record needs its own size and, as it does not
// begin with a page, one page more.
const (
	pipeSize    = 1 << 20
	pipeMinimum = MaxControl + 4096
)

// NewPipe returns a new pipe, or errors.ErrUnsupported where there is no splice.
func NewPipe() (*Pipe, error) {
	p, err := newPipe(pipeSize)
	if err != nil {
		return nil, err
	}
	size, err := unix.FcntlInt(uintptr(p.r), unix.F_GETPIPE_SZ, 0)
	if err == nil && size < pipeMinimum {
		err = errors.New("kernel tls: the system gives no pipe that is large enough for a record: fs.pipe-user-pages-soft")
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// newPipe returns a pipe for size bytes, if the system gives that much.
func newPipe(size int) (*Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, size)
	return &Pipe{r: fds[0], w: fds[1]}, nil
}

// Close closes the pipe, and loses what is in it.
func (p *Pipe) Close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
	p.r, p.w, p.n = -1, -1, 0
}

// Len returns how many bytes are in the pipe.
func (p *Pipe) Len() int { return p.n }

// SpliceTo moves n bytes of the pipe, or all if there are fewer, to a socket: of
// plain TCP, or one that protects what it sends. It waits until they can be
// written. If it fails, it returns how many bytes have gone.
func (p *Pipe) SpliceTo(dst syscall.RawConn, n int) (int, error) {
	n = min(n, p.n)
	var moved int
	var inner error
	err := dst.Write(func(fd uintptr) bool {
		for moved < n && inner == nil {
			var k int
			if k, inner = splice(p.r, int(fd), n-moved); k == 0 && inner == nil {
				inner = io.ErrShortWrite
			}
			moved += k
		}
		if inner == unix.EAGAIN {
			inner = nil
			return false
		}
		return true
	})
	p.n -= moved
	if err != nil {
		return moved, pollError(err)
	}
	return moved, os.NewSyscallError("splice", inner)
}

// Fill moves at most n bytes of what arrives on a socket of plain TCP into the
// pipe, which must be empty. It waits until there is something, and fails with
// io.EOF at the end.
func (p *Pipe) Fill(src syscall.RawConn, n int) (int, error) {
	var inner error
	err := src.Read(func(fd uintptr) bool {
		p.n, inner = splice(int(fd), p.w, n)
		return inner != unix.EAGAIN
	})
	switch {
	case err != nil:
		return 0, pollError(err)
	case inner != nil:
		return 0, os.NewSyscallError("splice", inner)
	case p.n == 0:
		return 0, io.EOF
	}
	return p.n, nil
}

// spliceTo implements [splicer].
func (s *linuxSocket) spliceTo(p *Pipe, n int) (int, error) {
	if p.n > 0 {
		return 0, errors.New("kernel tls: splicing into a pipe that is not empty")
	}
	var inner error
	err := s.raw.Read(func(fd uintptr) bool {
		p.n, inner = splice(int(fd), p.w, n)
		switch {
		case inner == unix.EINVAL:
			inner = controlOrInvalid(int(fd))
		case p.n == 0 && inner == nil:
			inner = emptyOrEnd(int(fd))
		}
		return inner != unix.EAGAIN
	})
	if err != nil {
		return 0, pollError(err)
	}
	return p.n, inner
}

// splice is one splice that does not wait.
func splice(from, to, n int) (int, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return max(int(moved), 0), err
		}
	}
}

// controlOrInvalid tells the two meanings of a splice's EINVAL from one
// another. Before a record that is not application data the record is there to
// be looked at. After a header with a wrong version there is nothing, now or
// later: who then waits for a record, waits for ever.
func controlOrInvalid(fd int) error {
	if _, typed, err := peek(fd); err == nil && typed {
		return ErrControlRecord
	}
	return unix.EINVAL
}

// emptyOrEnd tells the two meanings of a splice of nothing from one another: a
// record without content, which is gone then, and the end of the stream. It
// returns nil for the former. An error that the kernel says only once is not
// lost.
func emptyOrEnd(fd int) error {
	n, typed, err := peek(fd)
	switch {
	case err == unix.EAGAIN:
		return nil
	case err == nil && n == 0 && !typed:
		return io.EOF
	}
	return err
}

// peek looks at what the next recvmsg would return: how much, and whether it
// has a record's type.
func peek(fd int) (n int, typed bool, err error) {
	r, errno := receiveMessage(uintptr(fd), make([]byte, 1), unix.MSG_PEEK)
	if errno != 0 {
		return 0, false, errno
	}
	return r.N, r.Typed, nil
}
