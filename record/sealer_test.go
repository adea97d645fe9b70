package record

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

func TestSealAppends(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		s := NewSealer(testKeys(suite, 0))
		in := pattern(3 * MaxPlaintext / 2)
		dst := make([]byte, 3, 3+s.SealedLen(ApplicationData, len(in)))
		copy(dst, "abc")
		out, err := s.Seal(dst, ApplicationData, in)
		if err != nil {
			t.Fatal(err)
		}
		if &out[0] != &dst[0] || len(out) != cap(dst) {
			t.Fatal("did not use the room that was there")
		}
		checkBytes(t, "what was there", out[:3], []byte("abc"))
		checkBytes(t, "content", openAll(t, NewOpener(testKeys(suite, 0)), out[3:], ApplicationData), in)
		checkBytes(t, "payload afterwards", in, pattern(len(in)))
	})
}

func TestSealInPlace(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		for _, size := range []int{1, 100, MaxPlaintext} {
			s := NewSealer(testKeys(suite, 0))
			buf := make([]byte, 10+s.SealedLen(ApplicationData, size))
			at := buf[10+s.PrefixLen():][:size]
			copy(at, pattern(size))
			out, err := s.Seal(buf[:10], ApplicationData, at)
			if err != nil {
				t.Fatal(err)
			}
			o := NewOpener(testKeys(suite, 0))
			checkBytes(t, "content", openAll(t, o, out[10:], ApplicationData), pattern(size))
		}
	})
}

func TestSealPlaintextInPlace(t *testing.T) {
	var s Sealer
	buf := make([]byte, 100)
	at := buf[s.PrefixLen():][:5]
	copy(at, "hello")
	out, err := s.Seal(buf[:0], Handshake, at)
	if err != nil {
		t.Fatal(err)
	}
	checkBytes(t, "record", out, []byte("\x16\x03\x03\x00\x05hello"))
}

func TestSealOverlap(t *testing.T) {
	s := NewSealer(testKeys(suite13, 0))
	buf := make([]byte, 4*MaxPlaintext)
	prefix := s.PrefixLen()
	for name, payload := range map[string][]byte{
		"too early":        buf[prefix-1:][:100],
		"too late":         buf[prefix+1:][:100],
		"at the end":       buf[s.SealedLen(ApplicationData, 100)-1:][:100],
		"two records":      buf[prefix:][:MaxPlaintext+1],
		"spanning the end": buf[:prefix+1],
	} {
		out, err := s.Seal(buf[:1][:0], ApplicationData, payload)
		wantAlert(t, err, alert.InternalError)
		if len(out) != 0 || s.Seq() != 0 {
			t.Fatalf("%s: sealed %d bytes", name, len(out))
		}
	}
	// What is behind the room, or before it, is free.
	if _, err := s.Seal(buf[:0], ApplicationData, buf[s.SealedLen(ApplicationData, 100):][:100]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(buf[:100], ApplicationData, buf[:100]); err != nil {
		t.Fatal(err)
	}
}

func TestLimit(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		s := NewSealer(testKeys(suite, 0))
		if s.Remaining() != suite.RecordLimit() {
			t.Fatalf("%d records remain, want %d", s.Remaining(), suite.RecordLimit())
		}
		s.SetLimit(5)
		s.SetLimit(math.MaxUint64) // cannot be raised
		mustSeal(t, s, ApplicationData, pattern(2*MaxPlaintext))
		if s.Remaining() != 3 {
			t.Fatalf("%d records remain, want 3", s.Remaining())
		}
		dst := make([]byte, 1, 10*MaxPlaintext)
		out, err := s.Seal(dst, ApplicationData, pattern(3*MaxPlaintext+1))
		if !errors.Is(err, ErrLimit) || alert.Of(err) != alert.InternalError {
			t.Fatalf("sealing over the limit: %v", err)
		}
		if len(out) != 1 || s.Seq() != 2 {
			t.Fatal("some records were sealed")
		}
		mustSeal(t, s, ApplicationData, pattern(3*MaxPlaintext))
		if _, err := s.Seal(nil, ApplicationData, nil); !errors.Is(err, ErrLimit) || s.Remaining() != 0 {
			t.Fatalf("sealing at the limit: %v", err)
		}
		s.SetLimit(1)
		if s.Remaining() != 0 {
			t.Fatal("a limit below the sequence number leaves records")
		}
	})
}

func TestSequenceNumberDoesNotWrap(t *testing.T) {
	suite := keyschedule.SuiteByID(keyschedule.TLS_CHACHA20_POLY1305_SHA256)
	s := NewSealer(testKeys(suite, math.MaxUint64-1))
	rec := mustSeal(t, s, ApplicationData, pattern(1))
	if _, err := s.Seal(nil, ApplicationData, pattern(1)); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
	o := NewOpener(testKeys(suite, math.MaxUint64-1))
	openAll(t, o, bytes.Clone(rec), ApplicationData)
	if _, _, err := o.Open(nil, rec); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
}

func TestOpenerObservesLimit(t *testing.T) {
	s, o := NewSealer(testKeys(suite13, 0)), NewOpener(testKeys(suite13, 0))
	if o.Remaining() != suite13.RecordLimit() {
		t.Fatal(o.Remaining())
	}
	o.SetLimit(2)
	for _, want := range []uint64{1, 0, 0} {
		openAll(t, o, mustSeal(t, s, ApplicationData, pattern(1)), ApplicationData)
		if o.Remaining() != want {
			t.Fatalf("%d records remain, want %d", o.Remaining(), want)
		}
	}
}

func TestRelease(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		ks, ko := testKeys(suite, 0), testKeys(suite, 0)
		s, o := NewSealer(ks), NewOpener(ko)
		for range 3 {
			openAll(t, o, mustSeal(t, s, ApplicationData, pattern(9)), ApplicationData)
		}
		if got := s.Release(); got != ks || got.Seq != 3 {
			t.Fatalf("released %p with number %d", got, got.Seq)
		}
		if got := o.Release(); got != ko || got.Seq != 3 {
			t.Fatalf("released %p with number %d", got, got.Seq)
		}
		if s.Release() != nil || o.Release() != nil {
			t.Fatal("keys were released twice")
		}
		for _, typ := range []ContentType{ApplicationData, Handshake, Alert, ChangeCipherSpec} {
			out, err := s.Seal(nil, typ, pattern(1))
			if !errors.Is(err, ErrReleased) || len(out) != 0 {
				t.Fatalf("sealed %v after the release: %v", typ, err)
			}
		}
		if _, _, err := o.Open(nil, []byte{22, 3, 3, 0, 1, 1}); !errors.Is(err, ErrReleased) {
			t.Fatalf("opened after the release: %v", err)
		}
		if _, err := o.Need([]byte{22, 3, 3, 0, 1}); !errors.Is(err, ErrReleased) {
			t.Fatalf("deframed after the release: %v", err)
		}
		// The keys go on where they stopped.
		s, o = NewSealer(ks), NewOpener(ko)
		checkBytes(t, "content", openAll(t, o, mustSeal(t, s, ApplicationData, pattern(9)), ApplicationData), pattern(9))
		if s.Seq() != 4 || o.Seq() != 4 {
			t.Fatal("did not go on")
		}
	})
}

func TestWipe(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		ks, ko := testKeys(suite, 0), testKeys(suite, 0)
		s, o := NewSealer(ks), NewOpener(ko)
		s.Wipe()
		o.Wipe()
		for _, k := range []*keyschedule.TrafficKeys{ks, ko} {
			for _, part := range [][]byte{k.Key(), k.IV(), k.MACKey()} {
				checkBytes(t, "wiped", part, make([]byte, len(part)))
			}
		}
		if _, err := s.Seal(nil, ApplicationData, pattern(1)); !errors.Is(err, ErrReleased) {
			t.Fatal(err)
		}
		s.Wipe()
		o.Wipe()
	})
}

// Nonces give the IV away, and the MAC's pads the key: they go with the keys.
func TestReleaseForgetsScratch(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		s, o := NewSealer(testKeys(suite, 0)), NewOpener(testKeys(suite, 0))
		openAll(t, o, mustSeal(t, s, ApplicationData, pattern(10)), ApplicationData)
		sealing, opening := s.prot, o.prot
		s.Release()
		o.Release()
		for _, prot := range []any{sealing, opening} {
			var left []byte
			switch p := prot.(type) {
			case *aead13:
				left = p.nonce[:]
			case *aead12:
				left = p.nonce[:]
			case *cbcOpening:
				left = append(append(p.mac.ipad[:], p.mac.opad[:]...), p.mac.state[:]...)
			case *cbcSealing:
				if p.mac != nil {
					t.Error("the MAC's key is still there")
				}
			}
			checkBytes(t, "scratch", left, make([]byte, len(left)))
		}
	})
}

func TestMaxFragment(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		for _, tt := range []struct{ set, want int }{{-1, 64}, {64, 64}, {1000, 1000}, {MaxPlaintext + 1, MaxPlaintext}} {
			s, o := NewSealer(testKeys(suite, 0)), NewOpener(testKeys(suite, 0))
			s.SetMaxFragment(tt.set)
			in := pattern(2*tt.want + 1)
			sealed := mustSeal(t, s, ApplicationData, in)
			if len(sealed) != s.SealedLen(ApplicationData, len(in)) {
				t.Fatal("SealedLen is wrong")
			}
			if recs := splitRecords(t, o, sealed); len(recs) != 3 {
				t.Fatalf("%d records, want 3", len(recs))
			}
			checkBytes(t, "content", openAll(t, o, sealed, ApplicationData), in)
		}
	})
}

func TestPaddingPolicy(t *testing.T) {
	blocks := func(n int) int { return (512 - (n+1)%512) % 512 }
	for _, tt := range []struct {
		name        string
		pad         Padding
		maxFragment int
		size        int
		inner       int // length of the last TLSInnerPlaintext
	}{
		{"none", nil, MaxPlaintext, 10, 11},
		{"to 512", blocks, MaxPlaintext, 10, 512},
		{"nothing to 512", blocks, MaxPlaintext, 0, 512},
		{"second record", blocks, MaxPlaintext, MaxPlaintext + 600, 1024},
		{"no room", blocks, MaxPlaintext, MaxPlaintext, MaxPlaintext + 1},
		{"too much", func(int) int { return math.MaxInt }, MaxPlaintext, 10, MaxPlaintext + 1},
		{"too little", func(int) int { return -5 }, MaxPlaintext, 10, 11},
		{"small fragments", func(int) int { return math.MaxInt }, 100, 10, 101},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, o := NewSealer(testKeys(suite13, 0)), NewOpener(testKeys(suite13, 0))
			s.SetPadding(tt.pad)
			s.SetMaxFragment(tt.maxFragment)
			dst := bytes.Repeat([]byte{0xff}, s.SealedLen(ApplicationData, tt.size)) // no zeros by luck
			sealed, err := s.Seal(dst[:0], ApplicationData, pattern(tt.size))
			if err != nil {
				t.Fatal(err)
			}
			if &sealed[0] != &dst[0] {
				t.Fatal("SealedLen is no upper bound")
			}
			recs := splitRecords(t, o, sealed)
			if got := len(recs[len(recs)-1]) - HeaderLen - tagLen; got != tt.inner {
				t.Fatalf("inner plaintext of %d bytes, want %d", got, tt.inner)
			}
			checkBytes(t, "content", openAll(t, o, sealed, ApplicationData), pattern(tt.size))
		})
	}
	s := NewSealer(testKeys(keyschedule.SuiteByID(0xc02f), 0))
	plain := s.SealedLen(ApplicationData, 10)
	s.SetPadding(blocks)
	if s.SealedLen(ApplicationData, 10) != plain || len(mustSeal(t, s, ApplicationData, pattern(10))) != plain {
		t.Fatal("padding in TLS 1.2")
	}
}

func TestOpenDestination(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		const size = 1000
		sealed := mustSeal(t, NewSealer(testKeys(suite, 0)), ApplicationData, pattern(size))
		need := size
		if suite.Version == keyschedule.VersionTLS13 {
			need++ // the inner type
		}
		for _, n := range []int{0, 1, need - 1, need, need + 1, 5000} {
			buf := bytes.Repeat([]byte{0xee}, n+10)
			dst := buf[:n]
			rec := bytes.Clone(sealed)
			_, content, err := NewOpener(testKeys(suite, 0)).Open(dst, rec)
			if err != nil {
				t.Fatal(err)
			}
			checkBytes(t, "content", content, pattern(size))
			direct := n >= need && !suite.Cipher.IsCBC()
			if overlap(content, dst) != direct || overlap(content, rec) == direct {
				t.Fatalf("%d bytes of room: content is in the wrong place", n)
			}
			checkBytes(t, "behind dst", buf[n:], bytes.Repeat([]byte{0xee}, 10))
			copied := copy(dst, content)
			checkBytes(t, "copied", dst[:copied], pattern(size)[:min(n, size)])
		}
		// A dst inside the record is of no use but does no harm.
		rec := bytes.Clone(sealed)
		_, content, err := NewOpener(testKeys(suite, 0)).Open(rec, rec)
		if err != nil {
			t.Fatal(err)
		}
		checkBytes(t, "content", content, pattern(size))
	})
}

func TestForgedRecordLeavesNothing(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		rec := mustSeal(t, NewSealer(testKeys(suite, 0)), ApplicationData, pattern(100))
		rec[len(rec)-1] ^= 1
		dst := make([]byte, 200)
		_, _, err := NewOpener(testKeys(suite, 0)).Open(dst, rec)
		wantAlert(t, err, alert.BadRecordMAC)
		for _, b := range [][]byte{dst, rec} {
			if bytes.Contains(b, pattern(100)[:16]) {
				t.Fatal("plaintext that does not authenticate was left")
			}
		}
	})
}

func TestUnavailableCipher(t *testing.T) {
	suite := &keyschedule.Suite{ID: 0x1399, Version: keyschedule.VersionTLS13, Hash: keyschedule.SHA256}
	s, o := NewSealer(testKeys(suite, 0)), NewOpener(testKeys(suite, 0))
	if s.SealedLen(ApplicationData, 10) != 0 || s.PrefixLen() != HeaderLen {
		t.Fatal("lengths of records that cannot be")
	}
	_, err := s.Seal(nil, ApplicationData, pattern(1))
	wantAlert(t, err, alert.InternalError)
	_, err = o.Need([]byte{23, 3, 3, 0, 40})
	wantAlert(t, err, alert.InternalError)
	_, _, err = o.Open(nil, []byte{22, 3, 3, 0, 1, 1})
	wantAlert(t, err, alert.InternalError)
	if s.Release() == nil || o.Release() == nil {
		t.Fatal("keys are lost")
	}
}

type brokenRand struct{}

func (brokenRand) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func TestNoRandomness(t *testing.T) {
	k := testKeys(keyschedule.SuiteByID(keyschedule.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), 0)
	dst := []byte("dst")
	out, err := NewSealer(k, WithRand(brokenRand{})).Seal(dst, ApplicationData, pattern(1))
	wantAlert(t, err, alert.InternalError)
	checkBytes(t, "dst", out, dst)
}
