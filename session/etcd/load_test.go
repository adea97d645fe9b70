package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

const (
	loadInterval = 2 * time.Second
	loadClients  = 3
	serverName   = "server.example"
	// slack is what a call may wait on a busy machine for longer than the budget.
	// One that waited for the end of a look would wait a quarter of an interval.
	slack = loadInterval / 5
)

// phase counts what happens during one part of the test.
type phase struct {
	name              string
	resumed, full     atomic.Int64 // handshakes
	failed            atomic.Int64
	mu                sync.Mutex
	handshakes, calls []time.Duration // how long they took
}

// took returns the median and the longest.
func took(all []time.Duration) (median, longest time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1]
}

// fleet is two servers that share their keys, and clients that go from one to the
// other.
type fleet struct {
	t       *testing.T
	rings   [2]*session.KeyRing
	sources [2]*Ring
	client  *tls.Config

	now       atomic.Pointer[phase]
	phases    []*phase
	ended     chan struct{} // closed when the clients are to end
	clients   sync.WaitGroup
	servers   sync.WaitGroup
	listeners [2]net.Listener
}

// TestLoad has etcd killed, paused and restarted under load. No handshake fails,
// none waits for etcd, and what one server sealed the other opens all the time.
// The key that was announced takes over at its time, etcd or not, and when it is
// back the rotation goes on.
func TestLoad(t *testing.T) {
	before := runtime.NumGoroutine()
	s := sessiontest.StartServer(t, etcdServer)
	f := newFleet(t, s.Addr)
	f.begin("calm")
	f.recovers(f.next())

	for _, fault := range []struct {
		name       string
		begin, end func()
	}{
		{"killed", s.Kill, s.Restart},
		{"paused", s.Pause, s.Continue},
	} {
		next, at := f.announced()
		f.begin(fault.name)
		fault.begin()
		for _, r := range f.rings {
			await(t, "a ring that says what is wrong", func() bool { return r.Status().Err != nil })
		}
		f.takesOver(next, at)
		time.Sleep(time.Until(at.Add(loadInterval / 2))) // for the load, with keys that are late
		fault.end()
		f.begin("after it was " + fault.name)
		f.recovers(next)
	}
	f.begin("restarted")
	next := f.next()
	s.Restart()
	f.recovers(next)
	f.end()

	f.judge()
	s.Kill()
	await(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func newFleet(t *testing.T, addr string) *fleet {
	t.Helper()
	cert, roots := newCertificate(t)
	f := &fleet{t: t, client: &tls.Config{RootCAs: roots, ServerName: serverName}, ended: make(chan struct{})}
	f.now.Store(new(phase))
	for i := range f.rings {
		f.sources[i] = open(t, addr)
		f.sources[i].MaxAge = loadInterval / 8
		f.rings[i] = &session.KeyRing{Source: f.sources[i], KEK: testKEK, Interval: loadInterval, Poll: loadInterval / 40}
		refresh(t, f.rings[i])
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, TicketKeys: f.rings[i]})
		if err != nil {
			t.Fatal(err)
		}
		f.listeners[i] = l
		f.servers.Go(func() { f.serve(l) })
	}
	for i, r := range f.rings {
		f.clients.Go(func() { f.measure(r, f.rings[1-i]) })
	}
	for range loadClients {
		f.clients.Go(f.connect)
	}
	return f
}

func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// serve echoes one byte per connection.
func (f *fleet) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		f.servers.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.CopyN(conn, conn, 1) // what fails, the client notices
		})
	}
}

// connect is one client, who resumes at the other server each time.
func (f *fleet) connect() {
	config := f.client.Clone()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	for i := 0; ; i++ {
		select {
		case <-f.ended:
			return
		case <-time.After(5 * time.Millisecond):
		}
		p := f.now.Load()
		start := time.Now()
		resumed, err := exchange(f.listeners[i%2].Addr().String(), config)
		switch {
		case err != nil:
			p.failed.Add(1)
			f.t.Errorf("%s: %v", p.name, err)
		case resumed:
			p.resumed.Add(1)
		case i > 0:
			p.full.Add(1)
		}
		p.mu.Lock()
		p.handshakes = append(p.handshakes, time.Since(start))
		p.mu.Unlock()
	}
}

// exchange makes a connection, and has one byte come back.
func exchange(addr string, config *tls.Config) (resumed bool, err error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, config)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return false, err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn.ConnectionState().DidResume, err
}

// measure notes how long Seal and Open take, also for a ticket of nobody's.
func (f *fleet) measure(ring, other *session.KeyRing) {
	unknown := make([]byte, 200)
	for {
		select {
		case <-f.ended:
			return
		case <-time.After(time.Millisecond):
		}
		p := f.now.Load()
		_, _ = rand.Read(unknown)
		times := make([]time.Duration, 0, 3)
		var ticket []byte
		for _, call := range []func() error{
			func() (err error) { ticket, err = ring.Seal(newState()); return err },
			func() (err error) { _, err = other.Open(ticket); return err },
			func() (err error) { _, err = ring.Open(unknown); return err },
		} {
			start := time.Now()
			if err := call(); err != nil {
				f.t.Errorf("%s: %v", p.name, err)
			}
			times = append(times, time.Since(start))
		}
		p.mu.Lock()
		p.calls = append(p.calls, times...)
		p.mu.Unlock()
	}
}

// begin begins a phase.
func (f *fleet) begin(name string) {
	p := &phase{name: name}
	f.phases = append(f.phases, p)
	f.now.Store(p)
}

// end ends the load, and closes the sources.
func (f *fleet) end() {
	close(f.ended)
	f.clients.Wait()
	for i, r := range f.sources {
		f.listeners[i].Close()
		closeRing(f.t, r)
	}
	f.servers.Wait()
}

// names are the keys of the first ring, the next one first.
func (f *fleet) names() (names []string) {
	for _, k := range f.rings[0].Status().Keys {
		names = append(names, k.Name)
	}
	return names
}

func (f *fleet) next() string { return f.names()[0] }

// sealing is the name of the key that a ring seals with.
func (f *fleet) sealing(ring *session.KeyRing) string { return hex.EncodeToString(seal(f.t, ring)[:4]) }

// announced waits until both rings know of a next key for long enough to use it
// at its time, and returns its name and time.
func (f *fleet) announced() (name string, at time.Time) {
	f.t.Helper()
	await(f.t, "a next key that both rings know", func() bool {
		a, b := f.rings[0].Status(), f.rings[1].Status()
		name, at = a.Keys[0].Name, a.NextRotation
		early := time.Until(at)
		return b.Keys[0].Name == name && early > loadInterval/8 && early < loadInterval/2
	})
	return name, at
}

// takesOver checks that both rings seal with that key from that time on.
func (f *fleet) takesOver(name string, at time.Time) {
	f.t.Helper()
	for _, r := range f.rings {
		if got := f.sealing(r); got == name && time.Now().Before(at) {
			f.t.Error("the next key seals before its time")
		}
	}
	for _, r := range f.rings {
		await(f.t, "a new key at its time", func() bool { return f.sealing(r) == name })
	}
	if time.Now().Before(at) {
		f.t.Error("the next key takes over before its time")
	}
}

// recovers waits until both rings have keys after the one of that name, which was
// the next, and say that all is well.
func (f *fleet) recovers(next string) {
	f.t.Helper()
	await(f.t, "new keys", func() bool { return !slices.Contains(f.names()[:2], next) })
	await(f.t, "rings that agree and are well", func() bool {
		a, b := f.rings[0].Status(), f.rings[1].Status()
		return a.Err == nil && b.Err == nil && a.ErrSince.IsZero() && a.Keys[0].Name == b.Keys[0].Name
	})
}

// judge looks at all phases, and compares them with the first.
func (f *fleet) judge() {
	usual, _ := took(f.phases[0].handshakes)
	_, calm := took(f.phases[0].calls)
	for _, p := range f.phases {
		handshake, slowest := took(p.handshakes)
		call, longest := took(p.calls)
		f.t.Logf("%-22s %5d resumed, %d full, %d failed; %v (%v) a connection, %v (%v) a call",
			p.name+":", p.resumed.Load(), p.full.Load(), p.failed.Load(), handshake, slowest, call, longest)
		if n := p.resumed.Load(); n < 20 || p.full.Load() > n/10 {
			f.t.Errorf("%s: only %d of %d connections are resumed", p.name, n, n+p.full.Load())
		}
		if p.failed.Load() > 0 {
			f.t.Errorf("%s: %d connections failed", p.name, p.failed.Load())
		}
		if longest > calm+slack {
			f.t.Errorf("%s: a call took %v, and %v at most when all was calm", p.name, longest, calm)
		}
		if handshake > 5*usual+slack/4 {
			f.t.Errorf("%s: connections take %v, and %v when all was calm", p.name, handshake, usual)
		}
	}
}
