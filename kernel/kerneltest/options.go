//go:build unix

package kerneltest

import (
	"slices"
	"syscall"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
)

// Option changes the kernel of a [Conn].
type Option func(*Conn)

// WithRules chooses whose rules the kernel follows, Linux's by default.
func WithRules(r kernel.Rules) Option { return func(c *Conn) { c.rules = r } }

// NoRekey makes it Linux before 6.14, which replaces no keys and does not look
// for KeyUpdates.
func NoRekey() Option { return func(c *Conn) { c.noRekey = true } }

// NoRX13 makes it FreeBSD 13, which does not receive TLS 1.3.
func NoRX13() Option { return func(c *Conn) { c.noRX13 = true } }

// Without takes a cipher out of the kernel.
func Without(cipher keyschedule.Cipher) Option {
	return func(c *Conn) { c.without = append(c.without, cipher) }
}

// Unavailable makes it a kernel without TLS, for the given reason.
func Unavailable(reason string) Option { return func(c *Conn) { c.unavailable = reason } }

// RefuseTX lets the kernel refuse keys for the sending direction with errno,
// which its Report did not announce.
func RefuseTX(errno syscall.Errno) Option { return func(c *Conn) { c.tx.refusal = errno } }

// RefuseRX is RefuseTX for the receiving direction.
func RefuseRX(errno syscall.Errno) Option { return func(c *Conn) { c.rx.refusal = errno } }

// SendBuffer sets how many bytes the kernel takes before it makes writers wait.
// As on Linux the record that exceeds it is accepted whole, and on Linux what
// is over is lost if the connection is closed then.
func SendBuffer(n int) Option { return func(c *Conn) { c.tx.capacity = n } }

const defaultSendBuffer = 1 << 18

// report returns what the kernel can do.
func (c *Conn) report() *kernel.Report {
	r := &kernel.Report{System: "model of " + c.rules.String(), Reason: c.unavailable}
	if r.Available = c.unavailable == ""; !r.Available {
		return r
	}
	seen := map[kernel.Capability]bool{}
	for _, s := range keyschedule.Suites() {
		e := kernel.Capability{Version: s.Version, Cipher: s.Cipher}
		if s.Cipher.IsCBC() || seen[e] {
			continue
		}
		seen[e] = true
		e.TX, e.RX = support(c.lacksTX(s)), support(c.lacksRX(s))
		r.Entries = append(r.Entries, e)
	}
	r.Rekey = support(c.lacksRekey())
	r.NoPad = support("the model does not have it")
	r.SpliceRX, r.MaxPayload, r.DeviceOffload = r.NoPad, r.NoPad, r.NoPad
	return r
}

func support(reason string) kernel.Support {
	return kernel.Support{OK: reason == "", Reason: reason}
}

// lacksTX says why the kernel does not send under suite, or "".
func (c *Conn) lacksTX(suite *keyschedule.Suite) string {
	if suite.Cipher.IsCBC() || slices.Contains(c.without, suite.Cipher) {
		return "the model does not have this cipher"
	}
	return ""
}

func (c *Conn) lacksRX(suite *keyschedule.Suite) string {
	if c.noRX13 && suite.Version == keyschedule.VersionTLS13 {
		return "receiving TLS 1.3 needs FreeBSD 14"
	}
	return c.lacksTX(suite)
}

func (c *Conn) lacksRekey() string {
	switch {
	case c.rules == kernel.RulesFreeBSD:
		return "FreeBSD sets keys once"
	case c.noRekey:
		return "Linux replaces keys from 6.14 on"
	}
	return ""
}

// refusedAgain is what a second set of keys gives, or nil if it replaces them.
func (c *Conn) refusedAgain(old, suite *keyschedule.Suite) error {
	switch {
	case c.rules == kernel.RulesFreeBSD:
		return syscall.EALREADY
	case old.Version == keyschedule.VersionTLS12, c.noRekey:
		return syscall.EBUSY
	case old.Version != suite.Version || old.Cipher != suite.Cipher:
		return syscall.EINVAL
	}
	return nil
}

// missing is what keys for a suite give that the kernel does not have.
func (c *Conn) missing(suite *keyschedule.Suite) error {
	switch {
	case c.unavailable == "" && c.lacksTX(suite) == "":
		return nil
	case c.rules == kernel.RulesLinux:
		return syscall.ENOENT
	case c.unavailable != "":
		return syscall.EOPNOTSUPP
	}
	return syscall.EINVAL
}

// mismatch is what Linux says if the other direction has another suite.
func (c *Conn) mismatch(other, suite *keyschedule.Suite) error {
	if c.rules == kernel.RulesLinux && other != nil && (other.Version != suite.Version || other.Cipher != suite.Cipher) {
		return syscall.EINVAL
	}
	return nil
}
