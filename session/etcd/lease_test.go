package etcd

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// leaseOf returns the lease of what is kept, or none.
func leaseOf(t testing.TB, client *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	resp, err := client.Get(t.Context(), testKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return clientv3.NoLease
	}
	return clientv3.LeaseID(resp.Kvs[0].Lease)
}

// left returns how many seconds a lease has, and had.
func left(t testing.TB, client *clientv3.Client, id clientv3.LeaseID) (seconds, granted int64) {
	t.Helper()
	resp, err := client.TimeToLive(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return resp.TTL, resp.GrantedTTL
}

// TestLease: the keys have one lease, which those renew that use them.
func TestLease(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	client, _ := dial(t, s.Addr)
	ring := func(ttl time.Duration) *Ring {
		r := open(t, s.Addr)
		r.TTL = ttl
		return r
	}
	const ttl, seconds = 1000*time.Second - time.Millisecond, 1000
	first := ring(ttl)
	version := replace(t, first, "", "keys")
	id := leaseOf(t, client)
	if _, granted := left(t, client, id); granted != seconds {
		t.Errorf("a lease of %d seconds, want %d", granted, seconds)
	}
	used := func(what string, use func()) {
		t.Helper()
		await(t, "a lease that is not new", func() bool {
			n, _ := left(t, client, id)
			return n <= seconds-2
		})
		before, _ := left(t, client, id)
		use()
		if after, _ := left(t, client, id); after <= before {
			t.Errorf("%s: the lease lasts for %d seconds, and %d before", what, after, before)
		}
	}
	used("Load by another Ring", func() { load(t, ring(ttl)) })
	used("Replace", func() { version = replace(t, first, version, "new keys") })
	if got := leaseOf(t, client); got != id {
		t.Errorf("lease %x is replaced by %x", id, got)
	}
	replace(t, ring(0), version, "keys of a Ring with another TTL")
	if _, granted := left(t, client, leaseOf(t, client)); granted != int64(defaultTTL/time.Second) {
		t.Errorf("a lease of %d seconds, want %d", granted, int64(defaultTTL/time.Second))
	}
}

// TestLeaseOfLoser: who is not first leaves no lease behind.
func TestLeaseOfLoser(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	first, second := open(t, s.Addr), open(t, s.Addr)
	load(t, second)
	replace(t, first, "", "keys")
	if _, ok, err := second.swap(t.Context(), kept{}, []byte("other")); ok || err != nil {
		t.Fatalf("the second one begins: %v", err)
	}
	leases, err := first.client.Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Errorf("%d leases, %v", len(leases.Leases), err)
	}
}

// TestLeaseEnds: the keys of a fleet that is gone go away. A server that was idle
// for so long puts back what it has, and its tickets open still.
func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	client, _ := dial(t, s.Addr)
	ring := func() *session.KeyRing {
		r := open(t, s.Addr)
		r.TTL = time.Second
		return keyRing(r)
	}
	here, there := ring(), ring()
	refresh(t, here)
	refresh(t, there)
	ticket := seal(t, here)
	await(t, "an end of the lease", func() bool { return leaseOf(t, client) == clientv3.NoLease })
	if !opens(t, there, ticket) {
		t.Error("a ring has no keys any more")
	}
	refresh(t, there)
	if leaseOf(t, client) == clientv3.NoLease {
		t.Error("the keys are not put back, or without a lease")
	}
	if err := here.Rotate(t.Context()); err != nil {
		t.Errorf("Rotate: %v", err)
	}
	third := ring()
	refresh(t, third)
	refresh(t, there)
	for name, r := range map[string]*session.KeyRing{"here": here, "there": there, "new": third} {
		if !opens(t, r, ticket) || !opens(t, r, seal(t, here)) {
			t.Errorf("%s: a ticket is not opened", name)
		}
		if n := len(r.Status().Keys); n != 3 || r.Status().Err != nil {
			t.Errorf("%s: %d keys, %v", name, n, r.Status().Err)
		}
	}
}

// TestLeaseGone: a lease that is revoked while it is used is no obstacle.
func TestLeaseGone(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	r := open(t, s.Addr)
	version := replace(t, r, "", "keys")
	if _, err := r.client.Put(t.Context(), testKey, "keys"); err != nil { // without a lease
		t.Fatal(err)
	}
	await(t, "the change by hand", func() bool {
		_, v := load(t, r)
		return v != version
	})
	_, version = load(t, r)
	version = replace(t, r, version, "new keys")
	if _, err := r.client.Revoke(t.Context(), leaseOf(t, r.client)); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.Replace(t.Context(), version, []byte("more")); ok {
		t.Errorf("what is gone is replaced: %v", err)
	}
	await(t, "the removal", func() bool {
		_, v := load(t, r)
		return v == ""
	})
	replace(t, r, "", "new keys")
}
