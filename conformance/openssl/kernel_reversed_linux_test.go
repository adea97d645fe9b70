package openssl

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// mood is a way to start s_server -rev.
type mood struct {
	args []string
	hows []how
}

// TestKernelReversed connects to s_server -rev, which sends each line back
// reversed.
func TestKernelReversed(t *testing.T) {
	count(t)
	rekey := needKernel(t).Rekey.OK
	ts := newTrials(t, rekey)
	ts.reversed(t, *kernelRuns, []mood{
		{args: nil},
		{args: []string{"-num_tickets", "10"}},
		{args: []string{"-num_tickets", "0", "-max_send_frag", "600"}},
		{args: []string{"-record_padding", "1000"}},
	})
	ts.tally.check(t, rekey)
}

// reversed makes n runs with servers in different moods, beside one another. A
// server takes a share of them and then makes place for the next.
func (ts *trials) reversed(t *testing.T, n int, moods []mood) {
	const share = 50
	of := uint64(len(moods))
	for first := uint64(1); first <= max(uint64(n), *kernelSeed) && !t.Failed(); first += share * of {
		var group sync.WaitGroup
		var servers []*server
		for i, m := range moods {
			list := seeds(first+uint64(i), of, share)
			if len(list) == 0 {
				continue
			}
			s := startServer(t, slices.Concat(identity(pki.P256), []string{"-rev", "-cipher", "ALL"}, m.args), m.hows...)
			servers = append(servers, s)
			group.Go(func() { ts.serial(t, s, list) })
		}
		group.Wait()
		for _, s := range servers {
			s.Kill()
		}
	}
}

// serial makes runs one after the other.
func (ts *trials) serial(t *testing.T, s *server, seeds []uint64) {
	for _, seed := range seeds {
		r := ts.trial(seed)
		if err := ts.reverse(r, s.addr); err != nil {
			t.Errorf("%v\nagain: go test -run '^%s$' -kernel.seed %d", err, t.Name(), seed)
			return
		}
	}
}

// reverse makes one run, in some cases after a connection that it resumes.
func (ts *trials) reverse(r *trial, addr string) error {
	cfg := r.shape(clientConfig())
	if r.rnd.IntN(3) == 0 {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		if err := ts.connection(r, addr, cfg, 100); err != nil {
			return fmt.Errorf("the connection to resume: %w", err)
		}
	}
	return ts.connection(r, addr, cfg, r.size())
}

// connection has about size bytes reversed.
func (ts *trials) connection(r *trial, addr string, cfg *tls.Config, size int) error {
	from, to := theText().lines(r.rnd, size)
	conn, err := connectTo(addr, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := r.sender(conn)
	if err != nil {
		return err
	}
	defer s.close()
	list := calls(r.source(1), from, to, r.rekey && conn.ConnectionState().Version == tls13.id)
	errs := make(chan error, 2)
	go func() { errs <- r.receive(conn, reversal(list)) }()
	go func() { errs <- errors.Join(s.send(list), conn.CloseWrite()) }()
	for range cap(errs) {
		if failure := <-errs; failure != nil {
			err = errors.Join(err, failure)
			_ = conn.NetConn().Close()
		}
	}
	if err != nil {
		return fmt.Errorf("%w\n%v", err, conn.Offload())
	}
	ts.tally.add(conn)
	return conn.Close()
}

// reversal is what s_server -rev makes of what calls send. It takes what it has
// of a line for a whole one when keys change.
func reversal(list []call) (b []byte) {
	var line []byte
	flush := func() {
		slices.Reverse(line)
		b = append(append(b, line...), '\n')
		line = line[:0]
	}
	for _, c := range list {
		for _, char := range theText().bytes[c.from:c.to] {
			if char == '\n' {
				flush()
			} else {
				line = append(line, char)
			}
		}
		if c.update {
			flush()
		}
	}
	return b
}
