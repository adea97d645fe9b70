package record

import (
	"bytes"
	"testing"

	"github.com/go-handoff/tls/conformance/wycheproof"
	"github.com/go-handoff/tls/keyschedule"
)

// TestWycheproofAEAD runs the AEADs that the Sealer and the Opener of each suite
// are made of. What they say of records, other tests say: the vectors have
// additional data and nonces of their own.
func TestWycheproofAEAD(t *testing.T) {
	tests := []struct {
		file          string
		cipher        keyschedule.Cipher
		keySize       int // in bits
		valid, broken int
	}{
		{"aes_gcm", keyschedule.AES128GCM, 128, 40, 27},
		{"aes_gcm", keyschedule.AES256GCM, 256, 39, 27},
		{"chacha20_poly1305", keyschedule.ChaCha20Poly1305, 256, 256, 60},
	}
	for _, test := range tests {
		groups, err := wycheproof.Load(test.file)
		if err != nil {
			t.Fatal(err)
		}
		for _, suite := range keyschedule.Suites() {
			if suite.Cipher != test.cipher {
				continue
			}
			t.Run(suite.Name, func(t *testing.T) {
				valid, broken := 0, 0
				for _, g := range groups {
					for _, v := range g.Tests {
						switch {
						case g.KeySize != test.keySize:
						case checkAEAD(t, suite, &v):
							valid++
						default:
							broken++
						}
					}
				}
				t.Logf("%d valid, %d broken", valid, broken)
				if valid != test.valid || broken != test.broken {
					t.Errorf("%d valid and %d broken, want %d and %d", valid, broken, test.valid, test.broken)
				}
			})
		}
	}
}

// checkAEAD opens v, seals it again, and reports whether it is valid.
func checkAEAD(t *testing.T, suite *keyschedule.Suite, v *wycheproof.Vector) bool {
	t.Helper()
	iv := v.IV
	if suite.Version == keyschedule.VersionTLS12 && suite.Cipher != keyschedule.ChaCha20Poly1305 {
		iv = iv[:4] // what the key schedule makes of it: the AEAD is given a whole nonce
	}
	a, err := newAEAD(keyschedule.NewTrafficKeys(suite, v.Key, iv, nil, 0))
	if err != nil {
		t.Fatalf("%v: %v", v, err)
	}
	sealed := append(bytes.Clone(v.CT), v.Tag...)
	msg, err := a.Open(nil, v.IV, sealed, v.AAD)
	if v.Result != wycheproof.Valid {
		if err == nil {
			t.Errorf("%v is opened", v)
		}
		return false
	}
	if err != nil || !bytes.Equal(msg, v.Msg) {
		t.Errorf("%v opens to %x, %v", v, msg, err)
	}
	if got := a.Seal(nil, v.IV, v.Msg, v.AAD); !bytes.Equal(got, sealed) {
		t.Errorf("%v seals to %x", v, got)
	}
	return true
}
