package keyschedule

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// TestPRFVectors: the vectors of the TLS working group's mailing list
// (msg03416), the only ones published for the PRF by itself.
func TestPRFVectors(t *testing.T) {
	for _, tt := range []struct {
		h                  Hash
		secret, seed, want string
	}{
		{
			SHA256, "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c",
			"e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af" +
				"0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701" +
				"87347b66",
		},
		{
			SHA384, "b80b733d6ceefcdc71566ea48e5567df", "cd665cf6a8447dd6ff8b27555edb7465",
			"7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0" +
				"e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425" +
				"9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e099070" +
				"3d73e56f",
		},
	} {
		seed, want := unhex(t, tt.seed), unhex(t, tt.want)
		for n := range len(want) + 1 {
			out := make([]byte, n)
			prf(tt.h, out, unhex(t, tt.secret), "test label", seed[:n%len(seed)], seed[n%len(seed):])
			if !bytes.Equal(out, want[:n]) {
				t.Errorf("hash %d, %d bytes: got %x", tt.h, n, out)
			}
		}
	}
}

// openssl12 was computed with openssl kdf (TLS1-PRF) of OpenSSL 3.0 from a
// pre-master secret of 32 bytes 11, a client random of 22s, a server random of
// 33s and transcript hashes of 44s. The extended master secret aside, all comes
// from the plain one.
var openssl12 = []struct {
	h                                                Hash
	master, extended, client, server, keyBlock136Hex string
}{
	{
		SHA256,
		"c7416de2100e8d9250840da58ce15b24d50f132e201095724e8a34f792f0aacfbc624275c970aed32c87e6af22a88f44",
		"e94d0b04caa624bc107db963e9325f5787ccf92aa6aa376a4a8072c2bf2e104a0e9245d86aa35d66cd939a6d4e6f74d6",
		"72e7bb37f58a639f75d81fba",
		"ad0f968f7fd94f82c1c8562c",
		"576faca19126cebf1cb57bfbd36448968589ae5c999fa5b309c2cecaa56bb072ca9dc844fb9fdd58638bb32a9c56475d" +
			"e6c951b480288036ffc265295d3b03c3db39812cc1b9a6163da6695c6d9ae9b925465da95f4beca6cbafa3ba1637074a" +
			"2a11768c2515baa09cb7e798f0688d05900217509c19c7b11e95de91249710671f67842cf5f1bc75",
	},
	{
		SHA384,
		"a6abd08ba56a307413f600027cf323893ec4d03e776073c164d22428c7d39463f365d0898e84f79c9138c9a3cded1ba5",
		"22abb05f7c9f80bd981f5e3f3f2a4c8f648adf47d83c84595665cc958384ce72adc4fe668d6fa580db3ad060261d5227",
		"0cd0bad0252d306f6f6b475f",
		"a1c0bb33ae2b7ec405cf3618",
		"50102ec4ae0c6a4eeb4cbeac3cd94b16d185ddec9c554b84d6eb24329eb7058ac0e9535e9c2dc8a571cf7ff7530792ab" +
			"242bdb54a1ef65a0722d3e2d32aa59c447576e7f0dd50fff47bf7e4c3f80f5f4210e581551a786038550cb58998ccef4" +
			"4a099b9a6ddc8767861484ca2f0f4b3b5c88e44fab37cd49dd7c311c33c8983f39d9e3b68bdf809c",
	},
}

func TestMasterSecretVectors(t *testing.T) {
	preMaster := bytes.Repeat([]byte{0x11}, 32)
	clientRandom, serverRandom := bytes.Repeat([]byte{0x22}, 32), bytes.Repeat([]byte{0x33}, 32)
	for _, tt := range openssl12 {
		hash := bytes.Repeat([]byte{0x44}, tt.h.Size())
		master := NewMasterSecret(tt.h, preMaster, clientRandom, serverRandom)
		extended := NewExtendedMasterSecret(tt.h, preMaster, hash)
		resumed := ResumeMasterSecret(tt.h, &master.Secret)
		for name, v := range map[string][2]string{
			"master secret":          {hex.EncodeToString(master.Bytes()), tt.master},
			"extended master secret": {hex.EncodeToString(extended.Bytes()), tt.extended},
			"resumed":                {hex.EncodeToString(resumed.Bytes()), tt.master},
			"client finished":        {hex.EncodeToString(master.ClientVerifyData(hash)), tt.client},
			"server finished":        {hex.EncodeToString(resumed.ServerVerifyData(hash)), tt.server},
		} {
			if v[0] != v[1] {
				t.Errorf("hash %d: %s is %s, want %s", tt.h, name, v[0], v[1])
			}
		}
	}
}

// TestKeyBlock cuts the key block in the order of RFC 5246, section 6.3.
func TestKeyBlock(t *testing.T) {
	preMaster := bytes.Repeat([]byte{0x11}, 32)
	clientRandom, serverRandom := bytes.Repeat([]byte{0x22}, 32), bytes.Repeat([]byte{0x33}, 32)
	for _, suite := range Suites() {
		if suite.Version != VersionTLS12 {
			continue
		}
		block := unhex(t, openssl12[suite.Hash-SHA256].keyBlock136Hex)
		cut := func(n int) []byte {
			part := block[:n]
			block = block[n:]
			return part
		}
		master := NewMasterSecret(suite.Hash, preMaster, clientRandom, serverRandom)
		client, server := master.Keys(suite, clientRandom, serverRandom)
		for _, v := range []struct {
			name string
			got  []byte
		}{
			{"client MAC key", client.MACKey()},
			{"server MAC key", server.MACKey()},
			{"client key", client.Key()},
			{"server key", server.Key()},
			{"client IV", client.IV()},
			{"server IV", server.IV()},
		} {
			if want := cut(len(v.got)); !bytes.Equal(v.got, want) {
				t.Errorf("%s: %s is %x, want %x", suite.Name, v.name, v.got, want)
			}
		}
		if client.Suite != suite || server.Suite != suite || client.Seq != 0 || server.Seq != 0 {
			t.Errorf("%s: wrong suite or sequence number", suite.Name)
		}
	}
}

func TestExporter12Refuses(t *testing.T) {
	e := NewMasterSecret(SHA256, []byte{1}, nil, nil).Exporter([32]byte{1}, [32]byte{2})
	for _, label := range []string{"client finished", "server finished", "master secret", "extended master secret", "key expansion"} {
		if b, err := e.Export(label, nil, 32); err == nil {
			t.Errorf("label %q: %x", label, b)
		}
	}
	if b, err := e.Export("label", nil, -1); err == nil {
		t.Errorf("-1 bytes: %x", b)
	}
	if b, err := e.Export("label", make([]byte, 1<<16), 32); err == nil {
		t.Errorf("long context: %x", b)
	}
	if b, err := e.Export("label", make([]byte, 1<<16-1), 0); err != nil || len(b) != 0 {
		t.Errorf("longest context: %x, %v", b, err)
	}
}
