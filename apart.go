package tls

import "runtime"

// apart calls f on a goroutine of its own and returns what it returns. A
// handshake needs a stack several times the size of what a connection needs
// afterwards, and a stack that has grown stays so until a garbage collection or
// two: this one goes with its goroutine. A panic, or runtime.Goexit, in f is the
// caller's.
func apart(f func() error) error {
	done := make(chan ending, 1)
	go func() {
		out := ending{exited: true}
		defer func() {
			if out.exited {
				out.panicked = recover()
			}
			done <- out
		}()
		growStack()
		out.err = f()
		out.exited = false
	}()
	out := <-done
	switch {
	case out.panicked != nil:
		panic(out.panicked)
	case out.exited:
		runtime.Goexit()
	}
	return out.err
}

// ending is how a function has ended.
type ending struct {
	err      error
	panicked any
	exited   bool // without returning
}

// handshakeStack is what a handshake needs of a stack.
const handshakeStack = 12 << 10

// growStack makes the stack grow in one step, while there is little on it that must be
// moved, and not in three.
//
//go:noinline
func growStack() {
	var room [handshakeStack]byte
	touch(&room)
}

//go:noinline
func touch(room *[handshakeStack]byte) { room[0] = 1 }
