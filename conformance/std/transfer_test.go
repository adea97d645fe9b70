package std

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// hook calls a function before each Read.
type hook struct {
	io.Reader
	f func()
}

func (h hook) Read(b []byte) (int, error) {
	h.f()
	return h.Reader.Read(b)
}

// streams is data on its way in both directions.
type streams struct {
	*sides
	sending       chan error
	atOurs, atStd chan error // of receiving
}

// begin sends n bytes each way at the same time. It calls burst before each
// burst of ours.
func begin(b *sides, n int64, burst func()) *streams {
	st := &streams{b, make(chan error, 2), make(chan error, 1), make(chan error, 1)}
	move := func(to, from conn, seed byte, before func(), received chan<- error) {
		want, hashed := sha256.New(), make(chan struct{})
		stream := io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
		go func() {
			defer close(hashed)
			_, err := io.Copy(from, hook{io.TeeReader(stream, want), before})
			st.sending <- err
		}()
		go func() {
			got := sha256.New()
			m, err := io.Copy(got, to)
			<-hashed
			if m != n || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
				err = errors.Join(err, fmt.Errorf("%d of %d bytes arrived, or wrong ones", m, n))
			}
			received <- err
		}()
	}
	move(b.std, b.ours, 1, burst, st.atStd)
	move(b.ours, b.std, 2, func() {}, st.atOurs)
	return st
}

// sent waits until all was sent.
func (st *streams) sent() error { return errors.Join(<-st.sending, <-st.sending) }

// end ends both streams, waits until all has arrived and compares checksums.
// crypto/tls ends its stream when it has read ours.
func (st *streams) end() error {
	err := errors.Join(st.ours.CloseWrite(), <-st.atStd)
	return errors.Join(err, st.std.CloseWrite(), <-st.atOurs)
}

// TestTransfer moves 100 MiB each way, at the same time, with each cipher.
func TestTransfer(t *testing.T) {
	for name, v := range versions {
		for _, suite := range suites(v, pki.RSA) {
			row(t, fmt.Sprintf("%s/%s", name, tls.CipherSuiteName(suite)), func(t *testing.T, r role) {
				c, s := pin(v, clientConfig()), serverConfig(pki.RSA)
				c.CipherSuites, s.CipherSuites = []uint16{suite}, []uint16{suite}
				b := pair(r, c, s).connect(t)
				st := begin(b, 100<<20, func() {})
				if err := errors.Join(st.sent(), st.end()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
