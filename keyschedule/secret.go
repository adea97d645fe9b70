package keyschedule

import (
	"crypto/subtle"

	"github.com/go-handoff/tls/internal/redact"
)

// MaxSecretLen is the length of the longest secret: a SHA-384 output or a TLS
// 1.2 master secret.
const MaxSecretLen = 48

// Secret is key material of up to [MaxSecretLen] bytes that does not print.
// The zero value holds nothing. In an unexported field of another type fmt asks
// no methods: a type that keeps a Secret there must not print either.
type Secret struct {
	redact.Value
	n uint8
	b [MaxSecretLen]byte
}

// NewSecret returns a copy of b as a Secret. It panics if b is longer than
// [MaxSecretLen].
func NewSecret(b []byte) Secret {
	if len(b) > MaxSecretLen {
		panic("keyschedule: secret too long")
	}
	s := Secret{n: uint8(len(b))}
	copy(s.b[:], b)
	return s
}

// Bytes returns the secret. It aliases s, so that wiping s wipes it too.
func (s *Secret) Bytes() []byte { return s.b[:s.n] }

// Len returns the secret's length in bytes, 0 if there is none.
func (s *Secret) Len() int { return int(s.n) }

// Equal compares two secrets in constant time.
func (s *Secret) Equal(t *Secret) bool {
	return subtle.ConstantTimeCompare(s.Bytes(), t.Bytes()) == 1
}

// Wipe overwrites the secret. Copies that the compiler or the runtime made
// elsewhere (registers, grown stacks) are out of its reach; Go has no stable
// way to clear those.
func (s *Secret) Wipe() {
	clear(s.b[:])
	s.n = 0
}

// TrafficSecret is one direction's secret of one epoch, from which that
// direction's keys and its next TrafficSecret come (RFC 9846, section 7.3).
type TrafficSecret struct{ Secret }

// Next returns the secret that follows a KeyUpdate (RFC 9846, section 7.2).
func (s *TrafficSecret) Next(h Hash) TrafficSecret {
	var next TrafficSecret
	next.n = uint8(h.Size())
	expandLabel(h, next.b[:next.n], s.Bytes(), "traffic upd", nil)
	return next
}

// Keys returns the record protection keys of this epoch, at sequence number 0.
func (s *TrafficSecret) Keys(suite *Suite) *TrafficKeys {
	return s.expand(newTrafficKeys(suite))
}

// Epoch is [TrafficSecret.Keys] with a copy of the secret, for who keeps both: they
// are one allocation.
func (s *TrafficSecret) Epoch(suite *Suite) (*TrafficKeys, *TrafficSecret) {
	var epoch struct {
		ownKeys
		secret TrafficSecret
	}
	epoch.secret = *s
	return s.expand(epoch.init(suite)), &epoch.secret
}

func (s *TrafficSecret) expand(k *TrafficKeys) *TrafficKeys {
	expandLabel(k.Suite.Hash, k.Key(), s.Bytes(), "key", nil)
	expandLabel(k.Suite.Hash, k.IV(), s.Bytes(), "iv", nil)
	return k
}

// VerifyData appends the Finished value over transcriptHash to dst
// (RFC 9846, section 4.5.3). A PSK binder is computed the same way over a
// binder key.
func (s *Secret) VerifyData(h Hash, dst, transcriptHash []byte) []byte {
	if dst == nil {
		dst = make([]byte, 0, MaxSecretLen) // on the caller's stack, if it goes no further
	}
	return s.appendVerifyData(h, dst, transcriptHash)
}

func (s *Secret) appendVerifyData(h Hash, dst, transcriptHash []byte) []byte {
	var key Secret
	defer key.Wipe()
	key.n = uint8(h.Size())
	expandLabel(h, key.b[:key.n], s.Bytes(), "finished", nil)
	return appendHMAC(h, dst, key.Bytes(), transcriptHash)
}

// TrafficKeys protects one direction for one epoch, from record Seq on. It is
// what the handshake hands to a record layer, ours or a kernel's, and it has
// one owner at a time: whoever takes it advances Seq and wipes it. It must not
// be copied, or two owners could use the same nonce; go vet reports a copy.
type TrafficKeys struct {
	redact.Value
	_ noCopy

	Suite *Suite
	Seq   uint64 // number of the next record

	// m is a pointer because fmt asks no methods of a *TrafficKeys in an
	// unexported field, and for some verbs shows what it points to, one level deep.
	m *keyMaterial
}

type keyMaterial struct {
	redact.Value
	key [32]byte
	iv  [12]byte
	mac *[20]byte // of CBC, nil for others
}

// Key returns the cipher's key. It aliases k.
func (k *TrafficKeys) Key() []byte { return k.material().key[:k.Suite.Cipher.KeyLen()] }

// IV returns the part of the nonce that the key schedule gives: 12 bytes
// (write_iv) for TLS 1.3 and for ChaCha20-Poly1305, the 4-byte salt for TLS 1.2
// AES-GCM, nothing for CBC. It aliases k.
func (k *TrafficKeys) IV() []byte { return k.material().iv[:k.Suite.fixedIVLen()] }

// MACKey returns the key of the record MAC, which only CBC suites have.
// It aliases k.
func (k *TrafficKeys) MACKey() []byte {
	if !k.Suite.Cipher.IsCBC() {
		return nil
	}
	m := k.material()
	if m.mac == nil {
		m.mac = new([20]byte)
	}
	return m.mac[:]
}

// Wipe overwrites the keys.
func (k *TrafficKeys) Wipe() {
	m := k.material()
	if m.mac != nil {
		clear(m.mac[:])
	}
	*m = keyMaterial{mac: m.mac}
}

// NewTrafficKeys returns keys that were made elsewhere, for use from record
// seq on. It returns nil if a length does not fit the suite.
func NewTrafficKeys(suite *Suite, key, iv, mac []byte, seq uint64) *TrafficKeys {
	k := newTrafficKeys(suite)
	k.Seq = seq
	if len(key) != len(k.Key()) || len(iv) != len(k.IV()) || len(mac) != len(k.MACKey()) {
		return nil
	}
	copy(k.Key(), key)
	copy(k.IV(), iv)
	copy(k.MACKey(), mac)
	return k
}

// ownKeys is how keys are made, in one allocation.
type ownKeys struct {
	TrafficKeys
	keyMaterial
}

func (k *ownKeys) init(suite *Suite) *TrafficKeys {
	k.Suite, k.m = suite, &k.keyMaterial
	return &k.TrafficKeys
}

// cbcKeys are those of a CBC suite.
type cbcKeys struct {
	ownKeys
	macKey [20]byte
}

func (k *cbcKeys) init(suite *Suite) *TrafficKeys {
	k.mac = &k.macKey
	return k.ownKeys.init(suite)
}

// newTrafficKeys returns keys that are all zeros.
func newTrafficKeys(suite *Suite) *TrafficKeys {
	if suite.Cipher.IsCBC() {
		return new(cbcKeys).init(suite)
	}
	return new(ownKeys).init(suite)
}

// newTrafficKeysPair returns those of the two directions of a TLS 1.2
// connection, which begin at one time.
func newTrafficKeysPair(suite *Suite) (client, server *TrafficKeys) {
	if suite.Cipher.IsCBC() {
		both := new([2]cbcKeys)
		return both[0].init(suite), both[1].init(suite)
	}
	both := new([2]ownKeys)
	return both[0].init(suite), both[1].init(suite)
}

// material returns the keys, zeros at first in a TrafficKeys that was not made
// by a function of this package.
func (k *TrafficKeys) material() *keyMaterial {
	if k.m == nil {
		k.m = new(keyMaterial)
	}
	return k.m
}

// noCopy makes go vet's copylocks check report copies of what embeds it.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
