//go:build unix

package kerneltest

import (
	"crypto/sha256"
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

// system is a Conn as package kernel sees it.
type system struct{ c *Conn }

var _ kernel.System = system{}

func (s system) Rules() kernel.Rules    { return s.c.rules }
func (s system) Report() *kernel.Report { return s.c.report() }

func (s system) EnableTX(k *keyschedule.TrafficKeys) error {
	return s.c.sysError("setsockopt", "TX", s.c.tx.enable(k))
}

func (s system) EnableRX(k *keyschedule.TrafficKeys) error {
	return s.c.sysError("setsockopt", "RX", s.c.rx.enable(k))
}

func (s system) VerifyTX(suite *keyschedule.Suite) error {
	return s.c.sysError("getsockopt", "TX", s.c.verify(s.c.tx.suite(), suite))
}

func (s system) VerifyRX(suite *keyschedule.Suite) error {
	return s.c.sysError("getsockopt", "RX", s.c.verify(s.c.rx.suite(), suite))
}

func (s system) NextTX() (uint64, error) {
	s.c.tx.mu.Lock()
	defer s.c.tx.mu.Unlock()
	return s.c.next(s.c.tx.prot)
}

func (s system) NextRX() (uint64, error) {
	s.c.rx.mu.Lock()
	defer s.c.rx.mu.Unlock()
	return s.c.next(s.c.rx.prot)
}

func (s system) RefreshRX() error { return s.c.rx.refresh() }

func (s system) Receive(p []byte) (kernel.Received, error) { return s.c.rx.receive(p, true) }

func (s system) SendControl(typ byte, b []byte) (int, error) { return s.c.tx.control(typ, b) }

func (s system) SocketError() error { return s.c.takeError() }

func (s system) Unsent() (int, error) { return s.c.tx.unsent() }

func (s system) Device() (tx, rx bool) { return false, false }

// verify is what a kernel says of the suite of a direction.
func (c *Conn) verify(installed, suite *keyschedule.Suite) error {
	switch {
	case c.rules == kernel.RulesFreeBSD && installed == nil:
		return syscall.EINVAL
	case c.rules == kernel.RulesFreeBSD:
		return nil // it says no more
	case installed == nil:
		return syscall.EBUSY
	case installed.Version != suite.Version || installed.Cipher != suite.Cipher:
		return syscall.EINVAL
	}
	return nil
}

// next is the live record number, which FreeBSD does not tell.
func (c *Conn) next(p *protection) (uint64, error) {
	switch {
	case c.rules == kernel.RulesFreeBSD:
		return 0, errors.ErrUnsupported
	case p == nil:
		return 0, syscall.EBUSY
	}
	return p.seq, nil
}

// sysError names the socket option of a direction that failed, as package
// kernel does.
func (c *Conn) sysError(call, direction string, err error) error {
	option := "TLS_" + direction
	if c.rules == kernel.RulesFreeBSD {
		option = "TCP_" + direction + map[string]string{"setsockopt": "TLS_ENABLE", "getsockopt": "TLS_MODE"}[call]
	}
	return os.NewSyscallError(call+" "+option, err)
}

// installed is what both directions have.
type installed struct {
	mu   sync.Mutex
	prot *protection // nil without keys
	used usedKeys
}

func (d *installed) on() bool { return d.suite() != nil }

func (d *installed) suite() *keyschedule.Suite {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.prot == nil {
		return nil
	}
	return d.prot.suite
}

// give takes keys, the first or new ones, if c's kernel does. other is the suite
// of the other direction. mu is held.
func (d *installed) give(c *Conn, other *keyschedule.Suite, k *keyschedule.TrafficKeys) error {
	if d.prot != nil {
		if err := c.refusedAgain(d.prot.suite, k.Suite); err != nil {
			return err
		}
	}
	if err := c.mismatch(other, k.Suite); err != nil {
		return err
	}
	prot, err := newProtection(k)
	if err != nil {
		return syscall.EINVAL
	}
	d.used.add(k)
	d.prot = prot
	return nil
}

// usedKeys knows the keys that a direction ever had.
type usedKeys map[[sha256.Size]byte]bool

// add panics if k was there before: its nonces would be used twice.
func (u *usedKeys) add(k *keyschedule.TrafficKeys) {
	sum := sha256.Sum256(append(append([]byte{byte(k.Suite.Cipher)}, k.Key()...), k.IV()...))
	if (*u)[sum] {
		panic("kerneltest: the same keys are given twice")
	}
	if *u == nil {
		*u = usedKeys{}
	}
	(*u)[sum] = true
}
