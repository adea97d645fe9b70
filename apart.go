package tls

import (
	"runtime"
	"sync"
)

// apart calls f on a goroutine of its own and returns what it returns. A
// handshake needs a stack several times the size of what a connection needs
// afterwards, and a stack that has grown stays so until a garbage collection or
// two: this one goes with its goroutine. A panic, or runtime.Goexit, in f is the
// caller's.
func apart(f func() error) error {
	call := &apartCall{f: f}
	call.Add(1)
	go call.run()
	call.Wait()
	switch {
	case call.panicked != nil:
		panic(call.panicked)
	case call.exited:
		runtime.Goexit()
	}
	return call.err
}

// apartCall is a function that is called apart, and how it has ended.
type apartCall struct {
	sync.WaitGroup
	f        func() error
	err      error
	panicked any
	exited   bool // without returning
}

func (c *apartCall) run() {
	c.exited = true
	defer func() {
		if c.exited {
			c.panicked = recover()
		}
		c.Done()
	}()
	growStack()
	c.err = c.f()
	c.exited = false
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
