package wycheproof_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls/conformance/wycheproof"
)

var update = flag.String("update", "", "a checkout of Wycheproof at the commit to make the data from")

// files are those whose vectors apply. Of RSA keys that only differ in length,
// one each has to do for the larger ones: they would be half of the data.
var files = []string{
	"aes_gcm", "chacha20_poly1305", "hkdf_sha256", "hkdf_sha384", "hmac_sha256", "hmac_sha384",
	"x25519", "x448", "ecdh_secp256r1_ecpoint", "ecdh_secp384r1_ecpoint", "ecdh_secp521r1_ecpoint",
	"ecdsa_secp256r1_sha256", "ecdsa_secp256r1_sha512", "ecdsa_secp384r1_sha256", "ecdsa_secp384r1_sha384",
	"ecdsa_secp384r1_sha512", "ecdsa_secp521r1_sha512", "ed25519",
	"rsa_signature_2048_sha256", "rsa_signature_2048_sha512",
	"rsa_signature_3072_sha384", "rsa_signature_4096_sha512", "rsa_signature_8192_sha256",
	"rsa_pss_2048_sha256_mgf1_32", "rsa_pss_3072_sha256_mgf1_32",
	"rsa_pss_2048_sha384_mgf1_48", "rsa_pss_4096_sha512_mgf1_64",
	"rsa_pss_2048_sha256_mgf1_0", "rsa_pss_2048_sha256_mgf1sha1_20",
	"mlkem_768", "mlkem_1024", "mlkem_768_encaps", "mlkem_1024_encaps",
}

// TestReduce makes the data with -update, and otherwise checks that there is
// neither more nor less than the files above, each with its vectors.
func TestReduce(t *testing.T) {
	if *update != "" {
		for _, name := range files {
			reduce(t, name)
		}
	}
	entries, err := os.ReadDir("data")
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	var found []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
		found = append(found, strings.TrimSuffix(e.Name(), ".json.gz"))
	}
	want := slices.Sorted(slices.Values(files))
	if !slices.Equal(found, want) {
		t.Errorf("data has %v, want %v", found, want)
	}
	total := 0
	for _, name := range files {
		groups, err := wycheproof.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, g := range groups {
			n += len(g.Tests)
		}
		if n == 0 {
			t.Errorf("%s is empty", name)
		}
		total += n
	}
	t.Logf("%d vectors in %d files, %d bytes", total, len(files), size)
	if size > 3<<20 {
		t.Errorf("the data have %d bytes", size)
	}
}

// reduce keeps what Group and Vector have fields for. Groups of lengths that TLS
// does not use go. Of what ML-KEM puts out, a hash is enough.
func reduce(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(*update, "testvectors_v1", name+"_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ TestGroups []wycheproof.Group }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(name, err)
	}
	groups := slices.DeleteFunc(file.TestGroups, func(g wycheproof.Group) bool {
		aead := name == "aes_gcm" || name == "chacha20_poly1305"
		return aead && (g.IVSize != 96 || g.TagSize != 128 || g.KeySize == 192)
	})
	for _, g := range groups {
		for i := range g.Tests {
			v := &g.Tests[i]
			switch {
			case len(v.M) > 0 && len(v.Ciphertext) > 0:
				v.Ciphertext = wycheproof.Hash(v.Ciphertext)
			case len(v.Seed) > 0 && len(v.EncapsulationKey) > 0:
				v.EncapsulationKey = wycheproof.Hash(v.EncapsulationKey)
			}
		}
	}
	text, err = json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = z.Write(text)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("data", name+".json.gz"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
