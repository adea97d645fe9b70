package etcd

import (
	"context"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// firstPause is how long after it failed a watch begins anew; the pause
	// doubles each time, up to maxPause.
	firstPause = 250 * time.Millisecond
	maxPause   = 8 * time.Second
	// fetchTimeout bounds a question that no caller's context does.
	fetchTimeout = 5 * time.Second
)

// watch follows the changes until ctx ends.
func (r *Ring) watch(ctx context.Context) {
	defer close(r.done)
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		if r.follow(ctx) {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)): // not all at once
		}
	}
}

// follow takes over what a watch tells, from what etcd has now on, until it ends.
// It reports whether the watch had begun.
func (r *Ring) follow(ctx context.Context) (begun bool) {
	// A member that has lost the others would know of no change.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	asking, done := context.WithTimeout(ctx, fetchTimeout)
	defer done()
	k, err := r.fetch(asking)
	if err != nil {
		return false
	}
	r.setWatch(cancel)
	defer r.setWatch(nil)
	for resp := range r.client.Watch(ctx, r.key, clientv3.WithRev(k.asOf+1), clientv3.WithCreatedNotify()) {
		if resp.Err() != nil {
			return begun
		}
		r.note(resp.Events)
		begun = true
	}
	return begun
}

// setWatch notes how the watch that begins is ended, or that it has ended.
func (r *Ring) setWatch(again context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follows, r.again = false, again
}
