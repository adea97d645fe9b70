package wycheproof_test

import (
	"bytes"
	"crypto/ecdh"
	"testing"

	"github.com/go-handoff/tls/conformance/wycheproof"
	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
)

var providers = map[string]handshake.Provider{
	"default":  handshake.DefaultProvider(),
	"standard": handshake.StdProvider(),
}

func load(t *testing.T, name string) []wycheproof.Group {
	t.Helper()
	groups, err := wycheproof.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

// counts is what became of a file's vectors.
type counts struct{ accepted, refused, skipped int }

// check wants what the file is known to hold: a test that looks at nothing must
// not pass.
func (c counts) check(t *testing.T, want counts) {
	t.Helper()
	t.Logf("%d accepted, %d refused, %d skipped", c.accepted, c.refused, c.skipped)
	if c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// refusedByTLS are the flags of acceptable vectors that TLS has an opinion on:
// a shared secret of zeros (RFC 9846, section 7.4.2), and points that are not
// in uncompressed form (section 4.3.8.2).
var refusedByTLS = []string{"ZeroSharedSecret", "CompressedPoint"}

// TestCurves agrees on secrets with the shares of the vectors, which lie on
// other curves, have small order, or are not written as they should be. The
// private key comes by the way of randomness.
func TestCurves(t *testing.T) {
	tests := []struct {
		file      string
		group     handshake.NamedGroup
		scalarLen int
		want      counts
	}{
		{"x25519", handshake.X25519, 32, counts{487, 31, 0}},
		{"x448", handshake.X448, 56, counts{487, 23, 0}},
		{"ecdh_secp256r1_ecpoint", handshake.Secp256r1, 32, counts{330, 25, 0}},
		{"ecdh_secp384r1_ecpoint", handshake.Secp384r1, 48, counts{771, 19, 0}},
		{"ecdh_secp521r1_ecpoint", handshake.Secp521r1, 66, counts{632, 29, 0}},
	}
	for _, test := range tests {
		for name, p := range providers {
			kex := p.KeyExchange(test.group)
			if name == "standard" && test.group != handshake.X25519 {
				continue // no X448 there, and the NIST curves are the same in both
			}
			t.Run(test.file+"/"+name, func(t *testing.T) {
				var c counts
				for _, g := range load(t, test.file) {
					for _, v := range g.Tests {
						accept := v.Result != wycheproof.Invalid && !v.Has(refusedByTLS...)
						if checkCurve(t, kex, scalar(v.Private, test.scalarLen), &v, accept) {
							c.accepted++
						} else {
							c.refused++
						}
					}
				}
				c.check(t, test.want)
			})
		}
	}
}

// scalar writes a big integer with n bytes.
func scalar(b []byte, n int) []byte {
	b = bytes.TrimLeft(b, "\x00")
	return append(make([]byte, n-len(b)), b...)
}

// checkCurve takes the share of v in both directions of kex, and reports whether
// it was accepted.
func checkCurve(t *testing.T, kex handshake.KeyExchange, private []byte, v *wycheproof.Vector, accept bool) bool {
	t.Helper()
	key, err := kex.Generate(bytes.NewReader(private))
	if err != nil {
		t.Errorf("%v: Generate: %v", v, err)
		return false
	}
	share, answer, err2 := kex.Encapsulate(bytes.NewReader(private), v.Public)
	secret, err := key.Decapsulate(v.Public)
	if !accept {
		for _, err := range []error{err, err2} {
			if err == nil || alert.Of(err) != alert.IllegalParameter {
				t.Errorf("%v: %v, want illegal_parameter", v, err)
			}
		}
		return false
	}
	if err != nil || err2 != nil {
		t.Errorf("%v is refused: %v, %v", v, err, err2)
		return false
	}
	if !bytes.Equal(secret, v.Shared) || !bytes.Equal(answer, v.Shared) {
		t.Errorf("%v: secrets %x and %x, want %x", v, secret, answer, v.Shared)
	}
	if !bytes.Equal(share, key.Share()) {
		t.Errorf("%v: shares differ", v)
	}
	return true
}

// hybrids are the ways to each ML-KEM.
var hybrids = []struct {
	name     string
	group    handshake.NamedGroup
	curve    ecdh.Curve
	kem      string
	kemFirst bool
	refused  int // keys of those to encapsulate to
}{
	{"X25519MLKEM768", handshake.X25519MLKEM768, ecdh.X25519(), "mlkem_768", true, 132},
	{"SecP256r1MLKEM768", handshake.SecP256r1MLKEM768, ecdh.P256(), "mlkem_768", false, 132},
	{"SecP384r1MLKEM1024", handshake.SecP384r1MLKEM1024, ecdh.P384(), "mlkem_1024", false, 136},
}

// TestKEMDecapsulate is the side that made the key: a TLS 1.3 client. The curve's
// part of the hybrids is an honest one.
func TestKEMDecapsulate(t *testing.T) {
	for _, h := range hybrids {
		for name, p := range providers {
			t.Run(h.name+"/"+name, func(t *testing.T) {
				curve := newCurvePart(t, h.curve, h.kemFirst)
				kex := p.KeyExchange(h.group)
				var c counts
				for _, g := range load(t, h.kem) {
					for _, v := range g.Tests {
						if len(v.Seed) != 64 {
							c.skipped++ // a seed is drawn by ourselves: it has no other length
							continue
						}
						key, err := kex.Generate(bytes.NewReader(append(bytes.Clone(curve.private), v.Seed...)))
						if err != nil {
							t.Errorf("%v: Generate: %v", &v, err)
							continue
						}
						_, ek := curve.split(key.Share())
						if want := v.EncapsulationKey; len(want) > 0 && !bytes.Equal(wycheproof.Hash(ek), want) {
							t.Errorf("%v: another encapsulation key", &v)
						}
						secret, err := key.Decapsulate(curve.join(curve.public, v.Ciphertext))
						if curve.outcome(t, &v, secret, err) {
							c.accepted++
						} else {
							c.refused++
						}
					}
				}
				c.check(t, counts{153, 20, 20})
			})
		}
	}
}

// TestKEMEncapsulate is the side that answers: a TLS 1.3 server.
func TestKEMEncapsulate(t *testing.T) {
	for _, h := range hybrids {
		for name, p := range providers {
			t.Run(h.name+"/"+name, func(t *testing.T) {
				curve := newCurvePart(t, h.curve, h.kemFirst)
				kex := p.KeyExchange(h.group)
				var c counts
				for _, g := range load(t, h.kem+"_encaps") {
					for _, v := range g.Tests {
						random := append(bytes.Clone(curve.private), v.M...)
						share, secret, err := kex.Encapsulate(bytes.NewReader(random), curve.join(curve.public, v.EncapsulationKey))
						if err == nil && name == "standard" {
							// The standard library does not take our randomness: that
							// the key is accepted has to do.
							if v.Result != wycheproof.Valid {
								t.Errorf("%v is accepted", &v)
							}
							c.accepted++
							continue
						}
						if !curve.outcome(t, &v, secret, err) {
							c.refused++
							continue
						}
						if _, ct := curve.split(share); !bytes.Equal(wycheproof.Hash(ct), v.Ciphertext) {
							t.Errorf("%v: another ciphertext", &v)
						}
						c.accepted++
					}
				}
				c.check(t, counts{133, h.refused, 0})
			})
		}
	}
}

// curvePart is the curve's half of a hybrid, in which both sides have the same
// key.
type curvePart struct {
	private, public, secret []byte
	kemFirst                bool
}

func newCurvePart(t *testing.T, curve ecdh.Curve, kemFirst bool) *curvePart {
	t.Helper()
	n := map[ecdh.Curve]int{ecdh.X25519(): 32, ecdh.P256(): 32, ecdh.P384(): 48}[curve]
	private := bytes.Repeat([]byte{7}, n)
	key, err := curve.NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := key.ECDH(key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return &curvePart{private, key.PublicKey().Bytes(), secret, kemFirst}
}

func (c *curvePart) join(curve, kem []byte) []byte {
	if c.kemFirst {
		return append(bytes.Clone(kem), curve...)
	}
	return append(bytes.Clone(curve), kem...)
}

func (c *curvePart) split(share []byte) (curve, kem []byte) {
	if n := len(c.public); !c.kemFirst {
		return share[:n], share[n:]
	}
	n := len(share) - len(c.public)
	return share[n:], share[:n]
}

// outcome checks what v led to, and reports whether it was accepted.
func (c *curvePart) outcome(t *testing.T, v *wycheproof.Vector, secret []byte, err error) bool {
	t.Helper()
	if v.Result == wycheproof.Invalid {
		if err == nil || alert.Of(err) != alert.IllegalParameter {
			t.Errorf("%v: %v, want illegal_parameter", v, err)
		}
		return false
	}
	if err != nil {
		t.Errorf("%v is refused: %v", v, err)
		return false
	}
	if want := c.join(c.secret, v.SharedSecret); !bytes.Equal(secret, want) {
		t.Errorf("%v: secret %x, want %x", v, secret, want)
	}
	return true
}
