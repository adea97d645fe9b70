package handshake

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// groupLens are the lengths that RFC 9846, section 4.3.9.2, and
// draft-ietf-tls-ecdhe-mlkem give: the share of who generates, the share of
// who encapsulates, the secret.
var groupLens = map[NamedGroup][3]int{
	Secp256r1:          {65, 65, 32},
	Secp384r1:          {97, 97, 48},
	Secp521r1:          {133, 133, 66},
	X25519:             {32, 32, 32},
	X448:               {56, 56, 56},
	X25519MLKEM768:     {1216, 1120, 64},
	SecP256r1MLKEM768:  {1249, 1153, 64},
	SecP384r1MLKEM1024: {1665, 1665, 80},
}

func providersOf(g NamedGroup) map[string]KeyExchange {
	all := map[string]KeyExchange{"default": DefaultProvider().KeyExchange(g)}
	if kx := StdProvider().KeyExchange(g); kx != nil {
		all["std"] = kx
	}
	return all
}

// TestKeyExchange runs every group between both providers, both ways.
func TestKeyExchange(t *testing.T) {
	for g, lens := range groupLens {
		for a, one := range providersOf(g) {
			for b, other := range providersOf(g) {
				t.Run(fmt.Sprintf("%v/%s-%s", g, a, b), func(t *testing.T) {
					key, err := one.Generate(rand.Reader)
					if err != nil {
						t.Fatal(err)
					}
					share, secret, err := other.Encapsulate(rand.Reader, key.Share())
					if err != nil {
						t.Fatal(err)
					}
					same, err := key.Decapsulate(share)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(secret, same) {
						t.Errorf("secrets %x and %x", secret, same)
					}
					if got := [3]int{len(key.Share()), len(share), len(secret)}; got != lens {
						t.Errorf("lengths %v, want %v", got, lens)
					}
				})
			}
		}
	}
}

func TestProviders(t *testing.T) {
	for g := range groupNames {
		if DefaultProvider().KeyExchange(g) == nil {
			t.Errorf("the default provider has no %v", g)
		}
		if (StdProvider().KeyExchange(g) == nil) != (g == X448) {
			t.Errorf("the standard provider and %v", g)
		}
	}
	if kx := DefaultProvider().KeyExchange(0x4a4a); kx != nil {
		t.Errorf("an unknown group has %v", kx)
	}
}

// TestKeysFollowRandomness: the same bytes give the same key, whichever
// provider makes it, and the curve inside a hybrid comes first.
func TestKeysFollowRandomness(t *testing.T) {
	source := func() io.Reader { return bytes.NewReader(bytes.Repeat([]byte{0x5a, 1, 2, 3, 4}, 40)) }
	for g := range groupLens {
		var shares [][]byte
		for _, kx := range providersOf(g) {
			for range 2 {
				key, err := kx.Generate(source())
				if err != nil {
					t.Fatal(err)
				}
				shares = append(shares, key.Share())
			}
		}
		for _, s := range shares[1:] {
			if !bytes.Equal(s, shares[0]) {
				t.Errorf("%v: shares differ: %x, %x", g, s, shares[0])
			}
		}
		if !g.hybrid() {
			continue
		}
		hybrid, err := DefaultProvider().KeyExchange(g).Generate(source())
		if err != nil {
			t.Fatal(err)
		}
		classical, err := DefaultProvider().KeyExchange(g.classical()).Generate(source())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(hybrid.(*hybridKey).curve.Share(), classical.Share()) {
			t.Errorf("%v: the curve's share inside is not that of the curve's key", g)
		}
	}
}

// TestECDHAgainstStd compares the curves with crypto/ecdh on fixed scalars.
func TestECDHAgainstStd(t *testing.T) {
	for g, curve := range map[NamedGroup]ecdh.Curve{
		X25519: ecdh.X25519(), Secp256r1: ecdh.P256(), Secp384r1: ecdh.P384(), Secp521r1: ecdh.P521(),
	} {
		for range 20 {
			theirs, err := curve.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			key, err := DefaultProvider().KeyExchange(g).Generate(bytes.NewReader(theirs.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(key.Share(), theirs.PublicKey().Bytes()) {
				t.Fatalf("%v: share %x, want %x", g, key.Share(), theirs.PublicKey().Bytes())
			}
			peer, err := curve.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			want, err := theirs.ECDH(peer.PublicKey())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := key.Decapsulate(peer.PublicKey().Bytes()); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v: secret %x, %v; want %x", g, got, err, want)
			}
		}
	}
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestX448 has the values of RFC 7748, section 6.2.
func TestX448(t *testing.T) {
	a := fromHex(t, "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b")
	aPublic := fromHex(t, "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0")
	b := fromHex(t, "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d")
	bPublic := fromHex(t, "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609")
	want := fromHex(t, "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d")
	kx := DefaultProvider().KeyExchange(X448)
	key, err := kx.Generate(bytes.NewReader(a))
	if err != nil || !bytes.Equal(key.Share(), aPublic) {
		t.Fatalf("share %x, %v", key.Share(), err)
	}
	share, secret, err := kx.Encapsulate(bytes.NewReader(b), aPublic)
	if err != nil || !bytes.Equal(share, bPublic) || !bytes.Equal(secret, want) {
		t.Errorf("encapsulated %x, %x, %v", share, secret, err)
	}
	if got, err := key.Decapsulate(bPublic); err != nil || !bytes.Equal(got, want) {
		t.Errorf("secret %x, %v", got, err)
	}
}

// TestHybridFormat builds the answer to a hybrid share by hand, as
// draft-ietf-tls-ecdhe-mlkem lays it out, with the standard library's parts.
func TestHybridFormat(t *testing.T) {
	for _, tt := range []struct {
		group    NamedGroup
		curve    ecdh.Curve
		curveLen int
		kemFirst bool
	}{
		{X25519MLKEM768, ecdh.X25519(), 32, true},
		{SecP256r1MLKEM768, ecdh.P256(), 65, false},
		{SecP384r1MLKEM1024, ecdh.P384(), 97, false},
	} {
		for name, kx := range providersOf(tt.group) {
			key, err := kx.Generate(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			share := key.Share()
			curvePart, kemPart := share[:tt.curveLen], share[tt.curveLen:]
			if tt.kemFirst {
				kemPart, curvePart = share[:len(share)-tt.curveLen], share[len(share)-tt.curveLen:]
			}
			ephemeral, err := tt.curve.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			peer, err := tt.curve.NewPublicKey(curvePart)
			if err != nil {
				t.Fatalf("%v %s: %v", tt.group, name, err)
			}
			curveSecret, err := ephemeral.ECDH(peer)
			if err != nil {
				t.Fatal(err)
			}
			kemSecret, ciphertext := encapsulateStd(t, kemPart)
			answer := slices.Concat(ephemeral.PublicKey().Bytes(), ciphertext)
			want := slices.Concat(curveSecret, kemSecret)
			if tt.kemFirst {
				answer = slices.Concat(ciphertext, ephemeral.PublicKey().Bytes())
				want = slices.Concat(kemSecret, curveSecret)
			}
			if got, err := key.Decapsulate(answer); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v %s: secret %x, %v; want %x", tt.group, name, got, err, want)
			}
		}
	}
}

func encapsulateStd(t *testing.T, public []byte) (secret, ciphertext []byte) {
	if len(public) == mlkem.EncapsulationKeySize768 {
		key, err := mlkem.NewEncapsulationKey768(public)
		if err != nil {
			t.Fatal(err)
		}
		return key.Encapsulate()
	}
	key, err := mlkem.NewEncapsulationKey1024(public)
	if err != nil {
		t.Fatal(err)
	}
	return key.Encapsulate()
}

// TestMLKEMEncapsulation compares circl's encapsulation with the standard
// library's, which can be fixed for tests.
func TestMLKEMEncapsulation(t *testing.T) {
	for g, encapsulate := range map[NamedGroup]func(public, m []byte) ([]byte, []byte, error){
		X25519MLKEM768: func(public, m []byte) ([]byte, []byte, error) {
			key, err := mlkem.NewEncapsulationKey768(public)
			if err != nil {
				return nil, nil, err
			}
			return mlkemtest.Encapsulate768(key, m)
		},
		SecP384r1MLKEM1024: func(public, m []byte) ([]byte, []byte, error) {
			key, err := mlkem.NewEncapsulationKey1024(public)
			if err != nil {
				return nil, nil, err
			}
			return mlkemtest.Encapsulate1024(key, m)
		},
	} {
		k := DefaultProvider().KeyExchange(g).(*hybrid).kem
		for range 10 {
			seed, m := make([]byte, kemSeedLen), make([]byte, 32)
			_, _ = rand.Read(seed)
			_, _ = rand.Read(m)
			public, _, err := k.generate(seed)
			if err != nil {
				t.Fatal(err)
			}
			wantSecret, wantCiphertext, err := encapsulate(public, m)
			if err != nil {
				t.Fatal(err)
			}
			ciphertext, secret, err := k.encapsulate(bytes.NewReader(m), public)
			if err != nil || !bytes.Equal(ciphertext, wantCiphertext) || !bytes.Equal(secret, wantSecret) {
				t.Fatalf("%v: not the standard library's encapsulation: %v", g, err)
			}
		}
	}
}

// TestBadShares gives both directions shares that must be refused.
func TestBadShares(t *testing.T) {
	for g := range groupLens {
		for name, kx := range providersOf(g) {
			key, err := kx.Generate(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			answer, _, err := kx.Encapsulate(rand.Reader, key.Share())
			if err != nil {
				t.Fatal(err)
			}
			for what, bad := range badShares(g, key.Share()) {
				_, _, err := kx.Encapsulate(rand.Reader, bad)
				wantAlert(t, fmt.Sprintf("%v %s, %s share", g, name, what), err, alert.IllegalParameter)
			}
			for what, bad := range badShares(g, answer) {
				if what == "KEM" {
					continue // ML-KEM answers a bad ciphertext with a secret of its own
				}
				_, err := key.Decapsulate(bad)
				wantAlert(t, fmt.Sprintf("%v %s, %s answer", g, name, what), err, alert.IllegalParameter)
			}
		}
	}
}

func badShares(g NamedGroup, share []byte) map[string][]byte {
	curve, curveAt := g, 0
	if g.hybrid() {
		curve = g.classical()
	}
	if g == X25519MLKEM768 {
		curveAt = len(share) - 32
	}
	change := func(at int, with []byte) []byte {
		b := bytes.Clone(share)
		copy(b[at:], with)
		return b
	}
	all := map[string][]byte{
		"empty": nil,
		"short": share[:len(share)-1],
		"long":  append(bytes.Clone(share), 0),
		// The neutral element for X25519 and X448, no point at all for the others.
		"zero": change(curveAt, make([]byte, groupLens[curve][0])),
	}
	switch curve {
	case X25519, X448:
		all["order two"] = change(curveAt, append([]byte{1}, make([]byte, groupLens[curve][0]-1)...))
	default:
		all["off the curve"] = change(curveAt+groupLens[curve][0]-1, []byte{share[curveAt+groupLens[curve][0]-1] ^ 1})
		all["compressed"] = change(curveAt, []byte{2})
	}
	if g.hybrid() {
		kemAt := groupLens[curve][0]
		if g == X25519MLKEM768 {
			kemAt = 0
		}
		// 4095 in twelve bits is above the modulus 3329.
		all["KEM"] = change(kemAt, []byte{0xff, 0xff})
	}
	return all
}

// TestStuckRandomness: a source that never yields a scalar in range must not
// hang, and one that fails says so.
func TestStuckRandomness(t *testing.T) {
	for _, g := range []NamedGroup{Secp256r1, Secp384r1, Secp521r1} {
		_, err := DefaultProvider().KeyExchange(g).Generate(constantReader(0))
		wantAlert(t, g.String(), err, alert.InternalError)
	}
	for g, lens := range groupLens {
		for _, kx := range providersOf(g) {
			_, err := kx.Generate(bytes.NewReader(make([]byte, 3)))
			wantAlert(t, g.String(), err, alert.InternalError)
			_, _, err = kx.Encapsulate(bytes.NewReader(nil), make([]byte, lens[0]))
			if g.hybrid() && err == nil {
				t.Errorf("%v: encapsulated without randomness", g)
			}
		}
	}
}

// TestScalarOutOfRange: the order of the curve minus nothing is no scalar, so
// that the next bytes are taken.
func TestScalarOutOfRange(t *testing.T) {
	good := bytes.Repeat([]byte{7}, 32)
	source := io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{0xff}, 32)), bytes.NewReader(good))
	key, err := DefaultProvider().KeyExchange(Secp256r1).Generate(source)
	if err != nil {
		t.Fatal(err)
	}
	want, err := ecdh.P256().NewPrivateKey(good)
	if err != nil || !bytes.Equal(key.Share(), want.PublicKey().Bytes()) {
		t.Errorf("share %x, %v", key.Share(), err)
	}
}

type constantReader byte

func (c constantReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c)
	}
	return len(b), nil
}

func TestPrivateKeysDoNotPrint(t *testing.T) {
	scalar := bytes.Repeat([]byte{0xa7}, 200)
	for g := range groupLens {
		for _, kx := range providersOf(g) {
			key, err := kx.Generate(bytes.NewReader(scalar))
			if err != nil {
				t.Fatal(err)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%q", "%s", "%d"} {
				if s := fmt.Sprintf(verb, key); s != "redacted" {
					t.Errorf("%v with %s prints %s", g, verb, s)
				}
			}
			if b, err := json.Marshal(key); err != nil || string(b) != `"redacted"` {
				t.Errorf("%v as JSON: %s, %v", g, b, err)
			}
		}
	}
}
