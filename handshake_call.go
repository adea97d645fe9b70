package tls

import (
	"context"
	"runtime"
	"sync"
)

// handshakeCall is a handshake that runs on a goroutine of its own. It needs a stack
// several times the size of what a connection needs afterwards, and a stack that has
// grown stays so until a garbage collection or two: this one goes with its
// goroutine.
type handshakeCall struct {
	handshake func(context.Context) error
	ctx       context.Context
	scope     scope // that ctx is, where the application's never ends

	done     sync.WaitGroup
	err      error
	panicked any
	exited   bool // without returning
}

// wait runs the handshake and returns what it returns. A panic, or runtime.Goexit, in
// it is the caller's: a panic with its value, though not with its stack, as who
// recovers it may compare the value.
func (c *handshakeCall) wait() error {
	c.done.Add(1)
	go c.run()
	growStack[[connStack]byte]()
	c.done.Wait()
	switch {
	case c.panicked != nil:
		panic(c.panicked)
	case c.exited:
		runtime.Goexit()
	}
	return c.err
}

func (c *handshakeCall) run() {
	c.exited = true
	defer func() {
		if c.exited {
			c.panicked = recover()
		}
		c.done.Done()
	}()
	growStack[[handshakeStack]byte]()
	c.err = c.handshake(c.ctx)
	c.exited = false
}

// A handshake needs handshakeStack bytes of a stack, and what comes after it, the
// first Read or Write of the goroutine that waits, about connStack.
const (
	handshakeStack = 12 << 10
	connStack      = 1536
)

// growStack makes the stack grow in one step, while there is little on it that must be
// moved, and not in several.
//
//go:noinline
func growStack[room [handshakeStack]byte | [connStack]byte]() {
	var r room
	hold(&r)
}

//go:noinline
func hold[room any](*room) {}
