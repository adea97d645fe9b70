//go:build unix

package tls

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-handoff/tls/kernel"
)

var (
	kernelRuns  = flag.Int("kernel.runs", 400, "how many random connections TestKernelRandom makes on each kernel")
	kernelConns = flag.Int("kernel.conns", 10000, "how many connections TestKernelLeaks makes")
	kernelSeed  = flag.Uint64("kernel.seed", 0, "the one seed that TestKernelRandom runs, 0 for many")
)

// TestKernelRandom hands over directions at random points of random
// connections, with KeyUpdates and tickets crossing, and compares every byte.
// All that is random comes from a number that a failure prints.
func TestKernelRandom(t *testing.T) {
	file := streamFile(t)
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			if *kernelSeed != 0 {
				randomRun(t, g, file, *kernelSeed)
				return
			}
			for seed := range randomRuns(g) {
				if randomRun(t, g, file, seed+1); t.Failed() {
					t.Fatalf("seed %d: go test -run '%s' -kernel.seed %d", seed+1, t.Name(), seed+1)
				}
			}
		})
	}
}

// randomRuns returns how many connections there are on g: by far the most on a
// kernel that can do everything.
func randomRuns(g ground) uint64 {
	if !g.model && g.rekey {
		return 15 * uint64(*kernelRuns)
	}
	return uint64(*kernelRuns)
}

// streamLen is the length of the one stream that all connections carry parts of.
const streamLen = 1 << 20

var stream = sync.OnceValue(func() []byte {
	b := make([]byte, streamLen)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b)
	return b
})

func streamFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(name, stream(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// randomEnd is one end of a random connection.
type randomEnd struct {
	conn   *Conn
	rnd    *rand.Rand // of the writer
	reads  *rand.Rand // of the reader
	file   *os.File
	total  int  // bytes that it sends
	rekeys bool // it may change keys
}

// randomRun is one random connection.
func randomRun(t *testing.T, g ground, name string, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	clientCfg, serverCfg := randomConfigs(rnd, g)
	c, s := connect(t, g.network, clientCfg, serverCfg)
	ends := [2]*randomEnd{}
	for i, conn := range []tlsConn{c, s} {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		ends[i] = &randomEnd{
			conn: conn.(*Conn), file: file, total: randomSize(rnd),
			rnd: rand.New(rand.NewPCG(seed, uint64(2+i))), reads: rand.New(rand.NewPCG(seed, uint64(4+i))),
			rekeys: g.rekey && c.ConnectionState().Version == VersionTLS13,
		}
	}
	errs := make(chan error, 4)
	for i, e := range ends {
		go func() { errs <- named("write", i, e.write()) }()
		go func() { errs <- named("read", i, e.read(ends[1-i].total)) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Errorf("seed %d: %v; client %v, server %v", seed, err, ends[0].conn.Offload(), ends[1].conn.Offload())
			ends[0].conn.NetConn().Close()
			ends[1].conn.NetConn().Close()
		}
	}
	for _, e := range ends {
		if err := e.conn.Close(); err != nil && !t.Failed() {
			t.Errorf("seed %d: Close: %v", seed, err)
		}
	}
}

func named(op string, end int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of %v: %w", op, []string{"client", "server"}[end], err)
}

func randomSize(rnd *rand.Rand) int {
	switch rnd.IntN(4) {
	case 0:
		return rnd.IntN(100)
	case 1:
		return rnd.IntN(20000)
	default:
		return rnd.IntN(150000)
	}
}

func randomConfigs(rnd *rand.Rand, g ground) (client, server *Config) {
	client, server = clientConfig(), serverConfig("P256")
	client.CurvePreferences = []CurveID{X25519}
	client.ClientSessionCache = NewLRUClientSessionCache(1)
	server.SessionTicketCount = rnd.IntN(4)
	if rnd.IntN(3) == 0 {
		client.MaxVersion = VersionTLS12
		client.CipherSuites = []uint16{[]uint16{
			TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		}[rnd.IntN(3)]}
	}
	for _, cfg := range []*Config{client, server} {
		cfg.Kernel = kernel.Policy{TX: randomMode(rnd), RX: randomMode(rnd), MoveTX: randomWhen(rnd), MoveRX: randomWhen(rnd), NoRekey: kernel.NoRekeyClose}
		if g.rekey && client.MaxVersion == 0 && rnd.IntN(3) == 0 {
			cfg.recordLimit = 4 + uint64(rnd.IntN(20))
		}
	}
	return client, server
}

func randomMode(rnd *rand.Rand) kernel.Mode {
	return []kernel.Mode{kernel.Off, kernel.Auto, kernel.Auto, kernel.Require}[rnd.IntN(4)]
}

func randomWhen(rnd *rand.Rand) kernel.When {
	switch rnd.IntN(4) {
	case 0:
		return kernel.AtOnce
	case 1:
		return kernel.AtTransfer
	case 2:
		return kernel.AfterBytes(int64(rnd.IntN(1000)))
	default:
		return kernel.AfterBytes(int64(rnd.IntN(60000)))
	}
}

// write sends the stream's beginning by random calls, and ends it.
func (e *randomEnd) write() error {
	for sent := 0; sent < e.total; {
		n := 1 + e.rnd.IntN(min(e.total-sent, []int{10, 1000, 40000}[e.rnd.IntN(3)]))
		if err := e.send(sent, n); err != nil {
			return err
		}
		sent += n
	}
	return e.conn.CloseWrite()
}

func (e *randomEnd) send(from, n int) error {
	if e.rekeys && e.rnd.IntN(8) == 0 {
		if err := e.conn.KeyUpdate(context.Background()); err != nil {
			return fmt.Errorf("KeyUpdate: %w", err)
		}
	}
	var m int64
	var err error
	switch e.rnd.IntN(3) {
	case 0:
		if _, err := e.file.Seek(int64(from), io.SeekStart); err != nil {
			return err
		}
		m, err = e.conn.ReadFrom(io.LimitReader(e.file, int64(n)))
	case 1:
		m, err = e.conn.ReadFrom(bytes.NewReader(stream()[from : from+n]))
	default:
		var k int
		k, err = e.conn.Write(stream()[from : from+n])
		m = int64(k)
	}
	if err == nil && m != int64(n) {
		err = fmt.Errorf("%d bytes of %d: %w", m, n, io.ErrShortWrite)
	}
	return err
}

// read receives want bytes and the end, by random calls, and compares them.
func (e *randomEnd) read(want int) error {
	check := &comparer{}
	for e.reads.IntN(10) > 0 {
		buf := make([]byte, 1+e.reads.IntN([]int{10, 300, 20000, 100000}[e.reads.IntN(4)]))
		n, err := e.conn.Read(buf)
		if _, err := check.Write(buf[:n]); err != nil {
			return err
		}
		if err != nil {
			return check.end(want, err)
		}
	}
	_, err := e.conn.WriteTo(check)
	if err == nil {
		err = io.EOF
	}
	return check.end(want, err)
}

// comparer compares what is written to it with the stream.
type comparer struct{ n int }

func (c *comparer) Write(b []byte) (int, error) {
	if c.n+len(b) > streamLen || !bytes.Equal(b, stream()[c.n:c.n+len(b)]) {
		return 0, fmt.Errorf("wrong bytes from %d on: got %d with hash %x", c.n, len(b), maphash.Bytes(maphash.MakeSeed(), b))
	}
	c.n += len(b)
	return len(b), nil
}

func (c *comparer) end(want int, err error) error {
	switch {
	case err != io.EOF:
		return fmt.Errorf("after %d bytes: %w", c.n, err)
	case c.n != want:
		return fmt.Errorf("%d bytes, want %d", c.n, want)
	}
	return nil
}
