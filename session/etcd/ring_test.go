package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// TestRingSource: Rings that always ask, and Rings that answer from memory.
func TestRingSource(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	client, _ := dial(t, s.Addr)
	empty := func(t *testing.T) {
		if _, err := client.Delete(t.Context(), testKey); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("Asking", func(t *testing.T) {
		sessiontest.TestRingSource(t, func(t *testing.T) sessiontest.RingSources {
			empty(t)
			a, b := open(t, s.Addr), open(t, s.Addr)
			a.MaxAge, b.MaxAge = -1, -1
			return sessiontest.RingSources{A: a, B: b}
		})
	})
	t.Run("Watching", func(t *testing.T) {
		sessiontest.TestRingSource(t, func(t *testing.T) sessiontest.RingSources {
			empty(t)
			a, b := open(t, s.Addr), open(t, s.Addr)
			a.MaxAge, b.MaxAge = time.Hour, time.Hour
			answersAlone(t, a)
			answersAlone(t, b)
			return sessiontest.RingSources{A: watching{a, client}, B: watching{b, client}}
		})
	})
}

// watching is a Ring that is asked once its watch has brought what etcd has.
type watching struct {
	*Ring
	direct *clientv3.Client
}

func (w watching) Load(ctx context.Context) (b []byte, version string, err error) {
	resp, err := w.direct.Get(ctx, w.key)
	if err != nil {
		return nil, "", err
	}
	last := int64(0)
	if len(resp.Kvs) > 0 {
		last = resp.Kvs[0].ModRevision
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if k, ok := w.current(); ok && k.asOf >= last {
			return w.Ring.Load(ctx)
		}
		if time.Now().After(end) {
			return nil, "", errors.New("the watch does not bring what is kept")
		}
	}
}

// TestWatch: what another Ring changes is known without a question to etcd.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	a := open(t, s.Addr)
	client, n := dial(t, s.Addr)
	b := NewRing(client, testKey)
	b.MaxAge = time.Hour
	defer closeRing(t, b)
	version := replace(t, a, "", "first")
	answersAlone(t, b)
	before := n.Load()
	for _, value := range []string{"second", "third", "fourth"} {
		version = replace(t, a, version, value)
		await(t, "the change", func() bool {
			got, v := load(t, b)
			return got == value && v == version
		})
	}
	if _, err := a.client.Delete(t.Context(), testKey); err != nil {
		t.Fatal(err)
	}
	await(t, "the removal", func() bool {
		_, v := load(t, b)
		return v == ""
	})
	if got := n.Load() - before; got != 0 {
		t.Errorf("%d questions were asked", got)
	}
	replace(t, b, "", "fifth") // also known at once by who made it
	if got, _ := load(t, b); got != "fifth" {
		t.Errorf("after its own change the Ring has %q", got)
	}
}

// TestMaxAge: what is known is believed for a time only, though there is a watch,
// and for less if the lease has to be renewed.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	for name, set := range map[string]func(*Ring){
		"MaxAge": func(r *Ring) { r.MaxAge = 50 * time.Millisecond },
		"TTL":    func(r *Ring) { r.MaxAge, r.TTL = time.Hour, 200*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			client, n := dial(t, s.Addr)
			r := NewRing(client, testKey)
			set(r)
			defer closeRing(t, r)
			answersAlone(t, r)
			before := n.Load()
			await(t, "another question", func() bool {
				load(t, r)
				return n.Load() > before
			})
		})
	}
}

// TestVersions: what was removed or changed by hand, and comes back, has another
// version, and the old one cannot be replaced.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	r := open(t, s.Addr)
	r.MaxAge = -1
	version := replace(t, r, "", "keys")
	for range 3 {
		old := version
		if _, err := r.client.Delete(t.Context(), testKey); err != nil {
			t.Fatal(err)
		}
		if _, v := load(t, r); v != "" {
			t.Errorf("removed, the version is %q", v)
		}
		if _, ok, err := r.Replace(t.Context(), old, []byte("other")); ok || err != nil {
			t.Errorf("what was removed is replaced: %v", err)
		}
		if version = replace(t, r, "", "keys"); version == old {
			t.Errorf("version %q comes back", version)
		}
		old = version
		if _, err := r.client.Put(t.Context(), testKey, "keys"); err != nil { // which has no lease
			t.Fatal(err)
		}
		if _, ok, err := r.Replace(t.Context(), old, []byte("other")); ok || err != nil {
			t.Errorf("what somebody else put there is replaced: %v", err)
		}
		if _, version = load(t, r); version == old {
			t.Errorf("version %q comes back", version)
		}
	}
	replace(t, r, version, "new keys")
}

func TestClose(t *testing.T) {
	s := sessiontest.StartServer(t, etcdServer)
	client, _ := dial(t, s.Addr)
	r := NewRing(client, testKey)
	version := replace(t, r, "", "keys")
	unused := NewRing(client, testKey)
	for _, r := range []*Ring{r, unused, r} {
		closeRing(t, r)
		if _, _, err := r.Load(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("Load: %v", err)
		}
		if _, ok, err := r.Replace(t.Context(), version, []byte("b")); ok || !errors.Is(err, errClosed) {
			t.Errorf("Replace: %v", err)
		}
	}
	if _, err := client.Get(t.Context(), testKey); err != nil {
		t.Errorf("the caller's client: %v", err)
	}
	var _ session.RingSource = r
	if r.String() != "etcd:"+testKey {
		t.Errorf("name %s", r)
	}
}
