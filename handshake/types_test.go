package handshake

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

func TestDefaultCipherSuites(t *testing.T) {
	for _, fastAES := range []bool{true, false} {
		suites := cipherSuitesByPreference(fastAES)
		first := keyschedule.SuiteByID(suites[0])
		if want := map[bool]keyschedule.Cipher{true: keyschedule.AES128GCM, false: keyschedule.ChaCha20Poly1305}[fastAES]; first.Cipher != want {
			t.Errorf("AES fast: %v: first is %s", fastAES, first.Name)
		}
		if len(suites) != 9 {
			t.Errorf("%d suites", len(suites))
		}
		for _, id := range suites {
			if s := keyschedule.SuiteByID(id); s.Cipher.IsCBC() {
				t.Errorf("%s is on", s.Name)
			}
		}
	}
	if got := DefaultCipherSuites(); len(got) != 9 {
		t.Errorf("%d suites", len(got))
	}
}

// TestValuesAgainstStd compares with the values that crypto/tls has.
func TestValuesAgainstStd(t *testing.T) {
	for g, want := range map[NamedGroup]tls.CurveID{
		Secp256r1: tls.CurveP256, Secp384r1: tls.CurveP384, Secp521r1: tls.CurveP521, X25519: tls.X25519,
		X25519MLKEM768: tls.X25519MLKEM768, SecP256r1MLKEM768: tls.SecP256r1MLKEM768, SecP384r1MLKEM1024: tls.SecP384r1MLKEM1024,
	} {
		if uint16(g) != uint16(want) {
			t.Errorf("%v is %#x, want %#x", g, uint16(g), uint16(want))
		}
	}
	for s, want := range map[SignatureScheme]tls.SignatureScheme{
		RsaPkcs1Sha1: tls.PKCS1WithSHA1, EcdsaSha1: tls.ECDSAWithSHA1, RsaPkcs1Sha256: tls.PKCS1WithSHA256,
		RsaPkcs1Sha384: tls.PKCS1WithSHA384, RsaPkcs1Sha512: tls.PKCS1WithSHA512, EcdsaSecp256r1Sha256: tls.ECDSAWithP256AndSHA256,
		EcdsaSecp384r1Sha384: tls.ECDSAWithP384AndSHA384, EcdsaSecp521r1Sha512: tls.ECDSAWithP521AndSHA512,
		RsaPssRsaeSha256: tls.PSSWithSHA256, RsaPssRsaeSha384: tls.PSSWithSHA384, RsaPssRsaeSha512: tls.PSSWithSHA512,
		Ed25519: tls.Ed25519,
	} {
		if uint16(s) != uint16(want) {
			t.Errorf("%v is %#x, want %#x", s, uint16(s), uint16(want))
		}
	}
}

func TestGroups(t *testing.T) {
	hybrids := []NamedGroup{X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024}
	for g := range groupNames {
		if g.hybrid() != slices.Contains(hybrids, g) || g.usable12() == g.hybrid() {
			t.Errorf("%v: hybrid %v, usable in TLS 1.2 %v", g, g.hybrid(), g.usable12())
		}
	}
	if NamedGroup(0x4a4a).usable12() || NamedGroup(0x4a4a).hybrid() {
		t.Error("an unknown group is usable")
	}
	if got := DefaultGroups(); got[0] != X25519MLKEM768 || slices.Contains(got, X448) || len(got) != 7 {
		t.Errorf("default groups %v", got)
	}
}

func TestSchemesWithoutSHA1(t *testing.T) {
	for _, s := range DefaultSignatureSchemes() {
		if strings.Contains(s.String(), "sha1") || strings.Contains(s.String(), "pss_pss") {
			t.Errorf("%v is on", s)
		}
		if _, ok := schemeSpecs[s]; !ok {
			t.Errorf("%v is not implemented", s)
		}
	}
	if got := DefaultSignatureSchemes(); len(got) != len(schemeSpecs) {
		t.Errorf("%d schemes by default, %d implemented", len(got), len(schemeSpecs))
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		typeClientHello.String():             "client_hello",
		handshakeType(99).String():           "handshake_type(99)",
		X25519.String():                      "x25519",
		NamedGroup(0x4a4a).String():          "named_group(0x4a4a)",
		RsaPssRsaeSha256.String():            "rsa_pss_rsae_sha256",
		SignatureScheme(0x4a4a).String():     "signature_scheme(0x4a4a)",
		certCompressionZlib.String():         "zlib",
		certCompressionBrotli.String():       "brotli",
		certCompressionZstd.String():         "zstd",
		certCompressionAlg(9).String():       "certificate_compression(9)",
		extensionName(extKeyShare):           "key_share",
		extensionName(0x4a4a):                "extension(0x4a4a)",
		handshakeType(typeFinished).String(): "finished",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
