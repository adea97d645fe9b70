package record

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// pattern returns n bytes in which every place looks different from its
// neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// testKeys returns the same keys for the same suite each time.
func testKeys(s *keyschedule.Suite, seq uint64) *keyschedule.TrafficKeys {
	k := &keyschedule.TrafficKeys{Suite: s, Seq: seq}
	for i, part := range [][]byte{k.Key(), k.IV(), k.MACKey()} {
		for j := range part {
			part[j] = byte(0x10*i + j + int(s.ID))
		}
	}
	return k
}

func forEachSuite(t *testing.T, f func(t *testing.T, s *keyschedule.Suite)) {
	t.Helper()
	for _, s := range keyschedule.Suites() {
		t.Run(s.Name, func(t *testing.T) { f(t, s) })
	}
}

var suite13 = keyschedule.SuiteByID(keyschedule.TLS_AES_128_GCM_SHA256)

func wantAlert(t *testing.T, err error, want alert.Description) {
	t.Helper()
	var e *alert.Error
	if !errors.As(err, &e) || e.Description != want {
		t.Fatalf("error is %v, want alert %v", err, want)
	}
}

func mustSeal(t *testing.T, s *Sealer, typ ContentType, payload []byte) []byte {
	t.Helper()
	rec, err := s.Seal(nil, typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// sealInner protects a TLS 1.3 TLSInnerPlaintext as it is, legal or not.
func sealInner(k *keyschedule.TrafficKeys, inner []byte) []byte {
	a, err := newAEAD(k)
	if err != nil {
		panic(err)
	}
	rec := make([]byte, HeaderLen, HeaderLen+len(inner)+tagLen)
	putHeader(rec[:cap(rec)], ApplicationData, 0x0303)
	var nonce [nonceLen]byte
	xorNonce(&nonce, (*[nonceLen]byte)(k.IV()), k.Seq)
	return a.Seal(rec, nonce[:], inner, rec)
}

// splitRecords cuts b into records.
func splitRecords(t *testing.T, o *Opener, b []byte) (recs [][]byte) {
	t.Helper()
	for len(b) > 0 {
		n, err := o.Need(b)
		if err != nil {
			t.Fatal(err)
		}
		if n > len(b) {
			t.Fatalf("record of %d bytes in %d", n, len(b))
		}
		recs, b = append(recs, b[:n]), b[n:]
	}
	return recs
}

func openAll(t *testing.T, o *Opener, b []byte, typ ContentType) (plain []byte) {
	t.Helper()
	for _, rec := range splitRecords(t, o, b) {
		got, content, err := o.Open(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		if got != typ {
			t.Fatalf("type %v, want %v", got, typ)
		}
		plain = append(plain, content...)
	}
	return plain
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func checkBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		if len(got)+len(want) > 512 {
			t.Fatalf("%s: %d bytes differ from the %d wanted", what, len(got), len(want))
		}
		t.Fatalf("%s:\n got %x\nwant %x", what, got, want)
	}
}
