package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// otherStore hides that a store is one in memory, which is called directly.
type otherStore struct{ Store }

// freshTicket is one made now.
func freshTicket() *State { return &State{CreatedAt: time.Now()} }

// TestAntiReplayOnce offers ClientHellos again, at the same server and at another
// one with the same store.
func TestAntiReplayOnce(t *testing.T) {
	memory := NewMemoryStore(0)
	for name, store := range map[string]Store{"memory": memory, "other": otherStore{NewMemoryStore(0)}} {
		t.Run(name, func(t *testing.T) {
			servers := []*AntiReplay{{Store: store, Budget: time.Minute}, {Store: store, Budget: time.Minute}}
			for _, id := range []string{"a", "b", ""} {
				for i := range 4 {
					if got := servers[i%2].Accept(t.Context(), freshTicket(), []byte(id)); got != (i == 0) {
						t.Errorf("%q, time %d: %v", id, i, got)
					}
				}
			}
		})
	}
	for key := range memory.marks {
		if !strings.HasPrefix(key, kindHello) || len(key) != len(kindHello)+64 {
			t.Errorf("mark %q", key)
		}
	}
}

// TestAntiReplayRace offers one ClientHello many times at once.
func TestAntiReplayRace(t *testing.T) {
	for name, store := range map[string]Store{"memory": NewMemoryStore(0), "other": otherStore{NewMemoryStore(0)}} {
		t.Run(name, func(t *testing.T) {
			a := &AntiReplay{Store: store, Budget: time.Minute}
			var accepted atomic.Int32
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if a.Accept(t.Context(), freshTicket(), []byte("id")) {
						accepted.Add(1)
					}
				})
			}
			all.Wait()
			if n := accepted.Load(); n != 1 {
				t.Errorf("accepted %d times", n)
			}
		})
	}
}

// TestAntiReplayWindow checks that a ClientHello is remembered while any server
// may find it fresh: clocks differ, and so does the age by the tolerance.
func TestAntiReplayWindow(t *testing.T) {
	now := time.Now()
	store := NewMemoryStore(0)
	store.Time = func() time.Time { return now }
	a := &AntiReplay{Store: store, Time: store.Time}
	ticket := freshTicket()
	if !a.Accept(t.Context(), ticket, []byte("id")) {
		t.Fatal("not accepted")
	}
	now = now.Add(2*AgeTolerance + 2*maxSkew - time.Millisecond)
	if a.Accept(t.Context(), ticket, []byte("id")) {
		t.Error("accepted again within the window")
	}
	now = now.Add(2 * time.Millisecond)
	if !a.Accept(t.Context(), ticket, []byte("id")) || store.Len() != 1 {
		t.Errorf("remembered for longer than the window: %d marks", store.Len())
	}
}

// failStore answers every Add the same way.
type failStore struct {
	Store
	add func(context.Context) (bool, error)
}

func (f failStore) Add(ctx context.Context, _ string, _ time.Duration) (bool, error) {
	return f.add(ctx)
}

// TestAntiReplayFailsClosed has stores that do not know, or do not say.
func TestAntiReplayFailsClosed(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	full := NewMemoryStore(1)
	if ok, err := full.Add(t.Context(), "mark", time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	broken := errors.New("broken")
	tests := []struct {
		name  string
		store Store
		want  error
	}{
		{"none", nil, nil},
		{"full", full, ErrFull},
		{"full, elsewhere", otherStore{full}, ErrFull},
		{"fails", failStore{add: func(context.Context) (bool, error) { return false, broken }}, broken},
		{"says both", failStore{add: func(context.Context) (bool, error) { return true, broken }}, broken},
		{"lost", failStore{add: func(context.Context) (bool, error) { return false, ErrMarksLost }}, ErrMarksLost},
		{"hangs", failStore{add: func(context.Context) (bool, error) { <-release; return true, nil }}, context.DeadlineExceeded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var told []error
			a := &AntiReplay{Store: test.store, OnError: func(err error) { told = append(told, err) }}
			start := time.Now()
			for range 3 {
				if a.Accept(t.Context(), freshTicket(), []byte("id")) {
					t.Fatal("accepted")
				}
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if len(told) != 3 || test.want != nil && !errors.Is(told[0], test.want) {
				t.Errorf("told %v", told)
			}
		})
	}
}

// TestAntiReplayHangs asks a store that hangs so often that it is not asked any
// more, and then may answer.
func TestAntiReplayHangs(t *testing.T) {
	release := make(chan struct{})
	var calls atomic.Int32
	store := failStore{add: func(context.Context) (bool, error) { calls.Add(1); <-release; return true, nil }}
	var busy atomic.Int32
	a := &AntiReplay{Store: store, Budget: time.Nanosecond, OnError: func(err error) {
		if errors.Is(err, ErrStoreBusy) {
			busy.Add(1)
		}
	}}
	for i := range maxStoreCalls + 10 {
		if a.Accept(t.Context(), freshTicket(), fmt.Append(nil, i)) {
			t.Fatal("accepted")
		}
	}
	if busy.Load() != 10 {
		t.Errorf("not asked %d times", busy.Load())
	}
	close(release)
	b := &AntiReplay{Store: store, Budget: time.Minute}
	if !b.Accept(t.Context(), freshTicket(), []byte("id")) {
		t.Error("not accepted though the store answers")
	}
}

// TestAntiReplayEnded offers a ClientHello of a connection that is gone.
func TestAntiReplayEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, store := range map[string]Store{"memory": NewMemoryStore(0), "other": otherStore{NewMemoryStore(0)}} {
		a := &AntiReplay{Store: store, Budget: time.Minute, OnError: func(err error) { t.Errorf("%s: told %v", name, err) }}
		if a.Accept(ctx, freshTicket(), []byte("id")) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestAntiReplayJustMade restarts a server with a store in memory: what it could
// have accepted before is not accepted, until it would not be fresh any more.
func TestAntiReplayJustMade(t *testing.T) {
	old := &State{CreatedAt: time.Now().Add(-time.Millisecond)}
	store := NewMemoryStore(0)
	now := time.Now()
	var told error
	a := &AntiReplay{Store: store, Time: func() time.Time { return now }, OnError: func(err error) { told = err }}
	if a.Accept(t.Context(), old, []byte("id")) || !errors.Is(told, ErrMarksLost) || store.Len() != 0 {
		t.Errorf("accepted with a ticket from before; %v", told)
	}
	if !a.Accept(t.Context(), freshTicket(), []byte("id")) {
		t.Error("not accepted with a new ticket")
	}
	now = store.made.Add(replayWindow)
	if a.Accept(t.Context(), old, []byte("id 2")) {
		t.Error("accepted at the end of the window")
	}
	now = now.Add(time.Millisecond)
	if !a.Accept(t.Context(), old, []byte("id 3")) {
		t.Error("not accepted after the window")
	}

	own := NewAntiReplay(0)
	if !own.Accept(t.Context(), &State{CreatedAt: time.Unix(0, 0)}, []byte("id")) {
		t.Error("one of its own does not accept by a clock of its own")
	}
}

// youngStore is a store on other machines that knows since when it remembers.
type youngStore struct {
	Store
	since time.Time
}

func (s youngStore) Since() time.Time { return s.since }

// TestAntiReplaySince: any store may say since when it remembers.
func TestAntiReplaySince(t *testing.T) {
	ticket := freshTicket()
	for after, want := range map[time.Duration]bool{-time.Second: true, time.Second: false} {
		a := &AntiReplay{Store: youngStore{NewMemoryStore(0), ticket.CreatedAt.Add(after)}, Budget: time.Second}
		if got := a.Accept(t.Context(), ticket, []byte("id")); got != want {
			t.Errorf("store since %v after the ticket: accepted %v", after, got)
		}
	}
}

// TestAntiReplayMillisecond makes store and ticket within one millisecond, which
// is all that a ticket knows.
func TestAntiReplayMillisecond(t *testing.T) {
	store := NewMemoryStore(0)
	a := &AntiReplay{Store: store}
	if !a.Accept(t.Context(), &State{CreatedAt: time.UnixMilli(store.made.UnixMilli())}, []byte("id")) {
		t.Error("not accepted")
	}
}

// TestAntiReplayFull fills one in memory: nothing is forgotten early.
func TestAntiReplayFull(t *testing.T) {
	var told error
	a := NewAntiReplay(3)
	a.OnError = func(err error) { told = err }
	for i := range 5 {
		if got := a.Accept(t.Context(), freshTicket(), fmt.Append(nil, i)); got != (i < 3) {
			t.Errorf("ClientHello %d: %v", i, got)
		}
	}
	if !errors.Is(told, ErrFull) {
		t.Errorf("told %v", told)
	}
	for i := range 5 {
		if a.Accept(t.Context(), freshTicket(), fmt.Append(nil, i)) {
			t.Errorf("ClientHello %d was forgotten", i)
		}
	}
}
