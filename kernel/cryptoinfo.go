package kernel

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

// infoLayout is the layout of one of Linux's structs tls12_crypto_info_*, in
// bytes, which is the same on every architecture. All begin with the version
// and the cipher's number, 16 bits each in the machine's order.
//
// The kernel takes salt||iv for the key schedule's IV, and in TLS 1.2 AES-GCM iv
// for the next explicit nonce.
type infoLayout struct {
	id, size           uint16
	iv, ivLen          uint16
	key, salt, saltLen uint16
	seq                uint16 // number of the next record, 64 bits, big-endian
}

var infoLayouts = map[keyschedule.Cipher]infoLayout{
	keyschedule.AES128GCM:        {id: 51, size: 40, iv: 4, ivLen: 8, key: 12, salt: 28, saltLen: 4, seq: 32},
	keyschedule.AES256GCM:        {id: 52, size: 56, iv: 4, ivLen: 8, key: 12, salt: 44, saltLen: 4, seq: 48},
	keyschedule.ChaCha20Poly1305: {id: 54, size: 56, iv: 4, ivLen: 12, key: 16, salt: 48, saltLen: 0, seq: 48},
}

const maxInfoLen = 56

// cryptoInfo is one of those structs. It holds keys and must be wiped.
type cryptoInfo struct {
	redact.Value
	layout infoLayout
	b      [maxInfoLen]byte
}

// set fills the struct with k. It reports false if Linux has no such cipher.
func (c *cryptoInfo) set(k *keyschedule.TrafficKeys) bool {
	l, ok := infoLayouts[k.Suite.Cipher]
	if !ok {
		return false
	}
	c.layout = l
	binary.NativeEndian.PutUint16(c.b[0:], k.Suite.Version)
	binary.NativeEndian.PutUint16(c.b[2:], l.id)
	copy(c.b[l.key:], k.Key())
	copy(c.b[l.salt:], k.IV()[:l.saltLen])
	binary.BigEndian.PutUint64(c.b[l.seq:], k.Seq)
	if iv := k.IV()[l.saltLen:]; len(iv) > 0 {
		copy(c.b[l.iv:], iv)
	} else {
		// TLS 1.2 AES-GCM: an explicit nonce that was never used with this key.
		// Package record sends the sequence number, and the kernel counts on.
		binary.BigEndian.PutUint64(c.b[l.iv:], k.Seq)
	}
	return true
}

// bytes returns what the kernel reads and writes. It aliases c.
func (c *cryptoInfo) bytes() []byte { return c.b[:c.layout.size] }

// next returns the number of the next record.
func (c *cryptoInfo) next() uint64 { return binary.BigEndian.Uint64(c.b[c.layout.seq:]) }

// isFor reports whether the first bytes say that suite is in use.
func (c *cryptoInfo) isFor(suite *keyschedule.Suite) bool {
	l, ok := infoLayouts[suite.Cipher]
	return ok && binary.NativeEndian.Uint16(c.b[0:]) == suite.Version && binary.NativeEndian.Uint16(c.b[2:]) == l.id
}

func (c *cryptoInfo) wipe() { clear(c.b[:]) }
