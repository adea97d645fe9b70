package tls

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
)

// moves is how often each connection under load changes hands.
var moves = flag.Int("moves", 200, "handovers of each connection under load")

const (
	// maxTurn is how long a process has a connection.
	maxTurn = time.Millisecond
	// loadTimeout is what no connection needs, on slow machines either.
	loadTimeout = 5 * time.Minute
)

// tale is an endless stream of bytes that can be gone on with at any place, by
// whoever knows where that is.
type tale uint64

// fill makes b the bytes from offset on.
func (s tale) fill(b []byte, offset uint64) {
	var eight [8]byte
	for len(b) > 0 {
		x := uint64(s) + offset/8*0x9e3779b97f4a7c15 // SplitMix64
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(eight[:], x^x>>31)
		n := copy(b, eight[offset%8:])
		b, offset = b[n:], offset+uint64(n)
	}
}

// check compares b with the bytes from offset on.
func (s tale) check(b []byte, offset uint64) error {
	want := make([]byte, len(b))
	if s.fill(want, offset); bytes.Equal(b, want) {
		return nil
	}
	for i := range b {
		if b[i] != want[i] {
			return fmt.Errorf("byte %d is %#x, want %#x", offset+uint64(i), b[i], want[i])
		}
	}
	return nil
}

// talker is one side of a connection that tells one tale and hears another.
type talker struct {
	conn           *Conn
	tells, hears   tale
	sent, received uint64
	stop           atomic.Bool
}

func newTalkers(client, server *Conn) (c, s *talker) {
	return &talker{conn: client, tells: 1, hears: 2}, &talker{conn: server, tells: 2, hears: 1}
}

// talk sends until it is told to stop: in pieces of all sizes, and with new keys
// now and then.
func (p *talker) talk() error {
	buf := make([]byte, 40000)
	for !p.stop.Load() {
		b := buf[:1+rand.IntN(1<<rand.IntN(16))%len(buf)]
		p.tells.fill(b, p.sent)
		n, err := p.conn.Write(b)
		p.sent += uint64(n)
		if err != nil {
			return fmt.Errorf("Write: %w", err)
		}
		if rand.IntN(20) == 0 && p.updates() {
			if err := p.conn.KeyUpdate(context.Background()); err != nil && !errors.Is(err, ErrNoRekey) {
				return fmt.Errorf("KeyUpdate: %w", err)
			}
		}
	}
	return nil
}

// updates reports whether new keys are possible: where both sides receive in a
// kernel that cannot change keys, they are not.
func (p *talker) updates() bool {
	return p.conn.ConnectionState().Version == VersionTLS13 &&
		(p.conn.config.Kernel.RX == kernel.Off || kernel.Probe().Rekey.OK)
}

// listen reads and checks until the stream ends.
func (p *talker) listen() error {
	buf := make([]byte, 40000)
	for {
		n, err := p.conn.Read(buf[:1+rand.IntN(1<<rand.IntN(16))%len(buf)])
		if wrong := p.hears.check(buf[:n], p.received); wrong != nil {
			return wrong
		}
		p.received += uint64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("Read: %w", err)
		}
	}
}

// turn talks and listens for so long, and leaves the connection still.
func (p *talker) turn(d time.Duration) error {
	p.stop.Store(false)
	talked, listened := make(chan error, 1), make(chan error, 1)
	go func() { talked <- p.talk() }()
	go func() { listened <- p.listen() }()
	time.Sleep(d)
	p.stop.Store(true)
	talkErr := <-talked
	if err := p.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	listenErr := <-listened
	if errors.Is(listenErr, os.ErrDeadlineExceeded) {
		listenErr = nil
	}
	return errors.Join(talkErr, listenErr)
}

// move goes on with p's connection by way of a blob.
func (p *talker) move(key *HandoverKey, config *Config) error {
	f, blob, err := p.conn.Detach(key)
	if err != nil {
		return fmt.Errorf("Detach: %w", err)
	}
	if p.conn, err = Adopt(f, blob, key, config); err != nil {
		f.Close()
		return fmt.Errorf("Adopt: %w", err)
	}
	return p.conn.SetDeadline(time.Now().Add(loadTimeout))
}

// wander takes many turns, each with the connection moved.
func (p *talker) wander(config *Config) error {
	key := GenerateHandoverKey()
	for i := range *moves {
		if err := p.turn(rand.N(maxTurn)); err != nil {
			return fmt.Errorf("after %d moves: %w", i, err)
		}
		if err := p.move(key, config); err != nil {
			return fmt.Errorf("after %d moves: %w", i, err)
		}
	}
	return nil
}

// finish says all that there is to say, and hears the rest.
func (p *talker) finish() error {
	if err := p.conn.SetReadDeadline(time.Now().Add(loadTimeout)); err != nil {
		return err
	}
	return errors.Join(p.conn.CloseWrite(), p.listen())
}

// roam wanders, and ends the connection in good order.
func (p *talker) roam(config *Config) error {
	defer func() { p.conn.Close() }()
	if err := p.wander(config); err != nil {
		return err
	}
	return p.finish()
}

// rest talks until it is told to stop and hears the other side to its end.
func (p *talker) rest() error {
	defer p.conn.Close()
	listened := make(chan error, 1)
	go func() { listened <- p.listen() }()
	err := p.talk()
	if err == nil {
		err = p.conn.CloseWrite()
	}
	return errors.Join(err, <-listened)
}

// checkTales compares what both sides have said and heard.
func checkTales(t *testing.T, c, s *talker) {
	t.Helper()
	if c.sent != s.received || s.sent != c.received || c.sent == 0 || s.sent == 0 {
		t.Errorf("client sent %d bytes and received %d, server sent %d and received %d", c.sent, c.received, s.sent, s.received)
	}
	t.Logf("%d and %d bytes", c.sent, s.sent)
}

// inUserSpace keeps both directions there.
var inUserSpace = map[string]kernel.Policy{"user": {TX: kernel.Off, RX: kernel.Off}}

// inKernel returns policies that have this machine's kernel take either direction
// and both. Without kernel TLS the test is skipped, but not in the lab.
func inKernel(t *testing.T) map[string]kernel.Policy {
	t.Helper()
	needKernel(t)
	return map[string]kernel.Policy{
		"TX":   {TX: kernel.Require, RX: kernel.Off},
		"RX":   {TX: kernel.Off, RX: kernel.Require},
		"both": {TX: kernel.Require, RX: kernel.Require},
	}
}

// loadConfigs are the configs of connections under load, of each version.
func loadConfigs(policies map[string]kernel.Policy) map[string][2]*Config {
	configs := make(map[string][2]*Config)
	for name, policy := range policies {
		for _, v := range versions {
			client, server := clientConfig(), serverConfig("P256")
			client.MaxVersion = v
			client.ClientSessionCache = NewLRUClientSessionCache(0)
			client.Kernel, server.Kernel = policy, policy
			configs[VersionName(v)+" "+name] = [...]*Config{client, server}
		}
	}
	return configs
}

// smallSockets hold little, so that records are on their way in all states.
func smallSockets(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, server = sockets(t)
	for _, conn := range []net.Conn{client, server} {
		tcp := conn.(*net.TCPConn)
		if err := errors.Join(tcp.SetReadBuffer(1<<16), tcp.SetWriteBuffer(1<<16)); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

func connectTalkers(t *testing.T, configs [2]*Config) (c, s *talker) {
	t.Helper()
	cc, ss := connect(t, smallSockets, configs[0], configs[1])
	for _, conn := range []tlsConn{cc, ss} {
		if err := conn.SetDeadline(time.Now().Add(loadTimeout)); err != nil {
			t.Fatal(err)
		}
	}
	return newTalkers(cc.(*Conn), ss.(*Conn))
}

// TestDetachUnderLoad moves both sides while both send and receive all the time.
func TestDetachUnderLoad(t *testing.T) { detachUnderLoad(t, inUserSpace) }

// TestKernelDetachUnderLoad does so where the kernel has a direction or both.
func TestKernelDetachUnderLoad(t *testing.T) { detachUnderLoad(t, inKernel(t)) }

func detachUnderLoad(t *testing.T, policies map[string]kernel.Policy) {
	for name, configs := range loadConfigs(policies) {
		t.Run(name, func(t *testing.T) {
			c, s := connectTalkers(t, configs)
			errs := make(chan error, 2)
			go func() { errs <- c.roam(configs[0]) }()
			go func() { errs <- s.roam(configs[1]) }()
			if err := errors.Join(<-errs, <-errs); err != nil {
				t.Fatal(err)
			}
			checkTales(t, c, s)
		})
	}
}

// TestDetachLeaks counts what is left of connections that have moved.
func TestDetachLeaks(t *testing.T) {
	const descriptors = "/proc/self/fd"
	if _, err := os.ReadDir(descriptors); err != nil {
		t.Skipf("DESCRIPTORS ARE NOT COUNTED: %v", err)
	}
	count := func() int {
		list, err := os.ReadDir(descriptors)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	cc, ss := connect(t, sockets, clientConfig(), serverConfig("P256"))
	c, s := cc.(*Conn), ss.(*Conn)
	key, before, goroutines := GenerateHandoverKey(), count(), runtime.NumGoroutine()
	for range 100 {
		f, blob := mustDetach(t, s, key)
		if _, err := Adopt(f, blob[1:], key, nil); err == nil {
			t.Fatal("half a blob is adopted")
		}
		next, err := Adopt(f, blob, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		s = next
		echo(t, c, s)
	}
	if n := count(); n != before {
		t.Errorf("%d descriptors, there were %d", n, before)
	}
	for range 100 { // those of echo end after it
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, there were %d", n, goroutines)
	}
	endBoth(t, c, s)
	if n := count(); n != before-2 {
		t.Errorf("%d descriptors after the end, there were %d", n, before)
	}
}
