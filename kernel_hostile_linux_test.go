//go:build unix

package tls

import (
	"io"
	"syscall"
	"testing"

	"github.com/go-handoff/tls/kernel"
)

// TestKernelNoDescriptors passes a stream on where there are no descriptors left
// for a pipe: by a copy.
func TestKernelNoDescriptors(t *testing.T) {
	needKernel(t)
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := kernelConfigs(v, both)
		server.Kernel = both
		in, out := connectUnhurried(t, ground{network: sockets}, client, server), connectUnhurried(t, ground{network: sockets}, client, server)
		from, to := sockets(t)
		defer from.Close()
		defer to.Close()
		noDescriptors(t)
		const n = 1 << 20
		errs := make(chan error, 3)
		go func() { errs <- sendByWrite(t, in[0], n) }()
		go func() {
			_, err := in[1].WriteTo(from) // to a plain connection, and from that to another
			from.Close()
			errs <- err
		}()
		go func() {
			_, err := out[0].ReadFrom(to)
			out[0].CloseWrite()
			errs <- err
		}()
		check := &repeatedCheck{}
		if m, err := io.Copy(check, struct{ io.Reader }{out[1]}); m != n || err != nil {
			t.Errorf("%d bytes, %v", m, err)
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

// noDescriptors lets the process have no more descriptors than it has.
func noDescriptors(t *testing.T) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	})
	if p, err := kernel.NewPipe(); err == nil {
		p.Close()
		t.Fatal("there are descriptors left")
	}
}
