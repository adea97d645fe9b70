package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"
)

// peerVariable tells this program to be a child.
const peerVariable = "HANDOFF_BENCH_PEER"

// Peer makes the program be the other end of connections, and exit, if it was
// started by this package as a child for that. Otherwise it returns at once.
// Programs that play cases call it first, as the child is the same program.
func Peer() {
	if os.Getenv(peerVariable) == "" {
		return
	}
	p := &peer{}
	if err := p.serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench: child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// order is what a child is told to do.
type order struct {
	Do       string
	Addr     string // to connect to, or a URL
	Version  uint16
	Stack    Stack // that idle connections are measured of
	Mutual   bool
	N        int // how many times, or connections
	Parallel int // how many at a time
	Size     int // bytes of a message
	Exchange bool
}

// answer is what a child says when it has done so.
type answer struct {
	Err     string
	Addr    string
	Figures Figures
}

// peer is a child. Unless it is the one that is measured it uses crypto/tls, so
// that what the other process sees is the same for all stacks.
type peer struct {
	conns []conn
	idle  *idlers
}

// serve obeys the orders on in until it ends.
func (p *peer) serve(in io.Reader, out io.Writer) error {
	orders := json.NewDecoder(in)
	answers := json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		a, err := p.obey(o)
		if err != nil {
			a.Err = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

func (p *peer) obey(o order) (a answer, err error) {
	switch o.Do {
	case "open":
		err = p.open(o)
	case "discard":
		err = p.open(o)
		for _, c := range p.conns {
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	case "echo":
		err = p.open(o)
		for _, c := range p.conns {
			go func() { _ = echo(c, o.Size) }()
		}
	case "send":
		err = sendMessages(p.conns[0], o)
	case "request":
		a.Figures, err = requests(p.conns[0], o.N, o.Size)
	case "flood":
		err = flood(o)
	case "get":
		err = get(o)
	default:
		a, err = p.obeyIdle(o)
	}
	return a, err
}

// config is that of a client which believes everything.
func (o order) config() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, MinVersion: o.Version, MaxVersion: o.Version,
		CurvePreferences: []tls.CurveID{tls.X25519}, DynamicRecordSizingDisabled: true,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	}
}

// dial makes one connection, which is aborted when it is closed: what is over
// shall occupy no port.
func (o order) dial(config *tls.Config) (*tls.Conn, error) {
	nc, err := net.Dial("tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
		return nil, err
	}
	c := tls.Client(nc, config)
	return c, c.Handshake()
}

func (p *peer) open(o order) error {
	config := o.config()
	for range o.N {
		c, err := o.dial(config)
		if err != nil {
			return err
		}
		p.conns = append(p.conns, c)
	}
	return nil
}

// echo answers each message of a size by itself.
func echo(c io.ReadWriter, size int) error {
	b := make([]byte, size)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

func sendMessages(c io.Writer, o order) error {
	b := make([]byte, o.Size)
	for range o.N {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// requests makes round trips, and returns the quantiles of how long they took.
func requests(c io.ReadWriter, n, size int) (Figures, error) {
	b := make([]byte, size)
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		if _, err := c.Write(b); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return Figures{"p50-ns/op": float64(times[n/2]), "p99-ns/op": float64(times[n*99/100])}, nil
}

// flood makes N connections, some at a time, and reads Size bytes from each.
func flood(o order) error {
	config := o.config()
	next := make(chan struct{}, o.N)
	for range o.N {
		next <- struct{}{}
	}
	close(next)
	var all group
	for range o.Parallel {
		all.run(func() error {
			for range next {
				if err := floodOne(o, config); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return all.wait()
}

func floodOne(o order, config *tls.Config) error {
	c, err := o.dial(config)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.CopyN(io.Discard, c, int64(o.Size))
	return err
}

// get fetches a URL and drops it.
func get(o order) error {
	t := &http.Transport{TLSClientConfig: o.config(), Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(true)
	if o.Parallel > 0 {
		t.Protocols.SetHTTP2(true)
	}
	defer t.CloseIdleConnections()
	for range o.N {
		resp, err := (&http.Client{Transport: t}).Get(o.Addr)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if n != int64(o.Size) {
			return fmt.Errorf("got %d bytes", n)
		}
	}
	return nil
}

// child is a process that is told what to do.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	stop context.CancelFunc
}

// startChild starts this program again, as a peer.
func startChild() (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &child{cmd: exec.CommandContext(ctx, self), stop: cancel}
	c.cmd.Env = append(os.Environ(), peerVariable+"=1")
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		cancel()
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	c.out = json.NewDecoder(bufio.NewReader(out))
	return c, nil
}

// tell gives an order and does not wait.
func (c *child) tell(o order) error { return json.NewEncoder(c.in).Encode(o) }

// hear waits for the answer to an order.
func (c *child) hear() (a answer, err error) {
	if err := c.out.Decode(&a); err != nil {
		return a, fmt.Errorf("child: %w", err)
	}
	if a.Err != "" {
		return a, fmt.Errorf("child: %s", a.Err)
	}
	return a, nil
}

func (c *child) ask(o order) (answer, error) {
	if err := c.tell(o); err != nil {
		return answer{}, err
	}
	return c.hear()
}

// graceTime is how long a child may take to end by itself.
const graceTime = 5 * time.Second

// close ends the child: it ends by itself when there are no more orders.
func (c *child) close() {
	c.in.Close()
	late := time.AfterFunc(graceTime, c.stop)
	_ = c.cmd.Wait()
	late.Stop()
	c.stop()
}
