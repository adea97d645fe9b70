package kernel

import (
	"sync"
	"sync/atomic"
	"time"
)

// How long a report is good that says that there is no kernel TLS: somebody may
// load a module, and what stood in the way of the probe itself may pass.
const (
	unavailableFor = time.Minute
	failedFor      = time.Second
)

var (
	probing sync.Mutex
	probed  atomic.Pointer[probeResult]
)

type probeResult struct {
	report *Report
	until  time.Time // zero for ever
}

// Probe returns what this kernel can do with TLS, by doing it: on connections
// over loopback, with keys of no worth, for each protocol version, cipher and
// direction. That takes a few milliseconds, and longer where the kernel has
// ciphers to load first. It happens once in a process; where there is no kernel
// TLS, at most once a minute. The report is shared, and not to be changed.
func Probe() *Report {
	if r := probed.Load(); r.good() {
		return r.report
	}
	probing.Lock()
	defer probing.Unlock()
	if r := probed.Load(); r.good() { // somebody else has probed meanwhile
		return r.report
	}
	r := newProbeResult(probe())
	probed.Store(r)
	return r.report
}

// newProbeResult judges a report, and what stood in the way of the probe.
func newProbeResult(report *Report, err error) *probeResult {
	r := &probeResult{report: report}
	switch {
	case err != nil:
		report.Available, report.Reason = false, "the kernel could not be probed: "+err.Error()
		r.until = time.Now().Add(failedFor)
	case !report.Available:
		r.until = time.Now().Add(unavailableFor)
	}
	return r
}

func (r *probeResult) good() bool {
	return r != nil && (r.until.IsZero() || time.Now().Before(r.until))
}

// forgetProbe makes the next call of Probe do it again.
func forgetProbe() { probed.Store(nil) }
