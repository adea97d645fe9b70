package session

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	fleetSize  = 1000
	fleetStep  = 30 * time.Minute
	fleetSteps = 12 * int(defaultInterval/fleetStep)
	// fleetIdle is the longest that a ring is not used.
	fleetIdle = int(defaultInterval / fleetStep / 12)
)

// simulation is a fleet on one clock.
type simulation struct {
	t      *testing.T
	rand   *rand.Rand
	clock  *clock
	source *announcingSource
	rings  []*KeyRing
	acted  []int                          // the step in which each ring was last used
	used   map[[keyNameLen]byte]time.Time // when each key first sealed
	seen   map[*ticketKey]bool            // keys that the first ring ever had
	late   []([keyNameLen]byte)           // names of the latest tickets
	inStep map[[keyNameLen]byte]int       // this step's tickets, by key
	outage struct{ from, to int }         // steps
	calm   int                            // step from which the last outage is forgotten
}

// announcingSource notes when each key was first there.
type announcingSource struct {
	brokenSource
	clock     *clock
	announced map[[keyNameLen]byte]time.Time
}

func (s *announcingSource) Replace(ctx context.Context, old string, b []byte) (string, bool, error) {
	version, ok, err := s.brokenSource.Replace(ctx, old, b)
	if !ok {
		return version, ok, err
	}
	shared, err := openRing(b, &testKEK)
	if err != nil {
		return "", false, err
	}
	for _, k := range shared.keys {
		if s.announced[k.name].IsZero() {
			s.announced[k.name] = s.clock.now()
		}
	}
	return version, ok, nil
}

// TestFleet: a thousand rings, used at random and with a source that fails now
// and then for one of them and at times for all, for up to four intervals. No
// key seals before it was announced for an interval and all rings were told of
// it; so no ring ever meets a ticket of a key that it does not know. As long as
// the source can be reached, all seal with one key at any time, but for a ring
// that alone cannot reach it for long.
func TestFleet(t *testing.T) {
	c := newClock()
	source := &announcingSource{clock: c, announced: make(map[[keyNameLen]byte]time.Time)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &simulation{
		t: t, rand: rand.New(rand.NewPCG(seed, 0)), clock: c, source: source,
		rings: fleet(fleetSize, source, c), acted: make([]int, fleetSize),
		used: make(map[[keyNameLen]byte]time.Time), seen: make(map[*ticketKey]bool),
	}
	for _, r := range s.rings {
		visit(t, r)
	}
	s.used[sealsWith(t, s.rings[0])] = c.now()
	for step := 1; step < fleetSteps && !t.Failed(); step++ {
		c.add(fleetStep)
		s.step(step)
	}
	s.finish()
}

func (s *simulation) step(step int) {
	switch {
	case step > s.outage.to && s.rand.IntN(50) == 0:
		s.outage.from, s.outage.to = step, step+s.rand.IntN(4*int(defaultInterval/fleetStep))
	case step == s.outage.to:
		s.calm = step + 2*int(defaultInterval/fleetStep)
	}
	s.inStep = make(map[[keyNameLen]byte]int)
	for _, i := range s.rand.Perm(fleetSize) {
		if step-s.acted[i] < fleetIdle && s.rand.IntN(6) != 0 {
			continue
		}
		s.acted[i] = step
		s.source.down.Store(step < s.outage.to || s.rand.IntN(10) == 0)
		s.act(s.rings[i])
		if s.rings[i].Status().Err != nil { // it tries again soon
			s.acted[i] = step - fleetIdle
		}
	}
	total, most := 0, 0
	for _, n := range s.inStep {
		total, most = total+n, max(most, n)
	}
	// A ring that alone could not read its source waits with the next key.
	if calm := step >= s.calm && step >= s.outage.to; len(s.inStep) > 2 || calm && total-most > total/100 {
		s.t.Errorf("step %d: %d of %d tickets sealed with the commonest of %d keys", step, most, total, len(s.inStep))
	}
}

// act lets one ring meet the others' latest tickets, and seal one.
func (s *simulation) act(r *KeyRing) {
	for _, name := range s.late {
		if !knows(r, name) {
			s.t.Errorf("a ring meets a ticket of an unknown key, first used at %v, announced at %v", s.used[name], s.source.announced[name])
		}
	}
	visit(s.t, r)
	name := sealsWith(s.t, r)
	settle(r)
	s.inStep[name]++
	if s.late = append(s.late, name); len(s.late) > 5 {
		s.late = s.late[1:]
	}
	for _, key := range s.rings[0].keys.Load().keys {
		s.seen[key] = true
	}
	if _, ok := s.used[name]; ok {
		return
	}
	now := s.clock.now()
	s.used[name] = now
	if told := now.Sub(s.source.announced[name]); told < defaultInterval {
		s.t.Errorf("a key is used %v after it was announced", told)
	}
	for i, other := range s.rings {
		if !knows(other, name) {
			s.t.Errorf("ring %d was not told of a key that is used now", i)
		}
	}
}

func (s *simulation) finish() {
	s.source.down.Store(false)
	for _, r := range s.rings {
		refresh(s.t, r) // which may rotate
	}
	for _, r := range s.rings {
		refresh(s.t, r)
		if got, want := r.keys.Load(), s.rings[0].keys.Load(); got.keys[nextKey].name != want.keys[nextKey].name || !got.until.Equal(want.until) {
			s.t.Error("the rings have different keys in the end")
		}
	}
	held := s.rings[0].keys.Load().keys
	for key := range s.seen {
		if holds := slices.Contains(held, key); !holds && key.key != [ticketKeyLen]byte{} {
			s.t.Error("an old key is not wiped")
		}
	}
	if len(s.used) < 3 {
		s.t.Errorf("only %d keys were used in %v", len(s.used), time.Duration(fleetSteps)*fleetStep)
	}
	s.t.Logf("%d keys used, %d announced, %d changes of the source, %d loads", len(s.used), len(s.source.announced), s.source.swaps.Load(), s.source.loads.Load())
}
