package record

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/go-handoff/tls/keyschedule"
)

//go:embed testdata/rfc8448-simple-1rtt.txt
var rfc8448 string

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each record of the trace is sealed and opened, by one Sealer and one Opener
// for each direction and epoch, as in the connection that it is from.
func TestRFC8448(t *testing.T) {
	types := map[string]ContentType{"handshake": Handshake, "application_data": ApplicationData, "alert": Alert}
	sealers := map[string]*Sealer{"client plaintext": {}, "server plaintext": {}}
	openers := map[string]*Opener{"client plaintext": {}, "server plaintext": {}}
	records := 0
	for line := range strings.Lines(rfc8448) {
		f := strings.Fields(line)
		switch f[0] {
		case "key":
			keys := func() *keyschedule.TrafficKeys {
				return keyschedule.NewTrafficKeys(suite13, unhex(t, f[3]), unhex(t, f[4]), nil, 0)
			}
			epoch := f[1] + " " + f[2]
			sealers[epoch], openers[epoch] = NewSealer(keys()), NewOpener(keys())
		case "record":
			records++
			epoch, typ, payload, want := f[1]+" "+f[2], types[f[3]], unhex(t, f[4]), unhex(t, f[5])
			s, o := sealers[epoch], openers[epoch]
			s.SetPlaintextVersion(binary.BigEndian.Uint16(want[1:]))
			checkBytes(t, "record", mustSeal(t, s, typ, payload), want)
			checkBytes(t, "payload", openAll(t, o, want, typ), payload)
		}
	}
	if records != 9 {
		t.Fatalf("%d records in the trace, want 9", records)
	}
}

// knownRecord builds a record from the RFCs' text with the standard library
// alone, sharing nothing with the code under test but the keys.
func knownRecord(t *testing.T, k *keyschedule.TrafficKeys, typ ContentType, content, iv []byte) []byte {
	t.Helper()
	seq := binary.BigEndian.AppendUint64(nil, k.Seq)
	frame := func(typ byte, fragment []byte) []byte {
		return append([]byte{typ, 3, 3, byte(len(fragment) >> 8), byte(len(fragment))}, fragment...)
	}
	additional := append(bytes.Clone(seq), byte(typ), 3, 3, byte(len(content)>>8), byte(len(content)))
	if k.Suite.Cipher.IsCBC() {
		mac := hmac.New(sha1.New, k.MACKey())
		mac.Write(append(additional, content...))
		body := mac.Sum(bytes.Clone(content))
		pad := 16 - len(body)%16
		body = append(body, bytes.Repeat([]byte{byte(pad - 1)}, pad)...)
		block, err := aes.NewCipher(k.Key())
		if err != nil {
			t.Fatal(err)
		}
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(body, body)
		return frame(byte(typ), append(bytes.Clone(iv), body...))
	}

	var aead cipher.AEAD
	var err error
	if k.Suite.Cipher == keyschedule.ChaCha20Poly1305 {
		aead, err = chacha20poly1305.New(k.Key())
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(k.Key()); err == nil {
			aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(k.IV()) == 4 {
		nonce := append(bytes.Clone(k.IV()), seq...)
		return frame(byte(typ), append(seq, aead.Seal(nil, nonce, content, additional)...))
	}
	nonce := make([]byte, 12)
	copy(nonce[4:], seq)
	for i := range nonce {
		nonce[i] ^= k.IV()[i]
	}
	if k.Suite.Version == keyschedule.VersionTLS12 {
		return frame(byte(typ), aead.Seal(nil, nonce, content, additional))
	}
	n := len(content) + 1 + 16
	return frame(23, aead.Seal(nil, nonce, append(bytes.Clone(content), byte(typ)), []byte{23, 3, 3, byte(n >> 8), byte(n)}))
}

func TestKnownAnswers(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		for _, seq := range []uint64{0, 1, 0x010203} {
			for _, size := range []int{1, 11, 12, 100, 500, MaxPlaintext} {
				iv := randomBytes(16)
				want := knownRecord(t, testKeys(suite, seq), Handshake, pattern(size), iv)
				s := NewSealer(testKeys(suite, seq), WithRand(bytes.NewReader(iv)))
				checkBytes(t, "record", mustSeal(t, s, Handshake, pattern(size)), want)
				checkBytes(t, "content", openAll(t, NewOpener(testKeys(suite, seq)), want, Handshake), pattern(size))
			}
		}
	})
}
