package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// clock is a time that tests move.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ms.Store(epoch.UnixMilli())
	return c
}

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

func (c *clock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func mustSeal(t testing.TB, r *KeyRing, s *State) []byte {
	t.Helper()
	ticket, err := r.Seal(s)
	if err != nil || ticket == nil {
		t.Fatalf("Seal: %d bytes, %v", len(ticket), err)
	}
	return ticket
}

func opens(t testing.TB, r *KeyRing, ticket []byte) bool {
	t.Helper()
	s, err := r.Open(ticket)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s != nil
}

func TestSealOpen(t *testing.T) {
	var r KeyRing
	seen := make(map[string]bool)
	for _, s := range []*State{full13(), small13(), small12(), small12()} {
		ticket := mustSeal(t, &r, s)
		if seen[string(ticket)] || bytes.Contains(ticket, s.Secret.Bytes()[:16]) {
			t.Error("ticket repeats or shows the secret")
		}
		seen[string(ticket)] = true
		got, err := r.Open(ticket)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, %v, want %+v", got, err, s)
		}
	}
}

func TestOpenDamaged(t *testing.T) {
	var r, other KeyRing
	ticket := mustSeal(t, &r, small13())
	for i := range ticket {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(ticket)
			bad[i] ^= bit
			if opens(t, &r, bad) {
				t.Fatalf("opens with byte %d damaged", i)
			}
		}
		if opens(t, &r, ticket[:i]) {
			t.Fatalf("opens when cut to %d bytes", i)
		}
	}
	if opens(t, &r, append(bytes.Clone(ticket), 0)) || opens(t, &r, nil) || opens(t, &other, ticket) {
		t.Error("opens when extended, empty, or with another ring")
	}
}

// TestOpenUnknownContent: a ticket that is authentic but of a suite that this
// program does not know is like one that is unknown.
func TestOpenUnknownContent(t *testing.T) {
	key := [32]byte{1}
	var r KeyRing
	r.SetKeys([][32]byte{key})
	salt, nonce := bytes.Repeat([]byte{7}, 12), bytes.Repeat([]byte{9}, 12)
	name, aead := independentKey(t, key, salt)
	content := mustBytes(t, small13())
	seal := func(content []byte) []byte {
		ticket := append(append(bytes.Clone(name), salt...), nonce...)
		return aead.Seal(ticket, nonce, content, append(bytes.Clone(name), 0, 3))
	}
	if !opens(t, &r, seal(content)) {
		t.Fatal("the ticket as documented does not open")
	}
	content[4] = 0x99
	if opens(t, &r, seal(content)) {
		t.Error("a ticket of an unknown suite opens")
	}
}

// independentKey derives name and AEAD of a set key and a salt as documented.
func independentKey(t *testing.T, key [32]byte, salt []byte) (name []byte, aead cipher.AEAD) {
	t.Helper()
	sum := sha512.Sum512([]byte("handoff session ticket key" + string(key[:])))
	own, err := hkdf.Expand(sha256.New, sum[16:48], "handoff ticket"+string(salt), 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		t.Fatal(err)
	}
	aead, err = cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return sum[:16], aead
}

func TestRotation(t *testing.T) {
	c := newClock()
	r := &KeyRing{Time: c.now}
	first := mustSeal(t, r, small13())
	firstNext := r.keys.Load().keys[nextKey]

	c.add(defaultInterval - time.Millisecond)
	if again := mustSeal(t, r, small13()); !bytes.Equal(again[:keyNameLen], first[:keyNameLen]) {
		t.Error("the key changed before its interval was over")
	}
	c.add(time.Millisecond)
	second := mustSeal(t, r, small13())
	if !bytes.Equal(second[:keyNameLen], firstNext.name[:]) {
		t.Error("the key was not made one interval before its use")
	}
	for i := range 2 {
		if !opens(t, r, first) {
			t.Errorf("does not open %d intervals later", i+1)
		}
		c.add(defaultInterval)
	}
	if opens(t, r, first) {
		t.Error("opens three intervals later")
	}
	if !opens(t, r, second) || len(r.keys.Load().keys) != maxKeys {
		t.Error("the ring forgot too much")
	}
}

// TestRotationUnnoticed: what happens to a ring that nobody used for a while.
func TestRotationUnnoticed(t *testing.T) {
	for _, tt := range []struct {
		idle         time.Duration
		opens, known bool // the ticket opens; the next key of then is still there
	}{
		{1*defaultInterval - 1*time.Millisecond, true, true},
		{1 * defaultInterval, true, true},
		{3*defaultInterval - time.Millisecond, true, true},
		{3 * defaultInterval, false, true},
		{4*defaultInterval - time.Millisecond, false, true},
		{4 * defaultInterval, false, false},
		{10000 * defaultInterval, false, false},
	} {
		c := newClock()
		r := &KeyRing{Time: c.now}
		ticket := mustSeal(t, r, small13())
		next := r.keys.Load().keys[nextKey]
		c.add(tt.idle)
		if opens(t, r, ticket) != tt.opens {
			t.Errorf("after %v: opens %v, want %v", tt.idle, !tt.opens, tt.opens)
		}
		keys := r.keys.Load()
		if (keys.find(next.name) != nil) != tt.known {
			t.Errorf("after %v: next key known: %v, want %v", tt.idle, !tt.known, tt.known)
		}
		if keys.seal == next != (tt.idle >= defaultInterval && tt.idle < 2*defaultInterval) {
			t.Errorf("after %v: sealing with the wrong key", tt.idle)
		}
		if until := keys.until.Sub(c.now()); until <= 0 || until > defaultInterval {
			t.Errorf("after %v: next rotation in %v", tt.idle, until)
		}
	}
}

func TestIntervalAndBackwardClock(t *testing.T) {
	c := newClock()
	r := &KeyRing{Time: c.now, Interval: time.Minute}
	ticket := mustSeal(t, r, small13())
	c.add(-time.Hour)
	if again := mustSeal(t, r, small13()); !bytes.Equal(again[:keyNameLen], ticket[:keyNameLen]) {
		t.Error("the key changed when the clock went backward")
	}
	c.add(time.Hour + time.Minute)
	if again := mustSeal(t, r, small13()); bytes.Equal(again[:keyNameLen], ticket[:keyNameLen]) {
		t.Error("the key did not change after a minute")
	}
}

func TestSealLimit(t *testing.T) {
	c := newClock()
	r := &KeyRing{Time: c.now, maxSeals: 3}
	names := make(map[string]int)
	for range 7 {
		ticket := mustSeal(t, r, small13())
		names[string(ticket[:keyNameLen])]++
		if !opens(t, r, ticket) {
			t.Fatal("does not open")
		}
	}
	if len(names) != 3 {
		t.Errorf("7 tickets of at most 3 a key: %v", names)
	}
	for _, n := range names {
		if n > 3 {
			t.Errorf("a key sealed %d times", n)
		}
	}
	if (&KeyRing{}).limit() != 1<<32 {
		t.Error("the default limit is not 2^32")
	}
}

func TestSetKeys(t *testing.T) {
	a, b, other := [32]byte{1}, [32]byte{2}, [32]byte{3}
	c := newClock()
	var automatic, ringA, ringBA, ringOther KeyRing
	for _, r := range []*KeyRing{&automatic, &ringA, &ringBA, &ringOther} {
		r.Time = c.now
	}
	old := mustSeal(t, &ringA, small13())
	ringA.SetKeys([][32]byte{a})
	ringBA.SetKeys([][32]byte{b, a})
	ringOther.SetKeys([][32]byte{other})

	ticketA, ticketB := mustSeal(t, &ringA, small13()), mustSeal(t, &ringBA, small13())
	if opens(t, &ringA, old) {
		t.Error("opens a ticket of the keys before")
	}
	if !opens(t, &ringBA, ticketA) || opens(t, &ringA, ticketB) {
		t.Error("not: the first key seals and all open")
	}
	if opens(t, &ringOther, ticketA) || opens(t, &automatic, ticketA) {
		t.Error("opens with other keys")
	}
	c.add(1000 * defaultInterval)
	if !opens(t, &ringBA, ticketA) || !bytes.Equal(mustSeal(t, &ringA, small13())[:keyNameLen], ticketA[:keyNameLen]) {
		t.Error("keys that were set rotate")
	}
	ringA.SetKeys(nil)
	if opens(t, &ringA, ticketA) || !opens(t, &ringA, mustSeal(t, &ringA, small13())) {
		t.Error("the ring does not make its own keys again")
	}
}

func TestSetKeysLimit(t *testing.T) {
	r := &KeyRing{maxSeals: 2}
	r.SetKeys([][32]byte{{1}})
	ticket := mustSeal(t, r, small13())
	mustSeal(t, r, small13())
	if third, err := r.Seal(small13()); third != nil || err != nil {
		t.Errorf("a used up key sealed %d bytes, %v", len(third), err)
	}
	if !opens(t, r, ticket) {
		t.Error("a used up key does not open")
	}
}

func TestSealTooLarge(t *testing.T) {
	var r KeyRing
	s := small13()
	room := maxTicket - headLen - tagLen - len(mustBytes(t, s))
	s.OCSPStaple = make([]byte, room)
	if ticket := mustSeal(t, &r, s); len(ticket) != maxTicket {
		t.Errorf("largest ticket has %d bytes", len(ticket))
	}
	s.OCSPStaple = make([]byte, room+1)
	if ticket, err := r.Seal(s); ticket != nil || err != nil {
		t.Errorf("too large: %d bytes, %v", len(ticket), err)
	}
	if ticket, err := r.Seal(new(State)); ticket != nil || alert.Of(err) != alert.InternalError || err == nil {
		t.Errorf("impossible state: %d bytes, %v", len(ticket), err)
	}
}

// shortRand fails after n bytes.
type shortRand struct{ n int }

var errRand = errors.New("no randomness left")

func (r *shortRand) Read(b []byte) (int, error) {
	if len(b) > r.n {
		return 0, errRand
	}
	r.n -= len(b)
	return len(b), nil
}

func TestRandFails(t *testing.T) {
	const perKey = keyNameLen + 32
	for _, n := range []int{0, perKey, 2 * perKey} {
		r := &KeyRing{Rand: &shortRand{n}}
		if ticket, err := r.Seal(small13()); ticket != nil || !errors.Is(err, errRand) {
			t.Errorf("%d bytes of randomness: ticket %x, %v", n, ticket, err)
		}
	}
	r := &KeyRing{Rand: &shortRand{}}
	if s, err := r.Open(make([]byte, 100)); s != nil || !errors.Is(err, errRand) {
		t.Errorf("Open without randomness: %v, %v", s, err)
	}
	r = &KeyRing{Rand: &shortRand{2*perKey + 2*(saltLen+nonceLen)}, maxSeals: 1}
	mustSeal(t, r, small13())
	if ticket, err := r.Seal(small13()); ticket != nil || !errors.Is(err, errRand) {
		t.Errorf("rotation without randomness: ticket %x, %v", ticket, err)
	}
}

// TestRandIsUsed: with known randomness keys, names and salts are known.
func TestRandIsUsed(t *testing.T) {
	rand := func() io.Reader { return &countingRand{} }
	a, b := &KeyRing{Rand: rand()}, &KeyRing{Rand: rand()}
	if !bytes.Equal(mustSeal(t, a, small13()), mustSeal(t, b, small13())) {
		t.Error("a ring uses more than the randomness that it was given")
	}
}

type countingRand struct{ next byte }

func (r *countingRand) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = r.next
		r.next++
	}
	return len(b), nil
}

func TestKeyRingConcurrently(t *testing.T) {
	c := newClock()
	r := &KeyRing{Time: c.now, maxSeals: 50}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				ticket, err := r.Seal(small13())
				if err != nil { // no ticket is no error: a key that was set may be used up
					t.Errorf("Seal: %v", err)
				}
				if _, err := r.Open(ticket); err != nil {
					t.Errorf("Open: %v", err)
				}
				if i%20 == 0 {
					c.add(time.Hour)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			r.SetKeys([][32]byte{{byte(i)}})
			r.SetKeys(nil)
		}
	})
	wg.Wait()
}

func TestKeyRingDoesNotPrint(t *testing.T) {
	r := &KeyRing{}
	r.SetKeys([][32]byte{{1}})
	key := r.keys.Load().seal
	for i := range key.name {
		key.name[i] = 0xA7
	}
	for name, v := range map[string]any{"ring": r, "keys": r.keys.Load(), "key": key} {
		if out := printed(v); countForms(out) > 0 || !bytes.Contains([]byte(out), []byte("redacted")) {
			t.Errorf("%s prints: %s", name, out)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	var r KeyRing
	s := small13()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mustSeal(b, &r, s)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	var r KeyRing
	ticket := mustSeal(b, &r, small13())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			opens(b, &r, ticket)
		}
	})
}

// A client with an absurd number of certificates gets no ticket; its handshake
// goes on.
func TestSealManyCertificates(t *testing.T) {
	s := &State{Version: keyschedule.VersionTLS13, CipherSuite: keyschedule.TLS_AES_128_GCM_SHA256, Secret: keyschedule.NewSecret(make([]byte, 32)), PeerChain: make([][]byte, 300)}
	if ticket, err := new(KeyRing).Seal(s); ticket != nil || err != nil {
		t.Errorf("Seal: %d bytes, %v", len(ticket), err)
	}
}
