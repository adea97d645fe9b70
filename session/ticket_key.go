package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls/internal/redact"
)

// ticketKey is one key of a ring.
type ticketKey struct {
	redact.Value
	name  [keyNameLen]byte
	made  time.Time    // zero if that is not known
	since atomic.Int64 // when it began to seal, in milliseconds since 1970; 0 if it has not
	seals atomic.Uint64

	heard time.Time    // when the ring had it from its source, if it did; for KeyRing.mu
	told  atomic.Int64 // when the other rings of the source knew it too, as since

	mu     sync.RWMutex // held for writing while what follows is changed
	key    [ticketKeyLen]byte
	gone   bool
	sealer atomic.Pointer[ticketCipher] // made for the first seal
	others []*ticketCipher              // of rings that sealed what was opened here, the latest last
}

// ticketCipher seals the tickets of one ring under one key, or opens them.
type ticketCipher struct {
	redact.Value
	salt [saltLen]byte
	aead cipher.AEAD
}

const (
	ticketKeyLen = 32
	// maxOthers bounds the ciphers of other rings that a key keeps. Those of
	// more rings are made for each ticket.
	maxOthers = 16
)

// newTicketKey makes a key with a random name.
func newTicketKey(rand io.Reader, now time.Time) (*ticketKey, error) {
	var b [keyNameLen + ticketKeyLen]byte
	defer clear(b[:])
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, err
	}
	return makeTicketKey(b[:], now), nil
}

// fixedKey derives name and cipher key from a key that was set, so that it can
// serve another TLS stack too without being used twice for the same thing.
func fixedKey(key *[32]byte) *ticketKey {
	const label = "handoff session ticket key"
	in := append([]byte(label), key[:]...)
	sum := sha512.Sum512(in)
	defer clear(in)
	defer clear(sum[:])
	return makeTicketKey(sum[:keyNameLen+ticketKeyLen], time.Time{})
}

// makeTicketKey takes the name and the key, in this order.
func makeTicketKey(b []byte, made time.Time) *ticketKey {
	return &ticketKey{name: [keyNameLen]byte(b), key: [ticketKeyLen]byte(b[keyNameLen:]), made: made}
}

// take counts one more seal, and reports whether that is within the limit.
func (k *ticketKey) take(limit uint64) bool { return k.seals.Add(1) <= limit }

// usedUp reports whether a seal was refused.
func (k *ticketKey) usedUp(limit uint64) bool { return k.seals.Load() > limit }

// sealsFrom notes when the key began to seal, once.
func (k *ticketKey) sealsFrom(t time.Time) { k.since.CompareAndSwap(0, t.UnixMilli()) }

// seal seals what follows the head in b, in place, under the nonce in the head,
// and fills in the name and the salt. b has room for a tag and, behind it, for the
// associated data. It returns nil if the key was wiped.
func (k *ticketKey) seal(b []byte, zone string) []byte {
	salt, nonce := b[keyNameLen:keyNameLen+saltLen], b[keyNameLen+saltLen:headLen]
	c := k.sealing([saltLen]byte(salt))
	if c == nil {
		return nil
	}
	copy(b, k.name[:])
	copy(salt, c.salt[:])
	end := len(b) + tagLen
	ad := k.appendAD(b[end:end], zone)
	return c.aead.Seal(b[:headLen:end], nonce, b[headLen:], ad)
}

// open returns the content of a ticket, or nil if it is not authentic.
func (k *ticketKey) open(ticket []byte, zone string) []byte {
	salt, nonce := ticket[keyNameLen:keyNameLen+saltLen], ticket[keyNameLen+saltLen:headLen]
	c, kept := k.opening([saltLen]byte(salt))
	if c == nil {
		return nil
	}
	n := len(ticket) - headLen - tagLen
	buf := make([]byte, n+adLen(zone)) // with room for the associated data, which would escape from a stack
	plain, err := c.aead.Open(buf[:0:n], nonce, ticket[headLen:], k.appendAD(buf[n:n], zone))
	if err != nil {
		return nil
	}
	if !kept {
		k.keep(c) // not before it has proved to be good for something
	}
	return plain
}

// sealing returns the cipher that seals, or nil if the key was wiped. The first
// call makes it, with this salt.
func (k *ticketKey) sealing(salt [saltLen]byte) *ticketCipher {
	if c := k.sealer.Load(); c != nil {
		return c
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sealer.Load() == nil && !k.gone {
		k.sealer.Store(k.cipher(salt))
	}
	return k.sealer.Load()
}

// opening returns the cipher with this salt, or nil if the key was wiped, and
// whether it is one that is kept.
func (k *ticketKey) opening(salt [saltLen]byte) (c *ticketCipher, kept bool) {
	if c = k.sealer.Load(); c != nil && c.salt == salt {
		return c, true
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, c := range k.others {
		if c.salt == salt {
			return c, true
		}
	}
	if k.gone {
		return nil, false
	}
	return k.cipher(salt), false
}

// keep keeps a cipher of another ring.
func (k *ticketKey) keep(c *ticketCipher) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone || slices.ContainsFunc(k.others, func(o *ticketCipher) bool { return o.salt == c.salt }) {
		return
	}
	if len(k.others) == maxOthers {
		k.others = slices.Delete(k.others, 0, 1)
	}
	k.others = append(k.others, c)
}

// cipher makes the cipher with this salt. k.mu is held.
func (k *ticketKey) cipher(salt [saltLen]byte) *ticketCipher {
	key := expandTicketKey(&k.key, salt[:])
	defer clear(key[:])
	return &ticketCipher{salt: salt, aead: newGCM(&key)}
}

// expandTicketKey is HKDF-Expand (RFC 5869, section 2.3) with HMAC-SHA256 and
// its one block written out, because crypto/hkdf leaves copies of the key behind.
func expandTicketKey(key *[ticketKeyLen]byte, salt []byte) [sha256.Size]byte {
	const label = "handoff ticket"
	var inner [sha256.BlockSize + len(label) + saltLen + 1]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	defer clear(inner[:])
	defer clear(outer[:])
	copy(inner[:], key[:])
	copy(outer[:], key[:])
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	copy(inner[sha256.BlockSize:], label)
	copy(inner[sha256.BlockSize+len(label):], salt)
	inner[len(inner)-1] = 1
	sum := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

func newGCM(key *[32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("session: " + err.Error()) // the length is a constant
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("session: " + err.Error()) // AES has the block size of GCM
	}
	return aead
}

// appendAD appends the associated data of a ticket, of adLen bytes.
func (k *ticketKey) appendAD(b []byte, zone string) []byte {
	b = append(b, k.name[:]...)
	b = binary.BigEndian.AppendUint16(b, stateFormat)
	return append(b, zone...)
}

func adLen(zone string) int { return keyNameLen + 2 + len(zone) }

// wipe overwrites the key, which then neither seals nor opens. What crypto/aes
// has made of keys that were derived from it cannot be overwritten: it is let go
// of, for the garbage collector. Of the key itself crypto/aes gets nothing.
func (k *ticketKey) wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.key[:])
	k.gone = true
	k.sealer.Store(nil)
	k.others = nil
}
