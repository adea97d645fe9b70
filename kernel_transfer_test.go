//go:build unix

package tls

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

// bulk is how much the tests of transfers carry on g in each direction.
func (g ground) bulk() int64 {
	if g.model {
		return 4 << 20
	}
	return 64 << 20
}

// repeated is the stream over and over.
type repeated struct{ n int64 }

func (r *repeated) Read(b []byte) (int, error) {
	n := copy(b, stream()[r.n%streamLen:])
	r.n += int64(n)
	return n, nil
}

// repeatedCheck compares what is written to it with the stream over and over.
type repeatedCheck struct{ n int64 }

func (r *repeatedCheck) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		part := rest[:min(int64(len(rest)), streamLen-r.n%streamLen)]
		if string(part) != string(stream()[r.n%streamLen:][:len(part)]) {
			return 0, fmt.Errorf("wrong bytes from %d on", r.n)
		}
		r.n += int64(len(part))
		rest = rest[len(part):]
	}
	return len(b), nil
}

// method is a way to send n bytes, and one to receive all there are.
type method struct {
	name string
	send func(t *testing.T, c *Conn, n int64) error
	recv func(t *testing.T, c *Conn) (int64, error)
}

func methods(t *testing.T) []method {
	t.Helper()
	file := bulkFile(t)
	return []method{
		{"write", sendByWrite, receiveByRead},
		{"sendfile", func(_ *testing.T, c *Conn, n int64) error { return sendByFile(file, c, n) }, receiveByRead},
		{"splice", sendBySplice, receiveBySplice},
	}
}

func bulkFile(t *testing.T) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "bulk")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.CopyN(file, &repeated{}, 64<<20); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

func sendByWrite(_ *testing.T, c *Conn, n int64) error {
	src, buf := io.LimitReader(&repeated{}, n), make([]byte, 100000)
	for {
		m, err := io.ReadFull(src, buf)
		if m == 0 {
			return c.CloseWrite()
		}
		if _, err := c.Write(buf[:m]); err != nil {
			return err
		}
		if err == io.ErrUnexpectedEOF {
			return c.CloseWrite()
		}
	}
}

func sendByFile(name string, c *Conn, n int64) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if m, err := c.ReadFrom(io.LimitReader(file, n)); m != n || err != nil {
		return fmt.Errorf("ReadFrom: %d, %w", m, err)
	}
	return c.CloseWrite()
}

// sendBySplice is a proxy that passes on what arrives in cleartext.
func sendBySplice(t *testing.T, c *Conn, n int64) error {
	from, to := sockets(t)
	defer to.Close()
	go func() {
		defer from.Close()
		_, _ = io.CopyN(struct{ io.Writer }{from}, &repeated{}, n)
	}()
	if m, err := c.ReadFrom(to); m != n || err != nil {
		return fmt.Errorf("ReadFrom: %d, %w", m, err)
	}
	return c.CloseWrite()
}

func receiveByRead(_ *testing.T, c *Conn) (int64, error) {
	check := &repeatedCheck{}
	_, err := io.CopyBuffer(check, struct{ io.Reader }{c}, make([]byte, 100000))
	return check.n, err
}

// receiveBySplice is a proxy that passes on what arrives to a cleartext peer.
func receiveBySplice(t *testing.T, c *Conn) (int64, error) {
	from, to := sockets(t)
	defer to.Close()
	check, done := &repeatedCheck{}, make(chan error, 1)
	go func() {
		_, err := io.Copy(check, struct{ io.Reader }{to})
		done <- err
	}()
	n, err := c.WriteTo(from)
	from.Close()
	if checkErr := <-done; err == nil {
		err = checkErr
	}
	if err == nil && n != check.n {
		err = fmt.Errorf("WriteTo says %d, %d arrived", n, check.n)
	}
	return check.n, err
}

// TestKernelRekeyTransfers lowers the limit of keys to a few records, and
// carries much through each way of sending and receiving, in both directions at
// once: the kernel gets new keys every 32 KiB.
func TestKernelRekeyTransfers(t *testing.T) {
	ways := methods(t)
	for _, g := range kernelGrounds(t) {
		if !g.rekey {
			continue
		}
		for _, m := range ways {
			t.Run(g.name+"/"+m.name, func(t *testing.T) {
				client, server := kernelConfigs(VersionTLS13, both)
				server.Kernel = both
				client.recordLimit, server.recordLimit = 4, 4
				before := kernelStat(t, g)
				ends := connectUnhurried(t, g, client, server)
				carry(t, m, ends, g.bulk())
				var tx, rx uint64
				for _, c := range ends {
					o := c.Offload()
					if want := uint64(g.bulk() >> 16); o.TX.Rekeys < want || o.RX.Rekeys < want {
						t.Errorf("TX %v, RX %v; want %d new keys and more", o.TX, o.RX, want)
					}
					tx, rx = tx+o.TX.Rekeys, rx+o.RX.Rekeys
				}
				t.Logf("%d bytes each way, %d new keys for sending, %d for receiving", g.bulk(), tx, rx)
				checkRekeyStat(t, g, before, tx, rx)
			})
		}
	}
}

// connectUnhurried is connect for what takes longer than tests usually do.
func connectUnhurried(t *testing.T, g ground, client, server *Config) [2]*Conn {
	t.Helper()
	c, s := connect(t, g.network, client, server)
	for _, conn := range []tlsConn{c, s} {
		_ = conn.SetDeadline(time.Now().Add(3 * time.Minute))
	}
	return [2]*Conn{c.(*Conn), s.(*Conn)}
}

// carry sends n bytes in both directions at once.
func carry(t *testing.T, m method, ends [2]*Conn, n int64) {
	t.Helper()
	errs := make(chan error, 4)
	for i, c := range ends {
		go func() { errs <- named("send", i, m.send(t, c, n)) }()
		go func() {
			got, err := m.recv(t, c)
			if err == nil && got != n {
				err = fmt.Errorf("%d bytes of %d", got, n)
			}
			errs <- named("receive", i, err)
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
			for _, c := range ends {
				_ = c.NetConn().Close()
			}
		}
	}
}

func kernelStat(t *testing.T, g ground) map[string]uint64 {
	t.Helper()
	if g.model {
		return nil
	}
	stat, err := kernel.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return stat
}

// checkRekeyStat compares the kernel's own counts with ours.
func checkRekeyStat(t *testing.T, g ground, before map[string]uint64, tx, rx uint64) {
	t.Helper()
	if g.model {
		return
	}
	after := kernelStat(t, g)
	for name, want := range map[string]uint64{
		"TlsTxRekeyOk": tx, "TlsRxRekeyOk": rx, "TlsRxRekeyReceived": rx, "TlsTxRekeyError": 0, "TlsRxRekeyError": 0, "TlsDecryptError": 0,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("the kernel counts %d for %s, we %d", got, name, want)
		}
	}
}

// TestKernelTransfers carries much through each way of sending and receiving,
// without any new keys, where the kernel may have no more than one direction.
func TestKernelTransfers(t *testing.T) {
	ways := methods(t)
	policies := map[string]kernel.Policy{
		"TX": {TX: kernel.Require}, "RX": {TX: kernel.Off, RX: kernel.Require}, "both": both, "default": {},
	}
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, m := range ways {
			for name, policy := range policies {
				client, server := kernelConfigs(v, policy)
				server.Kernel = policy
				t.Run(m.name+"/"+name, func(t *testing.T) { carry(t, m, connectUnhurried(t, g, client, server), 3<<20+12345) })
			}
		}
	})
}

// TestKernelProxy passes a stream on from one connection to another, both in
// the kernel.
func TestKernelProxy(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, both)
		server.Kernel = both
		in, out := connectUnhurried(t, g, client, server), connectUnhurried(t, g, client, server)
		const n = 5<<20 + 77
		errs := make(chan error, 3)
		go func() { errs <- sendByWrite(t, in[0], n) }()
		go func() {
			m, err := io.Copy(out[0], in[1])
			if err == nil && m != n {
				err = fmt.Errorf("io.Copy: %d bytes", m)
			}
			errs <- errors.Join(err, out[0].CloseWrite())
		}()
		go func() {
			m, err := receiveByRead(t, out[1])
			if err == nil && m != n {
				err = fmt.Errorf("%d bytes arrived", m)
			}
			errs <- err
		}()
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestKernelLeaks makes and closes many connections, and looks for what is left
// of them.
func TestKernelLeaks(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if g.model {
			continue // the models' own goroutines are not the question
		}
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, both)
			server.Kernel = both
			client.ClientSessionCache = NewLRUClientSessionCache(1)
			server.SessionTicketsDisabled = false
			handOver := func() {
				c, s := sockets(t)
				ours, theirs := Client(c, client), Server(s, server)
				if cerr, serr := handshakes(ours, theirs); cerr != nil || serr != nil {
					t.Fatalf("client %v, server %v", cerr, serr)
				}
				if err := exchange(ours, theirs, "hello"); err != nil {
					t.Fatal(err)
				}
				ours.Close()
				theirs.Close()
			}
			handOver()
			fds, routines := openFiles(t), runtime.NumGoroutine()
			for range *kernelConns {
				handOver()
			}
			for wait := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > routines && time.Now().Before(wait); {
				time.Sleep(10 * time.Millisecond)
			}
			if n := runtime.NumGoroutine(); n > routines {
				t.Errorf("%d goroutines, %d before", n, routines)
			}
			if n := openFiles(t); n > fds {
				t.Errorf("%d descriptors, %d before", n, fds)
			}
			for name, n := range kernelStat(t, g) {
				if strings.HasPrefix(name, "TlsCurr") && n != 0 {
					t.Errorf("%s is %d", name, n)
				}
			}
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestKernelIdleSplice checks that a connection that waits to splice holds no
// buffer, though it has received something else before.
func TestKernelIdleSplice(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if g.model || !kernel.Probe().SpliceRX.OK {
			continue // models do not splice, nor kernels that lose bytes then
		}
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, both)
			c, peer := connectRaw(t, g.network, client, server, roleClient)
			to, _ := sockets(t)
			defer to.Close()
			f := &forwarder{conn: c, w: to}
			defer f.close()
			peer.send(peer.seal(record.Handshake, hostileTicket(255)))
			for range 2 { // the second part needs a buffer
				if n, err := f.forward(); n != 0 || err != nil {
					t.Fatalf("forward of a ticket: %d, %v", n, err)
				}
			}
			if c.in.buf == nil {
				t.Fatal("no buffer was needed")
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := f.forward(); !errors.Is(err, os.ErrDeadlineExceeded) || f.sink == nil {
				t.Fatalf("forward of nothing: %v", err)
			}
			if c.in.buf != nil {
				t.Error("a buffer is held while nothing comes")
			}
		})
	}
}

// TestKernelBreakEven sends small files until moving the connection pays.
func TestKernelBreakEven(t *testing.T) {
	file, err := os.Open(bulkFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, kernel.Policy{})
			c, s := connect(t, g.network, client, server)
			go func() { _, _ = io.Copy(io.Discard, s) }()
			for sent := int64(0); sent < breakEven; {
				wantPlaces(t, c, UserSpace, UserSpace)
				for _, size := range []int64{minTransfer - 1, breakEven / 4} {
					if n, err := c.(*Conn).ReadFrom(io.LimitReader(file, size)); n != size || err != nil {
						t.Fatal(n, err)
					}
					sent += size
				}
			}
			wantPlaces(t, c, KernelSoftware, UserSpace)
		})
	}
}
