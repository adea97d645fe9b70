package kernel

import (
	"bytes"
	"encoding/hex"
	"testing"
	"unsafe"

	"github.com/go-handoff/tls/keyschedule"
)

// TestTLSEnableLayout compares with sys/ktls.h on amd64 and arm64.
func TestTLSEnableLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("NOT TESTED: the offsets are those of 64-bit machines")
	}
	var e tlsEnable
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"cipher_key", unsafe.Offsetof(e.cipherKey), 0},
		{"iv", unsafe.Offsetof(e.iv), 8},
		{"auth_key", unsafe.Offsetof(e.authKey), 16},
		{"cipher_algorithm", unsafe.Offsetof(e.cipherAlgorithm), 24},
		{"cipher_key_len", unsafe.Offsetof(e.cipherKeyLen), 28},
		{"iv_len", unsafe.Offsetof(e.ivLen), 32},
		{"auth_algorithm", unsafe.Offsetof(e.authAlgorithm), 36},
		{"auth_key_len", unsafe.Offsetof(e.authKeyLen), 40},
		{"flags", unsafe.Offsetof(e.flags), 44},
		{"tls_vmajor", unsafe.Offsetof(e.versionMajor), 48},
		{"tls_vminor", unsafe.Offsetof(e.versionMinor), 49},
		{"rec_seq", unsafe.Offsetof(e.recSeq), 50},
		{"the end", unsafe.Sizeof(e), 64},
	} {
		if f.got != f.want {
			t.Errorf("%s is at %d, want %d", f.name, f.got, f.want)
		}
	}
}

// TestTLSEnable compares what follows the pointers, on a little-endian machine:
// algorithm, key and IV lengths, three zeros, version, rec_seq.
func TestTLSEnable(t *testing.T) {
	if one := uint16(1); *(*byte)(unsafe.Pointer(&one)) != 1 {
		t.Skip("NOT TESTED: the bytes are those of little-endian machines")
	}
	const zeros = "000000000000000000000000"
	for _, test := range []struct {
		suite uint16
		want  string
	}{
		{keyschedule.TLS_AES_128_GCM_SHA256, "19000000" + "10000000" + "0c000000" + zeros + "0304" + seq},
		{keyschedule.TLS_AES_256_GCM_SHA384, "19000000" + "20000000" + "0c000000" + zeros + "0304" + seq},
		{keyschedule.TLS_CHACHA20_POLY1305_SHA256, "29000000" + "20000000" + "0c000000" + zeros + "0304" + seq},
		{keyschedule.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "19000000" + "10000000" + "04000000" + zeros + "0303" + seq},
		{keyschedule.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "19000000" + "20000000" + "04000000" + zeros + "0303" + seq},
		{keyschedule.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "29000000" + "20000000" + "0c000000" + zeros + "0303" + seq},
	} {
		suite := keyschedule.SuiteByID(test.suite)
		k := counting(suite, 0x0102030405060708)
		e, ok := newTLSEnable(k)
		if !ok {
			t.Fatal(suite.Name)
		}
		rest := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&e), unsafe.Offsetof(e.cipherAlgorithm))), 34)
		if got := hex.EncodeToString(rest); got != test.want {
			t.Errorf("%s:\n%s\n%s", suite.Name, got, test.want)
		}
		if got := unsafe.Slice(e.cipherKey, e.cipherKeyLen); !bytes.Equal(got, k.Key()) {
			t.Errorf("%s: key %x", suite.Name, got)
		}
		if got := unsafe.Slice(e.iv, e.ivLen); !bytes.Equal(got, k.IV()) {
			t.Errorf("%s: iv %x", suite.Name, got)
		}
		if e.authKey != nil {
			t.Errorf("%s: there is an authentication key", suite.Name)
		}
	}
}
