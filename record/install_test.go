package record

import (
	"bytes"
	"errors"
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

// TestInstall: one Sealer and one Opener go through all suites, and are as new
// with each, however they began.
func TestInstall(t *testing.T) {
	for name, ends := range map[string]struct {
		s *Sealer
		o *Opener
	}{
		"made for it": {NewSealer(nil), NewOpener(nil)},
		"zero value":  {new(Sealer), new(Opener)},
		"with keys":   {NewSealer(testKeys(suite13, 7)), NewOpener(testKeys(suite13, 7))},
	} {
		s, o := ends.s, ends.o
		var before []*keyschedule.TrafficKeys
		for i, suite := range keyschedule.Suites() {
			if i == 0 && s.keys == nil {
				openAll(t, o, mustSeal(t, s, Handshake, pattern(10)), Handshake)
			}
			s.SetMaxFragment(100)
			s.SetLimit(2)
			o.SetLimit(2)
			s.SetPadding(func(int) int { return 50 })
			sk, ok := testKeys(suite, uint64(i)), testKeys(suite, uint64(i))
			s.Install(sk)
			o.Install(ok)
			for _, k := range before {
				if !bytes.Equal(k.Key(), make([]byte, len(k.Key()))) {
					t.Errorf("%s, %s: the keys before are not wiped", name, suite.Name)
				}
			}
			before = append(before, sk, ok)
			sealed := mustSeal(t, s, ApplicationData, pattern(1000))
			fresh := mustSeal(t, NewSealer(testKeys(suite, uint64(i))), ApplicationData, pattern(1000))
			if len(sealed) != len(fresh) || !suite.Cipher.IsCBC() && !bytes.Equal(sealed, fresh) {
				t.Errorf("%s, %s: not as a new Sealer", name, suite.Name)
			}
			openAll(t, o, sealed, ApplicationData)
			if o.Remaining() != suite.RecordLimit()-uint64(i)-1 || s.Seq() != uint64(i)+1 {
				t.Errorf("%s, %s: %d records remain, number %d", name, suite.Name, o.Remaining(), s.Seq())
			}
		}
		released := s.Release()
		if _, err := s.Seal(nil, ApplicationData, pattern(1)); !errors.Is(err, ErrReleased) || released == nil {
			t.Errorf("%s: Seal after Release: %v", name, err)
		}
		s.Install(testKeys(suite13, 0))
		mustSeal(t, s, ApplicationData, pattern(1))
	}
}
