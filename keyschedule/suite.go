package keyschedule

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math"
)

// Protocol versions as they stand on the wire.
const (
	VersionTLS12 uint16 = 0x0303
	VersionTLS13 uint16 = 0x0304
)

// Hash is the hash function of a cipher suite.
type Hash uint8

// The hashes of the suites that exist here.
const (
	SHA256 Hash = iota + 1
	SHA384
)

// New returns a new digest.
func (h Hash) New() hash.Hash {
	if h == SHA384 {
		return sha512.New384()
	}
	return sha256.New()
}

// Size returns the digest's length in bytes.
func (h Hash) Size() int {
	if h == SHA384 {
		return sha512.Size384
	}
	return sha256.Size
}

func (h Hash) blockSize() int {
	if h == SHA384 {
		return sha512.BlockSize
	}
	return sha256.BlockSize
}

// The hashes of nothing, which stand in several derivations for the transcript.
var (
	emptySHA256 = sha256.Sum256(nil)
	emptySHA384 = sha512.Sum384(nil)
)

// emptySum returns the digest of nothing, which must not be changed.
func (h Hash) emptySum() []byte {
	if h == SHA384 {
		return emptySHA384[:]
	}
	return emptySHA256[:]
}

// appendSum appends the digest of b to dst.
func (h Hash) appendSum(dst, b []byte) []byte {
	if h == SHA384 {
		sum := sha512.Sum384(b)
		return append(dst, sum[:]...)
	}
	sum := sha256.Sum256(b)
	return append(dst, sum[:]...)
}

// Cipher is the record protection of a suite.
type Cipher uint8

// The record protections. The CBC pair is TLS 1.2 only, with HMAC-SHA1 over
// the plaintext, and off unless it is asked for by name.
const (
	AES128GCM Cipher = iota + 1
	AES256GCM
	ChaCha20Poly1305
	AES128CBCSHA
	AES256CBCSHA
)

// KeyLen returns the length of the cipher's key in bytes.
func (c Cipher) KeyLen() int {
	switch c {
	case AES128GCM, AES128CBCSHA:
		return 16
	default:
		return 32
	}
}

// MACLen returns the length of the separate MAC key, which only CBC has.
func (c Cipher) MACLen() int {
	if c.IsCBC() {
		return 20
	}
	return 0
}

// IsCBC reports whether c is one of the CBC constructions.
func (c Cipher) IsCBC() bool { return c == AES128CBCSHA || c == AES256CBCSHA }

// Auth is the kind of certificate that a TLS 1.2 suite is bound to.
type Auth uint8

// The kinds of certificate. TLS 1.3 suites take any.
const (
	AuthAny Auth = iota
	AuthECDSA
	AuthRSA
)

// Suite is a cipher suite. Its ID fixes the protocol version, so a Suite says
// all that a record layer, ours or a kernel's, needs to know beside the keys.
type Suite struct {
	ID      uint16
	Name    string
	Version uint16
	Cipher  Cipher
	Hash    Hash
	Auth    Auth
}

// The suites' identifiers, named as IANA does.
const (
	TLS_AES_128_GCM_SHA256       uint16 = 0x1301
	TLS_AES_256_GCM_SHA384       uint16 = 0x1302
	TLS_CHACHA20_POLY1305_SHA256 uint16 = 0x1303

	TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA          uint16 = 0xc009
	TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA          uint16 = 0xc00a
	TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA            uint16 = 0xc013
	TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA            uint16 = 0xc014
	TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256       uint16 = 0xc02b
	TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384       uint16 = 0xc02c
	TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256         uint16 = 0xc02f
	TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384         uint16 = 0xc030
	TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256   uint16 = 0xcca8
	TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 uint16 = 0xcca9
)

// suites is in order of preference on hardware with AES instructions.
var suites = [...]*Suite{
	{TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", VersionTLS13, AES128GCM, SHA256, AuthAny},
	{TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", VersionTLS13, AES256GCM, SHA384, AuthAny},
	{TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", VersionTLS13, ChaCha20Poly1305, SHA256, AuthAny},

	{TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", VersionTLS12, AES128GCM, SHA256, AuthECDSA},
	{TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", VersionTLS12, AES128GCM, SHA256, AuthRSA},
	{TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", VersionTLS12, AES256GCM, SHA384, AuthECDSA},
	{TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", VersionTLS12, AES256GCM, SHA384, AuthRSA},
	{TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", VersionTLS12, ChaCha20Poly1305, SHA256, AuthECDSA},
	{TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", VersionTLS12, ChaCha20Poly1305, SHA256, AuthRSA},
	{TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", VersionTLS12, AES128CBCSHA, SHA256, AuthECDSA},
	{TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", VersionTLS12, AES128CBCSHA, SHA256, AuthRSA},
	{TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", VersionTLS12, AES256CBCSHA, SHA256, AuthECDSA},
	{TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", VersionTLS12, AES256CBCSHA, SHA256, AuthRSA},
}

// Suites returns every suite that is implemented, in order of preference.
func Suites() []*Suite {
	list := make([]*Suite, len(suites)) // on the caller's stack, if it goes no further
	copy(list, suites[:])
	return list
}

// SuiteByID returns the suite with the given identifier, or nil.
func SuiteByID(id uint16) *Suite {
	for _, s := range suites {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// RecordLimit returns how many records may be protected with one key before
// the connection must rekey or close (RFC 9846, section 5.5). For AES-GCM that
// is 2^24.5 full-size records, rounded down; ChaCha20-Poly1305 is bounded only
// by the sequence number, and so is CBC, whose limit is far above what TLS 1.2
// connections reach but is held to the same bound as AES-GCM.
func (s *Suite) RecordLimit() uint64 {
	if s.Cipher == ChaCha20Poly1305 {
		return math.MaxUint64
	}
	return 23726566
}

// fixedIVLen is how many bytes of the write IV come from the key schedule.
func (s *Suite) fixedIVLen() int {
	switch {
	case s.Cipher.IsCBC():
		return 0
	case s.Version == VersionTLS12 && s.Cipher != ChaCha20Poly1305:
		return 4
	default:
		return 12
	}
}
