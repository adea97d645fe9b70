package openssl

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/kernel"
)

// The tests of kernel TLS at both ends: openssl uses it too. OpenSSL cannot
// change keys then, so nobody does. What its manual says it does depends on its
// release; that it does it is seen in the kernel's counters.

// offloading makes openssl give its keys to the kernel.
func offloading(t *testing.T) how {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "openssl.cnf")
	text := "openssl_conf = all\n[all]\nssl_conf = programs\n[programs]\nsystem_default = options\n[options]\nOptions = KTLS\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "OPENSSL_CONF="+conf) }
}

// peerStat is what the kernel's counters said when openssl had nothing in the
// kernel yet.
type peerStat map[string]uint64

func newPeerStat(t *testing.T) peerStat {
	t.Helper()
	stat, err := kernel.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return stat
}

// check wants openssl to have had the kernel send on each connection of the
// tally, and receive on some.
func (before peerStat) check(t *testing.T, y *tally) {
	t.Helper()
	after := newPeerStat(t)
	tx := after["TlsTxSw"] - before["TlsTxSw"] - uint64(y.moved[1][0]+y.moved[1][1])
	rx := after["TlsRxSw"] - before["TlsRxSw"] - uint64(y.moved[0][1]+y.moved[1][1])
	t.Logf("openssl had the kernel send on %d connections of %d, and receive on %d", tx, y.conns, rx)
	if *kernelSeed == 0 && !t.Failed() && (tx != uint64(y.conns) || rx == 0) {
		t.Error("openssl has not used the kernel as it should")
	}
}

// TestKernelBothReversed is TestKernelReversed with the kernel at both ends, for
// a quarter of the connections.
func TestKernelBothReversed(t *testing.T) {
	count(t)
	needKernel(t)
	before := newPeerStat(t)
	ts := newTrials(t, false)
	ktls := []how{offloading(t)}
	ts.reversed(t, *kernelRuns/4, []mood{
		{nil, ktls},
		{[]string{"-num_tickets", "10"}, ktls},
		{[]string{"-num_tickets", "0"}, ktls},
	})
	ts.tally.check(t, false)
	before.check(t, &ts.tally)
}

// TestKernelBothClient is TestKernelClient with the kernel at both ends.
func TestKernelBothClient(t *testing.T) {
	count(t)
	needKernel(t)
	before := newPeerStat(t)
	ts := newTrials(t, false)
	for _, seed := range seeds(1, 1, uint64(*kernelPipes)) {
		if err := ts.client(t, ts.trial(seed), false, offloading(t)); err != nil {
			t.Fatalf("%v\nagain: go test -run '^%s$' -kernel.seed %d", err, t.Name(), seed)
		}
	}
	ts.tally.check(t, false)
	before.check(t, &ts.tally)
}

// TestKernelBothSendfile fetches a file that OpenSSL sends by sendfile.
func TestKernelBothSendfile(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	want := bytes.Repeat(theText().bytes, 8)
	if err := os.WriteFile(filepath.Join(dir, "file"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, append(identity(pki.P256), "-WWW", "-sendfile", "-cipher", "ALL"), in(dir), offloading(t))
	for _, v := range versions {
		for name, mode := range map[string]kernel.Mode{"user space": kernel.Off, "kernel": kernel.Require} {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				count(t)
				cfg := v.pin(clientConfig())
				cfg.Kernel = kernel.Policy{TX: mode, MoveTX: kernel.AtOnce, RX: mode, MoveRX: kernel.AtOnce, NoRekey: kernel.NoRekeyClose}
				conn := s.dial(t, cfg)
				send(t, conn, "GET /file HTTP/1.0\r\n\r\n")
				receive(t, conn, "HTTP/1.0 200 ok\r\nContent-type: text/plain\r\n\r\n")
				check := &comparer{want}
				if _, err := conn.WriteTo(check); err != nil {
					t.Fatal(err)
				}
				if err := check.end(io.EOF); err != nil {
					t.Error(err)
				}
				if o := conn.Offload(); (o.RX.Where != tls.UserSpace) != (mode == kernel.Require) {
					t.Error(o)
				}
			})
		}
	}
}
