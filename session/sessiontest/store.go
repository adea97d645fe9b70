package sessiontest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/session"
)

// Fleet is one empty store as two processes see it.
type Fleet struct {
	// A and B are two clients of the store: two connections, two openings of a
	// directory, or twice the same value if it is for one process only.
	A, B session.Store
	// TTL is a time to live that is over after Pass and not before: so long that
	// a test does what it has to do within it.
	TTL time.Duration
	// Pass lets more than TTL pass, by moving a clock or by waiting.
	Pass func()
}

// TestStore checks a store. It calls open for each test, for a fleet with an
// empty store that has room for a few hundred values and marks.
func TestStore(t *testing.T, open func(t *testing.T) Fleet) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Fleet)
	}{
		{"Values", testValues}, {"Copies", testCopies}, {"Overwrite", testOverwrite}, {"Expiry", testExpiry},
		{"TakeOnce", testTakeOnce}, {"TakeOnceRace", testTakeOnceRace},
		{"Add", testAdd}, {"AddRace", testAddRace}, {"AddExpiredRace", testAddExpiredRace},
		{"Delete", testDelete}, {"TTL", testTTL}, {"Context", testContext}, {"Mixed", testMixed},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

const long = time.Hour

func put(t *testing.T, s session.Store, key, value string, ttl time.Duration) {
	t.Helper()
	if err := s.Put(t.Context(), key, []byte(value), ttl); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// want checks what a Get or TakeOnce returned: nil stands for no value.
func want(t *testing.T, what string, got []byte, err error, value []byte) {
	t.Helper()
	if err != nil || !bytes.Equal(got, value) || (got == nil) != (value == nil) {
		t.Errorf("%s: %q, %v, want %q", what, got, err, value)
	}
}

func get(t *testing.T, s session.Store, key string) ([]byte, error) {
	t.Helper()
	return s.Get(t.Context(), key)
}

func take(t *testing.T, s session.Store, key string) ([]byte, error) {
	t.Helper()
	return s.TakeOnce(t.Context(), key)
}

func add(t *testing.T, s session.Store, key string, ttl time.Duration) bool {
	t.Helper()
	added, err := s.Add(t.Context(), key, ttl)
	if err != nil {
		t.Errorf("Add: %v", err)
	}
	return added
}

// keys that a store might misunderstand.
var keys = []string{
	"k", "", "with space", "../../etc/passwd", "nul\x00", "line\r\nfeed", "\xff\xfe not UTF-8", "*", "K", strings.Repeat("long", 1000),
}

func testValues(t *testing.T, f Fleet) {
	values := []string{"", "v", "\x00\xff\r\n", strings.Repeat("large ", 6000)}
	for _, value := range values {
		for i, key := range keys {
			put(t, f.A, key, fmt.Sprint(value, i), long)
		}
		for i, key := range keys {
			got, err := get(t, f.B, key)
			want(t, fmt.Sprintf("key %.20q", key), got, err, fmt.Append(nil, value, i))
		}
	}
	put(t, f.A, "empty", "", long)
	got, err := get(t, f.B, "empty")
	want(t, "an empty value", got, err, []byte{})
	got, err = get(t, f.B, "absent")
	want(t, "no value", got, err, nil)
}

func testCopies(t *testing.T, f Fleet) {
	value := []byte("value")
	if err := f.A.Put(t.Context(), "k", value, long); err != nil {
		t.Fatal(err)
	}
	value[0] = 'X'
	got, err := get(t, f.A, "k")
	want(t, "after the caller changed what it put", got, err, []byte("value"))
	if len(got) > 0 {
		got[0] = 'X'
	}
	got, err = get(t, f.A, "k")
	want(t, "after the caller changed what it got", got, err, []byte("value"))
}

func testOverwrite(t *testing.T, f Fleet) {
	put(t, f.A, "k", "first", f.TTL)
	put(t, f.B, "k", "second, which is longer", long)
	f.Pass()
	got, err := get(t, f.A, "k")
	want(t, "the second value and time to live", got, err, []byte("second, which is longer"))
}

func testExpiry(t *testing.T, f Fleet) {
	put(t, f.A, "get", "v", f.TTL)
	put(t, f.A, "take", "v", f.TTL)
	put(t, f.A, "stays", "v", long)
	got, err := get(t, f.B, "get")
	want(t, "before it expires", got, err, []byte("v"))
	f.Pass()
	got, err = get(t, f.B, "get")
	want(t, "Get when it has expired", got, err, nil)
	got, err = take(t, f.B, "take")
	want(t, "TakeOnce when it has expired", got, err, nil)
	got, err = get(t, f.B, "stays")
	want(t, "what has not expired", got, err, []byte("v"))
}

func testTakeOnce(t *testing.T, f Fleet) {
	put(t, f.A, "k", "v", long)
	got, err := take(t, f.B, "k")
	want(t, "the first time", got, err, []byte("v"))
	for _, s := range []session.Store{f.A, f.B} {
		got, err = take(t, s, "k")
		want(t, "the second time", got, err, nil)
		got, err = get(t, s, "k")
		want(t, "Get afterwards", got, err, nil)
	}
	put(t, f.A, "k", "again", long)
	got, err = take(t, f.B, "k")
	want(t, "put again", got, err, []byte("again"))
}

const racers = 16

// race makes the same call of two clients, a and b, many times at once, and
// returns how often it returned true.
func race[T any](a, b T, call func(T) bool) int {
	var winners atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		client := a
		if i%2 == 1 {
			client = b
		}
		wg.Go(func() {
			<-start
			if call(client) {
				winners.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(winners.Load())
}

func testTakeOnceRace(t *testing.T, f Fleet) {
	for round := range 20 {
		key := fmt.Sprint("k", round)
		put(t, f.A, key, "v", long)
		n := race(f.A, f.B, func(s session.Store) bool {
			got, err := take(t, s, key)
			if err != nil {
				t.Errorf("TakeOnce: %v", err)
			}
			return got != nil
		})
		if n != 1 {
			t.Fatalf("%d callers got the value", n)
		}
	}
}

func testAdd(t *testing.T, f Fleet) {
	for _, key := range keys {
		if !add(t, f.A, key, f.TTL) {
			t.Errorf("%.20q is marked at first", key)
		}
		if add(t, f.B, key, long) || add(t, f.A, key, long) {
			t.Errorf("%.20q can be marked again", key)
		}
	}
	f.Pass()
	if !add(t, f.B, "k", long) || add(t, f.A, "k", long) {
		t.Error("a mark that has expired cannot be made again, or twice")
	}
}

func testAddRace(t *testing.T, f Fleet) {
	for round := range 20 {
		if n := race(f.A, f.B, func(s session.Store) bool { return add(t, s, fmt.Sprint("k", round), long) }); n != 1 {
			t.Fatalf("%d callers added the mark", n)
		}
	}
}

func testAddExpiredRace(t *testing.T, f Fleet) {
	const rounds = 20
	for round := range rounds {
		add(t, f.A, fmt.Sprint("k", round), f.TTL)
	}
	f.Pass()
	for round := range rounds {
		if n := race(f.A, f.B, func(s session.Store) bool { return add(t, s, fmt.Sprint("k", round), long) }); n != 1 {
			t.Fatalf("%d callers added the mark after it expired", n)
		}
	}
}

func testDelete(t *testing.T, f Fleet) {
	put(t, f.A, "value", "v", long)
	add(t, f.A, "mark", long)
	for _, key := range []string{"value", "mark", "absent"} {
		if err := f.B.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%s): %v", key, err)
		}
	}
	got, err := get(t, f.A, "value")
	want(t, "when it is deleted", got, err, nil)
	if !add(t, f.A, "mark", long) {
		t.Error("a mark that was deleted cannot be made again")
	}
}

func testTTL(t *testing.T, f Fleet) {
	for _, ttl := range []time.Duration{0, -time.Second} {
		if err := f.A.Put(t.Context(), "k", []byte("v"), ttl); err == nil {
			t.Errorf("Put with a time to live of %v succeeds", ttl)
		}
		if added, err := f.A.Add(t.Context(), "k", ttl); err == nil || added {
			t.Errorf("Add with a time to live of %v: %v, %v", ttl, added, err)
		}
	}
}

func testContext(t *testing.T, f Fleet) {
	put(t, f.A, "k", "v", long)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := f.A.Get(ctx, "k")
	_, takeErr := f.A.TakeOnce(ctx, "k")
	added, addErr := f.A.Add(ctx, "mark", long)
	errs := []error{getErr, takeErr, addErr, f.A.Put(ctx, "k", []byte("w"), long), f.A.Delete(ctx, "k")}
	for i, err := range errs {
		if err == nil {
			t.Errorf("call %d succeeds although its context has ended", i)
		}
	}
	if added {
		t.Error("a mark is added although the context has ended")
	}
	got, err := get(t, f.A, "k")
	want(t, "afterwards", got, err, []byte("v"))
}

// testMixed has all methods run at once: under the race detector.
func testMixed(t *testing.T, f Fleet) {
	race(f.A, f.B, func(s session.Store) bool {
		for i := range 50 {
			key := fmt.Sprint(i % 7)
			err := s.Put(t.Context(), key, []byte("v"), long)
			got, getErr := s.Get(t.Context(), key)
			taken, takeErr := s.TakeOnce(t.Context(), key)
			_, addErr := s.Add(t.Context(), "mark"+key, long)
			for _, err := range []error{err, getErr, takeErr, addErr, s.Delete(t.Context(), "mark"+key)} {
				if err != nil {
					t.Errorf("round %d: %v", i, err)
				}
			}
			for _, v := range [][]byte{got, taken} {
				if v != nil && string(v) != "v" {
					t.Errorf("round %d: value %q", i, v)
				}
			}
		}
		return true
	})
}
