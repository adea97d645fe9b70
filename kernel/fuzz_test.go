//go:build unix

package kernel_test

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
)

// receiveErrors are what a recvmsg may fail with, by number.
var receiveErrors = []error{
	nil, syscall.EBADMSG, syscall.EMSGSIZE, syscall.EINVAL, kernel.ErrKeyExpired, syscall.ENOMEM,
	syscall.ECONNRESET, syscall.EIO, os.ErrDeadlineExceeded, syscall.Errno(4095),
}

// latched are those that say that the stream is broken.
var latched = []error{syscall.EBADMSG, syscall.EMSGSIZE, syscall.EINVAL, kernel.ErrKeyExpired}

// readScript makes results of recvmsg out of bytes: flags and an error, a type,
// and a length.
func readScript(script []byte) *scripted {
	s := new(scripted)
	for ; len(script) >= 3; script = script[3:] {
		r := kernel.Received{N: int(script[2]), Type: script[1], Typed: script[0]&1 != 0, EOR: script[0]&2 != 0}
		err := receiveErrors[int(script[0]>>2)%len(receiveErrors)]
		if err != nil {
			r = kernel.Received{}
		}
		s.received, s.errs = append(s.received, r), append(s.errs, err)
	}
	return s
}

// FuzzReceive gives a Socket whatever a kernel may return. Each result is one
// record's, or part of one, of the type that was told last; no bytes come without
// a type; and what says that the stream is broken is for ever, with an alert.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{1, 23, 5, 3, 23, 9, 3, 22, 4, 3, 21, 2, 0, 0, 0})
	f.Add([]byte{1, 23, 5, 0, 0, 7, 2, 0, 1, 0, 0, 3})
	for i := range receiveErrors {
		f.Add([]byte{3, 23, 1, byte(i) << 2, 0, 0, 3, 23, 1, 3, 23, 1})
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		s := readScript(script)
		socket := kernel.NewSocket(s)
		for len(s.received) > 3 {
			next, fails := s.received[0], s.errs[0]
			inType, inside := socket.Inside()
			typ, n, more, err := socket.Receive(make([]byte, 256))
			if err == nil {
				if fails == nil && (n != next.N || next.Typed && typ != next.Type || !next.Typed && (!inside || typ != inType || n == 0)) {
					t.Fatalf("type %d, %d bytes, of %+v inside %d, %v", typ, n, next, inType, inside)
				}
				if goesOn, ok := socket.Inside(); ok != more || more && (goesOn != typ || n == 0) {
					t.Fatalf("more %v, inside %d, %v", more, goesOn, ok)
				}
				continue
			}
			checkReceiveError(t, socket, fails, next, err)
			if _, _, _, again := socket.Receive(nil); again == err {
				return // for ever
			}
		}
	})
}

// checkReceiveError judges the error of a Receive whose first recvmsg returned
// next, or failed.
func checkReceiveError(t *testing.T, socket *kernel.Socket, fails error, next kernel.Received, err error) {
	t.Helper()
	if err == io.EOF {
		if fails == nil && (next.N > 0 || next.Typed) {
			t.Fatalf("the stream ends at %+v", next)
		}
		return
	}
	broken := false
	for _, l := range latched {
		broken = broken || errors.Is(err, l)
	}
	if broken == (alert.Of(err) == alert.InternalError) {
		t.Fatalf("%v has the alert %v", err, alert.Of(err))
	}
	if !broken {
		return
	}
	if _, _, _, again := socket.Receive(make([]byte, 1)); again != err {
		t.Fatalf("after %v: %v", err, again)
	}
}
