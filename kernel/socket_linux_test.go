package kernel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls/keyschedule"
)

// newTestProber returns a prober of this kernel.
func newTestProber(t *testing.T) *prober {
	t.Helper()
	p, err := newProber(systemName(), func(tcp *net.TCPConn) (System, error) { return newLinuxSocket(tcp) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// testPair returns a connection, with keys in the kernel or without.
func testPair(t *testing.T, suite *keyschedule.Suite) *pair {
	t.Helper()
	p := newTestProber(t)
	var c *pair
	var err error
	if suite == nil {
		c, err = p.pair()
	} else {
		c, err = p.keyed(suite)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// needKernel skips a test where the kernel has no TLS, but not in the lab.
func needKernel(t *testing.T) *Report {
	t.Helper()
	r := Probe()
	switch {
	case r.Available:
	case os.Getenv("HANDOFF_LAB") == "1":
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED: this kernel has no TLS: %s", r.Reason)
	}
	return r
}

var gcm13 = keyschedule.SuiteByID(keyschedule.TLS_AES_128_GCM_SHA256)

// On plain TCP the same calls carry plain bytes, so that what they cost can be
// seen on every machine.
func TestSocketAllocations(t *testing.T) {
	c := testPair(t, nil)
	checkAllocations(t, c, func(p []byte) (int, error) {
		r, err := c.b.Receive(p)
		return r.N, err
	})
}

func TestKernelSocketAllocations(t *testing.T) {
	needKernel(t)
	c := testPair(t, gcm13)
	b := newSocket(c.b)
	checkAllocations(t, c, func(p []byte) (int, error) {
		_, n, _, err := b.Receive(p)
		return n, err
	})
}

func checkAllocations(t *testing.T, c *pair, receive func([]byte) (int, error)) {
	if raceEnabled {
		t.Skip("the race detector allocates on its own account")
	}
	a := newSocket(c.a)
	content, buf := make([]byte, 1000), make([]byte, 2000)
	n := testing.AllocsPerRun(100, func() {
		if err := a.SendControl(typeData, content); err != nil {
			t.Fatal(err)
		}
		if n, err := receive(buf); n != len(content) || err != nil {
			t.Fatal(n, err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for a record sent and received", n)
	}
}

// TestKernelConf asks sock_diag who protects the records of a connection, which
// on loopback is the kernel's software.
func TestKernelConf(t *testing.T) {
	needKernel(t)
	const confSW = 2
	c := testPair(t, gcm13)
	for name, got := range map[string]func() (uint16, uint16){"a": c.a.(*linuxSocket).confs, "b": c.b.(*linuxSocket).confs} {
		tx, rx := got()
		want := map[string][2]uint16{"a": {confSW, 1}, "b": {1, confSW}}[name]
		if tx != want[0] || rx != want[1] {
			t.Errorf("end %s: TX %d, RX %d, want %d", name, tx, rx, want)
		}
	}
	if tx, rx := c.a.Device(); tx || rx {
		t.Errorf("a device protects records on loopback: %v, %v", tx, rx)
	}
}

// TestConfPlain asks about a connection that has no TLS.
func TestConfPlain(t *testing.T) {
	c := testPair(t, nil)
	if tx, rx := c.a.(*linuxSocket).confs(); tx != 0 || rx != 0 {
		t.Errorf("TX %d, RX %d without keys", tx, rx)
	}
}

func TestAttr(t *testing.T) {
	b := []byte{5, 0, 1, 0, 'x', 0, 0, 0, 6, 0, 2, 0x80, 'y', 'z', 0, 0, 4, 0, 3, 0}
	if !slices.IsSorted([]byte{1, 2}) || string(attr(b, 1)) != "x" || string(attr(b, 2)) != "yz" || attr(b, 3) == nil || attr(b, 4) != nil {
		t.Errorf("%q %q %q %q", attr(b, 1), attr(b, 2), attr(b, 3), attr(b, 4))
	}
	for n := range b {
		attr(b[:n], 3) // must not panic
	}
	if attr([]byte{1, 0, 1, 0}, 1) != nil || attr([]byte{9, 0, 1, 0}, 1) != nil {
		t.Error("an attribute of a wrong length")
	}
}

// TestActiveFeatures compares the features of lo with one that it always has.
func TestActiveFeatures(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	on := activeFeatures(fd, "lo")
	if !slices.Contains(on, "loopback") || slices.Contains(on, deviceFeatures[0]) {
		t.Errorf("features of lo: %q", on)
	}
	if on := activeFeatures(fd, "no-such-device"); on != nil {
		t.Errorf("features of no device: %q", on)
	}
	if s := deviceOffload(); !s.OK && s.Reason == "" {
		t.Error("no reason")
	}
}

func TestKernelStat(t *testing.T) {
	r := needKernel(t)
	before, err := Stat()
	if err != nil {
		t.Fatal(err)
	}
	c := testPair(t, gcm13)
	after, err := Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"TlsCurrTxSw", "TlsCurrRxSw", "TlsTxSw", "TlsRxSw"} {
		if after[name] != before[name]+1 {
			t.Errorf("%s was %d and is %d", name, before[name], after[name])
		}
	}
	if !r.Rekey.OK {
		return
	}
	if err := errors.Join(c.a.EnableTX(probeKeys(gcm13, 2)), c.b.EnableRX(probeKeys(gcm13, 2))); err != nil {
		t.Fatal(err)
	}
	again, err := Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"TlsTxRekeyOk", "TlsRxRekeyOk"} {
		if again[name] != after[name]+1 {
			t.Errorf("%s was %d and is %d", name, after[name], again[name])
		}
	}
}

func TestOpenMultipath(t *testing.T) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	var d net.Dialer
	d.SetMultipathTCP(true)
	c, err := d.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if ok, _ := c.(*net.TCPConn).MultipathTCP(); !ok {
		t.Skip("NOT TESTED: this kernel has no Multipath TCP")
	}
	var refusal *Refusal
	if _, err := openTCP(c.(*net.TCPConn)); !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, "Multipath") {
		t.Errorf("a connection of Multipath TCP: %v", err)
	}
}

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestProbeLeavesNothing(t *testing.T) {
	Probe() // whatever the runtime makes for its first connection
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 20 {
		forgetProbe()
		Probe()
	}
	for range 100 {
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d descriptors, there were %d", n, files)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, there were %d", n, goroutines)
	}
}

// TestProbeAgain lets a probe fail for a cause that passes.
func TestProbeAgain(t *testing.T) {
	want := Probe()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	forgetProbe()
	r := Probe()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if r.Available || !strings.Contains(r.Reason, "could not be probed") {
		t.Errorf("a probe without descriptors: %+v", r)
	}
	if good := probed.Load(); good.until.IsZero() || time.Until(good.until) > failedFor {
		t.Errorf("it is good until %v", good.until)
	}
	forgetProbe()
	if r := Probe(); r.Available != want.Available {
		t.Errorf("afterwards: %+v, want %+v", r, want)
	}
}

func TestKernelSplice(t *testing.T) {
	needKernel(t)
	c := testPair(t, gcm13)
	a, b := newSocket(c.a), newSocket(c.b)
	p, err := NewPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	splice := func(n int, want string) {
		t.Helper()
		moved, err := b.SpliceTo(p, n)
		if moved != len(want) || err != nil || p.Len() != moved {
			t.Fatalf("%d bytes, %v, want %q", moved, err, want)
		}
		buf := make([]byte, len(want))
		if _, err := unix.Read(p.r, buf); err != nil || string(buf) != want {
			t.Fatalf("%q, %v", buf, err)
		}
		p.n = 0
	}
	send := func(typ byte, s string) {
		t.Helper()
		if err := a.SendControl(typ, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	send(typeData, "splice_to_pipe")
	splice(100, "splice_to_pipe")
	send(typeData, "splice_short")
	splice(6, "splice")
	splice(100, "_short")

	// splice_cmsg_to_pipe
	send(typeData, "before")
	send(typeAlert, "\x01\x5a")
	send(typeData, "after")
	splice(100, "before")
	for range 2 {
		if n, err := b.SpliceTo(p, 100); err != ErrControlRecord {
			t.Fatalf("before an alert: %d, %v", n, err)
		}
	}
	buf := make([]byte, 100)
	if typ, n, _, err := b.Receive(buf); typ != typeAlert || n != 2 || err != nil {
		t.Fatal(typ, n, err)
	}
	splice(100, "after")

	// recv_and_splice
	send(typeData, "half and half")
	if _, n, more, err := b.Receive(buf[:4]); n != 4 || !more || err != nil {
		t.Fatal(n, more, err)
	}
	splice(100, " and half")

	_ = c.connB.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := b.SpliceTo(p, 100); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(n, err)
	}
	_ = c.connB.SetReadDeadline(time.Now().Add(probeTimeout))
	_ = c.connA.Close()
	if n, err := b.SpliceTo(p, 100); err != io.EOF {
		t.Fatal(n, err)
	}
}

// TestKernelSpliceRekey is splice_rekey.
func TestKernelSpliceRekey(t *testing.T) {
	if r := needKernel(t); !r.Rekey.OK {
		t.Skipf("NOT TESTED: %s", r.Rekey.Reason)
	}
	c := testPair(t, gcm13)
	p, err := NewPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b := newSocket(c.b)
	b.rx.suite = gcm13
	b.rx.installed.Store(true)
	if _, err := c.a.SendControl(22, []byte{24, 0, 0, 1, 0}); err != nil {
		t.Fatal(err)
	}
	if err := c.a.EnableTX(probeKeys(gcm13, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.a.SendControl(typeData, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.SpliceTo(p, 100); err != ErrControlRecord {
		t.Fatalf("before the KeyUpdate: %d, %v", n, err)
	}
	if typ, n, _, err := b.Receive(make([]byte, 100)); typ != 22 || n != 5 || err != nil {
		t.Fatal(typ, n, err)
	}
	if n, err := c.b.(*linuxSocket).spliceTo(p, 100); !errors.Is(err, unix.EKEYEXPIRED) {
		t.Fatalf("past the KeyUpdate: %d, %v", n, err)
	}
	if err := b.RekeyRX(probeKeys(gcm13, 2)); err != nil {
		t.Fatal(err)
	}
	if n, err := b.SpliceTo(p, 100); n != 3 || err != nil {
		t.Fatalf("with the new keys: %d, %v", n, err)
	}
}

// TestKernelSpliceErrors receives what is no record by splice. A header's error
// is said once, and must not be taken for a control record.
func TestKernelSpliceErrors(t *testing.T) {
	needKernel(t)
	for _, test := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"version", append([]byte{23, 3, 1, 0, 100}, make([]byte, 100)...), unix.EINVAL},
		{"length", []byte{23, 3, 3, 0xff, 0xff}, unix.EMSGSIZE},
		{"tag", append([]byte{23, 3, 3, 0, 100}, make([]byte, 100)...), unix.EBADMSG},
	} {
		c := testPair(t, nil)
		p, err := NewPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.b.EnableRX(probeKeys(gcm13, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.connA.Write(test.bytes); err != nil {
			t.Fatal(err)
		}
		b := newSocket(c.b)
		for range 2 {
			if n, err := b.SpliceTo(p, 100); !errors.Is(err, test.want) {
				t.Errorf("%s: %d, %v", test.name, n, err)
			}
		}
		if _, _, _, err := b.Receive(make([]byte, 100)); !errors.Is(err, test.want) {
			t.Errorf("%s: then receive says %v", test.name, err)
		}
		p.Close()
	}
}

// TestKernelSpliceThrough moves a stream from one connection to another: kernel
// TLS, pipe, kernel TLS (splice_from_pipe).
func TestKernelSpliceThrough(t *testing.T) {
	if r := needKernel(t); !r.SpliceRX.OK {
		t.Skipf("NOT TESTED: %s", r.SpliceRX.Reason)
	}
	from, to := testPair(t, gcm13), testPair(t, gcm13)
	p, err := NewPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(i * 31 >> 7)
	}
	sent := make(chan error, 2)
	go func() {
		_, err := from.connA.Write(content)
		sent <- err
	}()
	go func() { sent <- moveAll(from, to, p, len(content)) }()
	got := make([]byte, 0, len(content))
	for len(got) < len(content) {
		buf := make([]byte, 1<<16)
		r, err := to.b.Receive(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:r.N]...)
	}
	if !slices.Equal(got, content) {
		t.Error("what came through is not what was sent")
	}
	if err := errors.Join(<-sent, <-sent); err != nil {
		t.Error(err)
	}
}

func moveAll(from, to *pair, p *Pipe, n int) error {
	raw, err := to.connA.SyscallConn()
	if err != nil {
		return err
	}
	for n > 0 {
		in, err := newSocket(from.b).SpliceTo(p, n)
		if err != nil {
			return err
		}
		out, err := p.SpliceTo(raw, in)
		if err != nil || out != in {
			return errors.Join(io.ErrShortWrite, err)
		}
		n -= out
	}
	return nil
}

// TestPipe moves bytes into plain TCP.
func TestPipe(t *testing.T) {
	c := testPair(t, nil)
	p, err := NewPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.n, err = unix.Write(p.w, []byte("through a pipe")); err != nil {
		t.Fatal(err)
	}
	raw, err := c.connA.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := p.SpliceTo(raw, 7); n != 7 || err != nil || p.Len() != 7 {
		t.Fatal(n, err, p.Len())
	}
	if n, err := p.SpliceTo(raw, 100); n != 7 || err != nil || p.Len() != 0 {
		t.Fatal(n, err, p.Len())
	}
	buf := make([]byte, 14)
	if _, err := io.ReadFull(c.connB, buf); string(buf) != "through a pipe" || err != nil {
		t.Fatalf("%q, %v", buf, err)
	}
	// And out of plain TCP.
	rawB, err := c.connB.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.connA.Write([]byte("into a pipe")); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Fill(rawB, 100); n != 11 || err != nil || p.Len() != 11 {
		t.Fatal(n, err, p.Len())
	}
	if n, err := p.SpliceTo(raw, 11); n != 11 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := io.ReadFull(c.connB, buf[:11]); string(buf[:11]) != "into a pipe" || err != nil {
		t.Fatalf("%q, %v", buf, err)
	}
	// A peer that does not read makes it wait, to its deadline.
	_ = c.connA.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
	for {
		if p.n, err = unix.Write(p.w, make([]byte, 1<<16)); err != nil {
			t.Fatal(err)
		}
		n, err := p.SpliceTo(raw, p.n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if n != 1<<16 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := p.SpliceTo(raw, 0); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(n, err)
	}
	if _, err := c.b.(*linuxSocket).spliceTo(p, 1); p.Len() > 0 && err == nil {
		t.Error("spliced into a pipe that is not empty")
	}
}
