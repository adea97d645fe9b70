//go:build unix

package kernel_test

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/kernel/kerneltest"
	"github.com/go-handoff/tls/keyschedule"
)

// scripted is a System that returns what a test tells it to.
type scripted struct {
	kernel.System
	received []kernel.Received
	errs     []error
	unsent   []int
	sent     int // what SendControl says, if not 0
	refresh  error
	refreshs int
}

func (s *scripted) Rules() kernel.Rules    { return kernel.RulesLinux }
func (s *scripted) Report() *kernel.Report { return &kernel.Report{} }

func (s *scripted) Receive([]byte) (r kernel.Received, err error) {
	r, s.received = s.received[0], s.received[1:]
	err, s.errs = s.errs[0], s.errs[1:]
	return r, err
}

func (s *scripted) SendControl(_ byte, b []byte) (int, error) {
	if s.sent > 0 {
		return s.sent, nil
	}
	return len(b), nil
}

func (s *scripted) RefreshRX() error {
	s.refreshs++
	return s.refresh
}

func (s *scripted) Unsent() (n int, err error) {
	n, s.unsent = s.unsent[0], s.unsent[1:]
	return n, nil
}

// forgetful is a System whose kernel can replace keys when it is asked first.
type forgetful struct {
	kernel.System
	asked int
}

func (f *forgetful) Report() *kernel.Report {
	f.asked++
	return &kernel.Report{Rekey: kernel.Support{OK: f.asked == 1}}
}

// TestReportStays checks that a later probe, which may fail for want of
// descriptors, does not change what a connection was moved for.
func TestReportStays(t *testing.T) {
	s := kernel.NewSocket(new(forgetful))
	for range 2 {
		if !s.Report().Rekey.OK {
			t.Error("the report has changed")
		}
	}
}

// TestReceiveRules is about what no kernel and no model does, or not on demand.
func TestReceiveRules(t *testing.T) {
	data := kernel.Received{N: 1, Type: typeData, Typed: true, EOR: true}
	none := kernel.Received{}
	for _, test := range []struct {
		name     string
		received []kernel.Received
		errs     []error
		refresh  error
		want     error // of the last Receive
		alert    alert.Description
		stays    bool
	}{
		{name: "data", received: []kernel.Received{data}, errs: []error{nil}},
		{name: "bytes without a type", received: []kernel.Received{{N: 3}}, errs: []error{nil}, want: errAny, alert: alert.InternalError, stays: true},
		{name: "blocked, and then data", received: []kernel.Received{none, data}, errs: []error{kernel.ErrKeyExpired, nil}},
		{name: "blocked twice", received: []kernel.Received{none, none}, errs: []error{kernel.ErrKeyExpired, kernel.ErrKeyExpired}, want: kernel.ErrKeyExpired, alert: alert.UnexpectedMessage, stays: true},
		{name: "blocked for good", received: []kernel.Received{none}, errs: []error{kernel.ErrKeyExpired}, refresh: syscall.EBUSY, want: kernel.ErrKeyExpired, alert: alert.UnexpectedMessage, stays: true},
		{name: "out of memory", received: []kernel.Received{none, data}, errs: []error{syscall.ENOMEM, nil}, want: syscall.ENOMEM, alert: alert.InternalError},
		{name: "reset", received: []kernel.Received{none, none}, errs: []error{syscall.ECONNRESET, nil}, want: syscall.ECONNRESET, alert: alert.InternalError},
		{name: "deadline", received: []kernel.Received{none, data}, errs: []error{os.ErrDeadlineExceeded, nil}, want: os.ErrDeadlineExceeded, alert: alert.InternalError},
	} {
		s := kernel.NewSocket(&scripted{received: test.received, errs: test.errs, refresh: test.refresh})
		_, _, _, err := s.Receive(make([]byte, 10))
		if (err == nil) != (test.want == nil) || test.want != errAny && !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err != nil && alert.Of(err) != test.alert {
			t.Errorf("%s: alert %v, want %v", test.name, alert.Of(err), test.alert)
		}
		if !test.stays {
			continue
		}
		if _, _, _, again := s.Receive(make([]byte, 10)); again != err {
			t.Errorf("%s: and then %v, want it again", test.name, again)
		}
	}
}

// errAny stands for some error.
var errAny = errors.New("any")

func TestSendControlInPart(t *testing.T) {
	s := kernel.NewSocket(&scripted{sent: 3})
	err := s.SendControl(typeHandshake, []byte("hello"))
	if err == nil || s.SendControl(typeHandshake, []byte("abc")) != err {
		t.Errorf("a record of which a part was sent: %v", err)
	}
}

func TestDrainLooksTwice(t *testing.T) {
	for _, test := range []struct{ unsent, left []int }{
		{[]int{0, 1}, []int{1}},                 // nothing on its way
		{[]int{5, 0, 0, 1}, []int{1}},           // it has emptied, and stays so
		{[]int{5, 0, 16401, 0, 0, 1}, []int{1}}, // what was held came after
	} {
		sys := &scripted{unsent: test.unsent}
		if err := kernel.NewSocket(sys).Drain(time.Now().Add(patience)); err != nil || !slices.Equal(sys.unsent, test.left) {
			t.Errorf("%v: %v, %v not looked at", test.unsent, err, sys.unsent)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = errors.Join(a.Close(), b.Close()) }()
	var refusal *kernel.Refusal
	if _, err := kernel.Open(a); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "not a TCP socket") {
		t.Errorf("a pipe: %v", err)
	}
	c, d, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	_ = c.Close()
	if _, err := kernel.Open(c); !errors.As(err, &refusal) {
		t.Errorf("a closed connection: %v", err)
	}
}

// TestReasons asks for words in place of numbers.
func TestReasons(t *testing.T) {
	suite := suites()[0]
	for _, test := range []struct {
		name    string
		rules   kernel.Rules
		options []kerneltest.Option
		errno   error // if it was the kernel that refused
		reason  string
	}{
		{"no module", linux, []kerneltest.Option{kerneltest.Unavailable("no module")}, nil, "no module"},
		{"no cipher", linux, []kerneltest.Option{kerneltest.Without(keyschedule.AES128GCM)}, nil, "cipher"},
		{"no cipher after all", linux, []kerneltest.Option{kerneltest.RefuseTX(syscall.ENOENT), kerneltest.RefuseRX(syscall.ENOENT)}, syscall.ENOENT, "gcm"},
		{"memory", linux, []kerneltest.Option{kerneltest.RefuseTX(syscall.ENOMEM), kerneltest.RefuseRX(syscall.ENOMEM)}, syscall.ENOMEM, "short of memory"},
		{"no words", linux, []kerneltest.Option{kerneltest.RefuseTX(syscall.EXDEV), kerneltest.RefuseRX(syscall.EXDEV)}, syscall.EXDEV, syscall.EXDEV.Error()},
		{"turned off", bsd, []kerneltest.Option{kerneltest.RefuseTX(syscall.EOPNOTSUPP), kerneltest.RefuseRX(syscall.EOPNOTSUPP)}, syscall.EOPNOTSUPP, "kern.ipc.tls.enable"},
		{"not built", bsd, []kerneltest.Option{kerneltest.RefuseTX(syscall.ENOPROTOOPT), kerneltest.RefuseRX(syscall.ENOPROTOOPT)}, syscall.ENOPROTOOPT, "KERN_TLS"},
	} {
		a, b, err := kerneltest.Pair(test.rules, test.options...)
		if err != nil {
			t.Fatal(err)
		}
		s, err := kernel.Open(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, install := range []func(*keyschedule.TrafficKeys) error{s.InstallTX, s.InstallRX} {
			k := keys(suite, 1)
			var refusal *kernel.Refusal
			err := install(k)
			switch {
			case !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, test.reason):
				t.Errorf("%s: %v", test.name, err)
			case !errors.Is(refusal.Err, test.errno):
				t.Errorf("%s: %v, want %v", test.name, refusal.Err, test.errno)
			case !slices.Equal(k.Key(), keys(suite, 1).Key()):
				t.Errorf("%s: the keys are gone", test.name)
			}
		}
		_ = errors.Join(a.Close(), b.Close())
	}
}

// TestProbeModels lets the prober look at models, which it must find as they are.
func TestProbeModels(t *testing.T) {
	for _, test := range []struct {
		name    string
		rules   kernel.Rules
		options []kerneltest.Option
		tx, rx  int // ciphers in versions
		rekey   bool
	}{
		{"Linux", linux, nil, 6, 6, true},
		{"Linux before 6.14", linux, []kerneltest.Option{kerneltest.NoRekey()}, 6, 6, false},
		{"FreeBSD", bsd, nil, 6, 6, false},
		{"FreeBSD 13", bsd, []kerneltest.Option{kerneltest.NoRX13()}, 6, 3, false},
		{"no ChaCha20", linux, []kerneltest.Option{kerneltest.Without(keyschedule.ChaCha20Poly1305)}, 4, 4, true},
		{"no TX", linux, []kerneltest.Option{kerneltest.RefuseTX(syscall.EINVAL)}, 0, 6, false},
		{"nothing", linux, []kerneltest.Option{kerneltest.Unavailable("no module")}, 0, 0, false},
	} {
		options := append([]kerneltest.Option{kerneltest.WithRules(test.rules)}, test.options...)
		r, err := kernel.ProbeWith(func(c *net.TCPConn) (kernel.System, error) {
			return kerneltest.Wrap(c, options...).KernelTLS(), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		tx, rx := 0, 0
		for _, suite := range suites() {
			for _, dir := range []struct {
				kernel.Support
				n *int
			}{{r.TX(suite), &tx}, {r.RX(suite), &rx}} {
				if dir.OK {
					*dir.n++
				} else if dir.Reason == "" {
					t.Errorf("%s: %s: no reason", test.name, suite.Name)
				}
			}
		}
		if tx != test.tx || rx != test.rx || r.Rekey.OK != test.rekey || r.Available != (tx+rx > 0) {
			t.Errorf("%s: TX %d, RX %d of 6, rekey %v, available %v", test.name, tx, rx, r.Rekey.OK, r.Available)
		}
		if r.Rekey.OK == (r.Rekey.Reason != "") || r.Available == (r.Reason != "") {
			t.Errorf("%s: reasons %q, %q", test.name, r.Rekey.Reason, r.Reason)
		}
	}
}

func TestProbeFails(t *testing.T) {
	broken := errors.New("broken")
	if _, err := kernel.ProbeWith(func(*net.TCPConn) (kernel.System, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestKernelProbe says what this kernel can do.
func TestKernelProbe(t *testing.T) {
	r := needKernel(t)
	t.Logf("%+v", *r)
	for _, suite := range suites() {
		if tx, rx := r.TX(suite), r.RX(suite); !tx.OK || !rx.OK {
			t.Errorf("%s: TX %q, RX %q", suite.Name, tx.Reason, rx.Reason)
		}
	}
	begin := time.Now()
	kernel.ForgetProbe()
	kernel.Probe()
	if d := time.Since(begin); d > time.Second {
		t.Errorf("a probe takes %v", d)
	}
}

// TestKernelIPv6 is tls_v6ops.
func TestKernelIPv6(t *testing.T) {
	g := realGround(t)
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil && inLab {
		t.Fatalf("no IPv6 in the lab: %v", err)
	}
	if err != nil {
		t.Skipf("NOT TESTED HERE: no IPv6: %v", err)
	}
	defer func() { _ = ln.Close() }()
	g.pair = func() (a, b net.Conn, err error) {
		if a, err = net.Dial("tcp6", ln.Addr().String()); err != nil {
			return nil, nil, err
		}
		b, err = ln.Accept()
		return a, b, err
	}
	for _, suite := range suites() {
		bothWays(t, g, suite)
	}
}

func TestPolicy(t *testing.T) {
	if kernel.AfterBytes(0) != kernel.AtOnce || kernel.AfterBytes(-5) != kernel.AtOnce || kernel.AfterBytes(7) != 7 {
		t.Error(kernel.AfterBytes(0), kernel.AfterBytes(-5), kernel.AfterBytes(7))
	}
}

func TestSpliceNeedsLinux(t *testing.T) {
	a, b, err := kerneltest.Pair(bsd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(a.Close(), b.Close()) }()
	s, err := kernel.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SpliceTo(nil, 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if tx, rx := s.Device(); tx || rx {
		t.Error(tx, rx)
	}
	if _, err := kernel.Stat(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
