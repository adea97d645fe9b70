//go:build unix

package tls

import (
	"fmt"
	"io"
	"testing"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

// detachGround is a kernel that connections move on. The models' sockets have
// no descriptors: there only the blob goes from one Conn to the next.
type detachGround struct {
	ground
	move func(t testing.TB, conn *Conn, config *Config) *Conn
}

func detachGrounds(t *testing.T) (grounds []detachGround) {
	t.Helper()
	for _, g := range kernelGrounds(t) {
		move := moved
		if g.model {
			move = movedInPlace
		}
		grounds = append(grounds, detachGround{g, move})
	}
	return grounds
}

// movedInPlace goes on with conn by way of a blob, over the same socket.
func movedInPlace(t testing.TB, conn *Conn, config *Config) *Conn {
	t.Helper()
	key := GenerateHandoverKey()
	env, err := key.newEnvelope(config.rand())
	if err != nil {
		t.Fatal(err)
	}
	conn.in.Lock()
	conn.out.Lock()
	blob, err := conn.leave(env, identify(conn.conn))
	conn.out.Unlock()
	conn.in.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	plain, id, err := key.open(blob)
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHandover(plain)
	if err != nil {
		t.Fatal(err)
	}
	next, err := h.adopt(conn.conn, id, key, config)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestKernelDetach moves connections of which the kernel has one direction or
// both, also in the middle of a record.
func TestKernelDetach(t *testing.T) {
	policies := map[string]kernel.Policy{
		"TX":   {TX: kernel.Require, RX: kernel.Off},
		"RX":   {TX: kernel.Off, RX: kernel.Require},
		"both": {TX: kernel.Require, RX: kernel.Require},
	}
	for _, g := range detachGrounds(t) {
		for what, policy := range policies {
			for _, v := range versions {
				t.Run(fmt.Sprintf("%s/%s/%s", g.name, what, VersionName(v)), func(t *testing.T) {
					client, server := clientConfig(), serverConfig("P256")
					client.Kernel, server.Kernel = policy, policy
					client.MaxVersion = v
					cc, ss := connect(t, g.network, client, server)
					c, s := cc.(*Conn), ss.(*Conn)
					for range 3 {
						before := [...]Offload{c.Offload(), s.Offload()}
						c, s = g.moveMidway(t, c, s)
						checkSame(t, before, [...]Offload{c.Offload(), s.Offload()})
						echo(t, c, s)
						if v == VersionTLS13 && (g.rekey || policy.RX == kernel.Off) {
							g.update(t, c, s)
						}
					}
					if _, err := c.ExportKeys(); err != ErrInKernel {
						t.Errorf("ExportKeys: %v", err)
					}
					endBoth(t, c, s)
				})
			}
		}
	}
}

// moveMidway moves both ends of a connection when the client has read records in
// part.
func (g *detachGround) moveMidway(t *testing.T, c, s *Conn) (*Conn, *Conn) {
	t.Helper()
	story := make([]byte, 3000)
	tale(7).fill(story, 0)
	for _, part := range [][]byte{story[:1000], story[1000:1001], story[1001:]} {
		if _, err := s.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	heard := 0
	for _, n := range []int{300, 2, 1, 299, 1000} {
		got := make([]byte, n)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		if err := tale(7).check(got, uint64(heard)); err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		heard += n
		c, s = g.move(t, c, c.config), g.move(t, s, s.config)
	}
	rest := make([]byte, len(story)-heard)
	if _, err := io.ReadFull(c, rest); err != nil {
		t.Fatal(err)
	}
	if err := tale(7).check(rest, uint64(heard)); err != nil {
		t.Fatal(err)
	}
	return c, s
}

// TestKernelDetachWithinTicket moves a client to which the kernel has given a
// ticket in part.
func TestKernelDetachWithinTicket(t *testing.T) {
	policy := kernel.Policy{TX: kernel.Require, RX: kernel.Require}
	for _, g := range detachGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			client, server := clientConfig(), serverConfig("P256")
			client.ClientSessionCache = NewLRUClientSessionCache(0)
			client.Kernel, server.Kernel = policy, policy
			server.SessionTicketsDisabled = true
			cc, ss := connect(t, g.network, client, server)
			c, s := cc.(*Conn), ss.(*Conn)
			ticket := append([]byte("\x04\x00\x03\xf5\x00\x00\x00\x64\x00\x00\x00\x00\x00\x03\xe8"), make([]byte, 1002)...)
			s.enqueue(outgoing{typ: record.Handshake, body: ticket})
			s.due.Store(true)
			if err := s.sendDue(); err != nil {
				t.Fatal(err)
			}
			c.in.Lock()
			_, err := c.advance(make([]byte, 300))
			c.in.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			if len(c.in.control) != 300 {
				t.Fatalf("%d bytes of the ticket were given", len(c.in.control))
			}
			c = g.move(t, c, client)
			if len(c.in.control) != 300 {
				t.Fatalf("%d bytes of the ticket moved", len(c.in.control))
			}
			echo(t, c, s)
			if session, ok := client.ClientSessionCache.Get(testName); !ok || session == nil {
				t.Error("the ticket was lost")
			}
		})
	}
}

// update asks for new keys on both sides, as far as they can be had.
func (g *detachGround) update(t *testing.T, c, s *Conn) {
	t.Helper()
	for _, conn := range [...]*Conn{c, s} {
		err := conn.KeyUpdate(t.Context())
		if stuck := !g.rekey && conn.config.Kernel.TX == kernel.Require; stuck != (err == ErrNoRekey) || !stuck && err != nil {
			t.Fatalf("KeyUpdate: %v", err)
		}
	}
	echo(t, c, s)
}

// checkSame compares where the directions are and since when.
func checkSame(t *testing.T, before, after [2]Offload) {
	t.Helper()
	for i := range before {
		for _, d := range [...][2]DirectionOffload{{before[i].TX, after[i].TX}, {before[i].RX, after[i].RX}} {
			d[0].Remaining, d[1].Remaining = 0, 0
			if d[0].Where != UserSpace && d[0] != d[1] {
				t.Errorf("%v, was %v", d[1], d[0])
			}
		}
	}
}
