//go:build unix

package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tls "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

const (
	loadInterval = 2 * time.Second
	loadBudget   = 50 * time.Millisecond
	// loadMargin is what a handshake may take longer than before because the
	// machine has other things to do.
	loadMargin = 250 * time.Millisecond
	loadName   = "fleet.test"
	// loadTimeout is how long the fleet may need for what it does in a second.
	loadTimeout = 20 * time.Second
)

// loadServer is one server of the fleet: with one ring of keys, it listens once
// for clients that get sealed tickets and once for those that get handles.
type loadServer struct {
	keys             *session.KeyRing
	sealed, stateful string // addresses
	storeErrs        atomic.Int64
}

func startLoadServer(t *testing.T, redis *sessiontest.Server, cert tls.Certificate) *loadServer {
	t.Helper()
	client := newClient(t, redis)
	s := &loadServer{keys: &session.KeyRing{
		Source: NewRing(client, "ring"), KEK: kek, Interval: loadInterval, Poll: loadInterval / 20, Budget: loadBudget,
	}}
	if err := s.keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	sealed := &tls.Config{Certificates: []tls.Certificate{cert}, TicketKeys: s.keys}
	stateful := sealed.Clone()
	stateful.ServerSessions = &session.Stateful{
		Store: NewStore(client, ""), Budget: loadBudget, OnError: func(error) { s.storeErrs.Add(1) },
	}
	s.sealed, s.stateful = serve(t, sealed), serve(t, stateful)
	return s
}

// serve sends one byte to each client, until the test ends.
func serve(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(loadTimeout))
				_, _ = c.Write([]byte{1}) // if it fails the client sees it
			})
		}
	})
	return l.Addr().String()
}

// tally is how handshakes went.
type tally struct {
	resumed, full int
	took          []time.Duration
}

func (a *tally) median() time.Duration {
	if len(a.took) == 0 {
		return 0
	}
	slices.Sort(a.took)
	return a.took[len(a.took)/2]
}

// loadClient comes back all the time, to one server after the other.
type loadClient struct {
	name   string
	addrs  []string
	config *tls.Config

	mu    sync.Mutex
	tally tally
	errs  []error // of all its handshakes
}

func (c *loadClient) run(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		took, resumed, err := c.connect(ctx, c.addrs[i%len(c.addrs)])
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.tally.took = append(c.tally.took, took)
		switch {
		case err != nil:
			c.errs = append(c.errs, err)
		case resumed:
			c.tally.resumed++
		default:
			c.tally.full++
		}
		c.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

// connect makes a handshake and waits for the first byte, before which tickets
// come.
func (c *loadClient) connect(ctx context.Context, addr string) (took time.Duration, resumed bool, err error) {
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, false, err
	}
	defer tcp.Close()
	conn, start := tls.Client(tcp, c.config), time.Now()
	if err := conn.SetDeadline(start.Add(loadTimeout)); err != nil {
		return 0, false, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return time.Since(start), false, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return time.Since(start), false, err
	}
	return time.Since(start), conn.ConnectionState().DidResume, nil
}

// take returns the tally since the last call.
func (c *loadClient) take() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.tally
	c.tally = tally{}
	return a
}

// checkErrs checks that no handshake has failed since the last call.
func (c *loadClient) checkErrs(t *testing.T, when string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) > 0 {
		t.Errorf("%s: %s: %d handshakes fail: %v", when, c.name, len(c.errs), c.errs[0])
	}
	c.errs = nil
}

// fleet is two servers and their clients.
type fleet struct {
	t       *testing.T
	redis   *sessiontest.Server
	servers [2]*loadServer
	clients []*loadClient
	healthy map[string]time.Duration // each client's median
}

func startFleet(t *testing.T, redis *sessiontest.Server) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: redis, healthy: make(map[string]time.Duration)}
	cert, roots := loadCertificate(t)
	for i := range f.servers {
		f.servers[i] = startLoadServer(t, redis, cert)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	a, b := f.servers[0], f.servers[1]
	for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
		config := &tls.Config{RootCAs: roots, ServerName: loadName, MaxVersion: version}
		for _, c := range []*loadClient{
			{name: name + ", sealed", addrs: []string{a.sealed, b.sealed}},
			{name: name + ", stateful", addrs: []string{a.stateful, b.stateful}},
			{name: name + ", sealed, another", addrs: []string{b.sealed, a.sealed}},
			{name: name + ", stateful, another", addrs: []string{b.stateful, a.stateful}},
		} {
			c.config = config.Clone()
			c.config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			f.clients = append(f.clients, c)
			running.Go(func() { c.run(ctx) })
		}
	}
	return f
}

func loadCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{loadName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// await waits until something is so, with all clients at work.
func (f *fleet) await(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(loadTimeout); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			for i, s := range f.servers {
				f.t.Logf("server %d: %+v", i, s.keys.Status())
			}
			f.t.Fatalf("not %s within %v", what, loadTimeout)
		}
	}
}

// check takes the tallies, of clients that could or could not reach Redis. No
// handshake fails; they are resumed where Redis is not needed for it; and they
// wait for it as long as the budgets allow and no longer.
func (f *fleet) check(when string, reachable bool) {
	f.t.Helper()
	for _, c := range f.clients {
		a := c.take()
		median, most := a.median(), time.Duration(0)
		if len(a.took) > 0 {
			most = a.took[len(a.took)-1]
		}
		f.t.Logf("%s: %s: %d resumed, %d full, median %v, longest %v", when, c.name, a.resumed, a.full, median, most)
		c.checkErrs(f.t, when)
		if a.resumed+a.full == 0 {
			f.t.Errorf("%s: %s: no handshake", when, c.name)
		}
		if needsRedis := slices.Contains(c.addrs, f.servers[0].stateful); (reachable || !needsRedis) && a.resumed < a.full {
			f.t.Errorf("%s: %s: %d resumed, %d full", when, c.name, a.resumed, a.full)
		}
		if reachable {
			f.healthy[c.name] = max(f.healthy[c.name], median)
			continue
		}
		// One budget for what the client offers, one for what it gets, one for
		// the keys.
		if bound := f.healthy[c.name] + 3*loadBudget + loadMargin; median > bound {
			f.t.Errorf("%s: %s: the median of handshakes is %v, more than %v", when, c.name, median, bound)
		}
	}
}

// well waits until Redis is used as if nothing had been, and checks that it is.
func (f *fleet) well(when string) {
	f.t.Helper()
	for _, s := range f.servers {
		f.await(when+": rings without an error", func() bool { s := s.keys.Status(); return s.Err == nil && s.Shared })
	}
	for _, c := range f.clients {
		f.await(when+": resumption between the servers by "+c.name, func() bool { a := c.take(); return a.resumed > 3*a.full })
	}
	for _, c := range f.clients {
		c.take()
	}
	time.Sleep(loadInterval / 4)
	f.check(when, true)
}

// rotates waits until both rings have a new next key, the same one.
func (f *fleet) rotates(when string) {
	f.t.Helper()
	before := f.nextKeys()
	f.await(when+": rotation", func() bool {
		now := f.nextKeys()
		return now[0] == now[1] && now[0] != before[0] && now[0] != before[1]
	})
}

func (f *fleet) nextKeys() (names [2]string) {
	for i, s := range f.servers {
		names[i] = s.keys.Status().Keys[0].Name
	}
	return names
}

// fails runs a time without Redis: long enough that the key takes over which was
// announced before, and until which the one in use stays in use.
func (f *fleet) fails(when string, fail func()) {
	f.t.Helper()
	for _, s := range f.servers { // in the second half of an interval the rings were told of the next key
		f.await(when+": a key announced", func() bool {
			left := time.Until(s.keys.Status().NextRotation)
			return left > loadInterval/8 && left < loadInterval/3
		})
	}
	for _, c := range f.clients {
		c.take()
	}
	next, goroutines := f.nextKeys(), runtime.NumGoroutine()
	errs := [2]int64{f.servers[0].storeErrs.Load(), f.servers[1].storeErrs.Load()}
	fail()
	for i, s := range f.servers {
		f.await(when+": an error in the status", func() bool { return s.keys.Status().Err != nil })
		f.await(when+": the announced key in use", func() bool {
			key := s.keys.Status().Keys[0]
			return key.Name != next[i] || key.Seals > 10
		})
		if f.nextKeys()[i] != next[i] {
			f.t.Errorf("%s: ring %d has another key without its source", when, i)
		}
		if s.storeErrs.Load() == errs[i] {
			f.t.Errorf("%s: server %d does not report what its store does", when, i)
		}
	}
	if n := runtime.NumGoroutine() - goroutines; n > 4*maxCalls {
		f.t.Errorf("%s: %d more goroutines", when, n)
	}
	f.check(when, false)
}

// TestFaultsUnderLoad kills, pauses and restarts Redis while clients come back
// all the time.
func TestFaultsUnderLoad(t *testing.T) {
	redis := start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	goroutines := runtime.NumGoroutine()
	t.Run("Load", func(t *testing.T) {
		f := startFleet(t, redis)
		f.well("at first")
		f.fails("paused", redis.Pause)
		redis.Continue()
		f.well("continued")
		f.rotates("continued")
		f.fails("killed", redis.Kill)
		redis.Restart()
		f.well("restarted")
		f.rotates("restarted")
		redis.Kill()
		if err := errors.Join(os.RemoveAll(redis.Dir), os.Mkdir(redis.Dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		redis.Restart()
		f.well("restarted without data")
		f.rotates("restarted without data")
		for _, c := range f.clients {
			c.checkErrs(t, "in the end")
		}
	})
	for range 500 { // calls that were given up end within a second
		if runtime.NumGoroutine() <= goroutines+10 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
}
