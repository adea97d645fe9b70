package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"reflect"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// sharedForTest returns keys of which each byte of key is 0xA7.
func sharedForTest(t testing.TB) *sharedRing {
	t.Helper()
	s, err := newSharedRing(rand.Reader, epoch, defaultInterval)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.rotate(rand.Reader, epoch, epoch, defaultInterval); err != nil {
			t.Fatal(err)
		}
	}
	for i := range s.keys {
		s.keys[i].key = [ticketKeyLen]byte(bytes.Repeat([]byte{0xA7}, ticketKeyLen))
	}
	return s
}

func mustSealRing(t testing.TB, s *sharedRing) []byte { return mustSealRingUnder(t, s, &testKEK) }

func TestSealRing(t *testing.T) {
	s := sharedForTest(t)
	b, again := mustSealRing(t, s), mustSealRing(t, s)
	if len(b) != maxRingLen || bytes.Equal(b[ringHeadLen:], again[ringHeadLen:]) {
		t.Errorf("%d bytes, or sealed twice alike", len(b))
	}
	got, err := openRing(b, &testKEK)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("got %+v, %v", got, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x40
		if _, err := openRing(bad, &testKEK); err == nil {
			t.Fatalf("opens with byte %d damaged", i)
		}
		if _, err := openRing(b[:i], &testKEK); err == nil {
			t.Fatalf("opens when cut to %d bytes", i)
		}
	}
	if _, err := openRing(append(b, 0), &testKEK); err == nil {
		t.Error("opens when extended")
	}
	if _, err := openRing(again, &[32]byte{9}); alert.Of(err) != alert.DecryptError {
		t.Errorf("under another KEK: %v", err)
	}
	if _, err := s.seal(&shortRand{}, &testKEK); err == nil {
		t.Error("seals without randomness")
	}
}

// TestParseRing: what is authentic may still be malformed.
func TestParseRing(t *testing.T) {
	s := sharedForTest(t)
	two, three := *s, *s
	two.keys, three.keys = s.keys[:2], append(append([]sharedKey{}, s.keys[:2]...), s.keys[0])
	one := *s
	one.keys = s.keys[:1]
	for _, test := range []struct {
		name string
		s    *sharedRing
		ok   bool
	}{{"four keys", s, true}, {"two keys", &two, true}, {"one key", &one, false}, {"a key twice", &three, false}} {
		if _, err := openRing(mustSealRing(t, test.s), &testKEK); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestRotateDropsKeys: of the old keys two stay.
func TestRotateDropsKeys(t *testing.T) {
	s, err := newSharedRing(rand.Reader, epoch, defaultInterval)
	if err != nil {
		t.Fatal(err)
	}
	now := epoch
	for i := range 6 {
		now = now.Add(defaultInterval)
		if err := s.rotate(rand.Reader, now, now, defaultInterval); err != nil {
			t.Fatal(err)
		}
		if want := min(3+i, maxKeys); len(s.keys) != want {
			t.Errorf("%d keys after %d rotations, want %d", len(s.keys), i+1, want)
		}
	}
}

// TestNothingSecretInSources: what a source is given shows no key.
func TestNothingSecretInSources(t *testing.T) {
	c, source := newClock(), new(MemoryRing)
	r := fleet(1, source, c)[0]
	for range 4 {
		if err := r.Rotate(context.Background()); err != nil {
			t.Fatal(err)
		}
		b, _, err := source.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range r.keys.Load().keys {
			if bytes.Contains(b, key.key[:8]) || bytes.Contains(b, key.name[:8]) || bytes.Contains(b, testKEK[:8]) {
				t.Error("a key is in clear")
			}
		}
	}
}

func TestSharedRingDoesNotPrint(t *testing.T) {
	s := sharedForTest(t)
	for name, v := range map[string]any{"ring": s, "key": s.keys[0], "keys": s.keys} {
		if out := printed(v); countForms(out) > 0 || !bytes.Contains([]byte(out), []byte("redacted")) {
			t.Errorf("%s prints: %s", name, out)
		}
	}
	r := fleet(1, new(MemoryRing), newClock())[0]
	r.KEK = [32]byte(bytes.Repeat([]byte{0xA7}, 32))
	if err := r.use(mustSealRingUnder(t, s, &r.KEK), "1"); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"ring": r, "keys": r.keys.Load(), "status": r.Status()} {
		if out := printed(v); countForms(out) > 0 {
			t.Errorf("%s prints: %s", name, out)
		}
	}
}

func mustSealRingUnder(t testing.TB, s *sharedRing, kek *[32]byte) []byte {
	t.Helper()
	b, err := s.seal(rand.Reader, kek)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWipeSharedRing(t *testing.T) {
	s := sharedForTest(t)
	keys := s.keys
	if err := s.rotate(rand.Reader, epoch, epoch, defaultInterval); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.key != [ticketKeyLen]byte{} {
			t.Error("rotation leaves a copy behind")
		}
	}
}

func TestMemoryRing(t *testing.T) {
	ctx := context.Background()
	var m MemoryRing
	if b, version, err := m.Load(ctx); b != nil || version != "" || err != nil {
		t.Errorf("empty: %x, %q, %v", b, version, err)
	}
	if _, ok, err := m.Replace(ctx, "1", []byte{1}); ok || err != nil {
		t.Errorf("replaces what is not there: %v", err)
	}
	first, ok, err := m.Replace(ctx, "", []byte{1})
	if !ok || err != nil || first == "" {
		t.Fatalf("does not begin: %q, %v", first, err)
	}
	if _, ok, _ := m.Replace(ctx, "", []byte{2}); ok {
		t.Error("begins twice")
	}
	second, ok, _ := m.Replace(ctx, first, []byte{})
	if !ok || second == first {
		t.Errorf("version %q after %q", second, first)
	}
	if b, version, _ := m.Load(ctx); b == nil || version != second {
		t.Errorf("something of no length: %v, %q", b, version)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := m.Load(ctx); err == nil {
		t.Error("Load ignores its context")
	}
	if _, _, err := m.Replace(ctx, second, nil); err == nil {
		t.Error("Replace ignores its context")
	}
}

// FuzzOpenRing: nothing that a source may hold makes a ring fail, and nothing
// authenticates but what was sealed.
func FuzzOpenRing(f *testing.F) {
	good := mustSealRing(f, sharedForTest(f)) // another in each process that fuzzes
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add(good[:ringHeadLen], uint16(ringHeadLen), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flip byte) {
		if _, err := openRing(b, &testKEK); err == nil {
			t.Errorf("%x authenticates", b)
		}
		changed := bytes.Clone(good)
		changed[int(at)%len(changed)] ^= flip
		if _, err := openRing(changed, &testKEK); (err == nil) != (flip == 0) {
			t.Errorf("changed by %#x at %d: %v", flip, at, err)
		}
	})
}

// FuzzParseRing reads what would be authentic.
func FuzzParseRing(f *testing.F) {
	s := sharedForTest(f)
	f.Add(s.appendTo(nil))
	f.Add(s.appendTo(nil)[:50])
	f.Fuzz(func(t *testing.T, b []byte) {
		var s sharedRing
		if err := s.parse(b); err != nil {
			return
		}
		if len(s.keys) < 2 || len(s.keys) > maxKeys {
			t.Errorf("%d keys", len(s.keys))
		}
		if again := s.appendTo(nil); !bytes.Equal(again, b) {
			t.Errorf("read %x, written %x", b, again)
		}
	})
}
