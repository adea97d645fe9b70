// Package wycheproof holds the test vectors of Project Wycheproof
// (github.com/C2SP/wycheproof, Apache License 2.0) for the primitives that this
// module puts together. Tests anywhere in this module check against them.
//
// The files in data are those of testvectors_v1 at commit [Commit], of which
// only the fields are kept that a test here reads: see TestReduce for how they
// are made. What TLS does not use is not there: ciphers other than its AEADs,
// nonces and tags of other lengths, keys in PEM, JWK and ASN.1.
package wycheproof

import (
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Commit is the commit of github.com/C2SP/wycheproof that the data are from.
const Commit = "dac1dd4729fd1f8dd9e1e9f3dce51d783da6c166"

// Result is what Wycheproof says of a vector.
type Result string

// The results. Acceptable means that implementations differ: each test says
// what TLS asks for.
const (
	Valid      Result = "valid"
	Invalid    Result = "invalid"
	Acceptable Result = "acceptable"
)

// Hex is bytes that are written in hexadecimal digits.
type Hex []byte

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hex) UnmarshalText(text []byte) error {
	// A big integer may be written with an odd number of digits.
	if len(text)%2 == 1 {
		text = append([]byte{'0'}, text...)
	}
	b, err := hex.AppendDecode(nil, text)
	*h = b
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// Group is vectors that share parameters. Lengths are in bits but SaltLen's.
type Group struct {
	IVSize       int      `json:"ivSize,omitempty"`
	KeySize      int      `json:"keySize,omitempty"`
	TagSize      int      `json:"tagSize,omitempty"`
	SaltLen      int      `json:"sLen,omitempty"` // in bytes
	PublicKeyDER Hex      `json:"publicKeyDer,omitempty"`
	Tests        []Vector `json:"tests"`
}

// Vector is one test. Which fields it has depends on the file.
type Vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment,omitempty"`
	Flags   []string `json:"flags,omitempty"`
	Result  Result   `json:"result"`

	Public  Hex `json:"public,omitempty"`
	Private Hex `json:"private,omitempty"`
	Shared  Hex `json:"shared,omitempty"`

	Msg Hex `json:"msg,omitempty"`
	Sig Hex `json:"sig,omitempty"`

	Key Hex `json:"key,omitempty"`
	IV  Hex `json:"iv,omitempty"`
	AAD Hex `json:"aad,omitempty"`
	CT  Hex `json:"ct,omitempty"`
	Tag Hex `json:"tag,omitempty"`

	IKM  Hex `json:"ikm,omitempty"`
	Salt Hex `json:"salt,omitempty"`
	Info Hex `json:"info,omitempty"`
	OKM  Hex `json:"okm,omitempty"`
	Size int `json:"size,omitempty"` // of OKM, in bytes

	Seed             Hex `json:"seed,omitempty"` // of ML-KEM's key: d || z
	M                Hex `json:"m,omitempty"`    // the randomness of its encapsulation
	EncapsulationKey Hex `json:"ek,omitempty"`   // beside a Seed: its [Hash]
	Ciphertext       Hex `json:"c,omitempty"`    // beside M: its [Hash]
	SharedSecret     Hex `json:"K,omitempty"`
}

// Has reports whether v has any of these flags.
func (v *Vector) Has(flags ...string) bool {
	return slices.ContainsFunc(flags, func(f string) bool { return slices.Contains(v.Flags, f) })
}

func (v *Vector) String() string { return fmt.Sprintf("vector %d (%s %v)", v.ID, v.Comment, v.Flags) }

// Hash is SHA-256. Of long results the data have only this.
func Hash(b []byte) Hex {
	sum := sha256.Sum256(b)
	return sum[:]
}

//go:embed data
var data embed.FS

// Load returns the groups of a file, which is named without "_test.json".
func Load(name string) ([]Group, error) {
	f, err := data.Open("data/" + name + ".json.gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	var groups []Group
	if err := json.NewDecoder(z).Decode(&groups); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return groups, nil
}
