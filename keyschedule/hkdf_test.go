package keyschedule

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

var bothHashes = []Hash{SHA256, SHA384}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// count returns n bytes from first on: 00 01 02...
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestHKDFVectors: RFC 5869, appendix A, those with SHA-256.
func TestHKDFVectors(t *testing.T) {
	for _, tt := range []struct {
		name            string
		ikm, salt, info []byte
		prk, okm        string
	}{
		{
			"A.1", bytes.Repeat([]byte{0x0b}, 22), count(0, 13), count(0xf0, 10),
			"077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		},
		{
			"A.2", count(0, 80), count(0x60, 80), count(0xb0, 80),
			"06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09" +
				"da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
		},
		{
			"A.3", bytes.Repeat([]byte{0x0b}, 22), nil, nil,
			"19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
		},
	} {
		prk := extract(SHA256, tt.salt, tt.ikm)
		if got := hex.EncodeToString(prk.Bytes()); got != tt.prk {
			t.Errorf("%s: PRK %s", tt.name, got)
		}
		okm := make([]byte, len(tt.okm)/2)
		expand(SHA256, okm, prk.Bytes(), tt.info)
		if got := hex.EncodeToString(okm); got != tt.okm {
			t.Errorf("%s: OKM %s", tt.name, got)
		}
	}
}

// TestHMACAgainstStd goes over both paths and their borders.
func TestHMACAgainstStd(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, h := range bothHashes {
		for _, keyLen := range []int{0, 1, 32, 48, h.blockSize() - 1, h.blockSize(), h.blockSize() + 1, 300} {
			for _, n := range []int{0, 1, 63, 64, 65, 127, 128, 129, maxShortHMAC - 1, maxShortHMAC, maxShortHMAC + 1, 1000} {
				key, data := randomBytes(r, keyLen), randomBytes(r, n)
				m := hmac.New(h.New, key)
				m.Write(data)
				if got, want := appendHMAC(h, []byte("prefix"), key, data), m.Sum([]byte("prefix")); !bytes.Equal(got, want) {
					t.Errorf("hash %d, key of %d, data of %d bytes: got %x, want %x", h, keyLen, n, got, want)
				}
			}
		}
	}
}

func TestExtractAgainstStd(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, h := range bothHashes {
		for n := range 200 {
			ikm, salt := randomBytes(r, n*5), randomBytes(r, r.IntN(200))
			got := extract(h, salt, ikm)
			want, err := hkdf.Extract(h.New, ikm, salt)
			if err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("hash %d, IKM of %d, salt of %d bytes: got %x, want %x, %v", h, len(ikm), len(salt), got.Bytes(), want, err)
			}
		}
	}
}

// label13 is HkdfLabel as RFC 9846, section 7.1, writes it.
func label13(length int, label string, context []byte) string {
	head := string([]byte{byte(length >> 8), byte(length), byte(len("tls13 ") + len(label))})
	return head + "tls13 " + label + string([]byte{byte(len(context))}) + string(context)
}

// TestExpandLabelAgainstStd: all lengths of output up to some blocks and the
// longest, all lengths of labels and contexts.
func TestExpandLabelAgainstStd(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	check := func(h Hash, length, labelLen, contextLen int) {
		t.Helper()
		secret, label, context := randomBytes(r, h.Size()), string(randomBytes(r, labelLen)), randomBytes(r, contextLen)
		got := make([]byte, length)
		expandLabel(h, got, secret, label, context)
		want, err := hkdf.Expand(h.New, secret, label13(length, label, context), length)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("hash %d, %d bytes, label of %d, context of %d: got %x, want %x, %v", h, length, labelLen, contextLen, got, want, err)
		}
	}
	for _, h := range bothHashes {
		for length := range 5*h.Size() + 2 {
			check(h, length, r.IntN(250), r.IntN(256))
		}
		check(h, 255*h.Size()-1, 10, h.Size())
		check(h, 255*h.Size(), 249, 255)
		for n := range 256 {
			check(h, h.Size(), min(n, 249), r.IntN(256))
			check(h, h.Size(), r.IntN(250), n)
		}
	}
}

// TestHotPathsDoNotAllocate: a handshake makes about thirty of these.
func TestHotPathsDoNotAllocate(t *testing.T) {
	for _, h := range bothHashes {
		secret := TrafficSecret{NewSecret(count(0, h.Size()))}
		hash := count(7, h.Size())
		var out [96]byte
		for name, f := range map[string]func(){
			"expandLabel":  func() { expandLabel(h, out[:], secret.Bytes(), "finished", hash) },
			"deriveSecret": func() { s := deriveSecret(h, &secret.Secret, "c hs traffic", hash); out[0] = s.b[0] },
			"extract":      func() { s := extract(h, hash, secret.Bytes()); out[0] = s.b[0] },
			"Next":         func() { s := secret.Next(h); out[0] = s.b[0] },
			"VerifyData":   func() { secret.VerifyData(h, out[:0], hash) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("hash %d: %s allocates %v times", h, name, n)
			}
		}
	}
	for _, suite := range Suites()[:3] {
		secret := TrafficSecret{NewSecret(count(0, suite.Hash.Size()))}
		if n := testing.AllocsPerRun(100, func() { secret.Keys(suite) }); n != 1 {
			t.Errorf("%s: Keys allocates %v times, want the keys alone", suite.Name, n)
		}
	}
}

func BenchmarkExpandLabel(b *testing.B) {
	secret, hash := count(0, 32), count(7, 32)
	var out [32]byte
	b.ReportAllocs()
	for b.Loop() {
		expandLabel(SHA256, out[:], secret, "c hs traffic", hash)
	}
}
