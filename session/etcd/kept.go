package etcd

import (
	"crypto/sha256"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// kept is what is under a ring's key. The zero value says that nothing is.
type kept struct {
	value    string // empty if it is too long
	size     int    // of value
	version  string // empty if nothing is kept
	modified int64  // the revision that made value
	lease    clientv3.LeaseID
	asOf     int64 // the revision at which all this was so
}

func newKept(value []byte, revision int64, lease clientv3.LeaseID) kept {
	k := kept{size: len(value), modified: revision, lease: lease, asOf: revision}
	k.version = fmt.Sprintf("%d-%x", revision, sha256.Sum256(value))
	if len(value) <= maxSize {
		k.value = string(value)
	}
	return k
}

// found returns what was under the key at a revision. kvs has one element or
// none.
func found(kvs []*mvccpb.KeyValue, revision int64) kept {
	if len(kvs) == 0 {
		return kept{asOf: revision}
	}
	k := newKept(kvs[0].Value, kvs[0].ModRevision, clientv3.LeaseID(kvs[0].Lease))
	k.asOf = revision
	return k
}

// bytes returns a copy of the value, nil if nothing is kept.
func (k *kept) bytes() []byte {
	if k.version == "" {
		return nil
	}
	return []byte(k.value)
}

// is returns the conditions that k is still what is under the key. In another
// history of the cluster the same revision has made another value.
func (k *kept) is(key string) []clientv3.Cmp {
	if k.version == "" {
		return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
	}
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(key), "=", k.modified),
		clientv3.Compare(clientv3.Value(key), "=", k.value),
	}
}

// asking is a question to etcd: when it was asked, and what was known before.
type asking struct {
	at       time.Time
	revision int64
}

func (r *Ring) ask() asking {
	r.mu.Lock()
	defer r.mu.Unlock()
	return asking{time.Now(), r.known.asOf}
}

// learn takes over what etcd answered, unless something newer is known by now,
// and returns what is known. An answer that is older than what was known before
// it was asked for is of a cluster that was restored from a backup.
func (r *Ring) learn(k kept, began asking) kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	restored := k.asOf < began.revision
	if restored || k.asOf >= r.known.asOf {
		r.known = k
	}
	if restored && r.again != nil {
		r.again() // the watch waits for revisions that are long to come
	}
	if began.at.After(r.asked) {
		r.asked = began.at
	}
	return r.known
}

// note takes over what the watch tells.
func (r *Ring) note(events []*clientv3.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follows = true
	for _, e := range events {
		switch revision := e.Kv.ModRevision; {
		case revision <= r.known.asOf:
		case e.Type == clientv3.EventTypeDelete:
			r.known = kept{asOf: revision}
		default:
			r.known = newKept(e.Kv.Value, revision, clientv3.LeaseID(e.Kv.Lease))
		}
	}
}
