package etcd

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-handoff/tls/session/sessiontest"
)

// watcher is a client's watcher with another Watch.
type watcher struct {
	clientv3.Watcher
	watch func(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan
}

func (w watcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	return w.watch(ctx, key, opts...)
}

// deaf is a Watch that begins well, and tells of no change.
func deaf(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	c := make(chan clientv3.WatchResponse, 1)
	c <- clientv3.WatchResponse{Created: true}
	context.AfterFunc(ctx, func() { close(c) })
	return c
}

// broken is a Watch that ends at once.
func broken(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	c := make(chan clientv3.WatchResponse)
	close(c)
	return c
}

// openWith returns a Ring with another Watch, which believes what it knows for an
// hour.
func openWith(t *testing.T, addr string, watch func(context.Context, string, ...clientv3.OpOption) clientv3.WatchChan) *Ring {
	t.Helper()
	r := open(t, addr)
	r.MaxAge = time.Hour
	r.client.Watcher = watcher{r.client.Watcher, watch}
	return r
}

// TestBrokenWatch: who has no watch asks.
func TestBrokenWatch(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	a, b := open(t, s.Addr), openWith(t, s.Addr, broken)
	version := ""
	for _, value := range []string{"first", "second", "third"} {
		version = replace(t, a, version, value)
		if got, _ := load(t, b); got != value {
			t.Errorf("the Ring has %q, and not %q", got, value)
		}
	}
}

// TestLoserLearns: who loses to another Ring knows at once what that has done,
// though the watch has yet to tell.
func TestLoserLearns(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	a, b := open(t, s.Addr), openWith(t, s.Addr, deaf)
	version := replace(t, a, "", "first")
	answersAlone(t, b)
	latest := replace(t, a, version, "second")
	if got, v := load(t, b); got != "first" || v != version {
		t.Fatalf("the Ring has %q: it is not deaf", got)
	}
	if _, ok, err := b.Replace(t.Context(), version, []byte("other")); ok || err != nil {
		t.Errorf("an old version is replaced: %v", err)
	}
	if got, v := load(t, b); got != "second" || v != latest {
		t.Errorf("the Ring has %q", got)
	}
	if _, err := a.client.Revoke(t.Context(), leaseOf(t, a.client)); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.Replace(t.Context(), latest, []byte("other")); ok || err != nil {
		t.Errorf("what is gone with its lease is replaced: %v", err)
	}
	if _, v := load(t, b); v != "" {
		t.Errorf("the Ring has %q", v)
	}
}

// TestChangeBeforeWatch: what changes between the question and the watch is not
// missed.
func TestChangeBeforeWatch(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	a := open(t, s.Addr)
	version := replace(t, a, "", "first")
	next := make(chan string, 1)
	var b *Ring
	b = openWith(t, s.Addr, func(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
		v, ok, err := a.Replace(ctx, version, []byte("second"))
		if !ok || err != nil {
			t.Errorf("Replace: %v, %v", ok, err)
		}
		next <- v
		return b.client.Watcher.(watcher).Watcher.Watch(ctx, key, opts...)
	})
	load(t, b)
	latest := <-next
	await(t, "the change", func() bool {
		k, ok := b.current()
		return ok && k.version == latest
	})
}

// TestOldEvents: what the watch tells late does not undo what is known.
func TestOldEvents(t *testing.T) {
	put := func(revision int64) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Value: []byte("value"), ModRevision: revision}}
	}
	gone := func(revision int64) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{ModRevision: revision}}
	}
	for _, test := range []struct {
		events   []*clientv3.Event
		modified int64
	}{
		{nil, 10},
		{[]*clientv3.Event{put(8), gone(9), put(10), gone(10)}, 10},
		{[]*clientv3.Event{put(9), put(11)}, 11},
		{[]*clientv3.Event{put(11), gone(12), put(13)}, 13},
		{[]*clientv3.Event{put(11), gone(12)}, 0},
		{[]*clientv3.Event{gone(12), put(11)}, 0},
	} {
		r := &Ring{known: newKept([]byte("value"), 10, clientv3.NoLease)}
		r.note(test.events)
		if r.known.modified != test.modified || (r.known.version == "") != (test.modified == 0) {
			t.Errorf("after %v the Ring knows revision %d, want %d", test.events, r.known.modified, test.modified)
		}
	}
}
