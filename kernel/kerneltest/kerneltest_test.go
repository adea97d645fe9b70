//go:build unix

package kerneltest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// What the models have in common with the kernels is tested in package kernel,
// which plays the same scenarios on both.

func suite(id uint16) *keyschedule.Suite { return keyschedule.SuiteByID(id) }

var gcm13 = suite(keyschedule.TLS_AES_128_GCM_SHA256)

func keys(s *keyschedule.Suite, epoch byte) *keyschedule.TrafficKeys {
	k := &keyschedule.TrafficKeys{Suite: s}
	k.Key()[0], k.IV()[0] = epoch, epoch
	return k
}

func pair(t *testing.T, options ...Option) (a, b *Conn) {
	t.Helper()
	a, b, err := Pair(kernel.RulesLinux, options...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Conn{a, b} {
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return a, b
}

func keyed(t *testing.T, options ...Option) (a, b *Conn) {
	t.Helper()
	a, b = pair(t, options...)
	if err := errors.Join(a.KernelTLS().EnableTX(keys(gcm13, 1)), b.KernelTLS().EnableRX(keys(gcm13, 1))); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestProtection compares with package record, in both directions.
func TestProtection(t *testing.T) {
	for _, s := range keyschedule.Suites() {
		if s.Cipher.IsCBC() {
			continue
		}
		p, err := newProtection(keys(s, 1))
		if err != nil {
			t.Fatal(err)
		}
		opener, sealer := record.NewOpener(keys(s, 1)), record.NewSealer(keys(s, 1))
		for _, content := range []string{"a", "hello", strings.Repeat("x", record.MaxPlaintext)} {
			typ, got, err := opener.Open(nil, p.seal(typeHandshake, []byte(content)))
			if typ != record.Handshake || string(got) != content || err != nil {
				t.Errorf("%s: %v, %d bytes, %v", s.Name, typ, len(got), err)
			}
		}
		q, err := newProtection(keys(s, 1))
		if err != nil {
			t.Fatal(err)
		}
		for _, content := range []string{"a", "hello", strings.Repeat("x", record.MaxPlaintext)} {
			rec, err := sealer.Seal(nil, record.Handshake, []byte(content))
			if err != nil {
				t.Fatal(err)
			}
			bad := bytes.Clone(rec)
			bad[len(bad)-1] ^= 1
			if _, _, ok := q.open(bad); ok {
				t.Errorf("%s: a record with a wrong tag", s.Name)
			}
			typ, got, ok := q.open(rec)
			if typ != typeHandshake || string(got) != content || !ok {
				t.Errorf("%s: %d, %d bytes, %v", s.Name, typ, len(got), ok)
			}
		}
	}
}

// TestPlain uses a Conn as a net.Conn whose kernel was never asked.
func TestPlain(t *testing.T) {
	a, b := pair(t)
	if a.LocalAddr().String() != b.RemoteAddr().String() || a.RemoteAddr().String() != b.LocalAddr().String() {
		t.Error("the addresses do not fit")
	}
	if n, err := a.ReadFrom(strings.NewReader("hello")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	_ = b.SetDeadline(time.Unix(1, 0))
	if _, err := b.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, err := range []error{b.Close(), b.SetDeadline(time.Time{}), b.SetWriteDeadline(time.Time{})} {
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestReadFrom(t *testing.T) {
	a, b := keyed(t)
	content := strings.Repeat("0123456789", 10000)
	if n, err := a.ReadFrom(strings.NewReader(content)); n != int64(len(content)) || err != nil {
		t.Fatal(n, err)
	}
	if seq, err := a.KernelTLS().NextTX(); seq != 7 || err != nil { // of 16 KiB
		t.Errorf("%d records, %v", seq, err)
	}
	got := make([]byte, len(content))
	if _, err := io.ReadFull(b, got); string(got) != content || err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	if n, err := a.ReadFrom(io.MultiReader(strings.NewReader("abc"), failing{broken})); n != 3 || err != broken {
		t.Error(n, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestCounters compares with what /proc/net/tls_stat would count.
func TestCounters(t *testing.T) {
	a, b := keyed(t)
	sys := b.KernelTLS()
	if _, err := a.KernelTLS().SendControl(typeHandshake, []byte{keyUpdate, 0, 0, 1, 0}); err != nil {
		t.Fatal(err)
	}
	if r, err := sys.Receive(make([]byte, 10)); r.N != 5 || err != nil {
		t.Fatal(r, err)
	}
	if err := errors.Join(a.KernelTLS().EnableTX(keys(gcm13, 2)), sys.EnableRX(keys(gcm13, 3))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("with other keys")); err != nil {
		t.Fatal(err)
	}
	if r, err := sys.Receive(make([]byte, 10)); err != syscall.EBADMSG {
		t.Fatal(r, err)
	}
	_, _ = a.Close(), b.Close()
	check := func(c *Conn, want map[string]uint64) {
		t.Helper()
		got := c.Stat()
		for name, n := range want {
			if got[name] != n {
				t.Errorf("%s is %d, want %d", name, got[name], n)
			}
		}
	}
	check(a, map[string]uint64{"TlsTxSw": 1, "TlsCurrTxSw": 0, "TlsTxRekeyOk": 1, "TlsRxSw": 0})
	check(b, map[string]uint64{"TlsRxSw": 1, "TlsCurrRxSw": 0, "TlsRxRekeyOk": 1, "TlsRxRekeyReceived": 1, "TlsDecryptError": 1})
}

// TestSendBuffer fills a small buffer, and loses on Linux what exceeds it.
func TestSendBuffer(t *testing.T) {
	for _, rules := range []kernel.Rules{kernel.RulesLinux, kernel.RulesFreeBSD} {
		for name, end := range map[string]func(*Conn) error{"Close": (*Conn).Close, "CloseWrite": (*Conn).CloseWrite} {
			a, b := keyed(t, SendBuffer(40000), WithRules(rules))
			tcp := a.NetConn().(*net.TCPConn)
			if err := errors.Join(tcp.SetWriteBuffer(1<<16), b.NetConn().(*net.TCPConn).SetReadBuffer(1<<16)); err != nil {
				t.Fatal(err)
			}
			accepted := fill(t, a)
			if n, err := a.KernelTLS().Unsent(); n != 40000 || err != nil {
				t.Errorf("%d bytes on their way, %v", n, err)
			}
			if err := end(a); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Write([]byte("x")); err == nil {
				t.Errorf("%v, %s: and still it sends", rules, name)
			}
			got, sys, buf := 0, b.KernelTLS(), make([]byte, 1<<16)
			for {
				r, err := sys.Receive(buf)
				if got += r.N; r.N == 0 {
					if err != nil {
						t.Errorf("%v, %s: %v", rules, name, err)
					}
					break
				}
			}
			if lost := accepted - got; lost < 0 || (lost > 0) != (rules == kernel.RulesLinux) {
				t.Errorf("%v, %s: %d bytes of %d were lost", rules, name, lost, accepted)
			}
		}
	}
}

// fill writes until nothing is accepted any more.
func fill(t *testing.T, c *Conn) (accepted int) {
	t.Helper()
	for {
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := c.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(n, err)
		}
		if accepted += n; n == 0 {
			return accepted
		}
	}
}

// TestUnreadResets closes a socket with bytes that nobody has read.
func TestUnreadResets(t *testing.T) {
	a, b := keyed(t)
	if _, err := a.Write(make([]byte, 1<<15)); err != nil {
		t.Fatal(err)
	}
	if r, err := b.KernelTLS().Receive(make([]byte, 10)); r.N != 10 || err != nil {
		t.Fatal(r, err)
	}
	_ = b.Close()
	if _, err := a.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	for { // and the sender learns it
		if _, err := a.Write([]byte("x")); err != nil {
			break
		}
	}
}

// TestNothingStays closes connections in all states and looks for goroutines.
func TestNothingStays(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		a, b, err := Pair(kernel.RulesLinux)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(a.KernelTLS().EnableTX(keys(gcm13, 1)), b.KernelTLS().EnableRX(keys(gcm13, 1)), b.KernelTLS().EnableTX(keys(gcm13, 2))); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		_, _ = a.Close(), b.Close()
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, there were %d", runtime.NumGoroutine(), before)
}

// TestMisuse does what must never be done.
func TestMisuse(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(t *testing.T, a, b *Conn)
	}{
		{"sending keys twice", func(t *testing.T, a, _ *Conn) {
			_ = a.KernelTLS().EnableTX(keys(gcm13, 1))
		}},
		{"receiving keys twice", func(t *testing.T, _, b *Conn) {
			_ = b.KernelTLS().EnableRX(keys(gcm13, 1))
		}},
		{"write after a KeyUpdate", func(t *testing.T, a, _ *Conn) {
			if _, err := a.KernelTLS().SendControl(typeHandshake, []byte{keyUpdate, 0, 0, 1, 1}); err != nil {
				t.Fatal(err)
			}
			_, _ = a.Write([]byte("under the old keys"))
		}},
		{"keys while somebody reads", func(t *testing.T, _, b *Conn) {
			_ = b.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			done := make(chan struct{})
			defer func() { <-done }()
			go func() {
				defer close(done)
				_, _ = b.KernelTLS().Receive(make([]byte, 10))
			}()
			time.Sleep(50 * time.Millisecond)
			_ = b.KernelTLS().EnableRX(keys(gcm13, 2))
		}},
		{"control record without keys", func(t *testing.T, _, b *Conn) {
			_, _ = b.KernelTLS().SendControl(21, []byte{1, 0})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := keyed(t)
			defer func() {
				if recover() == nil {
					t.Error("nothing happens")
				}
			}()
			test.do(t, a, b)
		})
	}
}
