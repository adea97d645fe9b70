package keyschedule

import (
	"bytes"
	"testing"

	"github.com/go-handoff/tls/conformance/wycheproof"
)

var wycheproofHashes = []struct {
	suffix     string
	hash       Hash
	expansions int // that HKDF can make
}{{"sha256", SHA256, 83}, {"sha384", SHA384, 80}}

// TestWycheproofHKDF runs extract and expand. A length that HKDF cannot give is
// refused where lengths come from outside, which is by Export.
func TestWycheproofHKDF(t *testing.T) {
	for _, test := range wycheproofHashes {
		groups, err := wycheproof.Load("hkdf_" + test.suffix)
		if err != nil {
			t.Fatal(err)
		}
		valid, tooLong := 0, 0
		for _, g := range groups {
			for _, v := range g.Tests {
				secret := extract(test.hash, v.Salt, v.IKM)
				if v.Result != wycheproof.Valid {
					if _, err := NewExporter(test.hash, &secret).Export("label", nil, v.Size); err == nil || !v.Has("SizeTooLarge") {
						t.Errorf("%v: %v", &v, err)
					}
					tooLong++
					continue
				}
				out := make([]byte, v.Size)
				expand(test.hash, out, secret.Bytes(), v.Info)
				if !bytes.Equal(out, v.OKM) {
					t.Errorf("%v: %x, want %x", &v, out, v.OKM)
				}
				valid++
			}
		}
		t.Logf("%s: %d valid, %d too long", test.suffix, valid, tooLong)
		if valid != test.expansions || tooLong != 3 {
			t.Errorf("%s: %d valid and %d too long", test.suffix, valid, tooLong)
		}
	}
}

// TestWycheproofHMAC takes tags of full length, and of half of it.
func TestWycheproofHMAC(t *testing.T) {
	for _, test := range wycheproofHashes {
		groups, err := wycheproof.Load("hmac_" + test.suffix)
		if err != nil {
			t.Fatal(err)
		}
		valid, broken := 0, 0
		for _, g := range groups {
			for _, v := range g.Tests {
				tag := appendHMAC(test.hash, nil, v.Key, v.Msg)
				if equal := bytes.Equal(tag[:g.TagSize/8], v.Tag); equal != (v.Result == wycheproof.Valid) {
					t.Errorf("%v: %x", &v, tag)
				}
				if v.Result == wycheproof.Valid {
					valid++
				} else {
					broken++
				}
			}
		}
		t.Logf("%s: %d valid, %d broken", test.suffix, valid, broken)
		if valid != 66 || broken != 108 {
			t.Errorf("%s: %d valid and %d broken", test.suffix, valid, broken)
		}
	}
}
