package bench

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Scale are the cases of how the costs grow: with the size of messages, with the
// number of connections that are open, with processors, and with clients that
// come all at once. What matters is less the ratio than that a row is flat.
var Scale = scaleCases()

// Both stacks' connections are open at the same time, and each is a descriptor in
// this process and in a child: 9,000 are what a limit of 20,000 files allows.
// Where it is lower the case fails and says so.
var scaleConns = []int{1, 100, 9000}

func scaleCases() (cases []Case) {
	for _, size := range []int{1, 16, 256, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20} {
		cases = append(cases, Case{
			Name: "ScaleWrite/" + sizeName(size), Unit: "cpu-ns/op",
			Open: func(s Stack) (*Player, error) { return openBulkWrite(protections[0], s, size) },
		})
	}
	for i := range scaleConns {
		n := scaleConns[i]
		cases = append(cases, Case{
			Name: fmt.Sprintf("ScaleConns/write64K-%d", n), Unit: "cpu-ns/op",
			Open: func(s Stack) (*Player, error) { return openStream(s, v13, 64<<10, n) },
		}, Case{
			Name: fmt.Sprintf("ScaleConns/handshake-%d", n), Unit: "cpu-ns/op",
			Open: func(s Stack) (*Player, error) { return openFlood(s, n, 1) },
		})
	}
	for _, procs := range []int{1, 2} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("ScaleProcs/handshake-%d", procs), Unit: "cpu-ns/op",
			Open: func(s Stack) (*Player, error) { return openParallel(s, procs, parallelHandshakes) },
		}, Case{
			Name: fmt.Sprintf("ScaleProcs/write16K-%d", procs), Unit: "cpu-ns/op",
			Open: func(s Stack) (*Player, error) { return openParallel(s, procs, parallelWrites) },
		})
	}
	return append(cases, Case{
		Name: "Flood64/13", Unit: "cpu-ns/op",
		Open: func(s Stack) (*Player, error) { return openFlood(s, 0, 64) },
	})
}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%dM", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%dK", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

// openFlood makes connections, some at a time, while others are open and idle.
// Each gets one byte. The CPU time is the server's.
func openFlood(s Stack, open, parallel int) (*Player, error) {
	site, err := connected(s, v13, "open", open, 0)
	if err != nil {
		return nil, err
	}
	return &Player{Close: site.close, Play: func(n int) (Figures, error) {
		f := Figures{}
		m := startMeter()
		if err := site.flood(n, parallel); err != nil {
			return nil, err
		}
		m.stop(f, n)
		return f, nil
	}}, nil
}

// flood accepts n connections, each in a goroutine.
func (s *site) flood(n, parallel int) error {
	o := s.order
	o.Do, o.N, o.Parallel, o.Size = "flood", n, parallel, 1
	if err := s.tell(o); err != nil {
		return err
	}
	var all group
	for range n {
		nc, err := s.next()
		if err != nil {
			return err
		}
		all.run(func() error {
			c := s.make(nc)
			defer c.Close()
			_, err := c.Write([]byte{1})
			_, _ = c.Read(make([]byte, 1)) // until the peer is gone
			return err
		})
	}
	all.run(func() error {
		_, err := s.hear()
		return err
	})
	return all.wait()
}

// group runs functions at the same time.
type group struct {
	sync.WaitGroup
	once sync.Once
	err  error
}

func (g *group) run(f func() error) {
	g.Go(func() {
		if err := f(); err != nil {
			g.once.Do(func() { g.err = err })
		}
	})
}

// wait waits for all of them, and returns an error that one has returned.
func (g *group) wait() error {
	g.Wait()
	return g.err
}

// workers is how many goroutines do the same at a time.
const workers = 8

// openParallel plays what open makes in several goroutines and on so many
// processors. The Config is the same for all, as in a server.
func openParallel(s Stack, procs int, open func(ends [2]maker) (func() error, error)) (*Player, error) {
	ends, err := kind{version: v13, group: tls.X25519}.ends(s)
	if err != nil {
		return nil, err
	}
	var work [workers]func() error
	for i := range work {
		if work[i], err = open(ends); err != nil {
			return nil, err
		}
	}
	return &Player{Play: func(n int) (Figures, error) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		n = max(1, n/workers)
		start, m := time.Now(), startMeter()
		var all group
		for _, w := range work {
			all.run(func() error {
				for range n {
					if err := w(); err != nil {
						return err
					}
				}
				return nil
			})
		}
		err := all.wait()
		f := Figures{"wall-ns/op": float64(time.Since(start)) / float64(n*workers)}
		m.stop(f, n*workers)
		return f, err
	}}, nil
}

func parallelHandshakes(ends [2]maker) (func() error, error) {
	k := kind{version: v13, group: tls.X25519}
	return func() error { return k.full(ends, newLockstep(nil)) }, nil
}

func parallelWrites(ends [2]maker) (func() error, error) {
	conns, wire, err := established(ends)
	if err != nil {
		return nil, err
	}
	wire[server].sink = true
	message := make([]byte, 16<<10)
	_, _ = rand.Read(message)
	return func() error {
		_, err := conns[server].Write(message)
		return err
	}, nil
}
