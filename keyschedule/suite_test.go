package keyschedule

import (
	"crypto/tls"
	"math"
	"slices"
	"testing"
)

// TestSuitesAgainstStd: identifiers, names and versions are crypto/tls's.
func TestSuitesAgainstStd(t *testing.T) {
	std := make(map[uint16]*tls.CipherSuite)
	for _, s := range tls.CipherSuites() {
		std[s.ID] = s
	}
	for _, s := range Suites() {
		want := std[s.ID]
		if want == nil || s.Name != want.Name || !slices.Equal([]uint16{s.Version}, want.SupportedVersions) && !s.Cipher.IsCBC() {
			t.Errorf("%#04x %s: crypto/tls has %+v", s.ID, s.Name, want)
		}
		if SuiteByID(s.ID) != s {
			t.Errorf("SuiteByID(%#04x) is another suite", s.ID)
		}
	}
	if len(Suites()) != 13 || SuiteByID(0) != nil || SuiteByID(tls.TLS_RSA_WITH_AES_128_GCM_SHA256) != nil {
		t.Error("unknown suites, or too many")
	}
	list := Suites()
	list[0] = nil
	if Suites()[0] == nil {
		t.Error("Suites hands out its own table")
	}
}

func TestSuiteLengths(t *testing.T) {
	for _, tt := range []struct {
		id            uint16
		key, iv, mac  int
		hash          Hash
		auth          Auth
		limitedByAEAD bool
	}{
		{TLS_AES_128_GCM_SHA256, 16, 12, 0, SHA256, AuthAny, true},
		{TLS_AES_256_GCM_SHA384, 32, 12, 0, SHA384, AuthAny, true},
		{TLS_CHACHA20_POLY1305_SHA256, 32, 12, 0, SHA256, AuthAny, false},
		{TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 16, 4, 0, SHA256, AuthECDSA, true},
		{TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 16, 4, 0, SHA256, AuthRSA, true},
		{TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 32, 4, 0, SHA384, AuthECDSA, true},
		{TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, 32, 4, 0, SHA384, AuthRSA, true},
		{TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 32, 12, 0, SHA256, AuthECDSA, false},
		{TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, 32, 12, 0, SHA256, AuthRSA, false},
		{TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, 16, 0, 20, SHA256, AuthECDSA, true},
		{TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, 16, 0, 20, SHA256, AuthRSA, true},
		{TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, 32, 0, 20, SHA256, AuthECDSA, true},
		{TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, 32, 0, 20, SHA256, AuthRSA, true},
	} {
		s := SuiteByID(tt.id)
		k := newTrafficKeys(s)
		if len(k.Key()) != tt.key || len(k.IV()) != tt.iv || len(k.MACKey()) != tt.mac || s.Hash != tt.hash || s.Auth != tt.auth {
			t.Errorf("%s: key %d, IV %d, MAC key %d, hash %d, auth %d", s.Name, len(k.Key()), len(k.IV()), len(k.MACKey()), s.Hash, s.Auth)
		}
		limit := uint64(math.MaxUint64)
		if tt.limitedByAEAD {
			limit = uint64(math.Pow(2, 24.5)) // RFC 9846, section 5.5
		}
		if s.RecordLimit() != limit {
			t.Errorf("%s: limit of %d records, want %d", s.Name, s.RecordLimit(), limit)
		}
	}
}
