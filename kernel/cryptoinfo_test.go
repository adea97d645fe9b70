package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

// counting returns keys whose bytes count: the key's from 0xa0, the IV's from 0xc0.
func counting(suite *keyschedule.Suite, seq uint64) *keyschedule.TrafficKeys {
	k := &keyschedule.TrafficKeys{Suite: suite, Seq: seq}
	for i := range k.Key() {
		k.Key()[i] = 0xa0 + byte(i)
	}
	for i := range k.IV() {
		k.IV()[i] = 0xc0 + byte(i)
	}
	return k
}

const (
	key16 = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
	key32 = key16 + "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
	seq   = "0102030405060708"
)

// TestCryptoInfo compares with the bytes of linux/tls.h's structs on a
// little-endian machine, field by field: version and cipher, iv, key, salt,
// rec_seq.
func TestCryptoInfo(t *testing.T) {
	for _, test := range []struct {
		suite uint16
		want  string
	}{
		{keyschedule.TLS_AES_128_GCM_SHA256, "04033300" + "c4c5c6c7c8c9cacb" + key16 + "c0c1c2c3" + seq},
		{keyschedule.TLS_AES_256_GCM_SHA384, "04033400" + "c4c5c6c7c8c9cacb" + key32 + "c0c1c2c3" + seq},
		{keyschedule.TLS_CHACHA20_POLY1305_SHA256, "04033600" + "c0c1c2c3c4c5c6c7c8c9cacb" + key32 + "" + seq},
		{keyschedule.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "03033300" + seq + key16 + "c0c1c2c3" + seq},
		{keyschedule.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "03033400" + seq + key32 + "c0c1c2c3" + seq},
		{keyschedule.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "03033600" + "c0c1c2c3c4c5c6c7c8c9cacb" + key32 + "" + seq},
	} {
		suite := keyschedule.SuiteByID(test.suite)
		var c cryptoInfo
		ok := c.set(counting(suite, 0x0102030405060708))
		want, err := hex.DecodeString(test.want)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, 2} { // in this machine's order
			binary.NativeEndian.PutUint16(want[at:], binary.LittleEndian.Uint16(want[at:]))
		}
		if !ok || !bytes.Equal(c.bytes(), want) {
			t.Errorf("%s:\n%x\n%x", suite.Name, c.bytes(), want)
		}
		if c.next() != 0x0102030405060708 {
			t.Errorf("%s: next record is %#x", suite.Name, c.next())
		}
		for _, other := range suites() {
			if c.isFor(other) != (other.Version == suite.Version && other.Cipher == suite.Cipher) {
				t.Errorf("%s: for %s: %v", suite.Name, other.Name, c.isFor(other))
			}
		}
		c.wipe()
		if !bytes.Equal(c.b[:], make([]byte, maxInfoLen)) {
			t.Errorf("%s: not wiped", suite.Name)
		}
	}
}

func TestCryptoInfoCBC(t *testing.T) {
	suite := keyschedule.SuiteByID(keyschedule.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA)
	if new(cryptoInfo).set(counting(suite, 0)) {
		t.Error("Linux has no CBC")
	}
	if _, ok := newTLSEnable(counting(suite, 0)); ok {
		t.Error("CBC is not for FreeBSD's kernel here")
	}
}
