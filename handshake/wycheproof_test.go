package handshake

import (
	"crypto/x509"
	"testing"

	"github.com/go-handoff/tls/conformance/wycheproof"
	"github.com/go-handoff/tls/internal/alert"
)

// signatureVectors says what each file leads to. Where it is not what Wycheproof
// says, there is a reason.
var signatureVectors = []struct {
	file              string
	scheme            SignatureScheme
	accepted, refused int
	// otherwise is set where TLS asks for another PSS than the file: it says what
	// TLS accepts. Salts are as long as the digest, and the mask is made by the
	// digest's hash (RFC 9846, section 4.3.3).
	otherwise func(*wycheproof.Vector) bool
}{
	{"ecdsa_secp256r1_sha256", EcdsaSecp256r1Sha256, 174, 310, nil},
	{"ecdsa_secp256r1_sha512", EcdsaSecp521r1Sha512, 243, 311, nil},
	{"ecdsa_secp384r1_sha256", EcdsaSecp256r1Sha256, 162, 310, nil},
	{"ecdsa_secp384r1_sha384", EcdsaSecp384r1Sha384, 194, 310, nil},
	{"ecdsa_secp384r1_sha512", EcdsaSecp521r1Sha512, 231, 311, nil},
	{"ecdsa_secp521r1_sha512", EcdsaSecp521r1Sha512, 232, 310, nil},
	{"ed25519", Ed25519, 88, 63, nil},
	{"rsa_signature_2048_sha256", RsaPkcs1Sha256, 9, 250, nil},
	{"rsa_signature_2048_sha512", RsaPkcs1Sha512, 8, 251, nil},
	{"rsa_signature_3072_sha384", RsaPkcs1Sha384, 7, 252, nil},
	{"rsa_signature_4096_sha512", RsaPkcs1Sha512, 7, 252, nil},
	{"rsa_signature_8192_sha256", RsaPkcs1Sha256, 7, 251, nil},
	{"rsa_pss_2048_sha256_mgf1_32", RsaPssRsaeSha256, 63, 45, nil},
	{"rsa_pss_3072_sha256_mgf1_32", RsaPssRsaeSha256, 63, 45, nil},
	{"rsa_pss_2048_sha384_mgf1_48", RsaPssRsaeSha384, 95, 46, nil},
	{"rsa_pss_4096_sha512_mgf1_64", RsaPssRsaeSha512, 132, 47, nil},
	{"rsa_pss_2048_sha256_mgf1_0", RsaPssRsaeSha256, 1, 102, func(v *wycheproof.Vector) bool { return v.Comment == "s_len changed to 32" }},
	{"rsa_pss_2048_sha256_mgf1sha1_20", RsaPssRsaeSha256, 0, 108, func(*wycheproof.Vector) bool { return false }},
}

// TestWycheproofSignatures verifies as a CertificateVerify is verified.
//
// One flag is not followed: MissingNull are signatures by PKCS #1 v1.5 whose
// DigestInfo has no parameters at all. Wycheproof calls them acceptable, RFC
// 5246, section 4.7, wants them accepted, and crypto/rsa refuses them, because
// two encodings of one signature have done more harm than good.
func TestWycheproofSignatures(t *testing.T) {
	for _, test := range signatureVectors {
		t.Run(test.file, func(t *testing.T) {
			groups, err := wycheproof.Load(test.file)
			if err != nil {
				t.Fatal(err)
			}
			accepted, refused := 0, 0
			for _, g := range groups {
				pub, err := x509.ParsePKIXPublicKey(g.PublicKeyDER)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range g.Tests {
					want := v.Result == wycheproof.Valid
					if test.otherwise != nil {
						want = test.otherwise(&v)
					}
					err := verify(pub, test.scheme, v.Msg, v.Sig)
					switch {
					case err == nil && !want:
						t.Errorf("%v is accepted", &v)
					case err != nil && want:
						t.Errorf("%v is refused: %v", &v, err)
					case err != nil && alert.Of(err) != alert.DecryptError:
						t.Errorf("%v: %v, want decrypt_error", &v, err)
					}
					if err == nil {
						accepted++
					} else {
						refused++
					}
				}
			}
			t.Logf("%d accepted, %d refused", accepted, refused)
			if accepted != test.accepted || refused != test.refused {
				t.Errorf("%d accepted and %d refused, want %d and %d", accepted, refused, test.accepted, test.refused)
			}
		})
	}
}
