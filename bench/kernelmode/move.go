//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	tls "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// A connection of which both ends are in this process.
type ends struct {
	client, server *tls.Conn
	raw            [2]net.Conn // of client and server
}

func (e *ends) close() {
	for _, c := range e.raw {
		c.Close()
	}
}

// connect returns a connection after the handshake, and after a byte each way.
func connect(clientPolicy, serverPolicy kernel.Policy) (*ends, error) {
	id, err := newIdentity()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	e := new(ends)
	if e.raw[0], e.raw[1], err = pipe(ln); err != nil {
		return nil, err
	}
	clientConfig, serverConfig := id.configs(serverPolicy)
	clientConfig.Kernel = clientPolicy
	e.client, e.server = tls.Client(e.raw[0], clientConfig), tls.Server(e.raw[1], serverConfig)
	if err := greet(e.client, e.server); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// moving measures, by a meter, what it takes to move a direction: a Write that
// moves the sending side, less one that does not, and Reads likewise.
func moving(meter func(func() error) (float64, error)) (tx, rx float64, err error) {
	after := kernel.AfterBytes(2)
	e, err := connect(policy(false, false), kernel.Policy{TX: kernel.Require, MoveTX: after, RX: kernel.Require, MoveRX: after})
	if err != nil {
		return 0, 0, err
	}
	defer e.close()
	// The first of each makes the direction due, the second moves it.
	var writes, reads [2]float64
	one := make([]byte, 1)
	for i := range writes {
		if writes[i], err = meter(func() error { _, err := e.server.Write(one); return err }); err != nil {
			return 0, 0, err
		}
		if _, err = e.client.Write(one); err != nil {
			return 0, 0, err
		}
		if reads[i], err = meter(func() error { _, err := e.server.Read(one); return err }); err != nil {
			return 0, 0, err
		}
	}
	if o := e.server.Offload(); o.TX.Where != tls.KernelSoftware || o.RX.Where != tls.KernelSoftware {
		return 0, 0, fmt.Errorf("TX: %v, RX: %v", o.TX, o.RX)
	}
	return writes[1] - writes[0], reads[1] - reads[0], nil
}

// allocs counts the objects that f allocates.
func allocs(f func() error) (float64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs), err
}

// instructions measures f where time is the number of instructions.
func instructions(f func() error) (float64, error) {
	start := cpuTime()
	err := f()
	return float64(cpuTime() - start), err
}

// medianMove is the median of what moving costs on some connections.
func medianMove(meter func(func() error) (float64, error)) (tx, rx float64, err error) {
	const conns = 15
	var txs, rxs []float64
	for range conns {
		if tx, rx, err = moving(meter); err != nil {
			return 0, 0, err
		}
		txs, rxs = append(txs, tx), append(rxs, rx)
	}
	slices.Sort(txs)
	slices.Sort(rxs)
	return txs[conns/2], rxs[conns/2], nil
}

// recordsPerRead returns how many records of 16 KiB one Read of n bytes takes
// where the kernel receives and enough has arrived.
func recordsPerRead(n int) (float64, error) {
	const record, records = 1 << 14, 32
	e, err := connect(policy(false, false), policy(false, true))
	if err != nil {
		return 0, err
	}
	defer e.close()
	// Before anything large comes: a window once given is not taken back.
	if err := e.raw[1].(*net.TCPConn).SetReadBuffer(4 << 20); err != nil {
		return 0, err
	}
	sent := make(chan error, 1)
	go func() {
		b := make([]byte, record)
		for range records {
			if _, err := e.client.Write(b); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	b, reads, got := make([]byte, n), 0, 0
	for got < record*records {
		if err := awaitQueued(e.raw[1].(*net.TCPConn), min(n+n/8, record*records-got)); err != nil {
			return 0, err
		}
		m, err := e.server.Read(b)
		if err != nil {
			return 0, err
		}
		got, reads = got+m, reads+1
	}
	return float64(got) / record / float64(reads), <-sent
}

// awaitQueued waits until n bytes wait in the socket, or no more come.
func awaitQueued(c *net.TCPConn, n int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for queued, still := 0, 0; queued < n && still < 20; still++ {
		var now int
		var inner error
		err := raw.Control(func(fd uintptr) { now, inner = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
		if err = errors.Join(err, inner); err != nil {
			return err
		}
		if now > queued {
			queued, still = now, 0
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
