package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var testKEK = [32]byte{1, 2, 3}

var errDown = errors.New("the source is down")

// brokenSource is a source that tests break.
type brokenSource struct {
	MemoryRing
	loads, swaps atomic.Int64
	down         atomic.Bool
	hangs        atomic.Bool
}

func (s *brokenSource) trouble(ctx context.Context) error {
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.down.Load() {
		return errDown
	}
	return nil
}

func (s *brokenSource) Load(ctx context.Context) ([]byte, string, error) {
	s.loads.Add(1)
	if err := s.trouble(ctx); err != nil {
		return nil, "", err
	}
	return s.MemoryRing.Load(ctx)
}

func (s *brokenSource) Replace(ctx context.Context, old string, b []byte) (string, bool, error) {
	if err := s.trouble(ctx); err != nil {
		return "", false, err
	}
	version, ok, err := s.MemoryRing.Replace(ctx, old, b)
	if ok {
		s.swaps.Add(1)
	}
	return version, ok, err
}

// fleet returns rings with one source. Their budget is such that they wait for
// it as long as a test may last.
func fleet(n int, source RingSource, c *clock) []*KeyRing {
	rings := make([]*KeyRing, n)
	for i := range rings {
		rings[i] = &KeyRing{Source: source, KEK: testKEK, Time: c.now, Budget: time.Minute}
	}
	return rings
}

// settle lets the look under way end.
func settle(r *KeyRing) { r.await(r.lookUnderWay()) }

// visit uses the ring, and waits for the look that this started.
func visit(t testing.TB, r *KeyRing) {
	t.Helper()
	mustSeal(t, r, small13())
	settle(r)
}

func sealsWith(t testing.TB, r *KeyRing) [keyNameLen]byte {
	t.Helper()
	return [keyNameLen]byte(mustSeal(t, r, small13()))
}

// knows reports whether the ring has the key, without asking the source.
func knows(r *KeyRing, name [keyNameLen]byte) bool {
	keys := r.keys.Load()
	return keys != nil && keys.find(name) != nil
}

func refresh(t testing.TB, r *KeyRing) {
	t.Helper()
	if err := r.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestSharedKeys(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(10, source, c)
	var wg sync.WaitGroup
	tickets := make([][]byte, len(rings))
	for i, r := range rings {
		wg.Go(func() { tickets[i] = mustSeal(t, r, small13()) })
	}
	wg.Wait()
	for _, ticket := range tickets {
		for i, r := range rings {
			if !opens(t, r, ticket) {
				t.Errorf("ring %d does not open what another one sealed", i)
			}
		}
	}
	if n := source.swaps.Load(); n != 1 {
		t.Errorf("%d rings made keys", n)
	}
	stranger := fleet(1, new(MemoryRing), c)[0]
	if opens(t, stranger, tickets[0]) {
		t.Error("a ring of another source opens a ticket")
	}
}

func TestSharedRotation(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(3, source, c)
	for _, r := range rings {
		visit(t, r)
	}
	first := mustSeal(t, rings[0], small13())
	next := rings[0].keys.Load().keys[nextKey].name
	c.add(defaultInterval - time.Minute)
	for _, r := range rings {
		visit(t, r)
	}
	c.add(time.Minute)
	for i, r := range rings {
		if sealsWith(t, r) != next {
			t.Errorf("ring %d does not seal with the announced key at once", i)
		}
	}
	c.add(defaultInterval / 16) // more than the jitter
	for _, r := range rings {
		visit(t, r)
	}
	if n := source.swaps.Load(); n != 2 {
		t.Errorf("%d changes of the source, want the first keys and one rotation", n)
	}
	for i, r := range rings {
		if keys := r.keys.Load(); keys.seal.name != next || keys.keys[nextKey].name != rings[0].keys.Load().keys[nextKey].name {
			t.Errorf("ring %d has other keys than the first one", i)
		}
		if !opens(t, r, first) {
			t.Errorf("ring %d does not open what the old key sealed", i)
		}
	}
}

// TestSharedKeysAreWiped: keys that rotate out are zeros, in whoever still
// holds them.
func TestSharedKeysAreWiped(t *testing.T) {
	c := newClock()
	for name, r := range map[string]*KeyRing{"own": {Time: c.now}, "shared": fleet(1, new(MemoryRing), c)[0]} {
		visit(t, r)
		key := r.keys.Load().seal
		ticket := mustSeal(t, r, small13())
		for range 3 {
			if key.gone || key.key == [32]byte{} {
				t.Errorf("%s: wiped too early", name)
			}
			if err := r.Rotate(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if !key.gone || key.key != [32]byte{} {
			t.Errorf("%s: a key that rotated out is not wiped", name)
		}
		if key.open(ticket, "") != nil || key.seal(make([]byte, headLen+1, 100), "") != nil {
			t.Errorf("%s: a wiped key is used", name)
		}
	}
}

func TestRotateNow(t *testing.T) {
	c, source := newClock(), new(MemoryRing)
	rings := fleet(2, source, c)
	own := &KeyRing{Time: c.now}
	for _, r := range append(rings, own) {
		visit(t, r)
	}
	for _, r := range []*KeyRing{rings[0], own} {
		next := r.keys.Load().keys[nextKey].name
		if err := r.Rotate(context.Background()); err != nil {
			t.Fatal(err)
		}
		if sealsWith(t, r) != next {
			t.Error("the next key does not seal")
		}
	}
	if !opens(t, rings[1], mustSeal(t, rings[0], small13())) {
		t.Error("the other ring did not know the key")
	}
	own.SetKeys([][32]byte{{1}})
	if err := own.Rotate(context.Background()); err == nil {
		t.Error("keys that were set rotate")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := rings[0].Rotate(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Rotate when canceled: %v", err)
	}
}

// TestRotateAtOnce: of many that rotate at the same time none fails, and all
// have the same keys in the end.
func TestRotateAtOnce(t *testing.T) {
	c, source := newClock(), new(MemoryRing)
	rings := fleet(8, source, c)
	var wg sync.WaitGroup
	for _, r := range rings {
		wg.Go(func() {
			if err := r.Rotate(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range rings {
		refresh(t, r)
		if sealsWith(t, r) != sealsWith(t, rings[0]) {
			t.Error("the rings have different keys")
		}
	}
}

// TestUnknownKey: a ticket of a key that the ring has not heard of makes it
// look, but not more than once a second.
func TestUnknownKey(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(2, source, c)
	for _, r := range rings {
		visit(t, r)
	}
	for range 2 {
		if err := rings[0].Rotate(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	ticket := mustSeal(t, rings[0], small13())
	if knows(rings[1], [keyNameLen]byte(ticket)) {
		t.Fatal("the key is known already")
	}
	if !opens(t, rings[1], ticket) {
		t.Error("the ring does not look for an unknown key")
	}
	before := source.loads.Load()
	junk := make([]byte, 100)
	for i := range 100 {
		junk[0] = byte(i)
		if opens(t, rings[1], junk) {
			t.Fatal("junk opens")
		}
	}
	if n := source.loads.Load() - before; n != 0 {
		t.Errorf("%d looks within a second of another", n)
	}
	c.add(time.Second)
	for range 100 {
		opens(t, rings[1], junk)
	}
	if n := source.loads.Load() - before; n != 1 {
		t.Errorf("%d looks a second later, want 1", n)
	}
}

// TestUsedUpSharedKey: all go on with the next key, without waiting.
func TestUsedUpSharedKey(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(2, source, c)
	rings[0].maxSeals = 3
	visit(t, rings[1])
	names := make(map[[keyNameLen]byte]int)
	for range 9 {
		ticket := mustSeal(t, rings[0], small13())
		names[[keyNameLen]byte(ticket)]++
		settle(rings[0])
		if !opens(t, rings[1], ticket) {
			t.Error("the other ring does not open it")
		}
		c.add(time.Second)
	}
	if len(names) < 3 {
		t.Errorf("9 tickets of at most 3 a key: %v", names)
	}
	for _, n := range names {
		if n > 3 {
			t.Errorf("a key sealed %d times", n)
		}
	}
	source.down.Store(true)
	for range 7 {
		if _, err := rings[0].Seal(small13()); err != nil {
			t.Error(err)
		}
	}
	if ticket, err := rings[0].Seal(small13()); ticket != nil || err != nil {
		t.Errorf("all is used up: %d bytes, %v", len(ticket), err)
	}
}

func TestZone(t *testing.T) {
	c, source := newClock(), new(MemoryRing)
	rings := fleet(3, source, c)
	rings[0].Zone, rings[1].Zone, rings[2].Zone = "east", "west", "east"
	ticket := mustSeal(t, rings[0], small13())
	if opens(t, rings[1], ticket) || !opens(t, rings[2], ticket) {
		t.Error("a ticket is not known in its zone, or in another")
	}
	set, other := KeyRing{Zone: "east"}, KeyRing{}
	set.SetKeys([][32]byte{{1}})
	other.SetKeys([][32]byte{{1}})
	if opens(t, &other, mustSeal(t, &set, small13())) {
		t.Error("a ticket is known without its zone")
	}
}

// TestSourceFails: the keys in use stay in use; attempts go on for ever, ever
// more rarely but at least once a minute and a half; and all that is to be seen.
func TestSourceFails(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	r := fleet(1, source, c)[0]
	var reported atomic.Int64
	r.OnError = func(err error) {
		if !errors.Is(err, errDown) {
			t.Error(err)
		}
		reported.Add(1)
	}
	visit(t, r)
	name := sealsWith(t, r)
	source.down.Store(true)
	good := source.loads.Load()
	c.add(defaultPoll * 2)
	downSince := c.now()
	visit(t, r)
	before := source.loads.Load()
	const hours = 72
	for range hours * 60 {
		c.add(time.Minute)
		visit(t, r)
		if sealsWith(t, r) != name {
			t.Fatal("the ring changed to a key that the others may not know")
		}
	}
	if n := source.loads.Load() - before; n < hours*60/2 || n > hours*60*4/3 {
		t.Errorf("%d attempts in %d hours", n, hours)
	}
	s := r.Status()
	if !errors.Is(s.Err, errDown) || !s.ErrSince.Equal(downSince) || !s.Shared || s.Loaded.IsZero() || s.NextRotation.After(c.now()) {
		t.Errorf("status %+v", s)
	}
	if reported.Load() == 0 || reported.Load() != source.loads.Load()-good {
		t.Errorf("%d errors reported of %d", reported.Load(), source.loads.Load()-good)
	}
	source.down.Store(false)
	for range 3*60 - 5 { // a quarter of the interval, for others to hear of the next key
		if sealsWith(t, r) != name {
			t.Fatal("the ring changed to a key that the others may not have read yet")
		}
		c.add(time.Minute)
		settle(r)
	}
	for range 60 {
		c.add(time.Minute)
		visit(t, r)
	}
	next := r.keys.Load().keys[nextKey].name
	if s := r.Status(); s.Err != nil || !s.ErrSince.IsZero() || !s.Loaded.Equal(c.now()) || s.NextRotation.Sub(c.now()) < defaultInterval/2 {
		t.Errorf("status afterwards %+v", s)
	}
	c.add(defaultInterval - 2*time.Hour)
	visit(t, r)
	c.add(2 * time.Hour)
	if sealsWith(t, r) != next {
		t.Error("rotation does not go on")
	}
}

// TestFirstLookFails: the ring has keys of its own, which rotate, and joins the
// others when it can.
func TestFirstLookFails(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(2, source, c)
	source.down.Store(true)
	alone := mustSeal(t, rings[0], small13())
	settle(rings[0])
	if !opens(t, rings[0], alone) || rings[0].Status().Shared || rings[0].Status().Err == nil {
		t.Errorf("no keys of its own: %+v", rings[0].Status())
	}
	for range 3 * 60 * 12 {
		c.add(time.Minute)
		visit(t, rings[0])
	}
	if sealsWith(t, rings[0]) == [keyNameLen]byte(alone) {
		t.Error("keys of its own do not rotate")
	}
	source.down.Store(false)
	ticket := mustSeal(t, rings[1], small13())
	c.add(2 * time.Minute)
	visit(t, rings[0])
	if !opens(t, rings[0], ticket) || !opens(t, rings[1], mustSeal(t, rings[0], small13())) || !rings[0].Status().Shared {
		t.Error("the ring does not join")
	}
}

// TestFirstInSource: a ring that was alone gives its keys to a source that
// turns out to be empty.
func TestFirstInSource(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(2, source, c)
	source.down.Store(true)
	ticket := mustSeal(t, rings[0], small13())
	source.down.Store(false)
	c.add(2 * time.Minute)
	visit(t, rings[0])
	if !opens(t, rings[1], ticket) {
		t.Error("the keys of the first ring are not shared")
	}
}

// TestSourceForgets: the rings put back what was lost, or replaced by what was
// there before.
func TestSourceForgets(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"lost", "restored"} {
		t.Run(name, func(t *testing.T) {
			c, source := newClock(), new(MemoryRing)
			rings := fleet(3, source, c)
			visit(t, rings[0])
			backup, _, _ := source.Load(ctx)
			for range 3 {
				if err := rings[0].Rotate(ctx); err != nil {
					t.Fatal(err)
				}
			}
			refresh(t, rings[1])
			ticket := mustSeal(t, rings[0], small13())
			source.mu.Lock()
			source.b = backup
			if name == "lost" {
				source.b = nil
			}
			source.version++
			source.mu.Unlock()
			refresh(t, rings[1])
			refresh(t, rings[0])
			if !opens(t, rings[2], ticket) {
				t.Error("a new ring does not get the keys that the others had")
			}
			if rings[0].keys.Load().seal.name != rings[2].keys.Load().seal.name {
				t.Error("the rings have different keys")
			}
		})
	}
}

// TestDamagedSource: what is damaged is not taken over, and not overwritten.
func TestDamagedSource(t *testing.T) {
	ctx := context.Background()
	c, source := newClock(), new(MemoryRing)
	r := fleet(1, source, c)[0]
	visit(t, r)
	name := sealsWith(t, r)
	good, version, _ := source.Load(ctx)
	damages := [][]byte{{}, good[:len(good)-1], append(bytes.Clone(good), 0), make([]byte, maxRingLen+1)}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		damages = append(damages, bad)
	}
	for i, bad := range damages {
		version, _, _ = source.Replace(ctx, version, bad)
		if err := r.Refresh(ctx); err == nil || r.Status().Err == nil {
			t.Errorf("damage %d is not noticed", i)
		}
		c.add(time.Hour)
		if sealsWith(t, r) != name {
			t.Fatalf("damage %d changed the keys in use", i)
		}
		settle(r)
		if b, _, _ := source.Load(ctx); !bytes.Equal(b, bad) {
			t.Fatalf("damage %d was overwritten", i)
		}
	}
	stranger := fleet(1, source, c)[0]
	_, _, _ = source.Replace(ctx, version, good)
	stranger.KEK[0]++
	if err := stranger.Refresh(ctx); err == nil {
		t.Error("keys of another KEK are accepted")
	}
	stranger.KEK = [32]byte{}
	if err := stranger.Refresh(ctx); !errors.Is(err, errNoKEK) {
		t.Errorf("without a KEK: %v", err)
	}
	refresh(t, r)
}

// TestHangingSource: no handshake waits for longer than the budget, and those
// of a ring that has keys do not wait at all.
func TestHangingSource(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	source.hangs.Store(true)
	r := fleet(1, source, c)[0]
	r.Budget = 20 * time.Millisecond
	start := time.Now()
	if ticket, err := r.Seal(small13()); ticket != nil || err != nil {
		t.Errorf("without keys: %d bytes, %v", len(ticket), err)
	}
	if took := time.Since(start); took < r.Budget || took > r.Budget+time.Second {
		t.Errorf("without keys it took %v", took)
	}
	if opens(t, r, make([]byte, 100)) {
		t.Error("opens without keys")
	}
	source.hangs.Store(false)
	ready := fleet(1, source, c)[0]
	visit(t, ready)
	source.hangs.Store(true)
	c.add(time.Hour)
	ready.Budget = time.Hour
	mustSeal(t, ready, small13()) // starts a look that hangs
	mustSeal(t, ready, small13())
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := ready.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Refresh behind a look that hangs: %v", err)
	}
}

// TestIdleRing: a ring that was not used for long looks first, as the others
// have forgotten its keys.
func TestIdleRing(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(2, source, c)
	for _, r := range rings {
		visit(t, r)
	}
	for range 100 {
		c.add(time.Hour)
		visit(t, rings[0])
	}
	ticket := mustSeal(t, rings[1], small13())
	if !knows(rings[0], [keyNameLen]byte(ticket)) {
		t.Error("the ring sealed with a key that was forgotten")
	}
}

// TestFarClock: a ring whose clock is a year ahead does not stop the rotation.
func TestFarClock(t *testing.T) {
	c, far, source := newClock(), newClock(), new(MemoryRing)
	far.add(365 * 24 * time.Hour)
	visit(t, fleet(1, source, far)[0])
	r := fleet(1, source, c)[0]
	name := sealsWith(t, r)
	for range 27 {
		c.add(time.Hour)
		visit(t, r)
	}
	if sealsWith(t, r) == name {
		t.Error("the keys do not rotate")
	}
	c.add(-30 * 24 * time.Hour)
	visit(t, r)
	if looked := r.looks.ended.Load(); looked != c.ms.Load() {
		t.Error("the ring does not look again after its clock went back")
	}
}

func TestSetKeysWithSource(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(2, source, c)
	for _, r := range rings {
		visit(t, r)
	}
	rings[0].SetKeys([][32]byte{{1}})
	before := source.loads.Load()
	if opens(t, rings[1], mustSeal(t, rings[0], small13())) {
		t.Error("keys that were set are shared")
	}
	refresh(t, rings[0])
	c.add(time.Hour)
	mustSeal(t, rings[0], small13())
	if s := rings[0].Status(); s.Shared || len(s.Keys) != 1 || !s.NextRotation.IsZero() {
		t.Errorf("status %+v", s)
	}
	if source.loads.Load() > before+2 {
		t.Error("keys that were set are polled for")
	}
	rings[0].SetKeys(nil)
	if !opens(t, rings[1], mustSeal(t, rings[0], small13())) {
		t.Error("the ring does not go back to its source")
	}
}

func TestStatus(t *testing.T) {
	c := newClock()
	r := fleet(1, new(MemoryRing), c)[0]
	r.Zone = "east"
	if s := r.Status(); s.Source != "memory" || s.Zone != "east" || s.Keys != nil || s.Shared {
		t.Errorf("before use: %+v", s)
	}
	visit(t, r)
	start := c.now()
	c.add(time.Hour)
	if err := r.Rotate(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := r.Status()
	if len(s.Keys) != 3 || !s.Shared || !s.NextRotation.Equal(c.now().Add(defaultInterval)) || !s.Loaded.Equal(c.now()) {
		t.Fatalf("status %+v", s)
	}
	next, current, old := s.Keys[0], s.Keys[1], s.Keys[2]
	if !next.Made.Equal(c.now()) || !next.Since.IsZero() || !next.Until.IsZero() {
		t.Errorf("next key %+v", next)
	}
	if !current.Made.Equal(start) || !current.Since.Equal(c.now()) || !current.Until.IsZero() {
		t.Errorf("current key %+v", current)
	}
	if !old.Made.Equal(start) || !old.Since.Equal(start) || !old.Until.Equal(c.now()) || old.Seals != 1 {
		t.Errorf("old key %+v", old)
	}
	if name := fmt.Sprintf("%x", r.keys.Load().seal.name[:4]); current.Name != name {
		t.Errorf("name %s, want %s", current.Name, name)
	}
	var own KeyRing
	mustSeal(t, &own, small13())
	if s := own.Status(); s.Source != "" || len(s.Keys) != 2 || s.Keys[1].Since.IsZero() || s.Keys[1].Seals != 1 {
		t.Errorf("own keys: %+v", s)
	}
	if s := (&KeyRing{Source: struct{ RingSource }{}}).Status(); s.Source == "" {
		t.Error("a source without a name has none")
	}
}

// TestSharedRingConcurrently is for the race detector.
func TestSharedRingConcurrently(t *testing.T) {
	c, source := newClock(), new(brokenSource)
	rings := fleet(4, source, c)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				r := rings[(i+j)%len(rings)]
				ticket, err := r.Seal(small13())
				if err != nil {
					t.Error(err)
				}
				if _, err := rings[j%len(rings)].Open(ticket); err != nil {
					t.Error(err)
				}
				_ = r.Status()
				switch j % 25 {
				case 5:
					_ = r.Rotate(context.Background())
				case 10:
					c.add(time.Hour)
				case 15:
					source.down.Store(!source.down.Load())
				case 20:
					r.SetKeys([][32]byte{{1}})
					r.SetKeys(nil)
				}
			}
		})
	}
	wg.Wait()
	for _, r := range rings {
		settle(r)
	}
}

func TestShares(t *testing.T) {
	for _, d := range []time.Duration{0, time.Nanosecond, time.Hour} {
		for range 100 {
			if s := spread(d); s < d*3/4 || s > d*5/4+1 {
				t.Fatalf("spread of %v: %v", d, s)
			}
		}
	}
	r := &KeyRing{Interval: time.Minute, Poll: time.Hour}
	if r.poll() != 30*time.Second {
		t.Errorf("polls every %v", r.poll())
	}
	for fails := range 100 {
		if d := r.retry(fails); d <= 0 || d > 10*time.Second {
			t.Errorf("retry after %d failures: %v", fails, d)
		}
	}
}

// TestSourceHangs: for as long as a source hangs, for longer than an interval too,
// the keys in use seal and open.
func TestSourceHangs(t *testing.T) {
	source := new(brokenSource)
	r := &KeyRing{Source: source, KEK: testKEK, Interval: 2 * time.Second}
	refresh(t, r)
	ticket := mustSeal(t, r, small13())
	source.hangs.Store(true)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		mustSeal(t, r, small13())
		if !opens(t, r, ticket) {
			t.Fatal("a ticket from before does not open")
		}
	}
	if r.Status().Err == nil {
		t.Error("the ring does not say so")
	}
}
