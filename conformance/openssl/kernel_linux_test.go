package openssl

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// The tests of kernel TLS: the kernel takes the directions of our connections
// over at random points, with openssl at the other end. Every byte is compared.
// All that is random comes from a number that a failure prints.

var (
	kernelRuns  = flag.Int("kernel.runs", 2400, "how many random connections TestKernelReversed makes to openssl s_server -rev")
	kernelPipes = flag.Int("kernel.pipes", 25, "how many random connections the tests of kernel TLS make through the pipes of an openssl")
	kernelSeed  = flag.Uint64("kernel.seed", 0, "the one seed that the tests of kernel TLS run, 0 for many")
)

// needKernel returns what the kernel can do with TLS, where it has that. In the
// lab, which HANDOFF_LAB says, it must.
func needKernel(t *testing.T) *kernel.Report {
	t.Helper()
	r := kernel.Probe()
	switch {
	case r.Available:
	case os.Getenv("HANDOFF_LAB") != "":
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED, without kernel TLS: %s (make lab boots kernels that have it)", r.Reason)
	}
	return r
}

const (
	textLen = 1 << 20
	// maxLine is what s_server -rev takes whole.
	maxLine = 16000
	// alphabet has no letter that openssl takes for a command at the beginning of
	// what is typed, and none of those that all its own messages have.
	alphabet = "0123456789ghijmnotuvwxyz"
)

// text is what all connections carry parts of: lines.
type text struct {
	bytes []byte
	ends  []int // of lines
}

var theText = sync.OnceValue(func() *text {
	rnd := rand.New(rand.NewPCG(1, 2))
	x := &text{}
	for len(x.bytes) < textLen {
		for range rnd.IntN([]int{2, 100, 3000, maxLine}[rnd.IntN(4)]) {
			x.bytes = append(x.bytes, alphabet[rnd.IntN(len(alphabet))])
		}
		x.bytes = append(x.bytes, '\n')
		x.ends = append(x.ends, len(x.bytes))
	}
	return x
})

// lines returns where a random part of the text begins and ends. Its length is
// about n at most.
func (x *text) lines(rnd *rand.Rand, n int) (from, to int) {
	first := rnd.IntN(len(x.ends) / 2)
	from = x.ends[first]
	want := from + rnd.IntN(n+1)
	i, _ := slices.BinarySearch(x.ends, want)
	return from, x.ends[max(first, min(i, len(x.ends)-1))]
}

// trial is one random connection.
type trial struct {
	seed  uint64
	rnd   *rand.Rand // for what is decided before the connection is there
	file  string     // has the text
	rekey bool       // both ends can change keys
}

// trials is a series of them.
type trials struct {
	file  string
	rekey bool
	tally tally
}

func newTrials(t *testing.T, rekey bool) *trials {
	t.Helper()
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, theText().bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return &trials{file: file, rekey: rekey}
}

func (ts *trials) trial(seed uint64) *trial {
	return &trial{seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), file: ts.file, rekey: ts.rekey}
}

// seeds returns n numbers from first on in steps, or the one among them that
// was asked for.
func seeds(first, step, n uint64) (list []uint64) {
	for seed := first; seed < first+n*step; seed += step {
		if *kernelSeed == 0 || *kernelSeed == seed {
			list = append(list, seed)
		}
	}
	return list
}

// size is about how much a direction carries at most.
func (r *trial) size() int { return []int{0, 100, 20000, 100000}[r.rnd.IntN(4)] }

// source returns another random source, one for each n.
func (r *trial) source(n uint64) *rand.Rand { return rand.New(rand.NewPCG(r.seed, 1+n)) }

// shape makes cfg what the run wants: a version, a cipher, and who moves when.
func (r *trial) shape(cfg *tls.Config) *tls.Config {
	v, suites := tls13, suites13
	if r.rnd.IntN(3) == 0 {
		v = tls12
		suites = slices.DeleteFunc(slices.Clone(suites12), func(s suite) bool {
			return s.rsa || strings.Contains(s.String(), "CBC")
		})
	}
	cfg.CipherSuites = []uint16{suites[r.rnd.IntN(len(suites))].id}
	cfg.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} // the latter for the certificate
	cfg.Kernel.NoRekey = kernel.NoRekeyClose
	cfg.Kernel.TX, cfg.Kernel.MoveTX = randomMode(r.rnd)
	cfg.Kernel.RX, cfg.Kernel.MoveRX = randomMode(r.rnd)
	return v.pin(cfg)
}

// randomMode requires the kernel only at once: later the peer may have closed, and
// then Linux takes nothing over.
func randomMode(rnd *rand.Rand) (kernel.Mode, kernel.When) {
	switch rnd.IntN(6) {
	case 0:
		return kernel.Off, kernel.WhenDefault
	case 1:
		return kernel.Require, kernel.AtOnce
	case 2:
		return kernel.Auto, kernel.AtOnce
	case 3:
		return kernel.Auto, kernel.AtTransfer
	case 4:
		return kernel.Auto, kernel.AfterBytes(int64(rnd.IntN(1000)))
	default:
		return kernel.Auto, kernel.AfterBytes(int64(rnd.IntN(40000)))
	}
}

// call is one call that sends.
type call struct {
	from, to int // in the text
	how      int
	cut      int  // for calls that take several pieces
	update   bool // keys change after it
}

// calls returns random ones, which send the text from one place to another.
// Keys change within lines only: between lines s_server -rev sleeps for a second
// when they do.
func calls(rnd *rand.Rand, from, to int, update bool) (list []call) {
	for from < to {
		n := 1 + rnd.IntN(min(to-from, []int{10, 1000, 40000}[rnd.IntN(3)]))
		c := call{from: from, to: from + n, how: rnd.IntN(8), cut: rnd.IntN(n + 1)}
		c.update = rnd.IntN(4) == 0 && update && theText().bytes[c.to-1] != '\n'
		list = append(list, c)
		from = c.to
	}
	return list
}

// sender makes calls.
type sender struct {
	conn *tls.Conn
	file *os.File
}

// sender returns one, which must be closed.
func (r *trial) sender(conn *tls.Conn) (*sender, error) {
	file, err := os.Open(r.file)
	if err != nil {
		return nil, err
	}
	return &sender{conn, file}, nil
}

func (s *sender) close() { _ = s.file.Close() }

func (s *sender) send(list []call) error {
	for _, c := range list {
		n, err := s.call(c)
		if err == nil && n != int64(c.to-c.from) {
			err = fmt.Errorf("%d bytes of %d: %w", n, c.to-c.from, io.ErrShortWrite)
		}
		if err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		if !c.update {
			continue
		}
		if err := s.conn.KeyUpdate(context.Background()); err != nil {
			return fmt.Errorf("KeyUpdate: %w", err)
		}
	}
	return nil
}

func (s *sender) call(c call) (int64, error) {
	part := theText().bytes[c.from:c.to]
	switch c.how {
	case 0, 1:
		if _, err := s.file.Seek(int64(c.from), io.SeekStart); err != nil {
			return 0, err
		}
		return s.conn.ReadFrom(io.LimitReader(s.file, int64(len(part))))
	case 2:
		return s.conn.ReadFrom(bytes.NewReader(part))
	case 3:
		return s.conn.WriteBuffers(&net.Buffers{part[:c.cut], part[c.cut:]})
	case 4:
		return s.splice(part)
	default:
		n, err := s.conn.Write(part)
		return int64(n), err
	}
}

// splice sends what comes from a TCP connection.
func (s *sender) splice(part []byte) (int64, error) {
	from, to, err := loopback()
	if err != nil {
		return 0, err
	}
	defer to.Close()
	go func() {
		defer from.Close()
		_, _ = from.Write(part)
	}()
	return s.conn.ReadFrom(to)
}

// loopback returns two ends of a TCP connection.
func loopback() (a, b net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if b, err = l.Accept(); err != nil {
		_ = a.Close()
	}
	return a, b, err
}

// comparer compares what is written to it with what it wants.
type comparer struct{ want []byte }

func (c *comparer) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(c.want, b) {
		return 0, fmt.Errorf("wrong bytes: %.40q and so on, want %.40q and %d more", b, c.want, max(0, len(c.want)-40))
	}
	c.want = c.want[len(b):]
	return len(b), nil
}

// receive receives want and the end, by random calls.
func (r *trial) receive(conn *tls.Conn, want []byte) error {
	rnd, check := r.source(2), &comparer{want}
	for rnd.IntN(10) > 0 {
		buf := make([]byte, 1+rnd.IntN([]int{10, 300, 20000, 100000}[rnd.IntN(4)]))
		n, err := conn.Read(buf)
		if _, err := check.Write(buf[:n]); err != nil {
			return err
		}
		if err != nil {
			return check.end(err)
		}
	}
	write := writeTo
	if rnd.IntN(3) == 0 {
		write = spliceTo
	}
	if err := write(conn, check); err != nil {
		return check.end(err)
	}
	return check.end(io.EOF)
}

// receiveExactly receives want, by random calls, and nothing more.
func receiveExactly(conn io.Reader, rnd *rand.Rand, want []byte) error {
	check := &comparer{want}
	for len(check.want) > 0 {
		buf := make([]byte, 1+rnd.IntN([]int{10, 300, 20000, 100000}[rnd.IntN(4)]))
		n, err := conn.Read(buf)
		if _, err := check.Write(buf[:n]); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("receiving: %w, with %d bytes to come", err, len(check.want))
		}
	}
	return nil
}

func (c *comparer) end(err error) error {
	if err != io.EOF || len(c.want) > 0 {
		return fmt.Errorf("receiving: %w, with %d bytes to come", err, len(c.want))
	}
	return nil
}

func writeTo(conn *tls.Conn, w io.Writer) error {
	_, err := conn.WriteTo(w)
	return err
}

// spliceTo is writeTo through a TCP connection.
func spliceTo(conn *tls.Conn, w io.Writer) error {
	from, to, err := loopback()
	if err != nil {
		return err
	}
	defer to.Close()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, struct{ io.Reader }{to})
		done <- err
	}()
	err = writeTo(conn, from)
	_ = from.Close()
	return errors.Join(err, <-done)
}

// tally counts how connections ended.
type tally struct {
	mu      sync.Mutex
	conns   int
	moved   [2][2]int // by whether TX and RX have moved
	newKeys uint64
	resumed int
	refused []string // directions, for a reason that should not occur
}

func (y *tally) add(conn *tls.Conn) {
	o := conn.Offload()
	y.mu.Lock()
	defer y.mu.Unlock()
	y.conns++
	y.moved[moved(o.TX)][moved(o.RX)]++
	y.newKeys += o.TX.Rekeys + o.RX.Rekeys
	if conn.ConnectionState().DidResume {
		y.resumed++
	}
	for _, d := range []tls.DirectionOffload{o.TX, o.RX} {
		if d.Where == tls.UserSpace && !expected(d.Reason) {
			y.refused = append(y.refused, d.Reason)
		}
	}
}

func moved(d tls.DirectionOffload) int {
	if d.Where == tls.UserSpace {
		return 0
	}
	return 1
}

// expected reports whether a direction may be in user space for this reason: the
// policy, or that the peer has closed.
func expected(reason string) bool {
	for _, part := range []string{"Config.Kernel does not want it", "moves to the kernel", "peer has closed"} {
		if strings.Contains(reason, part) {
			return true
		}
	}
	return false
}

// check wants every way to move to have occurred.
func (y *tally) check(t *testing.T, rekey bool) {
	t.Helper()
	t.Logf("%d connections, %d resumed; the kernel had neither direction of %d, TX of %d, RX of %d, both of %d; %d new keys in the kernel",
		y.conns, y.resumed, y.moved[0][0], y.moved[1][0], y.moved[0][1], y.moved[1][1], y.newKeys)
	if len(y.refused) > 0 {
		t.Errorf("%d directions are in user space: %s", len(y.refused), y.refused[0])
	}
	if *kernelSeed != 0 || t.Failed() {
		return
	}
	if y.moved[1][0] == 0 || y.moved[0][1] == 0 || y.moved[1][1] == 0 || rekey && y.newKeys == 0 {
		t.Error("too few connections for all of this to occur")
	}
}

// connectTo connects to a server and handshakes. It is dial for other goroutines than
// the test's.
func connectTo(addr string, cfg *tls.Config) (*tls.Conn, error) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, cfg)
	if err := errors.Join(conn.SetDeadline(time.Now().Add(limit)), conn.Handshake()); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return conn, nil
}
