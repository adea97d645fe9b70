package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-handoff/tls/keyschedule"
)

// probeTimeout bounds each wait of a probe. Nothing on loopback takes that long.
const probeTimeout = 2 * time.Second

// prober finds out what a kernel can do, on connections over loopback.
type prober struct {
	open   func(*net.TCPConn) (System, error)
	ln     *net.TCPListener
	report *Report
}

func newProber(system string, open func(*net.TCPConn) (System, error)) (*prober, error) {
	p := &prober{open: open, report: &Report{System: system}}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		ln, err = lc.Listen(context.Background(), "tcp6", "[::1]:0")
	}
	if err != nil {
		return p, err
	}
	p.ln = ln.(*net.TCPListener)
	return p, nil
}

func (p *prober) close() { _ = p.ln.Close() }

// pair is a connection of which a sends and b receives.
type pair struct {
	connA, connB *net.TCPConn
	a, b         System
	suite        *keyschedule.Suite // nil without keys
}

// pair returns a new connection.
func (p *prober) pair() (*pair, error) {
	deadline := time.Now().Add(probeTimeout)
	d := net.Dialer{Deadline: deadline}
	d.SetMultipathTCP(false)
	conn, err := d.Dial(p.ln.Addr().Network(), p.ln.Addr().String())
	if err != nil {
		return nil, err
	}
	c := &pair{connA: conn.(*net.TCPConn)}
	if c.connB, err = p.accept(c.connA.LocalAddr().String(), deadline); err != nil {
		c.close()
		return nil, err
	}
	_ = c.connA.SetDeadline(deadline)
	_ = c.connB.SetDeadline(deadline)
	if c.a, err = p.open(c.connA); err == nil {
		c.b, err = p.open(c.connB)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// accept returns the connection from the given address. Any process of the
// machine can connect, and others are not meant.
func (p *prober) accept(from string, deadline time.Time) (*net.TCPConn, error) {
	_ = p.ln.SetDeadline(deadline)
	for {
		conn, err := p.ln.AcceptTCP()
		if err != nil || conn.RemoteAddr().String() == from {
			return conn, err
		}
		_ = conn.Close()
	}
}

// close closes both ends, with a reset, which leaves nothing behind.
func (c *pair) close() {
	for _, conn := range []*net.TCPConn{c.connA, c.connB} {
		if conn != nil {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
	}
}

// send sends content from a to b as one record, and checks what comes out.
func (c *pair) send(typ byte, content string) error {
	n, err := c.a.SendControl(typ, []byte(content))
	if err != nil || n != len(content) {
		return fmt.Errorf("sending: %d bytes, %w", n, err)
	}
	buf := make([]byte, 2*len(content))
	r, err := c.b.Receive(buf)
	if err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	if !r.Typed || r.Type != typ || string(buf[:r.N]) != content {
		return errors.New("what was received is not what was sent")
	}
	return nil
}

// probeContent is a record's content.
const probeContent = "probe"

// The record types that a probe uses.
const (
	typeAlert = 21
	typeData  = 23
)

// probeKeys returns keys for suite that differ from epoch to epoch.
func probeKeys(suite *keyschedule.Suite, epoch byte) *keyschedule.TrafficKeys {
	k := &keyschedule.TrafficKeys{Suite: suite}
	for _, b := range [][]byte{k.Key(), k.IV()} {
		for i := range b {
			b[i] = epoch
		}
	}
	return k
}

// suites returns one suite for each version and cipher that kernels may have.
func suites() (list []*keyschedule.Suite) {
	type kind struct {
		version uint16
		cipher  keyschedule.Cipher
	}
	seen := map[kind]bool{}
	for _, s := range keyschedule.Suites() {
		k := kind{s.Version, s.Cipher}
		if !seen[k] && !s.Cipher.IsCBC() {
			seen[k] = true
			list = append(list, s)
		}
	}
	return list
}

// suites fills the report's entries. What it returns as an error is about the
// probe, not the kernel.
func (p *prober) suites() error {
	for _, suite := range suites() {
		c, err := p.suite(suite)
		if err != nil {
			return err
		}
		p.report.Entries = append(p.report.Entries, c)
		p.report.Available = p.report.Available || c.TX.OK || c.RX.OK
		if !p.report.Available && p.report.Reason == "" {
			p.report.Reason = c.TX.Reason
		}
	}
	if p.report.Available {
		p.report.Reason = ""
	}
	return nil
}

// suite tries both directions under one suite.
func (p *prober) suite(suite *keyschedule.Suite) (Capability, error) {
	capability := Capability{Version: suite.Version, Cipher: suite.Cipher}
	c, err := p.pair()
	if err != nil {
		return capability, err
	}
	defer c.close()
	k := probeKeys(suite, 1)
	capability.TX = support(c.a, "TX", c.a.EnableTX(k))
	capability.RX = support(c.b, "RX", c.b.EnableRX(k))
	if capability.TX.OK && capability.RX.OK {
		if err := c.send(typeData, probeContent); err != nil {
			wrong := Support{Reason: "the kernel takes the keys and does not work: " + err.Error()}
			capability.TX, capability.RX = wrong, wrong
		}
	}
	return capability, nil
}

// support says what err, of giving keys to sys, means.
func support(sys System, op string, err error) Support {
	if err == nil {
		return Support{OK: true}
	}
	return Support{Reason: refuse(sys.Rules(), op, err).Reason}
}

// rekey finds out whether keys can be replaced.
func (p *prober) rekey() (err error) {
	p.report.Rekey, err = p.for13(func(c *pair) Support {
		next := probeKeys(c.suite, 2)
		if err := errors.Join(c.a.EnableTX(next), c.b.EnableRX(next)); err != nil {
			return support(c.a, "rekey", err)
		}
		if err := c.send(typeData, probeContent); err != nil {
			return Support{Reason: "the kernel replaces keys and does not work: " + err.Error()}
		}
		return Support{OK: true}
	})
	return err
}

// for13 calls f with a connection under TLS 1.3, or returns why there is none.
func (p *prober) for13(f func(c *pair) Support) (Support, error) {
	suite := keyschedule.SuiteByID(keyschedule.TLS_AES_128_GCM_SHA256)
	if !p.report.TX(suite).OK || !p.report.RX(suite).OK {
		return Support{Reason: "the kernel does not have TLS 1.3 in both directions"}, nil
	}
	c, err := p.keyed(suite)
	if err != nil {
		return Support{}, err
	}
	defer c.close()
	return f(c), nil
}

// keyed returns a new connection with keys in the kernel.
func (p *prober) keyed(suite *keyschedule.Suite) (*pair, error) {
	c, err := p.pair()
	if err != nil {
		return nil, err
	}
	c.suite = suite
	k := probeKeys(suite, 1)
	if err := errors.Join(c.a.EnableTX(k), c.b.EnableRX(k)); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}
