package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// renewals is how often a lease is renewed within its TTL by each Ring.
const renewals = 4

// lease returns a lease that lasts for the TTL from now on: the one that is given,
// if it is there and of that TTL, or else a new one.
func (r *Ring) lease(ctx context.Context, id clientv3.LeaseID) (lease clientv3.LeaseID, granted bool, err error) {
	seconds := int64((r.ttl() + time.Second - 1) / time.Second)
	if id != clientv3.NoLease {
		resp, err := r.client.KeepAliveOnce(ctx, id)
		if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return 0, false, err
		}
		if err == nil && resp.TTL == seconds {
			return id, false, nil
		}
	}
	resp, err := r.client.Grant(ctx, seconds)
	if err != nil {
		return 0, false, err
	}
	return resp.ID, true, nil
}

// renew has the lease last for its TTL from now on, if that is due. A failure is
// none of the caller's, who could read what is kept, and the next call tries again.
func (r *Ring) renew(ctx context.Context, id clientv3.LeaseID) {
	r.mu.Lock()
	due := id != clientv3.NoLease && time.Since(r.renewed) >= r.ttl()/renewals
	r.mu.Unlock()
	if !due {
		return
	}
	if _, err := r.client.KeepAliveOnce(ctx, id); err == nil {
		r.mu.Lock()
		r.renewed = time.Now()
		r.mu.Unlock()
	}
}
