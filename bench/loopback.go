package bench

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Loopback are the cases over loopback, of this process alone: the peer is in
// another one, and uses crypto/tls. Of time only what the system charges to this
// process is measured, so half the work of the sockets.
var Loopback = []Case{
	stream("BulkWrite64K/13-aes128", 1.15, v13, 64<<10),
	stream("BulkWrite256K/13-aes128", 1.15, v13, 256<<10),
	stream("BulkWrite64K/12-aes128", 0, v12, 64<<10),
	{Name: "FirstBytes64K/13-aes128", Unit: "cpu-ns/op", Target: 1.30, Most: map[string]float64{"writes/op": 2}, Open: openFirstBytes},
	{Name: "ReadStream64K/13-aes128", Unit: "cpu-ns/op", Most: noAllocs, Open: openReadStream},
	{Name: "RR1K/answers", Unit: "p50-ns/op", Target: 1, Also: roundTripGoals, Most: noAllocs, Open: openAnswers},
	{Name: "RR1K/asks", Unit: "p50-ns/op", Target: 1, Also: roundTripGoals, Most: noAllocs, Open: openRequests},
}

var (
	noAllocs       = map[string]float64{"allocs/op": 0}
	roundTripGoals = []Goal{{"p99-ns/op", 1}, {"cpu-ns/op", 0}}
)

// stream is the case of a server that writes messages to one connection.
func stream(name string, target float64, version uint16, size int) Case {
	return Case{Name: name, Unit: "cpu-ns/op", Target: target, More: []Stack{Kernel}, Open: func(s Stack) (*Player, error) {
		return openStream(s, version, size, 1)
	}}
}

// site is a server with a child whose connections it accepts.
type site struct {
	*child
	make  maker
	ln    *net.TCPListener
	conns []conn
	order order
}

// openSite starts a server and a child. Ours are as they would be in a program,
// but for Kernel.
func openSite(s Stack, version uint16) (*site, error) {
	k := kind{version: version, group: tls.X25519}
	_, config := k.configs()
	config.DynamicRecordSizingDisabled = false
	m, err := k.maker(s, server, config)
	if err != nil {
		return nil, err
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	c, err := startChild()
	if err != nil {
		ln.Close()
		return nil, err
	}
	return &site{child: c, make: m, ln: ln, order: order{Addr: ln.Addr().String(), Version: version}}, nil
}

func (s *site) close() {
	for _, c := range s.conns {
		c.Close()
	}
	s.ln.Close()
	s.child.close()
}

// patience is how long a child may take to connect: it may have failed, and says
// so only when it is asked.
var patience = 30 * time.Second

// next takes one connection.
func (s *site) next() (net.Conn, error) {
	if err := s.ln.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	nc, err := s.ln.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		defer time.AfterFunc(graceTime, s.stop).Stop() // if it has nothing to say
		_, heard := s.hear()
		return nil, errors.Join(err, heard)
	}
	return nc, err
}

// accept takes one connection, whose handshake it does.
func (s *site) accept(wrap func(net.Conn) net.Conn) (conn, error) {
	nc, err := s.next()
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		nc = wrap(nc)
	}
	c := s.make(nc)
	return c, c.Handshake()
}

// connect has the child open n connections, and do something with them.
func (s *site) connect(do string, n, size int) error {
	o := s.order
	o.Do, o.N, o.Size = do, n, size
	if err := s.tell(o); err != nil {
		return err
	}
	for range n {
		c, err := s.accept(nil)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, c)
	}
	_, err := s.hear()
	return err
}

// connected returns a site with n connections.
func connected(s Stack, version uint16, do string, n, size int) (*site, error) {
	site, err := openSite(s, version)
	if err != nil {
		return nil, err
	}
	if err := site.connect(do, n, size); err != nil {
		site.close()
		return nil, err
	}
	return site, nil
}

// meter measures what this process does from one moment to another.
type meter struct {
	cpu           float64
	reads, writes float64
	counts        bool
}

func startMeter() (m meter) {
	m.reads, m.writes, m.counts = systemCalls()
	m.cpu = float64(cpuTime())
	return m
}

// stop adds to f what n operations took on average.
func (m meter) stop(f Figures, n int) {
	f["cpu-ns/op"] = (float64(cpuTime()) - m.cpu) / float64(n)
	reads, writes, _ := systemCalls()
	if m.counts {
		f["sys-reads/op"] = (reads - m.reads) / float64(n)
		f["sys-writes/op"] = (writes - m.writes) / float64(n)
	}
}

// openStream writes messages to a peer that drops them, each to the next of some
// connections.
func openStream(s Stack, version uint16, size, conns int) (*Player, error) {
	site, err := connected(s, version, "discard", conns, 0)
	if err != nil {
		return nil, err
	}
	message := make([]byte, size)
	_, _ = rand.Read(message)
	next := 0
	return &Player{Close: site.close, Play: func(n int) (Figures, error) {
		f := Figures{}
		m := startMeter()
		for range n {
			next = (next + 1) % conns
			if _, err := site.conns[next].Write(message); err != nil {
				return nil, err
			}
		}
		m.stop(f, n)
		return f, nil
	}}, nil
}

// countWrites counts the Writes to a connection. It hides what a TCP connection
// can do besides, so it is not used where time is measured.
type countWrites struct {
	net.Conn
	n int
}

func (c *countWrites) Write(b []byte) (int, error) {
	c.n++
	return c.Conn.Write(b)
}

// firstBytes is how much is written to a new connection.
const firstBytes = 64 << 10

// openFirstBytes makes new connections, each for 64 KiB. Only what writing them
// takes is measured.
func openFirstBytes(s Stack) (*Player, error) {
	site, err := openSite(s, v13)
	if err != nil {
		return nil, err
	}
	message := make([]byte, firstBytes)
	return &Player{Close: site.close, Play: func(n int) (Figures, error) { return playFirstBytes(site, message, n) }}, nil
}

func playFirstBytes(site *site, message []byte, n int) (Figures, error) {
	o := site.order
	o.Do, o.N, o.Parallel, o.Size = "flood", n+1, 1, len(message)
	if err := site.tell(o); err != nil {
		return nil, err
	}
	f := Figures{}
	for range n {
		if err := site.first(nil, message, f); err != nil {
			return nil, err
		}
	}
	for unit := range f {
		f[unit] /= float64(n)
	}
	// One more tells how many Writes it takes.
	var counter *countWrites
	before := 0
	wrap := func(nc net.Conn) net.Conn {
		counter = &countWrites{Conn: nc}
		return counter
	}
	c, err := site.accept(wrap)
	if err != nil {
		return nil, err
	}
	before = counter.n
	_, err = c.Write(message)
	f["writes/op"] = float64(counter.n - before)
	_, _ = c.Read(make([]byte, 1)) // until the peer has all
	c.Close()
	if _, heard := site.hear(); err == nil {
		err = heard
	}
	return f, err
}

// first accepts a connection and writes the message, adding to f what that took.
func (s *site) first(wrap func(net.Conn) net.Conn, message []byte, f Figures) error {
	c, err := s.accept(wrap)
	if err != nil {
		return err
	}
	defer c.Close()
	one := Figures{}
	m := startMeter()
	_, err = c.Write(message)
	m.stop(one, 1)
	for unit, v := range one {
		f[unit] += v
	}
	_, _ = c.Read(make([]byte, 1)) // until the peer has all
	return err
}

// openReadStream reads what a peer sends, in messages and into a buffer of 64 KiB.
func openReadStream(s Stack) (*Player, error) {
	const size = 64 << 10
	site, err := connected(s, v13, "open", 1, 0)
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, size)
	return &Player{Close: site.close, Play: func(n int) (Figures, error) {
		o := site.order
		o.Do, o.N, o.Size = "send", n, size
		if err := site.tell(o); err != nil {
			return nil, err
		}
		f := Figures{}
		m := startMeter()
		allocs, _, err := countAllocs(func() error {
			for left := n * size; left > 0; {
				got, err := site.conns[0].Read(buffer[:min(left, size)])
				if err != nil {
					return err
				}
				left -= got
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		m.stop(f, n)
		f["allocs/op"] = allocs / float64(n)
		_, err = site.hear()
		return f, err
	}}, nil
}

// roundTripSize is the size of a request, and of the response to it.
const roundTripSize = 1 << 10

// openAnswers answers requests. The peer measures how long it waits.
func openAnswers(s Stack) (*Player, error) {
	site, err := connected(s, v13, "open", 1, 0)
	if err != nil {
		return nil, err
	}
	b := make([]byte, roundTripSize)
	return &Player{Close: site.close, Play: func(n int) (Figures, error) {
		o := site.order
		o.Do, o.N, o.Size = "request", n, roundTripSize
		if err := site.tell(o); err != nil {
			return nil, err
		}
		f := Figures{}
		m := startMeter()
		allocs, _, err := countAllocs(func() error {
			for range n {
				if _, err := io.ReadFull(site.conns[0], b); err != nil {
					return err
				}
				if _, err := site.conns[0].Write(b); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		m.stop(f, n)
		f["allocs/op"] = allocs / float64(n)
		a, err := site.hear()
		for unit, v := range a.Figures {
			f[unit] = v
		}
		return f, err
	}}, nil
}

// openRequests makes requests, which the peer answers.
func openRequests(s Stack) (*Player, error) {
	site, err := connected(s, v13, "echo", 1, roundTripSize)
	if err != nil {
		return nil, err
	}
	return &Player{Close: site.close, Play: func(n int) (Figures, error) {
		var f Figures
		m := startMeter()
		allocs, _, err := countAllocs(func() (err error) {
			f, err = requests(site.conns[0], n, roundTripSize)
			return err
		})
		if err != nil {
			return nil, err
		}
		m.stop(f, n)
		f["allocs/op"] = allocs / float64(n)
		return f, nil
	}}, nil
}
