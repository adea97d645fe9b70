package tls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/session"
)

// hugeLimit is more than the network takes before anybody reads.
const hugeLimit = 4 << 20

// narrow is a network with small buffers.
func narrow(t testing.TB) (client, server net.Conn) {
	t.Helper()
	client, server = sockets(t)
	for _, conn := range []net.Conn{client, server} {
		c := conn.(*net.TCPConn)
		if err := errors.Join(c.SetReadBuffer(1<<17), c.SetWriteBuffer(1<<17)); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

// hugeData returns n bytes that are different everywhere.
func hugeData(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// echoEarly sends back what comes, from the first byte on, in one goroutine.
func echoEarly(s *Conn) error {
	buf := make([]byte, 1<<16)
	for _, read := range []func([]byte) (int, error){s.ReadEarlyData, s.Read} {
		for {
			n, err := read(buf)
			if _, err := s.WriteEarlyData(buf[:n]); err != nil {
				return err
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return s.CloseWrite()
}

// echoBeside is echoEarly that reads and writes in goroutines of their own.
func echoBeside(s *Conn) error {
	r, w := io.Pipe()
	reading := do(func() error {
		_, err := io.Copy(w, earlyReader{s})
		if err == nil {
			_, err = io.Copy(w, s)
		}
		w.Close()
		return err
	})
	var all bytes.Buffer
	_, err := io.Copy(&all, r) // it need not block the reader
	if err == nil {
		_, err = s.WriteEarlyData(all.Bytes())
	}
	return errors.Join(err, s.CloseWrite(), reading())
}

// echoAll sends back what comes after the handshake, at its end.
func echoAll(s *Conn) error {
	got, err := io.ReadAll(s)
	if err == nil {
		_, err = s.Write(got)
	}
	return errors.Join(err, s.CloseWrite())
}

// TestEarlyDataHuge sends more than the network takes, both ways at once. Nobody
// may wait for a peer that waits.
func TestEarlyDataHuge(t *testing.T) {
	data := hugeData(hugeLimit)
	// writing sends early data, and what is too late for that afterwards.
	writing := func(c *Conn) error {
		n, err := c.WriteEarlyData(data)
		if errors.Is(err, ErrEarlyDataOver) {
			_, err = c.Write(data[n:])
		}
		return errors.Join(err, c.CloseWrite())
	}
	reading := func(c *Conn) error {
		got, err := io.ReadAll(c)
		if !bytes.Equal(got, data) {
			return errors.Join(errors.New("the answer is another one"), err)
		}
		return err
	}
	one := func(c *Conn) error {
		if _, err := c.WriteEarlyData(data); err != nil {
			return err
		}
		if err := c.Handshake(); err != nil {
			return err
		}
		return errors.Join(c.CloseWrite(), reading(c))
	}
	two := func(c *Conn) error {
		if _, err := c.WriteEarlyData(nil); err != nil {
			return err
		}
		wrote := do(func() error { return writing(c) })
		return errors.Join(reading(c), wrote())
	}
	again := func(c *Conn) error {
		if _, err := c.WriteEarlyData(data); err != nil {
			return err
		}
		_, err := c.Write(data)
		return errors.Join(err, c.CloseWrite(), reading(c))
	}
	tests := []struct {
		name           string
		client, server func(*Conn) error
		retry          bool
	}{
		{"answered as it comes", two, echoEarly, false},
		{"answered at the end", one, echoBeside, false},
		{"answered at the end, client in two goroutines", two, echoBeside, false},
		{"kept by Handshake", one, func(s *Conn) error {
			got, err := readSome(s, 10)
			if err == nil {
				err = s.Handshake()
			}
			if err != nil {
				return err
			}
			rest, err := io.ReadAll(s)
			if err != nil {
				return err
			}
			_, err = s.Write(append([]byte(got), rest...))
			return errors.Join(err, s.CloseWrite())
		}, false},
		{"not accepted", again, echoAll, false},
		{"not accepted, retried", again, echoAll, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := cachingClient(), earlyServer(func(c *Config) { c.MaxEarlyData = hugeLimit })
			ticketFor(t, client, server)
			if test.retry {
				server = server.Clone()
				server.CurvePreferences = []CurveID{CurveP521}
			}
			c, s := pairOf(t, narrow, client, server)
			served := do(func() error {
				err := test.server(s)
				if err != nil {
					s.Close()
				}
				return err
			})
			if err := test.client(c); err != nil {
				t.Errorf("client: %v", err)
				c.Close()
			}
			if err := served(); err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// TestEarlyDataTinyWrites sends early data a byte at a time, which a server must
// accept, or skip, as it would any other.
func TestEarlyDataTinyWrites(t *testing.T) {
	for name, accept := range map[string]bool{"accepted": true, "not accepted": false} {
		t.Run(name, func(t *testing.T) {
			const n = 1 << 14
			c, s := earlyPair(t, sockets, cachingClient(), earlyServer(func(c *Config) { c.MaxEarlyData = n }))
			served := do(func() error {
				if !accept {
					return s.Handshake()
				}
				if got, err := readEarly(s); len(got) != n || err != nil {
					return errors.Join(errors.New("early data"), err)
				}
				return s.Handshake()
			})
			for range n {
				mustWriteEarly(t, c, "x")
			}
			if err := errors.Join(c.Handshake(), served()); err != nil {
				t.Fatal(err)
			}
			echo(t, c, s)
		})
	}
}

// TestEarlyDataTimeout interrupts a server while it waits for early data, and
// while it waits for the end of the handshake, as net/http does between two
// requests: nothing is lost.
func TestEarlyDataTimeout(t *testing.T) {
	c, s := earlyPair(t, sockets, cachingClient(), earlyServer())
	interrupted := func(what string, f func() error) {
		t.Helper()
		if err := s.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if err := f(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: %v, want a timeout", what, err)
		}
		if err := s.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	mustWriteEarly(t, c, "a")
	if got, err := readSome(s, 1); got != "a" || err != nil {
		t.Fatal(got, err)
	}
	buf := make([]byte, 10)
	interrupted("ReadEarlyData", func() error { _, err := s.ReadEarlyData(buf); return err })
	mustWriteEarly(t, c, "b")
	if got, err := readSome(s, 1); got != "b" || err != nil {
		t.Fatal(got, err)
	}
	for range 2 {
		interrupted("Handshake", s.Handshake)
		interrupted("Read", func() error { _, err := s.Read(buf); return err })
	}
	if _, err := s.WriteEarlyData([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	mustWriteEarly(t, c, "c")
	finished := do(func() error {
		_, err := io.ReadFull(c, make([]byte, 6))
		return err
	})
	if got, err := readEarly(s); got != "c" || err != nil {
		t.Fatal(got, err)
	}
	if err := errors.Join(s.Handshake(), finished()); err != nil {
		t.Fatal(err)
	}
	echo(t, c, s)
}

// TestEarlyDataWriteTimeout has a client send to nobody.
func TestEarlyDataWriteTimeout(t *testing.T) {
	c, s := earlyPair(t, narrow, cachingClient(), earlyServer(func(c *Config) { c.MaxEarlyData = 1 << 30 }))
	if err := c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.WriteEarlyData(make([]byte, 1<<25))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("WriteEarlyData: %v", err)
	}
	if _, again := c.WriteEarlyData([]byte("x")); !errors.Is(again, os.ErrDeadlineExceeded) {
		t.Errorf("WriteEarlyData again: %v", again)
	}
	if err := c.Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "write ") {
		t.Errorf("Handshake: %v", err) // it must not wait for an answer
	}
	c.Close()
	if got, err := readEarly(s); err == nil {
		t.Errorf("early data looks complete: %d bytes, %+v, client %+v; handshake %v", len(got), s.EarlyData(), c.EarlyData(), s.Handshake())
	}
}

// TestEarlyDataAnswerTimeout has a server answer a client that does not read: it
// goes on reading.
func TestEarlyDataAnswerTimeout(t *testing.T) {
	c, s := earlyPair(t, narrow, cachingClient(), earlyServer())
	mustWriteEarly(t, c, "a")
	if got, err := readSome(s, 1); got != "a" || err != nil {
		t.Fatal(got, err)
	}
	if err := s.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteEarlyData(make([]byte, 1<<25)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("WriteEarlyData: %v", err)
	}
	mustWriteEarly(t, c, "b")
	read := do(func() error {
		_, err := io.Copy(io.Discard, c)
		return err
	})
	if got, err := readEarly(s); got != "b" || err != nil {
		t.Errorf("early data %q, %v", got, err)
	}
	if err := s.Handshake(); err != nil {
		t.Errorf("Handshake: %v", err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v", err)
	}
	s.Close()
	if err := read(); err == nil {
		t.Error("the client sees a proper end")
	}
}

// TestEarlyDataCloseUnblocks closes what waits.
func TestEarlyDataCloseUnblocks(t *testing.T) {
	big := func(c *Config) { c.MaxEarlyData = 1 << 30 }
	blocked := map[string]func(c, s *Conn) (*Conn, func() error){
		"WriteEarlyData": func(c, _ *Conn) (*Conn, func() error) {
			return c, func() error { _, err := c.WriteEarlyData(make([]byte, 1<<25)); return err }
		},
		"ReadEarlyData before ClientHello": func(_, s *Conn) (*Conn, func() error) {
			return s, func() error { _, err := s.ReadEarlyData(make([]byte, 1)); return err }
		},
		"ReadEarlyData": func(c, s *Conn) (*Conn, func() error) {
			mustWriteEarly(t, c, "a")
			return s, func() error { _, err := io.ReadFull(earlyReader{s}, make([]byte, 2)); return err }
		},
		"Handshake of a client": func(c, _ *Conn) (*Conn, func() error) {
			mustWriteEarly(t, c, "a")
			return c, c.Handshake
		},
		"Handshake of a server": func(c, s *Conn) (*Conn, func() error) {
			mustWriteEarly(t, c, "a")
			return s, func() error { _, err := readSome(s, 1); return errors.Join(err, s.Handshake()) }
		},
		"Handshake behind ReadEarlyData": func(c, s *Conn) (*Conn, func() error) {
			mustWriteEarly(t, c, "a")
			return s, func() error {
				_, err := readSome(s, 1)
				reading := do(func() error { _, err := s.ReadEarlyData(make([]byte, 1)); return err })
				time.Sleep(10 * time.Millisecond)
				shaken := s.Handshake()
				if reading() == nil || shaken == nil {
					return nil
				}
				return errors.Join(err, shaken)
			}
		},
		"answer": func(c, s *Conn) (*Conn, func() error) {
			mustWriteEarly(t, c, "a")
			return s, func() error {
				_, err := readSome(s, 1)
				_, werr := s.WriteEarlyData(make([]byte, 1<<25))
				return errors.Join(err, werr)
			}
		},
	}
	for name, block := range blocked {
		t.Run(name, func(t *testing.T) {
			c, s := earlyPair(t, narrow, cachingClient(), earlyServer(big))
			conn, call := block(c, s)
			waited := do(call)
			time.Sleep(30 * time.Millisecond)
			if err := conn.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := waited(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the call returns %v", err)
			}
			if !conn.engineGone() {
				t.Error("the engine's secrets are kept")
			}
		})
	}
}

// engineGone reports whether the engine has no secrets any more.
func (c *Conn) engineGone() bool {
	c.engineMutex.Lock()
	defer c.engineMutex.Unlock()
	return c.engine == nil || c.engineWiped
}

// TestEarlyDataContext ends contexts in the middle.
func TestEarlyDataContext(t *testing.T) {
	calls := map[string]func(ctx context.Context, c, s *Conn) error{
		"client": func(ctx context.Context, c, _ *Conn) error { return c.HandshakeContext(ctx) },
		"server": func(ctx context.Context, _, s *Conn) error {
			_, err := readSome(s, 1)
			return errors.Join(err, s.HandshakeContext(ctx))
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			c, s := earlyPair(t, sockets, cachingClient(), earlyServer())
			mustWriteEarly(t, c, "a")
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if err := call(ctx, c, s); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("ReadEarlyDataContext", func(t *testing.T) {
		_, s := earlyPair(t, sockets, cachingClient(), earlyServer())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := s.ReadEarlyDataContext(ctx, make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// TestEarlyDataConcurrent does everything at once, on many connections: what is
// read is what was written, in its order.
func TestEarlyDataConcurrent(t *testing.T) {
	client, server := cachingClient(), earlyServer(func(c *Config) { c.MaxEarlyData, c.SessionTicketCount = 1<<17, 4 })
	client.ClientSessionCache = NewLRUClientSessionCache(100)
	for range 10 {
		ticketFor(t, client, server)
	}
	var conns sync.WaitGroup
	for i := range 12 {
		conns.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			c, s := pairOf(t, narrow, client, server)
			stop := make(chan struct{})
			var looking sync.WaitGroup
			for _, conn := range []*Conn{c, s} {
				looking.Go(func() { look(conn, stop) })
			}
			if err := converse(c, s, hugeData(1+rnd.IntN(1<<18)), rnd); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
			close(stop)
			looking.Wait()
		})
	}
	conns.Wait()
}

// look calls what may be called at any time.
func look(c *Conn, stop <-chan struct{}) {
	end := time.Now().Add(20 * time.Second)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
		c.EarlyData()
		c.Offload()
		c.ConnectionState()
		c.Details()
		_ = c.SetDeadline(end)
		_, _ = c.SyscallConn()
	}
}

// converse sends data from c, which s sends back at once, in as many goroutines
// as may be at work.
func converse(c, s *Conn, data []byte, rnd *rand.Rand) error {
	closing := func(conn *Conn, f func() error) func() error {
		return do(func() error {
			err := f()
			if err != nil {
				conn.Close()
			}
			return err
		})
	}
	if _, err := c.WriteEarlyData(nil); err != nil && !errors.Is(err, ErrNoEarlyData) {
		return err
	}
	served := closing(s, func() error { return echoEarly(s) })
	shaken := func() error { return nil }
	if rnd.IntN(2) == 0 {
		shaken = do(s.Handshake)
	}
	cut := rnd.IntN(len(data))
	wrote := closing(c, func() error {
		n, err := c.WriteEarlyData(data[:cut])
		if errors.Is(err, ErrEarlyDataOver) || errors.Is(err, ErrEarlyDataLimit) || errors.Is(err, ErrNoEarlyData) {
			err = nil
		}
		if err == nil && c.Handshake() == nil && !c.EarlyData().Accepted {
			n = 0
		}
		if err == nil {
			_, err = c.Write(data[n:])
		}
		return errors.Join(err, c.CloseWrite())
	})
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, data) {
		err = errors.New("the answer is another one")
	}
	if err != nil {
		c.Close()
		s.Close()
	}
	return errors.Join(err, wrote(), served(), shaken(), c.Close(), s.Close())
}

// TestEarlyDataDetach moves a server's side while it has unread early data: first
// the handshake is completed, and then all of it moves.
func TestEarlyDataDetach(t *testing.T) {
	key := GenerateHandoverKey()
	c, s := earlyPair(t, sockets, cachingClient(), earlyServer())
	mustWriteEarly(t, c, "early")
	if got, err := readSome(s, 1); got != "e" || err != nil {
		t.Fatal(got, err)
	}
	shaken := do(c.Handshake)
	f, blob, err := s.Detach(key)
	if err := errors.Join(err, shaken()); err != nil {
		t.Fatal(err)
	}
	adopted, err := Adopt(f, blob, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer adopted.Close()
	buf := make([]byte, 4)
	if _, err := io.ReadFull(adopted, buf); string(buf) != "arly" || err != nil {
		t.Errorf("read %q, %v", buf, err)
	}
	echo(t, c, adopted)
	if _, err := s.ReadEarlyData(buf); err != io.EOF {
		t.Errorf("ReadEarlyData after Detach: %v", err)
	}
}

// TestEarlyDataExportKeys is the same for ExportKeys, on both sides.
func TestEarlyDataExportKeys(t *testing.T) {
	c, s := earlyPair(t, sockets, cachingClient(), earlyServer())
	mustWriteEarly(t, c, "early")
	if got, err := readSome(s, 1); got != "e" || err != nil {
		t.Fatal(got, err)
	}
	var clientKeys *ExportedKeys
	exported := do(func() (err error) { clientKeys, err = c.ExportKeys(); return err })
	keys, err := s.ExportKeys()
	if err := errors.Join(err, exported()); err != nil {
		t.Fatal(err)
	}
	if string(keys.Plaintext) != "arly" {
		t.Errorf("plaintext %q", keys.Plaintext)
	}
	if !bytes.Equal(keys.Read.Key(), clientKeys.Write.Key()) || keys.Read.Seq != clientKeys.Write.Seq {
		t.Error("the two sides have different keys")
	}
}

// TestEarlyDataManySessions uses each session that it got for early data once.
func TestEarlyDataManySessions(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	server.AntiReplay = session.NewAntiReplay(0)
	ticketFor(t, client, server)
	for i := range 10 {
		if r := tryEarly(t, client, server); !r.client.Accepted {
			t.Errorf("connection %d: not accepted", i)
		}
	}
}

// TestEarlyDataBlockedAnswer has a server's answer wait for a client that does not
// read yet. The handshake completes all the same, and reading goes on.
func TestEarlyDataBlockedAnswer(t *testing.T) {
	c, s := earlyPair(t, narrow, cachingClient(), earlyServer())
	mustWriteEarly(t, c, "a")
	if got, err := readSome(s, 1); got != "a" || err != nil {
		t.Fatal(got, err)
	}
	data := hugeData(hugeLimit)
	answered := do(func() error { _, err := s.WriteEarlyData(data); return err })
	shaken := do(c.Handshake)
	if err := errors.Join(s.Handshake(), shaken()); err != nil {
		t.Fatal(err)
	}
	if err := exchange(c, s, "ping"); err != nil {
		t.Errorf("reading beside the answer: %v", err)
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("answer: %v", err)
	}
	if err := answered(); err != nil {
		t.Error(err)
	}
	echo(t, c, s)
}

// gated holds writes back from the second one on.
type gated struct {
	net.Conn
	writes int
	open   chan []byte // gives what to send before
}

func (g *gated) Write(b []byte) (int, error) {
	if g.writes++; g.writes == 2 {
		if _, err := g.Conn.Write(<-g.open); err != nil {
			return 0, err
		}
	}
	return g.Conn.Write(b)
}

// TestEarlyDataRetried goes on with early data when the server has asked for
// another ClientHello: it is over then, though the handshake is not. And a client
// passes over nothing.
func TestEarlyDataRetried(t *testing.T) {
	for name, before := range map[string][]byte{"good": nil, "inserted": {23, 3, 3, 0, 20, 19: 0, 24: 0}} {
		t.Run(name, func(t *testing.T) {
			client, server := cachingClient(), earlyServer()
			ticketFor(t, client, server)
			server = server.Clone()
			server.CurvePreferences = []CurveID{CurveP521}
			a, b := sockets(t)
			defer a.Close()
			defer b.Close()
			gate := &gated{Conn: b, open: make(chan []byte, 1)}
			c, s := Client(a, client), Server(gate, server)
			mustWriteEarly(t, c, "early")
			served, shaken := do(s.Handshake), do(c.Handshake)
			var err error
			for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
				_, err = c.WriteEarlyData([]byte("more"))
			}
			if !errors.Is(err, ErrEarlyDataOver) || c.complete.Load() {
				t.Errorf("WriteEarlyData: %v, complete %v", err, c.complete.Load())
			}
			gate.open <- before
			if err := shaken(); before != nil {
				checkAlertOf(t, err, alert.UnexpectedMessage)
				a.Close()
				_ = served()
				return
			} else if err != nil {
				t.Fatal(err)
			}
			if err := served(); err != nil {
				t.Fatal(err)
			}
			echo(t, c, s)
			if e := c.EarlyData(); e.Accepted || e.Bytes < 5 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestEarlyDataCloseRace closes a server's side while it handles the end of early
// data.
func TestEarlyDataCloseRace(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	for i := range 100 {
		c, s := earlyPair(t, sockets, client, server)
		mustWriteEarly(t, c, "a")
		if got, err := readSome(s, 1); got != "a" || err != nil {
			t.Fatal(got, err)
		}
		reading := do(func() error {
			_, err := readEarly(s)
			return err
		})
		shaken := do(c.Handshake)
		time.Sleep(time.Duration(i%20) * 50 * time.Microsecond)
		s.Close()
		_ = reading()
		c.Close()
		_ = shaken()
		if !s.engineGone() {
			t.Fatal("the engine's secrets are kept")
		}
	}
}

// TestEarlyDataEngineLock checks that the engine is not used while Close may be
// wiping it.
func TestEarlyDataEngineLock(t *testing.T) {
	c, s := earlyPair(t, sockets, cachingClient(), earlyServer())
	mustWriteEarly(t, c, "a")
	if got, err := readSome(s, 1); got != "a" || err != nil {
		t.Fatal(got, err)
	}
	s.engineMutex.Lock()
	read := make(chan error, 1)
	go func() {
		_, err := readEarly(s)
		read <- err
	}()
	if err := c.Handshake(); err != nil { // the end of early data is on its way
		t.Error(err)
	}
	select {
	case err := <-read:
		t.Errorf("the engine was used: %v", err)
		read <- err
	case <-time.After(50 * time.Millisecond):
	}
	s.engineMutex.Unlock()
	if err := <-read; err != nil {
		t.Error(err)
	}
}
