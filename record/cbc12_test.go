package record

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"math/rand/v2"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

var suiteCBC = keyschedule.SuiteByID(keyschedule.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA)

// slowContentLen is contentLen without regard to time.
func slowContentLen(body []byte) (n, good int) {
	pad := int(body[len(body)-1])
	longest := len(body) - macLen - 1
	if pad > longest {
		return longest, 0
	}
	for _, b := range body[len(body)-1-pad:] {
		if int(b) != pad {
			return longest, 0
		}
	}
	return longest - pad, 1
}

func TestContentLen(t *testing.T) {
	for size := 32; size <= 320; size += 16 {
		for pad := range 256 {
			body := make([]byte, size)
			for i := max(0, size-1-pad); i < size; i++ {
				body[i] = byte(pad)
			}
			check := func() {
				t.Helper()
				n, good := contentLen(body)
				wantN, wantGood := slowContentLen(body)
				if n != wantN || good != wantGood {
					t.Fatalf("size %d, pad %d: %d, %d, want %d, %d", size, pad, n, good, wantN, wantGood)
				}
			}
			check()
			for i := range body { // any one byte of it wrong
				body[i] ^= 0x40
				check()
				body[i] ^= 0x40
			}
		}
	}
}

// countingHash counts what constantMAC makes its hash do.
type countingHash struct {
	stateHash
	compressions int
}

func (h *countingHash) Write(b []byte) (int, error) {
	h.compressions += len(b) / sha1.BlockSize
	return h.stateHash.Write(b)
}

func TestConstantMAC(t *testing.T) {
	k := testKeys(suiteCBC, 0)
	var m constantMAC
	if err := m.init(k.MACKey()); err != nil {
		t.Fatal(err)
	}
	counter := &countingHash{stateHash: m.h}
	m.h = counter
	for size := 32; size <= 1024; size += 16 {
		body := randomBytes(size)
		shortest, longest := bounds(body)
		want := -1
		for n := shortest; n <= longest; n++ {
			copy(m.add[:], randomBytes(len(m.add)))
			std := hmac.New(sha1.New, k.MACKey())
			std.Write(m.add[:])
			std.Write(body[:n])

			counter.compressions = 0
			if err := m.sum(body, n); err != nil {
				t.Fatal(err)
			}
			checkBytes(t, "MAC", m.digest[:], std.Sum(nil))
			if want == -1 {
				want = counter.compressions
			}
			if counter.compressions != want {
				t.Fatalf("%d bytes of %d take %d compressions, others %d", n, size, counter.compressions, want)
			}

			mac := bytes.Clone(body[n : n+macLen])
			copy(body[n:], m.digest[:])
			if m.matches(body, n) != 1 {
				t.Fatalf("MAC at %d of %d bytes does not match", n, size)
			}
			at := n + rand.N(macLen)
			body[at] ^= 1 << rand.N(8)
			if m.matches(body, n) != 0 {
				t.Fatalf("MAC at %d of %d bytes matches with byte %d wrong", n, size, at-n)
			}
			copy(body[n:], mac)
		}
	}
}

// cbcRecord encrypts body, whatever its padding and MAC.
func cbcRecord(t *testing.T, body []byte) []byte {
	t.Helper()
	mode, err := newCBC(testKeys(suiteCBC, 0), cipher.NewCBCEncrypter)
	if err != nil {
		t.Fatal(err)
	}
	rec := make([]byte, HeaderLen+16+len(body)) // an IV of zeros, as newCBC begins with
	putHeader(rec, ApplicationData, 0x0303)
	mode.CryptBlocks(rec[HeaderLen+16:], body)
	return rec
}

// cbcBody returns content, its MAC and pad+1 bytes that say pad.
func cbcBody(content []byte, pad int) []byte {
	var add [13]byte
	putAdditional12(&add, 0, ApplicationData, len(content))
	mac := hmac.New(sha1.New, testKeys(suiteCBC, 0).MACKey())
	mac.Write(add[:])
	mac.Write(content)
	return append(mac.Sum(bytes.Clone(content)), bytes.Repeat([]byte{byte(pad)}, pad+1)...)
}

// A sender may pad by up to 255 bytes (RFC 5246, section 6.2.3.2).
func TestReceivedPaddingCBC(t *testing.T) {
	tried := 0
	for size := range 40 {
		for pad := range 256 {
			body := cbcBody(pattern(size), pad)
			if len(body)%16 != 0 {
				continue
			}
			tried++
			typ, content, err := NewOpener(testKeys(suiteCBC, 0)).Open(nil, cbcRecord(t, body))
			if err != nil || typ != ApplicationData || !bytes.Equal(content, pattern(size)) {
				t.Fatalf("%d bytes, %d of padding: %v, %x, %v", size, pad, typ, content, err)
			}
			for _, i := range []int{0, pad / 2, pad} {
				bad := bytes.Clone(body)
				bad[len(bad)-1-i] ^= 0x80
				_, _, err := NewOpener(testKeys(suiteCBC, 0)).Open(nil, cbcRecord(t, bad))
				wantAlert(t, err, alert.BadRecordMAC)
			}
		}
	}
	if tried != 40*256/16 {
		t.Fatalf("%d records tried", tried)
	}
}

// Bad padding and a bad MAC must be the same to the peer.
func TestCBCErrorsAreOne(t *testing.T) {
	badMAC, badPad := cbcBody(pattern(28), 15), cbcBody(pattern(28), 15)
	badMAC[30] ^= 1
	badPad[len(badPad)-2] ^= 1
	_, _, err1 := NewOpener(testKeys(suiteCBC, 0)).Open(nil, cbcRecord(t, badMAC))
	_, _, err2 := NewOpener(testKeys(suiteCBC, 0)).Open(nil, cbcRecord(t, badPad))
	_, _, err3 := NewOpener(testKeys(suiteCBC, 0)).Open(nil, cbcRecord(t, badPad[:32]))
	if err1 == nil || err1 != err2 || err2 != err3 {
		t.Fatalf("%v, %v, %v", err1, err2, err3)
	}
}

// Records would be linkable, and more, if an IV came twice.
func TestCBCRandomIV(t *testing.T) {
	s := NewSealer(testKeys(suiteCBC, 0))
	seen := map[string]bool{}
	for range 100 {
		iv := string(mustSeal(t, s, ApplicationData, pattern(1))[HeaderLen:][:16])
		if seen[iv] {
			t.Fatal("an IV came twice")
		}
		seen[iv] = true
	}
}
