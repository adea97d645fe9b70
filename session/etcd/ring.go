package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

const (
	defaultTTL    = 7 * 24 * time.Hour
	defaultMaxAge = 10 * time.Second
	// maxSize is far more than any ring's keys need, so that a wrong key does not
	// fill the memory.
	maxSize = 64 << 10
)

var errClosed = errors.New("session/etcd: Ring is closed")

// Ring keeps the keys of rings under one key of etcd. It implements
// [session.RingSource]. The exported fields must not change once it is used. A
// Ring that was used has a goroutine, which Close ends.
//
// A version is the revision of etcd that made the value, and a hash of the
// value. Revisions alone would come back when the cluster is restored from a
// backup. A change is one transaction, which compares both.
//
// What it promises does not depend on the watch, which may hang or miss
// something: see MaxAge.
type Ring struct {
	// TTL is how long the keys stay when no server uses them; 0 means seven days.
	// They have a lease, which all Rings renew that are used. If it ends
	// nevertheless, a KeyRing that is used puts back what it has. etcd counts
	// whole seconds, and has a least TTL.
	TTL time.Duration
	// MaxAge is how long what etcd has answered may be believed together with
	// what the watch has told since; 0 means ten seconds, and less than 0 that
	// etcd is always asked. It should be an eighth of the KeyRings' Interval or
	// less: they count on knowing what others could have read. If the connection
	// is lost, or the watch is, etcd is asked at once.
	MaxAge time.Duration

	client *clientv3.Client
	key    string
	owned  bool // whether the client is this Ring's to close

	mu      sync.Mutex
	known   kept
	asked   time.Time // when etcd was last asked for what is known
	renewed time.Time // when the lease last was

	follows bool               // whether the watch adds to what is known
	again   context.CancelFunc // begins the watch anew
	closed  bool
	stop    context.CancelFunc // ends the goroutine; nil if there is none yet
	done    chan struct{}      // closed when it has ended
}

// NewRing returns the Ring under that key of etcd, which need not exist yet. The
// client is the caller's: it must stay open while the Ring is used, and should
// have DialKeepAliveTime, and a bound on the delay between attempts to connect,
// which is two minutes by default (grpc.WithConnectParams).
func NewRing(client *clientv3.Client, key string) *Ring {
	return &Ring{client: client, key: key}
}

// String returns "etcd:" and the key.
func (r *Ring) String() string { return "etcd:" + r.key }

// Load implements [session.RingSource]. See MaxAge for when it asks etcd.
func (r *Ring) Load(ctx context.Context) (b []byte, version string, err error) {
	if err := r.begin(ctx); err != nil {
		return nil, "", err
	}
	k, current := r.current()
	if !current {
		if k, err = r.fetch(ctx); err != nil {
			return nil, "", err
		}
	}
	if k.size > maxSize {
		return nil, "", r.tooLong(k.size)
	}
	return k.bytes(), k.version, nil
}

// Replace implements [session.RingSource].
func (r *Ring) Replace(ctx context.Context, old string, b []byte) (version string, ok bool, err error) {
	if err := r.begin(ctx); err != nil {
		return "", false, err
	}
	if len(b) > maxSize {
		return "", false, r.tooLong(len(b))
	}
	k, _ := r.current()
	if k.version != old {
		if k, err = r.fetch(ctx); err != nil {
			return "", false, err
		}
	}
	if k.size > maxSize {
		return "", false, r.tooLong(k.size)
	}
	if k.version != old {
		return "", false, nil
	}
	return r.swap(ctx, k, b)
}

// swap puts b in the place of old, if that is what is kept.
func (r *Ring) swap(ctx context.Context, old kept, b []byte) (version string, ok bool, err error) {
	lease, granted, err := r.lease(ctx, old.lease)
	if err != nil {
		return "", false, fmt.Errorf("session/etcd: lease: %w", err)
	}
	began := r.ask()
	resp, err := r.client.Txn(ctx).If(old.is(r.key)...).
		Then(clientv3.OpPut(r.key, string(b), clientv3.WithLease(lease))).
		Else(clientv3.OpGet(r.key)).Commit()
	if err != nil {
		return "", false, fmt.Errorf("session/etcd: %w", err)
	}
	if !resp.Succeeded {
		if granted {
			_, _ = r.client.Revoke(ctx, lease) // or else it ends by itself
		}
		r.learn(found(resp.Responses[0].GetResponseRange().GetKvs(), resp.Header.Revision), began)
		return "", false, nil
	}
	k := newKept(b, resp.Header.Revision, lease)
	r.learn(k, began)
	return k.version, true, nil
}

// Close ends the watch. A Ring that is closed fails. What is kept stays.
func (r *Ring) Close() error {
	r.mu.Lock()
	stop, first := r.stop, !r.closed
	r.closed = true
	r.mu.Unlock()
	if stop != nil {
		stop()
		<-r.done
	}
	if r.owned && first {
		return r.client.Close()
	}
	return nil
}

// begin begins each call: it starts the goroutine if there is none.
func (r *Ring) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	if r.stop == nil {
		watching, stop := context.WithCancel(context.Background())
		r.stop, r.done = stop, make(chan struct{})
		go r.watch(watching)
	}
	return nil
}

// current returns what is known, and whether it may be believed without asking.
func (r *Ring) current() (k kept, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known, r.follows && time.Since(r.asked) < r.maxAge() && r.connected()
}

// connected reports whether the client's connection works, as far as is known.
func (r *Ring) connected() bool {
	conn := r.client.ActiveConnection()
	return conn == nil || conn.GetState() == connectivity.Ready
}

// fetch asks etcd what is kept.
func (r *Ring) fetch(ctx context.Context) (kept, error) {
	began := r.ask()
	resp, err := r.client.Get(ctx, r.key)
	if err != nil {
		return kept{}, fmt.Errorf("session/etcd: %w", err)
	}
	k := r.learn(found(resp.Kvs, resp.Header.Revision), began)
	r.renew(ctx, k.lease)
	return k, nil
}

func (r *Ring) tooLong(n int) error {
	return fmt.Errorf("session/etcd: %d bytes under %q, more than %d", n, r.key, maxSize)
}

func (r *Ring) ttl() time.Duration {
	if r.TTL > 0 {
		return r.TTL
	}
	return defaultTTL
}

// maxAge is also such that the lease is renewed in time.
func (r *Ring) maxAge() time.Duration {
	age := r.MaxAge
	if age == 0 {
		age = defaultMaxAge
	}
	return min(age, r.ttl()/renewals)
}
