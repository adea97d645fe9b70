package tls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	handoverKeyLen = 32
	saltLen        = 32
	blobHeadLen    = 2 + saltLen
	// blobOverhead is the nonce and the tag.
	blobOverhead = 12 + 16

	// defaultMaxAge is long enough for a process to start, and short enough that a
	// blob that is found later is of no use.
	defaultMaxAge = time.Minute
	// minSweep is how many blobs a key remembers before it looks for some to
	// forget.
	minSweep = 64
)

// HandoverKey seals connections that leave a process by [Conn.Detach], and opens
// them for [Adopt]. Both processes need the same key, which must be secret:
// whoever has it and a blob can read the connection. It does not print, and may
// be used by concurrent calls.
//
// A HandoverKey remembers the blobs that were adopted with it, until they expire.
// A process that adopts should have one HandoverKey for each key, and not make it
// again for each connection.
type HandoverKey struct {
	guard

	// MaxAge is how old a blob may be to be adopted; 0 means one minute. It must
	// not change while the key is in use.
	MaxAge time.Duration

	secret *[handoverKeyLen]byte // a pointer, because fmt shows what is behind just one

	mutex   sync.Mutex
	adopted map[blobID]time.Time // until when they need to be remembered
	sweep   int                  // how many there are when those are forgotten that need not
}

// blobID names a blob: it is its salt.
type blobID [saltLen]byte

// NewHandoverKey returns the key whose bytes another process got by
// [HandoverKey.Bytes]: 32 of them, from a good source of randomness.
func NewHandoverKey(b []byte) (*HandoverKey, error) {
	if len(b) != handoverKeyLen {
		return nil, fmt.Errorf("tls: handover key of %d bytes, want %d", len(b), handoverKeyLen)
	}
	secret := [handoverKeyLen]byte(b)
	return &HandoverKey{secret: &secret}, nil
}

// GenerateHandoverKey returns a new key.
func GenerateHandoverKey() *HandoverKey {
	var secret [handoverKeyLen]byte
	_, _ = rand.Read(secret[:]) // never fails
	return &HandoverKey{secret: &secret}
}

// Bytes returns the key for another process, which must get it by a way that
// nobody else can read, such as a pipe or a socket between the two.
func (k *HandoverKey) Bytes() []byte {
	if k.secret == nil {
		return nil
	}
	return bytes.Clone(k.secret[:])
}

// Wipe overwrites the key, which is of no use afterwards. Nobody may be using it.
func (k *HandoverKey) Wipe() {
	if k.secret != nil {
		clear(k.secret[:])
		k.secret = nil
	}
}

func (k *HandoverKey) maxAge() time.Duration {
	if k.MaxAge > 0 {
		return k.MaxAge
	}
	return defaultMaxAge
}

// envelope seals one blob.
type envelope struct {
	guard
	head []byte
	aead cipher.AEAD
}

var errNoHandoverKey = errors.New("tls: handover without a key")

// newEnvelope does all of sealing that can fail.
func (k *HandoverKey) newEnvelope(rand io.Reader) (*envelope, error) {
	var id blobID
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return nil, err
	}
	return k.envelope(handoverVersion, id)
}

// envelope derives the sealing key of a blob (RFC 5869). No two blobs have the
// same one.
func (k *HandoverKey) envelope(version uint16, id blobID) (*envelope, error) {
	if k == nil || k.secret == nil {
		return nil, errNoHandoverKey
	}
	key, err := hkdf.Key(sha256.New, k.secret[:], id[:], "handoff connection handover", 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint16(nil, version)
	return &envelope{head: append(head, id[:]...), aead: aead}, nil
}

// seal returns the blob of h.
func (e *envelope) seal(h *handover) []byte {
	plain := h.append(make([]byte, 0, h.size()))
	defer clear(plain)
	blob := append(make([]byte, 0, blobHeadLen+blobOverhead+len(plain)), e.head...)
	return e.aead.Seal(blob, nil, plain, e.head)
}

// open returns what is sealed in blob. The caller wipes it.
func (k *HandoverKey) open(blob []byte) (plain []byte, id blobID, err error) {
	if len(blob) < blobHeadLen+blobOverhead {
		return nil, id, ErrHandoverForged
	}
	version := binary.BigEndian.Uint16(blob)
	if version != handoverVersion {
		return nil, id, fmt.Errorf("%w: version %d", ErrHandoverVersion, version)
	}
	id = blobID(blob[2:])
	e, err := k.envelope(version, id)
	if err != nil {
		return nil, id, err
	}
	if plain, err = e.aead.Open(nil, nil, blob[blobHeadLen:], e.head); err != nil {
		return nil, id, ErrHandoverForged
	}
	return plain, id, nil
}

// checkAge refuses what was made too long before now, or after it by a clock
// that is as wrong.
func (k *HandoverKey) checkAge(made, now time.Time) error {
	if age := now.Sub(made); age > k.maxAge() || age < -k.maxAge() {
		return fmt.Errorf("%w: made %v ago, of %v", ErrHandoverExpired, age.Round(time.Millisecond), k.maxAge())
	}
	return nil
}

// takeOnce refuses a blob that it was given before.
func (k *HandoverKey) takeOnce(id blobID, made, now time.Time) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if _, ok := k.adopted[id]; ok {
		return ErrHandoverReplayed
	}
	if len(k.adopted) >= max(minSweep, k.sweep) {
		for old, until := range k.adopted {
			if until.Before(now) {
				delete(k.adopted, old)
			}
		}
		k.sweep = 2 * len(k.adopted)
	}
	if k.adopted == nil {
		k.adopted = make(map[blobID]time.Time)
	}
	k.adopted[id] = made.Add(k.maxAge())
	return nil
}
