package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"io"
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

	mu   sync.RWMutex // held for writing while key is wiped
	key  [ticketKeyLen]byte
	gone bool
}

const ticketKeyLen = 32

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

// seal seals what follows the head in b, in place, and fills in the name. b has
// room for a tag and, behind it, for the associated data. It returns nil, and
// leaves b as it is, if the key was wiped.
func (k *ticketKey) seal(b []byte, zone string) []byte {
	aead := k.aead(b[keyNameLen:headLen])
	if aead == nil {
		return nil
	}
	copy(b, k.name[:])
	end := len(b) + tagLen
	ad := k.appendAD(b[end:end], zone)
	return aead.Seal(b[:headLen:end], zeroNonce[:], b[headLen:], ad)
}

// open returns the content of a ticket, or nil if it is not authentic.
func (k *ticketKey) open(ticket []byte, zone string) []byte {
	aead := k.aead(ticket[keyNameLen:headLen])
	if aead == nil {
		return nil
	}
	n := len(ticket) - headLen - tagLen
	buf := make([]byte, n+adLen(zone)) // with room for the associated data, which would escape from a stack
	plain, err := aead.Open(buf[:0:n], zeroNonce[:], ticket[headLen:], k.appendAD(buf[n:n], zone))
	if err != nil {
		return nil
	}
	return plain
}

// zeroNonce is for keys that seal once.
var zeroNonce [12]byte

// aead returns the cipher of one ticket, or nil if the key was wiped. What
// crypto/aes makes of a ticket's key cannot be wiped; of the ring's keys it
// gets none.
func (k *ticketKey) aead(salt []byte) cipher.AEAD {
	k.mu.RLock()
	key, ok := expandTicketKey(&k.key, salt), !k.gone
	k.mu.RUnlock()
	defer clear(key[:])
	if !ok {
		return nil
	}
	return newGCM(&key)
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

// wipe overwrites the key, which then neither seals nor opens.
func (k *ticketKey) wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.key[:])
	k.gone = true
}
