//go:build unix

package kernel_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/kernel/kerneltest"
	"github.com/go-handoff/tls/keyschedule"
)

// inLab reports whether the tests run where kernel TLS must be.
var inLab = os.Getenv("HANDOFF_LAB") == "1"

// needKernel skips a test where the kernel has no TLS, but not in the lab.
func needKernel(t *testing.T) *kernel.Report {
	t.Helper()
	r := kernel.Probe()
	switch {
	case r.Available:
	case inLab:
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED: this kernel has no TLS: %s", r.Reason)
	}
	return r
}

// ground is what a scenario runs on: the kernel, or a model of one.
type ground struct {
	name  string
	rules kernel.Rules
	rekey bool
	model bool
	pair  func() (a, b net.Conn, err error)
}

// models are the grounds that every machine has.
func models() []ground {
	model := func(name string, rules kernel.Rules, rekey bool, options ...kerneltest.Option) ground {
		return ground{name, rules, rekey, true, func() (a, b net.Conn, err error) {
			return modelPair(rules, options...)
		}}
	}
	return []ground{
		model("Linux", kernel.RulesLinux, true),
		model("Linux before 6.14", kernel.RulesLinux, false, kerneltest.NoRekey()),
		model("FreeBSD", kernel.RulesFreeBSD, false),
	}
}

func modelPair(rules kernel.Rules, options ...kerneltest.Option) (a, b net.Conn, err error) {
	return kerneltest.Pair(rules, options...)
}

// realGround is the kernel that the test runs on.
func realGround(t *testing.T) ground {
	r := needKernel(t)
	rules := kernel.RulesLinux
	if os := r.System; bytes.HasPrefix([]byte(os), []byte("freebsd")) {
		rules = kernel.RulesFreeBSD
	}
	return ground{r.System, rules, r.Rekey.OK, false, tcpPair}
}

// tcpPair returns both ends of a connection over loopback.
func tcpPair() (a, b net.Conn, err error) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = ln.Close() }()
	if a, err = net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr)); err != nil {
		return nil, nil, err
	}
	b, err = ln.AcceptTCP()
	return a, b, err
}

// end is one end of a connection.
type end struct {
	t *testing.T
	net.Conn
	*kernel.Socket
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// ends returns both ends of a connection without keys.
func (g ground) ends(t *testing.T) (a, b end) {
	t.Helper()
	ca, cb, err := g.pair()
	if err != nil {
		t.Fatal(err)
	}
	var list []end
	for _, c := range []net.Conn{ca, cb} {
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		s, err := kernel.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, end{t, c, s})
	}
	return list[0], list[1]
}

// keyed returns both ends of a connection with keys in the kernel.
func (g ground) keyed(t *testing.T, suite *keyschedule.Suite) (a, b end) {
	t.Helper()
	a, b = g.ends(t)
	for _, err := range []error{
		a.InstallTX(keys(suite, 1)), b.InstallRX(keys(suite, 1)),
		b.InstallTX(keys(suite, 2)), a.InstallRX(keys(suite, 2)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// keys returns the keys of an epoch, for which the tests use small numbers.
func keys(suite *keyschedule.Suite, epoch byte) *keyschedule.TrafficKeys {
	k := &keyschedule.TrafficKeys{Suite: suite}
	for _, b := range [][]byte{k.Key(), k.IV()} {
		for i := range b {
			b[i] = epoch ^ byte(i)
		}
	}
	return k
}

// suites returns one suite for each version and cipher.
func suites() (list []*keyschedule.Suite) {
	for _, id := range []uint16{
		keyschedule.TLS_AES_128_GCM_SHA256,
		keyschedule.TLS_AES_256_GCM_SHA384,
		keyschedule.TLS_CHACHA20_POLY1305_SHA256,
		keyschedule.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		keyschedule.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		keyschedule.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	} {
		list = append(list, keyschedule.SuiteByID(id))
	}
	return list
}

func is13(s *keyschedule.Suite) bool { return s.Version == keyschedule.VersionTLS13 }

// The types of records.
const (
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

// write sends data.
func (e end) write(b []byte) {
	e.t.Helper()
	if n, err := e.Conn.Write(b); n != len(b) || err != nil {
		e.t.Fatalf("write of %d bytes: %d, %v", len(b), n, err)
	}
}

// control sends a record.
func (e end) control(typ byte, b []byte) {
	e.t.Helper()
	if err := e.SendControl(typ, b); err != nil {
		e.t.Fatalf("record of type %d: %v", typ, err)
	}
}

// once is one Receive with room for n bytes that must return typ and want.
func (e end) once(n int, typ byte, want []byte, more bool) {
	e.t.Helper()
	buf := make([]byte, n)
	gotTyp, k, gotMore, err := e.Receive(buf)
	if err != nil {
		e.t.Fatalf("receive: %v", err)
	}
	if gotTyp != typ || gotMore != more || !bytes.Equal(buf[:k], want) {
		e.t.Fatalf("receive: type %d, %d bytes %.20q, more %v; want type %d, %d bytes %.20q, more %v", gotTyp, k, buf[:k], gotMore, typ, len(want), want, more)
	}
}

// all receives data until want is complete.
func (e end) all(typ byte, want []byte) {
	e.t.Helper()
	buf := make([]byte, 1<<16)
	for len(want) > 0 {
		gotTyp, n, _, err := e.Receive(buf)
		if err != nil {
			e.t.Fatalf("receive: %v, with %d bytes to come", err, len(want))
		}
		if gotTyp != typ || n > len(want) || !bytes.Equal(buf[:n], want[:n]) {
			e.t.Fatalf("receive: type %d, %d bytes, which are not what was sent with type %d; %d bytes to come", gotTyp, n, typ, len(want))
		}
		want = want[n:]
	}
}

// fails receives an error.
func (e end) fails() error {
	e.t.Helper()
	typ, n, more, err := e.Receive(make([]byte, 100))
	if err == nil {
		e.t.Fatalf("received type %d, %d bytes, more %v, and no error", typ, n, more)
	}
	return err
}

// text returns n bytes.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// settle gives what was sent the time to arrive. Scenarios about what one
// call returns need it all to be there; others do not.
func settle() { time.Sleep(20 * time.Millisecond) }

// smallBuffers makes a writer wait soon for a peer that does not read. With
// these sizes Linux 6.12 and later lose a record in closeLoses.
func (e end) smallBuffers() {
	e.t.Helper()
	c, size := e.Conn, 20000
	if model, ok := c.(*kerneltest.Conn); ok {
		c, size = model.NetConn(), 1<<16
	}
	tcp := c.(*net.TCPConn)
	if err := errors.Join(tcp.SetReadBuffer(size), tcp.SetWriteBuffer(size)); err != nil {
		e.t.Fatal(err)
	}
}

// fill writes from b until the socket takes no more, and returns how much it
// took.
func (e end) fill(b []byte) (accepted int) {
	e.t.Helper()
	for {
		_ = e.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := e.Conn.Write(b[accepted:])
		accepted += n
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			e.t.Fatalf("%d bytes into a peer that does not read: %v", accepted, err)
		}
		if n == 0 {
			return accepted
		}
	}
}
