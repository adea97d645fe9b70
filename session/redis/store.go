package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/session"
)

const (
	defaultPrefix = "handoff:"
	// maxValue bounds what is kept, and what is read.
	maxValue = 1 << 20
	// shards is how many parts the marks are in. Each has one hash slot of a
	// Cluster, because a script can only use keys of one.
	shards = 64
)

// errServers is what a client that shards by itself gets.
var errServers = errors.New("session/redis: a client that looks for another server when one is away cannot make marks")

// Store is a [session.Store] in Redis. Values are under prefix + "value:" + key,
// marks under prefix + "mark:{xx}:" + key, where xx is one of 64 shards, and what
// is known of a shard's marks under prefix + "epoch:{xx}". Redis removes what has
// expired; that values make room for others is up to its maxmemory-policy.
//
// A value that was taken once may be back after Redis was restarted with data
// from before, or another server took its place. A session of TLS 1.3 can then
// be resumed a second time. Early data does not depend on that: see [Store.Add].
type Store struct {
	client goredis.UniversalClient
	prefix string
	calls  calls
}

// NewStore returns the store under a prefix; "" means "handoff:". All servers
// that are to share sessions need the same one, and others another. The caller
// closes the client.
func NewStore(client goredis.UniversalClient, prefix string) *Store {
	if prefix == "" {
		prefix = defaultPrefix
	}
	return &Store{client: client, prefix: prefix, calls: newCalls()}
}

// Get implements [session.Store]. A value longer than one MiB is none.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	return s.value(ctx, getScript, key)
}

// TakeOnce implements [session.Store].
func (s *Store) TakeOnce(ctx context.Context, key string) ([]byte, error) {
	return s.value(ctx, takeScript, key)
}

// value returns the value that a script finds under key.
func (s *Store) value(ctx context.Context, script *goredis.Script, key string) ([]byte, error) {
	return call(ctx, s.calls, func(ctx context.Context) ([]byte, error) {
		value, err := script.Run(ctx, s.client, []string{s.valueKey(key)}, maxValue).Text()
		if errors.Is(err, goredis.Nil) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []byte(value), nil
	})
}

// Put implements [session.Store]. A value must not be longer than one MiB.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return session.ErrTTL
	}
	if len(value) > maxValue {
		return fmt.Errorf("session/redis: value of %d bytes is too large", len(value))
	}
	value = append([]byte{}, value...) // the call may go on when the caller has it back
	_, err := call(ctx, s.calls, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.client.Do(ctx, "SET", s.valueKey(key), value, "PX", milliseconds(ttl)).Err()
	})
	return err
}

// Add implements [session.Store]. Redis may lose marks: when it is restarted,
// whatever it keeps on disk; when a replica takes its place; when somebody
// flushes it; when it evicts keys. So each shard has an epoch: the server's
// run_id and replication ID and its count of evicted keys, and since when they
// have been these. When one of them changes, or the epoch is gone, a new one
// begins, and Add fails with [session.ErrMarksLost] until it is as old as the
// mark's time to live. That is so from the start as well: the first epochs begin
// with the first marks.
//
// It follows that a time to live should be the same wherever the same keys may
// be marked; and that on a server which evicts keys all the time, no mark can be
// made. Where memory may run out, marks need a server of their own, or the
// maxmemory-policy noeviction, with which Add fails with [session.ErrFull].
//
// What is refused because marks may be lost is marked all the same: who sent it
// will send it again as something that needs no mark.
//
// Two servers that both think that they are the master, for longer than the time
// to live, would both make a mark. Redis has min-replicas-to-write against that;
// in a Cluster the part without a majority stops by itself.
func (s *Store) Add(ctx context.Context, key string, ttl time.Duration) (added bool, err error) {
	if ttl <= 0 {
		return false, session.ErrTTL
	}
	if _, ok := s.client.(*goredis.Ring); ok {
		return false, errServers
	}
	epoch, mark := s.markKeys(key)
	n, err := call(ctx, s.calls, func(ctx context.Context) (int, error) {
		return addScript.Run(ctx, s.client, []string{epoch, mark}, milliseconds(ttl)).Int()
	})
	switch {
	case err != nil:
		return false, err
	case n == marksLost:
		return false, fmt.Errorf("session/redis: %w", session.ErrMarksLost)
	}
	return n == markAdded, nil
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	_, mark := s.markKeys(key)
	_, err := call(ctx, s.calls, func(ctx context.Context) (struct{}, error) {
		for _, k := range []string{s.valueKey(key), mark} { // which may be on two servers
			if err := s.client.Del(ctx, k).Err(); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

func (s *Store) valueKey(key string) string { return s.prefix + "value:" + key }

// markKeys returns where the mark of a key is, and the epoch of its shard.
func (s *Store) markKeys(key string) (epoch, mark string) {
	shard := crc32.ChecksumIEEE([]byte(key)) % shards
	return s.epochKey(shard), fmt.Sprintf("%smark:{%02x}:%s", s.prefix, shard, key)
}

func (s *Store) epochKey(shard uint32) string { return fmt.Sprintf("%sepoch:{%02x}", s.prefix, shard) }

var _ session.Store = (*Store)(nil)
