package tls

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

// Offload says what protects the records of each direction.
type Offload struct{ TX, RX DirectionOffload }

// DirectionOffload is one direction of [Offload].
type DirectionOffload struct {
	// Where the records are protected.
	Where Placement
	// Since is the number of the first record that the kernel protected; 0 in
	// user space.
	Since uint64
	// Rekeys is how many times the kernel was given new keys.
	Rekeys uint64
	// Remaining is how many records the key for sending still allows for before
	// it must be changed or the connection closed (RFC 9846, section 5.5), give or
	// take 64 where there are very many. What is
	// received is the peer's to count: it is 0 there.
	Remaining uint64
	// Reason says, in words, why the records are not protected by the kernel. It
	// is empty where they are.
	Reason string
}

// Placement is where the records of a direction are protected.
type Placement uint8

// The placements.
const (
	UserSpace Placement = iota
	KernelSoftware
	KernelDevice // by a network device
)

func (p Placement) String() string {
	switch p {
	case UserSpace:
		return "user space"
	case KernelSoftware:
		return "kernel"
	case KernelDevice:
		return "network device"
	}
	return "Placement(" + strconv.Itoa(int(p)) + ")"
}

func (d DirectionOffload) String() string {
	if d.Where == UserSpace {
		return d.Where.String() + " (" + d.Reason + ")"
	}
	s := fmt.Sprintf("%v since record %d", d.Where, d.Since)
	if d.Rekeys > 0 {
		s += fmt.Sprintf(", %d new keys", d.Rekeys)
	}
	return s
}

// place is what Offload says of a direction, kept up to date by whoever has that
// direction's lock.
type place struct {
	moved  atomic.Bool
	rekeys atomic.Uint32
	since  atomic.Uint64
	left   atomic.Uint64
	reason atomic.Pointer[string] // why it did not move
}

// note notes how many records may follow. While there are very many, that need not be
// exact: others see it once it has changed by 64.
func (p *place) note(left uint64) {
	if old := p.left.Load(); left < 1<<16 || old < left || old-left >= 64 {
		p.left.Store(left)
	}
}

func (p *place) enterKernel(since uint64) {
	p.since.Store(since)
	p.moved.Store(true)
}

func (p *place) refuse(reason string) { p.reason.Store(&reason) }

func (p *place) offload() DirectionOffload {
	d := DirectionOffload{Remaining: p.left.Load()}
	if p.moved.Load() {
		d.Where, d.Since, d.Rekeys = KernelSoftware, p.since.Load(), uint64(p.rekeys.Load())
	} else if reason := p.reason.Load(); reason != nil {
		d.Reason = *reason
	}
	return d
}

// Offload returns where the connection's records are protected, and why not in
// the kernel. It does not wait for a Read or Write.
func (c *Conn) Offload() Offload {
	o := Offload{TX: c.out.place.offload(), RX: c.in.place.offload()}
	if tx, rx := c.sock.device(); tx || rx {
		o.TX.inDevice(tx)
		o.RX.inDevice(rx)
	}
	o.TX.explain(c, planTX, (*kernel.Report).TX)
	o.RX.explain(c, planRX, (*kernel.Report).RX)
	return o
}

func (d *DirectionOffload) inDevice(yes bool) {
	if yes && d.Where == KernelSoftware {
		d.Where = KernelDevice
	}
}

// explain gives the reason of a direction that has not tried to move yet.
func (d *DirectionOffload) explain(c *Conn, planOf func(*kernel.Policy) plan, support supportOf) {
	switch {
	case d.Where != UserSpace || d.Reason != "":
	case c.detached.Load():
		d.Reason = "by whoever has adopted the connection"
	case c.exported.Load():
		d.Reason = "by whoever has the exported keys"
	case !c.complete.Load():
		d.Reason = "the handshake is not complete"
	default:
		p := planOf(&c.config.Kernel)
		d.Reason = p.String()
		if p.mode == kernel.Off {
			return
		}
		if reason := c.obstacle(support); reason != "" { // it will not move
			d.Reason = reason
		}
	}
}

// obstacle returns why the kernel would not take a direction, as far as that is
// known before it is tried.
func (c *Conn) obstacle(support supportOf) string {
	sock, err := kernel.Open(c.conn)
	if err != nil {
		return reasonOf(err)
	}
	return support(sock.Report(), c.engine.State().Suite).Reason
}

// supportOf is what a kernel can do in one direction.
type supportOf func(*kernel.Report, *keyschedule.Suite) kernel.Support
