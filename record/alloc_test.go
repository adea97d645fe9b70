package record

import (
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

func TestNoAllocations(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		for _, size := range []int{0, 100, MaxPlaintext, 4 * MaxPlaintext, 4*MaxPlaintext + 1} {
			s, o := NewSealer(testKeys(suite, 0)), NewOpener(testKeys(suite, 0))
			in, dst := pattern(size), make([]byte, MaxPlaintext+1)
			buf := make([]byte, 0, s.SealedLen(ApplicationData, size))
			var out []byte
			if n := testing.AllocsPerRun(20, func() {
				out, _ = s.Seal(buf, ApplicationData, in)
			}); n != 0 {
				t.Errorf("Seal of %d bytes allocates %v times", size, n)
			}
			if len(out) == 0 {
				t.Fatal("nothing sealed")
			}

			// Each run opens the records that the sealer has just made.
			for s.Seq() > o.Seq() {
				o.keys.Seq++
			}
			opened := 0
			if n := testing.AllocsPerRun(20, func() {
				out, _ := s.Seal(buf, ApplicationData, in)
				for len(out) > 0 {
					n, err := o.Need(out)
					if err != nil {
						return
					}
					if _, _, err := o.Open(dst[:opened%2*len(dst)], out[:n]); err != nil {
						return
					}
					out = out[n:]
					opened++
				}
			}); n != 0 && (!raceEnabled || !suite.Cipher.IsCBC()) {
				// Under the race detector crypto/sha1 allocates when it encodes
				// its state.
				t.Errorf("Open of %d bytes allocates %v times", size, n)
			}
			if want := 21 * s.records(size); opened != want {
				t.Errorf("opened %d records, want %d", opened, want)
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, suite := range keyschedule.Suites() {
		b.Run(suite.Name, func(b *testing.B) {
			s := NewSealer(testKeys(suite, 0))
			in := pattern(MaxPlaintext)
			buf := make([]byte, 0, s.SealedLen(ApplicationData, len(in)))
			b.SetBytes(MaxPlaintext)
			for b.Loop() {
				s.keys.Seq = 0
				if _, err := s.Seal(buf, ApplicationData, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, suite := range keyschedule.Suites() {
		b.Run(suite.Name, func(b *testing.B) {
			s, o := NewSealer(testKeys(suite, 0)), NewOpener(testKeys(suite, 0))
			sealed, err := s.Seal(nil, ApplicationData, pattern(MaxPlaintext))
			if err != nil {
				b.Fatal(err)
			}
			rec, dst := make([]byte, len(sealed)), make([]byte, MaxPlaintext+1)
			b.SetBytes(MaxPlaintext)
			for b.Loop() {
				o.keys.Seq = 0
				copy(rec, sealed)
				if _, _, err := o.Open(dst, rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAllocationsOfAnEpoch: besides the cipher, which for AES-GCM is two
// objects of the standard library, an epoch costs one allocation, or none if it
// comes after another one.
func TestAllocationsOfAnEpoch(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		if suite.Cipher.IsCBC() {
			return // HMAC and the cipher's mode are many objects of the standard library
		}
		k := testKeys(suite, 0)
		cipher := testing.AllocsPerRun(20, func() {
			if _, err := newAEAD(k); err != nil {
				t.Fatal(err)
			}
		})
		for what, f := range map[string]func(){
			"NewSealer": func() { NewSealer(k, WithRand(nil)) },
			"NewOpener": func() { NewOpener(k) },
		} {
			if n := testing.AllocsPerRun(20, f); n != cipher+1 {
				t.Errorf("%s allocates %v times, %v of them for the cipher", what, n, cipher)
			}
		}
		s, o := NewSealer(nil), NewOpener(nil)
		for what, f := range map[string]func(){
			"Sealer.Install": func() { s.Install(k, WithRand(nil)) },
			"Opener.Install": func() { o.Install(k) },
		} {
			if n := testing.AllocsPerRun(20, f); n != cipher {
				t.Errorf("%s allocates %v times, %v of them for the cipher", what, n, cipher)
			}
		}
	})
}

func BenchmarkEpoch(b *testing.B) {
	for _, suite := range keyschedule.Suites() {
		b.Run(suite.Name, func(b *testing.B) {
			k := testKeys(suite, 0)
			b.ReportAllocs()
			for b.Loop() {
				NewSealer(k)
				NewOpener(k)
			}
		})
	}
}
