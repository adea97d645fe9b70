package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// idleConns is how many idle connections memory is measured with.
var idleConns = 2000

// idleStack is how large the stack of a server's goroutine may be: 4,096 bytes,
// and a little of those that the process has besides.
const idleStack = 4096 + 4096/32

// exchangeSize is the size of the request and of the response after which
// connections fall idle.
const exchangeSize = 16 << 10

// Idle are the cases of the memory that idle connections hold, after two garbage
// collections, in processes of their own. Those in memory have no sockets, and
// tell what belongs to the stack: heap bytes for each connection. Those over
// loopback have a goroutine for each connection, that waits in Read, and tell its
// stack and what the process has in memory in all.
var Idle = idleCases()

func idleCases() (cases []Case) {
	for _, version := range []struct {
		name string
		id   uint16
	}{{"13", v13}, {"12", v12}} {
		for _, k := range []struct {
			name  string
			order order
			most  float64 // heap bytes of a server
			ratio float64
		}{
			{name: "fresh", most: 3400},
			{name: "after16K", order: order{Exchange: true}, most: 3600, ratio: 3.7},
			{name: "mutual", order: order{Mutual: true}, most: 4300},
		} {
			o := k.order
			o.Do, o.Version = "memory", version.id
			c := Case{
				Name: fmt.Sprintf("IdleHeap%s/%s", version.name, k.name), Unit: "server-heap-B/conn", Target: k.ratio, Once: true,
				Also: []Goal{{Unit: "client-heap-B/conn"}},
				Open: func(s Stack) (*Player, error) { return openIdle(s, o) },
			}
			if version.id == v13 {
				c.Most = map[string]float64{"server-heap-B/conn": k.most}
			}
			cases = append(cases, c)
		}
	}
	for _, of := range []side{server, client} {
		for _, exchange := range []bool{false, true} {
			c := Case{
				Name: fmt.Sprintf("IdleProcess13/%s-%s", of, map[bool]string{false: "fresh", true: "after16K"}[exchange]),
				Unit: "stack-B/conn", Once: true, Also: []Goal{{Unit: "rss-B/conn"}, {Unit: "heap-B/conn"}},
				Open: func(s Stack) (*Player, error) {
					return &Player{Play: func(int) (Figures, error) { return playIdleProcess(s, of, exchange) }}, nil
				},
			}
			if of == server {
				c.Most = map[string]float64{"stack-B/conn": idleStack}
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// openIdle has a child measure itself.
func openIdle(s Stack, o order) (*Player, error) {
	o.Stack, o.N = s, idleConns
	return &Player{Play: func(int) (Figures, error) {
		c, err := startChild()
		if err != nil {
			return nil, err
		}
		defer c.close()
		a, err := c.ask(o)
		return a.Figures, err
	}}, nil
}

// playIdleProcess has one child measure itself, and another one be its peer.
func playIdleProcess(s Stack, of side, exchange bool) (Figures, error) {
	stacks := [2]Stack{Std, Std}
	stacks[of] = s
	var children [2]*child
	for i := range children {
		c, err := startChild()
		if err != nil {
			return nil, err
		}
		defer c.close()
		children[i] = c
	}
	o := order{Do: "listen", Version: v13, Stack: stacks[server], N: idleConns, Exchange: exchange}
	a, err := children[server].ask(o)
	if err != nil {
		return nil, err
	}
	o.Do, o.Stack, o.Addr = "dial", stacks[client], a.Addr
	if _, err := children[client].ask(o); err != nil {
		return nil, err
	}
	a, err = children[of].ask(order{Do: "measure", N: idleConns})
	return a.Figures, err
}

func (p *peer) obeyIdle(o order) (a answer, err error) {
	switch o.Do {
	case "memory":
		a.Figures, err = measureIdleHeap(o)
	case "listen":
		p.idle = newIdlers()
		a.Addr, err = p.idle.listen(o)
	case "dial":
		p.idle = newIdlers()
		err = p.idle.dial(o)
	case "measure":
		a.Figures, err = p.idle.measure(o.N)
	default:
		err = fmt.Errorf("%q is no order", o.Do)
	}
	return a, err
}

// measureIdleHeap makes connections in memory and drops first the clients, then
// the servers: what becomes free was theirs. What is between them stays.
func measureIdleHeap(o order) (Figures, error) {
	ends, err := kind{version: o.Version, group: tls.X25519, mutual: o.Mutual}.ends(o.Stack)
	if err != nil {
		return nil, err
	}
	links := make([]*lockstep, o.N)
	clients, servers := make([]conn, o.N), make([]conn, o.N)
	for i := range o.N {
		links[i] = newLockstep(nil)
		if clients[i], servers[i], err = idlePair(ends, links[i], o.Exchange); err != nil {
			return nil, err
		}
		for end := range links[i].ends {
			links[i].ends[end].in = nil
		}
	}
	both := settledMemory().HeapAlloc
	clear(clients)
	one := settledMemory().HeapAlloc
	clear(servers)
	none := settledMemory().HeapAlloc
	runtime.KeepAlive(links)
	return Figures{
		"client-heap-B/conn": float64(both-one) / float64(o.N),
		"server-heap-B/conn": float64(one-none) / float64(o.N),
	}, nil
}

func idlePair(ends [2]maker, l *lockstep, exchange bool) (c, s conn, err error) {
	err = l.run([2]func(net.Conn) error{
		func(nc net.Conn) error {
			c = ends[client](nc)
			if _, err := c.Read(make([]byte, 1)); err != nil || !exchange {
				return err
			}
			return requestOnce(c)
		},
		func(nc net.Conn) error {
			s = ends[server](nc)
			if _, err := s.Write([]byte{1}); err != nil || !exchange {
				return err
			}
			return answerOnce(s)
		},
	})
	return c, s, err
}

func requestOnce(c io.ReadWriter) error {
	b := make([]byte, exchangeSize)
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

func answerOnce(c io.ReadWriter) error {
	b := make([]byte, exchangeSize)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// settledMemory returns what is in memory when all that can be freed is.
func settledMemory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	return m
}

// idlers are connections over loopback, each with a goroutine that waits for
// something to read.
type idlers struct {
	before   runtime.MemStats
	resident float64
	waiting  atomic.Int64
	ln       net.Listener
}

func newIdlers() *idlers {
	i := &idlers{before: settledMemory()}
	i.resident, _ = residentBytes()
	return i
}

// listen accepts connections until the process ends.
func (i *idlers) listen(o order) (addr string, err error) {
	ends, err := kind{version: o.Version, group: tls.X25519, mutual: o.Mutual}.ends(o.Stack)
	if err != nil {
		return "", err
	}
	if i.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return "", err
	}
	go func() {
		for {
			nc, err := i.ln.Accept()
			if err != nil {
				return
			}
			go i.serve(ends[server](nc), o.Exchange)
		}
	}()
	return i.ln.Addr().String(), nil
}

// serve greets, and answers one request if there shall be one.
func (i *idlers) serve(c conn, exchange bool) {
	if _, err := c.Write([]byte{1}); err != nil {
		return
	}
	if exchange && answerOnce(c) != nil {
		return
	}
	i.wait(c)
}

func (i *idlers) wait(c conn) {
	i.waiting.Add(1)
	var b [1]byte
	_, _ = c.Read(b[:])
}

// dial makes connections, some at a time, and returns when all are idle.
func (i *idlers) dial(o order) error {
	k := kind{version: o.Version, group: tls.X25519}
	config, _ := k.configs()
	config.InsecureSkipVerify = true
	m, err := k.maker(o.Stack, client, config)
	if err != nil {
		return err
	}
	var ready sync.WaitGroup
	errs := make([]error, o.N)
	for n := range o.N {
		nc, err := net.Dial("tcp", o.Addr)
		if err != nil {
			return err
		}
		ready.Add(1)
		go func() {
			c := m(nc)
			_, errs[n] = c.Read(make([]byte, 1))
			if errs[n] == nil && o.Exchange {
				errs[n] = requestOnce(c)
			}
			ready.Done()
			if errs[n] == nil {
				i.wait(c)
			}
		}()
	}
	ready.Wait()
	return errors.Join(errs...)
}

// idleTimeout is how long connections may take to fall idle.
const idleTimeout = 20 * time.Second

// measure returns what n connections hold that are idle.
func (i *idlers) measure(n int) (Figures, error) {
	for end := time.Now().Add(idleTimeout); i.waiting.Load() < int64(n); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return nil, fmt.Errorf("only %d connections are idle", i.waiting.Load())
		}
	}
	time.Sleep(100 * time.Millisecond) // until the last ones are in Read, too
	after := settledMemory()
	f := Figures{
		"heap-B/conn":  (float64(after.HeapAlloc) - float64(i.before.HeapAlloc)) / float64(n),
		"stack-B/conn": (float64(after.StackInuse) - float64(i.before.StackInuse)) / float64(n),
	}
	if resident, ok := residentBytes(); ok {
		f["rss-B/conn"] = (resident - i.resident) / float64(n)
	}
	return f, nil
}
