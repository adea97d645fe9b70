package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	defaultPoll   = 30 * time.Second
	defaultBudget = 2 * time.Millisecond
	// firstRetry is how long after a failure the source is tried again; the
	// delay doubles each time, up to maxRetry.
	firstRetry = time.Second
	maxRetry   = time.Minute
	// askPause is the least time between two looks that handshakes ask for.
	askPause = time.Second
	// lookTimeout bounds a look that nobody waits for, as does a quarter of the
	// interval: for as long as a source hangs, looks must end for the keys in use
	// to stay in use.
	lookTimeout = 5 * time.Second
	// maxSwaps is how often a look may lose to other rings.
	maxSwaps = 8
)

var (
	errContended = errors.New("session: other rings change the shared ticket keys without end")
	errFixedKeys = errors.New("session: keys that were set do not rotate")
)

// sharedKeys is what a ring knows of the keys of a Source.
type sharedKeys struct {
	sealed     []byte    // as the source keeps them
	version    string    // the source's; empty while no source has them
	generation uint64    // see ringFormat
	rotate     time.Time // when this ring makes the keys after them, if nobody has
}

// ringLooks is a ring's dealings with its Source. KeyRing.mu protects what is
// not atomic.
type ringLooks struct {
	next  atomic.Int64  // when to look again, in milliseconds since 1970
	asked atomic.Int64  // when a handshake last asked for a look
	ended atomic.Int64  // when the last look ended, well or not
	good  atomic.Int64  // when the last look that went well ended; 0 if none has
	up    time.Time     // since when the source can be read; zero if it always could
	done  chan struct{} // closed when the look under way ends; nil if there is none

	fails    int
	err      error // of the last look
	errSince time.Time
}

// Refresh looks at the Source now, for a server that wants to have its keys
// before its first connection. After an error the ring goes on by itself.
func (r *KeyRing) Refresh(ctx context.Context) error {
	if r.Source == nil {
		return nil
	}
	return r.alone(ctx, r.look)
}

// Rotate makes the next key the current one now, and a new one the next. With a
// Source all rings follow, within their Poll; until then they open what this
// one seals, as they were told of its key before. If another ring rotates at
// the same time, that is enough. It fails for keys that were set.
func (r *KeyRing) Rotate(ctx context.Context) error {
	if keys := r.keys.Load(); keys != nil && keys.fixed {
		return errFixedKeys
	}
	if r.Source != nil {
		return r.alone(ctx, r.lookAndRotate)
	}
	keys, err := r.current()
	if err != nil {
		return err
	}
	return r.replace(keys, keys.afterSeals)
}

// shared returns the keys of a ring with a Source. It starts a look at it if
// one is due, and waits for it, within the budget, if it knows no keys or has
// not looked for so long that others may have forgotten them.
func (r *KeyRing) shared() *ringKeys {
	keys, now := r.keys.Load(), r.now()
	if keys != nil && keys.fixed {
		return keys
	}
	if r.lookDue(now) {
		r.startLook()
	}
	if keys != nil && r.fresh(now) {
		return keys
	}
	r.await(r.lookUnderWay())
	if keys = r.keys.Load(); keys == nil || !keys.fixed && !r.fresh(now) {
		return noKeys
	}
	return keys
}

// lookDue reports whether it is time to look. A time that is far ahead was set
// before the clock went back.
func (r *KeyRing) lookDue(now time.Time) bool {
	next, ms := r.looks.next.Load(), now.UnixMilli()
	return ms >= next || next != math.MaxInt64 && next-ms > (2*r.poll()+maxRetry).Milliseconds()
}

// fresh reports whether the ring has looked within the last interval. A look
// that failed counts: what is in use then stays in use.
func (r *KeyRing) fresh(now time.Time) bool {
	return now.UnixMilli()-r.looks.ended.Load() <= r.interval().Milliseconds()
}

// lookFor looks for a key that the ring does not know, at most once a second.
func (r *KeyRing) lookFor(name [keyNameLen]byte) *ticketKey {
	if r.Source == nil || !r.mayAsk() {
		return nil
	}
	r.await(r.startLook())
	if keys := r.keys.Load(); keys != nil {
		return keys.find(name)
	}
	return nil
}

// keyAfter has used up keys rotated, and returns the key to go on with: the
// next one, which all rings know, or nil if that is used up as well.
func (r *KeyRing) keyAfter(keys *ringKeys) *ticketKey {
	if r.mayAsk() {
		r.startLook()
	}
	if next := keys.keys[nextKey]; next.take(r.limit()) {
		return next
	}
	return nil
}

// mayAsk reports whether a handshake may cause a look out of turn.
func (r *KeyRing) mayAsk() bool {
	last, now := r.looks.asked.Load(), r.now().UnixMilli()
	if since := now - last; since >= 0 && since < askPause.Milliseconds() {
		return false
	}
	return r.looks.asked.CompareAndSwap(last, now)
}

// lookUnderWay returns the channel of the look under way, or nil.
func (r *KeyRing) lookUnderWay() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looks.done
}

// await waits for a look, if there is one, within the budget.
func (r *KeyRing) await(done <-chan struct{}) {
	if done == nil {
		return
	}
	timer := time.NewTimer(r.budget())
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// startLook starts a look, unless there is one under way. The channel is closed
// when it ends.
func (r *KeyRing) startLook() <-chan struct{} {
	done, mine := r.begin()
	if mine {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), min(lookTimeout, r.interval()/4))
			defer cancel()
			r.end(done, r.look(ctx))
		}()
	}
	return done
}

// alone runs f as the one look under way.
func (r *KeyRing) alone(ctx context.Context, f func(context.Context) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, mine := r.begin()
		if mine {
			err := f(ctx)
			r.end(done, err)
			return err
		}
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// begin returns the look under way, or begins one, which is then the caller's
// to end.
func (r *KeyRing) begin() (done chan struct{}, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.looks.done != nil {
		return r.looks.done, false
	}
	r.looks.done = make(chan struct{})
	r.looks.next.Store(math.MaxInt64)
	return r.looks.done, true
}

// end ends a look: it notes what became of it, and when the next one is due.
func (r *KeyRing) end(done chan struct{}, err error) {
	if err != nil && r.OnError != nil {
		r.OnError(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, l := r.now(), &r.looks
	if err != nil {
		if l.err == nil {
			l.errSince = now
		}
		l.next.Store(now.Add(r.retry(l.fails)).UnixMilli())
		l.fails++
	} else {
		r.noteTold(now)
		next := now.Add(spread(r.poll()))
		if keys := r.keys.Load(); keys != nil && !keys.fixed && keys.shared.rotate.Before(next) {
			next = keys.shared.rotate
		}
		l.next.Store(next.UnixMilli())
		l.fails, l.errSince = 0, time.Time{}
		l.good.Store(now.UnixMilli())
	}
	l.err = err
	l.ended.Store(now.UnixMilli())
	l.done = nil
	close(done)
}

// look brings the ring and its source together: the ring takes over what the
// source has, and rotates it if that is due.
func (r *KeyRing) look(ctx context.Context) error {
	for range maxSwaps {
		settled, err := r.lookOnce(ctx)
		if err != nil {
			return errors.Join(err, r.standAlone(ctx))
		}
		if settled {
			return nil
		}
	}
	return errContended
}

// lookAndRotate rotates what the source has. Losing to another ring is as good.
func (r *KeyRing) lookAndRotate(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	if held := r.held(); held != nil {
		if err := r.rotateShared(ctx, held); err != nil {
			return err
		}
	}
	return r.look(ctx)
}

// lookOnce makes one step towards what look wants, and reports whether it was
// the last.
func (r *KeyRing) lookOnce(ctx context.Context) (settled bool, err error) {
	b, version, err := r.Source.Load(ctx)
	if err != nil {
		return false, fmt.Errorf("session: loading shared ticket keys: %w", err)
	}
	held := r.held()
	if b == nil {
		return false, r.fill(ctx, held)
	}
	if held == nil || held.shared.version != version {
		s, err := openRing(b, &r.KEK)
		if err != nil {
			return false, err
		}
		defer s.wipe()
		if held != nil && held.shared.version != "" && s.generation < held.shared.generation {
			return false, r.offer(ctx, version, held.shared.sealed) // somebody restored what was there once
		}
		r.adopt(s, b, version)
		held = r.held()
	}
	if held == nil || !r.rotationDue(held) {
		return true, nil
	}
	return false, r.rotateShared(ctx, held)
}

// held returns the ring's keys, or nil if it has none of its own or its
// source's making.
func (r *KeyRing) held() *ringKeys {
	keys := r.keys.Load()
	if keys == nil || keys.fixed {
		return nil
	}
	return keys
}

// rotationDue reports whether keys should be rotated by whoever can: because
// it is time and the next key is known, or because the one that seals is used up.
func (r *KeyRing) rotationDue(keys *ringKeys) bool {
	if r.sealer(keys).usedUp(r.limit()) {
		return true
	}
	known := keys.shared.version == "" || keys.keys[nextKey].told.Load() != 0
	return known && !r.now().Before(keys.shared.rotate)
}

// sealer returns the key that seals now, or nil. Rings that share keys change
// over by the clock, before any of them has made the keys that follow.
func (r *KeyRing) sealer(keys *ringKeys) *ticketKey {
	if keys.shared.version != "" && keys.due(r.now()) && keys.keys[nextKey].told.Load() != 0 {
		return keys.keys[nextKey]
	}
	return keys.seal
}

// noteTold notes, after a look that went well, whether the other rings were
// told of the next key: they were if they could read it for a quarter of an
// interval, as far as can be seen from here. What does not count is a time in
// which this ring could not read it for half as long. r.mu is held.
func (r *KeyRing) noteTold(now time.Time) {
	l := &r.looks
	if l.fails > 0 && now.UnixMilli()-l.good.Load() > (r.interval()/8).Milliseconds() {
		l.up = now
	}
	keys := r.keys.Load()
	if keys == nil || keys.fixed {
		return
	}
	next := keys.keys[nextKey]
	if now.Sub(l.up) >= r.interval()/4 && now.Sub(next.heard) >= r.interval()/4 {
		next.told.CompareAndSwap(0, now.UnixMilli())
	}
}

// fill gives an empty source the keys that the ring has, or else new ones.
func (r *KeyRing) fill(ctx context.Context, held *ringKeys) error {
	if held != nil {
		return r.offer(ctx, "", held.shared.sealed)
	}
	b, err := r.firstKeys()
	if err != nil {
		return err
	}
	return r.offer(ctx, "", b)
}

// rotateShared gives the source the keys that follow held.
func (r *KeyRing) rotateShared(ctx context.Context, held *ringKeys) error {
	b, err := r.rotatedKeys(held)
	if err != nil {
		return err
	}
	return r.offer(ctx, held.shared.version, b)
}

// offer gives keys to the source, and takes them into use if it wants them. If
// another ring was first, the next look finds what that one gave.
func (r *KeyRing) offer(ctx context.Context, old string, b []byte) error {
	version, ok, err := r.Source.Replace(ctx, old, b)
	if err != nil {
		return fmt.Errorf("session: changing shared ticket keys: %w", err)
	}
	if !ok {
		return nil
	}
	return r.use(b, version)
}

// standAlone gives a ring keys of its own, if its source failed before it had
// any, and rotates these until they meet the source's.
func (r *KeyRing) standAlone(ctx context.Context) error {
	if keys := r.keys.Load(); errors.Is(ctx.Err(), context.Canceled) || keys != nil && keys.fixed {
		return nil
	}
	var b []byte
	var err error
	switch held := r.held(); {
	case held == nil:
		b, err = r.firstKeys()
	case held.shared.version == "" && r.rotationDue(held):
		b, err = r.rotatedKeys(held)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return r.use(b, "")
}

// firstKeys makes the first keys of a source, sealed.
func (r *KeyRing) firstKeys() ([]byte, error) {
	s, err := newSharedRing(r.rand(), r.now(), r.interval())
	if err != nil {
		return nil, fmt.Errorf("session: new shared ticket keys: %w", err)
	}
	defer s.wipe()
	return s.seal(r.rand(), &r.KEK)
}

// rotatedKeys makes the keys that follow held, sealed.
func (r *KeyRing) rotatedKeys(held *ringKeys) ([]byte, error) {
	s, err := openRing(held.shared.sealed, &r.KEK)
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	now := r.now()
	began := now
	if next := held.keys[nextKey]; r.sealer(held) == next {
		began = time.UnixMilli(max(held.until.UnixMilli(), next.told.Load()))
	}
	if err := s.rotate(r.rand(), now, began, r.interval()); err != nil {
		return nil, fmt.Errorf("session: new shared ticket key: %w", err)
	}
	return s.seal(r.rand(), &r.KEK)
}

// use takes sealed keys into use.
func (r *KeyRing) use(b []byte, version string) error {
	s, err := openRing(b, &r.KEK)
	if err != nil {
		return err
	}
	defer s.wipe()
	r.adopt(s, b, version)
	return nil
}

// adopt makes s, which is b in clear, the ring's keys, unless the application
// has set others meanwhile. Keys that the ring has already stay the same ones.
func (r *KeyRing) adopt(s *sharedRing, b []byte, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.keys.Load()
	if old == nil {
		old = noKeys
	}
	if old.fixed {
		return
	}
	// The clock of who made the keys may be far ahead. That must not stop the
	// rotation for as long.
	until := time.UnixMilli(s.until)
	if latest := r.now().Add(2 * r.interval()); until.After(latest) {
		until = latest
	}
	keys := &ringKeys{until: until, shared: sharedKeys{sealed: b, version: version, generation: s.generation}}
	keys.shared.rotate = until.Add(upTo(r.interval() / 32))
	for i := range s.keys {
		keys.keys = append(keys.keys, s.keys[i].in(old))
	}
	if next := keys.keys[nextKey]; old.shared.version == "" || old.keys[nextKey] != next {
		next.heard = r.now()
	}
	keys.seal = keys.keys[currentKey]
	r.swap(keys)
}

// in returns the key as it is in keys, or else a new one.
func (k *sharedKey) in(keys *ringKeys) *ticketKey {
	key := keys.find(k.name)
	if key == nil {
		key = &ticketKey{name: k.name, key: k.key, made: time.UnixMilli(k.made)}
	}
	key.since.Store(k.since)
	return key
}

func (r *KeyRing) poll() time.Duration {
	if r.Poll > 0 {
		return min(r.Poll, r.interval()/2)
	}
	return min(defaultPoll, r.interval()/8)
}

func (r *KeyRing) budget() time.Duration {
	if r.Budget > 0 {
		return r.Budget
	}
	return defaultBudget
}

// retry is how long to wait after so many failures and one more.
func (r *KeyRing) retry(fails int) time.Duration {
	return spread(min(firstRetry<<min(fails, 10), maxRetry, r.interval()/8))
}

// spread returns about d, so that many rings do not act at once.
func spread(d time.Duration) time.Duration { return d*3/4 + upTo(d/2) }

// upTo returns a random duration of at most d.
func upTo(d time.Duration) time.Duration { return rand.N(d + 1) }
