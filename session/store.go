package session

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Store keeps bytes under keys for a while, for one process or for a fleet.
// What this package puts there is sealed: a store learns no secret, and who can
// write to it can make servers forget sessions but never forge one.
//
// A key is any string. It is used either for values or for marks, which Add
// makes, and not for both. A time to live that is not positive is an error.
// All methods may be called concurrently, by any number of processes, and end
// soon after their context does. Package sessiontest checks implementations.
type Store interface {
	// Get returns a copy of the value under key. It returns nil, without an
	// error, if there is none: it expired, or had to make room.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put keeps a copy of value under key, instead of what was there before.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// TakeOnce is Get for one caller only among all who use the store: the value
	// is gone when it returns. When it fails the value may be gone as well.
	TakeOnce(ctx context.Context, key string) ([]byte, error)
	// Add marks key, and reports whether it was not marked. Among all who use
	// the store one caller only is told so until the mark expires. A store never
	// drops a mark to make room: it fails with [ErrFull], so that what depends
	// on marks, as the defence against replays of early data does (RFC 9846,
	// section 8), fails closed. A store that may have lost marks, because it was
	// started anew or another one took its place, fails with [ErrMarksLost]
	// until all that it may have lost would have expired.
	Add(ctx context.Context, key string, ttl time.Duration) (added bool, err error)
	// Delete forgets what is under key, value or mark. It is no error if there
	// is nothing.
	Delete(ctx context.Context, key string) error
}

// Errors of stores.
var (
	// ErrFull is returned by a [Store] that has no room for one more mark.
	ErrFull = errors.New("session: store is full")
	// ErrMarksLost is returned by a [Store] that cannot tell whether something
	// was marked before.
	ErrMarksLost = errors.New("session: store may have lost marks")
	// ErrStoreBusy is what happens to a call of a store while so many others
	// hang that it is not made at all.
	ErrStoreBusy = errors.New("session: too many calls of the store hang")
	// ErrTTL is returned for a time to live that is not positive.
	ErrTTL = errors.New("session: time to live is not positive")
)

// maxStoreCalls is how many calls of a store may be under way. A store that
// honours its contexts never has so many; one that hangs does not get more.
const maxStoreCalls = 1024

// storeCalls counts the calls of a store that are under way.
type storeCalls struct{ n atomic.Int64 }

// call calls f and waits for it until ctx ends, even if f does not honour that.
func call[T any](ctx context.Context, calls *storeCalls, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if calls.n.Add(1) > maxStoreCalls {
		calls.n.Add(-1)
		return none, ErrStoreBusy
	}
	done := make(chan result, 1)
	go func() {
		defer calls.n.Add(-1)
		v, err := f(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

var errBudget = errors.New("the handshake's budget is spent")

// within is call for so long. A store in memory does not wait, and to go to
// another goroutine for it could take longer than that on a machine with much to
// do.
func within[T any](ctx context.Context, store Store, calls *storeCalls, d time.Duration, f func(context.Context) (T, error)) (T, error) {
	if _, ok := store.(*MemoryStore); ok {
		return f(ctx)
	}
	if d <= 0 {
		var none T
		return none, errBudget
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return call(ctx, calls, f)
}
