package sessiontest

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/session"
)

// RingSources is one empty source as two machines see it.
type RingSources struct {
	// A and B are two clients of the source: two connections, two openings of a
	// file, or twice the same value if it is for one process only.
	A, B session.RingSource
}

// TestRingSource checks a source. It calls open for each test, for one that is
// empty.
func TestRingSource(t *testing.T, open func(t *testing.T) RingSources) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, RingSources)
	}{
		{"Empty", testRingEmpty}, {"Begin", testRingBegin}, {"Contents", testRingContents}, {"Copies", testRingCopies},
		{"Stale", testRingStale}, {"Versions", testRingVersions}, {"BeginRace", testRingBeginRace},
		{"Race", testRingRace}, {"Count", testRingCount}, {"Context", testRingContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// load checks that both clients see these bytes, and returns their version. A
// nil b stands for an empty source.
func (s RingSources) load(t *testing.T, b []byte) (version string) {
	t.Helper()
	for i, source := range []session.RingSource{s.A, s.B} {
		got, v, err := source.Load(t.Context())
		if err != nil || !bytes.Equal(got, b) || (got == nil) != (b == nil) || (v == "") != (b == nil) {
			t.Fatalf("client %d loads %d bytes of version %q, %v, want %d bytes", i, len(got), v, err, len(b))
		}
		if i > 0 && v != version {
			t.Fatalf("the clients see versions %q and %q", version, v)
		}
		version = v
	}
	return version
}

func replace(t *testing.T, s session.RingSource, old string, b []byte) (version string, ok bool) {
	t.Helper()
	version, ok, err := s.Replace(t.Context(), old, b)
	if err != nil || ok && version == "" {
		t.Fatalf("Replace: version %q, %v, %v", version, ok, err)
	}
	return version, ok
}

func mustReplace(t *testing.T, s session.RingSource, old string, b []byte) (version string) {
	t.Helper()
	version, ok := replace(t, s, old, b)
	if !ok {
		t.Fatalf("what has version %q is not replaced", old)
	}
	return version
}

func testRingEmpty(t *testing.T, s RingSources) {
	s.load(t, nil)
	if _, ok := replace(t, s.A, "of something else", []byte("b")); ok {
		t.Error("a version that never was is replaced")
	}
	s.load(t, nil)
}

func testRingBegin(t *testing.T, s RingSources) {
	version := mustReplace(t, s.A, "", []byte("first"))
	for _, source := range []session.RingSource{s.A, s.B} {
		if _, ok := replace(t, source, "", []byte("other")); ok {
			t.Error("the source begins twice")
		}
	}
	if got := s.load(t, []byte("first")); got != version {
		t.Errorf("version %q, Replace said %q", got, version)
	}
}

func testRingContents(t *testing.T, s RingSources) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	version := ""
	for _, b := range [][]byte{
		[]byte("b"), {0}, []byte("\r\n"), []byte("\x00\xff not UTF-8"), every, bytes.Repeat(every, 256), {0xff},
	} {
		version = mustReplace(t, s.A, version, b)
		if got := s.load(t, b); got != version {
			t.Errorf("%d bytes: version %q, Replace said %q", len(b), got, version)
		}
	}
}

func testRingCopies(t *testing.T, s RingSources) {
	b := []byte("bytes")
	mustReplace(t, s.A, "", b)
	b[0] = 'X'
	got, _, err := s.A.Load(t.Context())
	if string(got) != "bytes" || err != nil {
		t.Errorf("after the caller changed what it gave: %q, %v", got, err)
	}
	if len(got) > 0 {
		got[0] = 'X'
	}
	s.load(t, []byte("bytes"))
}

func testRingStale(t *testing.T, s RingSources) {
	first := mustReplace(t, s.A, "", []byte("one"))
	second := mustReplace(t, s.B, first, []byte("two"))
	for _, old := range []string{first, "", second + "0", "no version"} {
		if _, ok := replace(t, s.A, old, []byte("other")); ok {
			t.Errorf("version %q is replaced", old)
		}
	}
	if got := s.load(t, []byte("two")); got != second {
		t.Errorf("version %q, Replace said %q", got, second)
	}
	mustReplace(t, s.A, second, []byte("three"))
	s.load(t, []byte("three"))
}

// testRingVersions has the same contents come back, without the versions that
// they had.
func testRingVersions(t *testing.T, s RingSources) {
	seen := make(map[string]bool)
	version := ""
	for i := range 10 {
		source := s.A
		if i%3 == 0 {
			source = s.B
		}
		version = mustReplace(t, source, version, fmt.Append(nil, i%2))
		if seen[version] {
			t.Errorf("version %q comes a second time", version)
		}
		seen[version] = true
	}
	for old := range seen {
		if _, ok := replace(t, s.A, old, []byte("other")); ok && old != version {
			t.Errorf("version %q is replaced, which was before", old)
		}
	}
}

// raceReplace has racers of both clients replace the same version with contents
// of their own, and returns the winner's.
func (s RingSources) raceReplace(t *testing.T, old string) (b []byte, version string) {
	t.Helper()
	type won struct {
		b       []byte
		version string
	}
	var next atomic.Int64
	winners := make(chan won, racers)
	race(s.A, s.B, func(source session.RingSource) bool {
		b := fmt.Append(nil, "racer ", next.Add(1), " after ", old)
		v, ok, err := source.Replace(t.Context(), old, b)
		if err != nil {
			t.Errorf("Replace: %v", err)
		}
		if ok {
			winners <- won{b, v}
		}
		return ok
	})
	if len(winners) != 1 {
		t.Fatalf("%d of %d replaced one version", len(winners), racers)
	}
	w := <-winners
	return w.b, w.version
}

func testRingBeginRace(t *testing.T, s RingSources) {
	b, version := s.raceReplace(t, "")
	if got := s.load(t, b); got != version {
		t.Errorf("version %q, the winner was told %q", got, version)
	}
}

func testRingRace(t *testing.T, s RingSources) {
	version := mustReplace(t, s.A, "", []byte("first"))
	for range 10 {
		b, next := s.raceReplace(t, version)
		if got := s.load(t, b); got != next {
			t.Fatalf("version %q, the winner was told %q", got, next)
		}
		version = next
	}
}

// testRingCount counts to a number, whose every step somebody has to win.
func testRingCount(t *testing.T, s RingSources) {
	const steps = 4
	race(s.A, s.B, func(source session.RingSource) bool {
		for done := 0; done < steps && t.Context().Err() == nil; {
			b, version, err := source.Load(t.Context())
			if err != nil {
				t.Errorf("Load: %v", err)
				return false
			}
			_, ok, err := source.Replace(t.Context(), version, append(b, '+'))
			if err != nil {
				t.Errorf("Replace: %v", err)
				return false
			}
			if ok {
				done++
			}
		}
		return true
	})
	s.load(t, bytes.Repeat([]byte("+"), racers*steps))
}

func testRingContext(t *testing.T, s RingSources) {
	version := mustReplace(t, s.A, "", []byte("before"))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	for name, ctx := range map[string]context.Context{"cancelled": cancelled, "expired": expired} {
		start := time.Now()
		if b, _, err := s.A.Load(ctx); err == nil {
			t.Errorf("Load with a context that is %s: %d bytes", name, len(b))
		}
		if _, ok, err := s.A.Replace(ctx, version, []byte("other")); ok || err == nil {
			t.Errorf("Replace with a context that is %s: %v, %v", name, ok, err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("calls with a context that is %s take %v", name, took)
		}
	}
	if got := s.load(t, []byte("before")); got != version {
		t.Errorf("version %q afterwards, it was %q", got, version)
	}
}
