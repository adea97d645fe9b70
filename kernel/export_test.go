package kernel

import "net"

// System returns the socket's System, for tests of what Socket hides.
func (s *Socket) System() System { return s.sys }

// NewSocket returns the Socket of a System.
func NewSocket(sys System) *Socket { return newSocket(sys) }

// ProbeWith probes as Probe does, without the steps that are one system's own.
func ProbeWith(open func(*net.TCPConn) (System, error)) (*Report, error) {
	p, err := newProber("test", open)
	if err != nil {
		return p.report, err
	}
	defer p.close()
	if err := p.suites(); err != nil {
		return p.report, err
	}
	return p.report, p.rekey()
}

// ForgetProbe makes the next Probe probe.
func ForgetProbe() { forgetProbe() }
