//go:build unix

package tls

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
)

const frameLen = 16 // divides a record

// TestKernelConcurrentUse has many writers, and everything that may be called
// beside them, on keys that last four records.
func TestKernelConcurrentUse(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if !g.rekey {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, both)
			server.Kernel = both
			client.recordLimit, server.recordLimit = 4, 4
			ends := connectUnhurried(t, g, client, server)
			stop := make(chan struct{})
			var beside sync.WaitGroup
			for _, c := range ends {
				for _, f := range besideUse(c) {
					beside.Go(func() {
						for {
							select {
							case <-stop:
								return
							case <-time.After(time.Millisecond):
								f()
							}
						}
					})
				}
			}
			errs := make(chan error, 2*len(ends))
			for _, c := range ends {
				go func() { errs <- writeFrames(c) }()
				go func() { errs <- readFrames(c) }()
			}
			for range cap(errs) {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			close(stop)
			beside.Wait()
			for _, c := range ends {
				if o := c.Offload(); o.TX.Rekeys < 10 || o.RX.Rekeys < 10 {
					t.Errorf("TX %v, RX %v", o.TX, o.RX)
				}
			}
		})
	}
}

// besideUse is what may be called at any time.
func besideUse(c *Conn) []func() {
	n := 0
	return []func(){
		func() { _, _ = c.Offload().TX.String(), c.ConnectionState() },
		func() { _, _ = c.ExportKeyingMaterial("label", nil, 32) },
		func() { _, _ = c.SyscallConn() },
		func() { _ = c.SetWriteDeadline(time.Now().Add(time.Minute)) },
		func() {
			if n++; n%10 == 0 {
				_ = c.SetReadDeadline(time.Unix(1, 0))
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		},
		func() { _, _ = c.ExportKeys() },
	}
}

// writeFrames writes by many goroutines, and changes keys meanwhile.
func writeFrames(c *Conn) error {
	const writers, frames = 100, 20
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			for i := range frames {
				b := binary.BigEndian.AppendUint64(nil, uint64(w))
				b = binary.BigEndian.AppendUint64(b, uint64(i))
				if _, err := c.Write(b); err != nil {
					errs <- fmt.Errorf("writer %d: %w", w, err)
					return
				}
				if w == 0 {
					if err := c.KeyUpdate(context.Background()); err != nil {
						errs <- err
						return
					}
				}
			}
			errs <- nil
		}()
	}
	var all error
	for range writers {
		all = errors.Join(all, <-errs)
	}
	return errors.Join(all, c.CloseWrite())
}

// readFrames checks that each writer's frames arrive whole and in their order.
func readFrames(c *Conn) error {
	next := make(map[uint64]uint64)
	for frame := make([]byte, frameLen); ; {
		switch err := readFull(c, frame); err {
		case nil:
		case io.EOF:
			if len(next) != 100 || next[99] != 20 {
				return fmt.Errorf("the end after %v", next)
			}
			return nil
		default:
			return err
		}
		w, i := binary.BigEndian.Uint64(frame), binary.BigEndian.Uint64(frame[8:])
		if next[w] != i {
			return fmt.Errorf("frame %d of writer %d, want %d", i, w, next[w])
		}
		next[w]++
	}
}

// readFull is io.ReadFull that goes on after timeouts.
func readFull(c net.Conn, b []byte) error {
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		n += m
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// TestKernelBreakOff starts everything at once on a connection and breaks that
// off, in each way there is, after a random time: all calls must return.
func TestKernelBreakOff(t *testing.T) {
	ways := map[string]func(c, s *Conn){
		"close":      func(c, _ *Conn) { c.Close() },
		"close both": func(c, s *Conn) { go s.Close(); c.Close() },
		"reset": func(c, s *Conn) {
			if tcp, ok := s.NetConn().(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			s.NetConn().Close()
		},
		"deadline": func(c, s *Conn) {
			_ = c.SetDeadline(time.Unix(1, 0))
			_ = s.SetDeadline(time.Unix(1, 0))
		},
		"detach": func(c, s *Conn) {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			if f, _, err := c.Detach(GenerateHandoverKey()); err == nil {
				f.Close()
			}
			s.NetConn().Close()
		},
	}
	file := bulkFile(t)
	policies := []kernel.Policy{both, {TX: kernel.Auto, RX: kernel.Auto, MoveTX: kernel.AfterBytes(30000), MoveRX: kernel.AfterBytes(30000)}, {}}
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		rng := rand.New(rand.NewPCG(1, uint64(v)))
		for name, breakOff := range ways {
			for _, policy := range policies {
				client, server := kernelConfigs(v, policy)
				server.Kernel = policy
				c, s := connect(t, g.network, client, server)
				ends := [2]*Conn{c.(*Conn), s.(*Conn)}
				calls := startCalls(t, file, ends)
				time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
				breakOff(ends[0], ends[1])
				wait := make(chan struct{})
				go func() {
					defer close(wait)
					for _, c := range ends {
						c.Close()
					}
					calls.Wait()
				}()
				select {
				case <-wait:
				case <-time.After(15 * time.Second):
					stacks := make([]byte, 1<<20)
					t.Fatalf("%s, %+v: calls do not return\n%s", name, policy, stacks[:runtime.Stack(stacks, true)])
				}
			}
		}
	})
}

// startCalls makes calls of all kinds on both ends, which return when these end.
func startCalls(t *testing.T, file string, ends [2]*Conn) *sync.WaitGroup {
	t.Helper()
	var calls sync.WaitGroup
	for i, c := range ends {
		calls.Go(func() { _ = sendByFile(file, c, 64<<20) })
		calls.Go(func() {
			for err := error(nil); err == nil; {
				_, err = c.Write(stream()[:50000])
			}
		})
		calls.Go(func() {
			for err := error(nil); err == nil; time.Sleep(100 * time.Microsecond) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
				err = c.KeyUpdate(ctx)
				cancel()
			}
		})
		calls.Go(func() {
			if i == 0 {
				_, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
				return
			}
			from, to := sockets(t)
			go func() { _, _ = io.Copy(io.Discard, struct{ io.Reader }{to}); to.Close() }()
			_, _ = c.WriteTo(from)
			from.Close()
		})
	}
	return &calls
}
