//go:build unix

package tls

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/go-handoff/tls/kernel"
)

// TestKernelEarlyData moves both directions after early data and an answer to it:
// never before the handshake is complete, and with the right record numbers.
func TestKernelEarlyData(t *testing.T) {
	policies := map[string]kernel.Policy{
		"at once":     both,
		"after bytes": {TX: kernel.Require, RX: kernel.Require, MoveTX: kernel.AfterBytes(1), MoveRX: kernel.AfterBytes(1)},
	}
	for _, g := range kernelGrounds(t) {
		for name, policy := range policies {
			for what, accept := range map[string]bool{"accepted": true, "not accepted": false} {
				t.Run(g.name+"/"+name+"/"+what, func(t *testing.T) { kernelEarlyData(t, g, policy, accept) })
			}
		}
	}
}

func kernelEarlyData(t *testing.T, g ground, policy kernel.Policy, accept bool) {
	client, server := cachingClient(), earlyServer()
	ticketFor(t, client, server)
	client, server = client.Clone(), server.Clone()
	client.Kernel, server.Kernel = policy, policy
	c, s := pairOf(t, g.network, client, server)
	data := hugeData(40000)
	served := do(func() error {
		if !accept {
			return s.Handshake()
		}
		for range 4 {
			part := make([]byte, 10000)
			if _, err := io.ReadFull(earlyReader{s}, part); err != nil {
				return err
			}
			if _, err := s.WriteEarlyData(part); err != nil {
				return err
			}
			wantPlaces(t, s, UserSpace, UserSpace)
		}
		if _, err := s.ReadEarlyData(make([]byte, 1)); err != io.EOF {
			return errors.Join(errors.New("more early data"), err)
		}
		wantPlaces(t, s, UserSpace, UserSpace)
		return s.Handshake()
	})
	if n, err := c.WriteEarlyData(data); n != len(data) || err != nil {
		t.Fatalf("WriteEarlyData: %d, %v", n, err)
	}
	wantPlaces(t, c, UserSpace, UserSpace)
	// What comes right behind the handshake must not be read beyond it.
	written := do(func() error { _, err := io.WriteString(c, "behind"); return err })
	if err := errors.Join(written(), served()); err != nil {
		t.Fatal(err)
	}
	behind := make([]byte, 6)
	if _, err := io.ReadFull(s, behind); string(behind) != "behind" || err != nil {
		t.Fatalf("behind the handshake: %q, %v", behind, err)
	}
	if accept {
		got := make([]byte, len(data))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("answer: %v", err)
		}
	}
	for range 3 {
		echo(t, c, s)
	}
	for _, conn := range []*Conn{c, s} {
		wantPlaces(t, conn, KernelSoftware, KernelSoftware)
	}
	if e := c.EarlyData(); e.Accepted != accept {
		t.Errorf("%+v", e)
	}
	if g.rekey {
		for _, conn := range []*Conn{c, s} {
			if err := conn.KeyUpdate(t.Context()); err != nil {
				t.Fatal(err)
			}
			echo(t, c, s)
		}
	}
	closeBoth(t, c, s)
}

// TestKernelEarlyDataBeside completes a server's handshake while it writes a
// large answer to early data: the sending side moves with a later write.
func TestKernelEarlyDataBeside(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			client, server := cachingClient(), earlyServer()
			ticketFor(t, client, server)
			client, server = client.Clone(), server.Clone()
			client.Kernel, server.Kernel = both, both
			c, s := pairOf(t, g.network, client, server)
			data := hugeData(1 << 24) // more than the network takes
			served := do(func() error {
				_, err := readSome(s, 1)
				return err
			})
			mustWriteEarly(t, c, "x")
			if err := served(); err != nil {
				t.Fatal(err)
			}
			answered := do(func() error { _, err := s.WriteEarlyData(data); return err })
			shaken := do(c.Handshake)
			if err := errors.Join(s.Handshake(), shaken()); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(data))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("answer: %v", err)
			}
			if err := answered(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				echo(t, c, s)
			}
			for _, conn := range []*Conn{c, s} {
				wantPlaces(t, conn, KernelSoftware, KernelSoftware)
			}
			closeBoth(t, c, s)
		})
	}
}
