package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
)

// KeyRing seals sessions into tickets that only itself, or a ring with the
// same keys, can open (RFC 5077, section 4; RFC 9846, section 4.7.1). The zero
// value is ready for use; the exported fields must not change once it is used.
//
// A ring that makes its own keys has four of them: the next one, made one
// interval before it is used; the current one, which seals; and the two before
// it, which open only. So a ticket opens for at least two intervals. Rotation
// happens when the ring is used: there is no goroutine. A ring with keys from
// [KeyRing.SetKeys] does not rotate.
//
// A ticket is key_name[16], nonce[12] and the sealed encoding of the [State]
// (AES-256-GCM, random nonces, key name and format version as associated data).
//
// All methods may be called concurrently. Sealing and opening take no lock.
type KeyRing struct {
	redact.Value

	// Interval is how long a key seals; 0 means 12 hours.
	Interval time.Duration
	// Time returns the current time; nil means [time.Now].
	Time func() time.Time
	// Rand gives keys, names and nonces. It must be safe for concurrent use.
	// Nil means crypto/rand.
	Rand io.Reader

	mu   sync.Mutex // held while keys is replaced
	keys atomic.Pointer[ringKeys]

	maxSeals uint64 // per key, 0 means 2^32; lowered by tests
}

const (
	defaultInterval = 12 * time.Hour
	// defaultMaxSeals bounds the seals under one key, so that two random nonces
	// are equal with a probability of at most 2^-32 (NIST SP 800-38D, section 8.3).
	defaultMaxSeals = 1 << 32

	keyNameLen = 16
	nonceLen   = 12
	tagLen     = 16
	headLen    = keyNameLen + nonceLen
	// maxTicket is half of what the extensions of a ClientHello may hold in all:
	// with a larger ticket the client could not come back.
	maxTicket = 1<<15 - 1
)

// Seal returns a ticket for s. It returns nil, without an error, if there is
// to be no ticket: because s is too large for one, or because the keys that
// were set are used up.
func (r *KeyRing) Seal(s *State) ([]byte, error) {
	if !listFits(s.PeerChain) || !listFits(s.SCTs) {
		return nil, nil // as long as this, a peer has made it
	}
	b, err := s.append(make([]byte, headLen, headLen+s.sizeHint()+tagLen))
	if err != nil {
		return nil, err
	}
	if len(b)+tagLen > maxTicket {
		clear(b)
		return nil, nil
	}
	key, err := r.sealingKey()
	if key == nil || err != nil {
		clear(b)
		return nil, err
	}
	nonce := b[keyNameLen:headLen]
	if _, err := io.ReadFull(r.rand(), nonce); err != nil {
		clear(b)
		return nil, alert.Errorf(alert.InternalError, "nonce of a ticket: %w", err)
	}
	copy(b, key.name[:])
	return key.aead.Seal(b[:headLen], nonce, b[headLen:], key.ad()), nil
}

// Open returns the session of a ticket that this ring sealed. It returns nil,
// without an error, for a ticket that is unknown or damaged or whose key is
// gone. It does not look at the session's own lifetime: see [State.Expired].
func (r *KeyRing) Open(ticket []byte) (*State, error) {
	keys, err := r.current()
	if err != nil || len(ticket) < headLen+tagLen {
		return nil, err
	}
	key := keys.find([keyNameLen]byte(ticket))
	if key == nil {
		return nil, nil
	}
	plain, err := key.aead.Open(nil, ticket[keyNameLen:headLen], ticket[headLen:], key.ad())
	if err != nil {
		return nil, nil
	}
	defer clear(plain)
	s, err := ParseState(plain)
	if err != nil { // sealed by a version of this package that knew other suites
		return nil, nil
	}
	return s, nil
}

// SetKeys makes the ring use these keys and no others: the first one seals, all
// of them open. Names and cipher keys are derived from them by hashing, so that
// rings with the same keys open each other's tickets. Rotation is up to the
// caller from then on; an empty list hands it back to the ring, with new keys.
func (r *KeyRing) SetKeys(keys [][32]byte) {
	next := &ringKeys{fixed: true}
	for i := range keys {
		next.keys = append(next.keys, fixedKey(&keys[i]))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(keys) == 0 {
		r.keys.Store(nil)
		return
	}
	next.seal = next.keys[0]
	r.keys.Store(next)
}

// sealingKey returns a key that may seal once more, or nil if none may.
func (r *KeyRing) sealingKey() (*ticketKey, error) {
	for {
		keys, err := r.current()
		if err != nil {
			return nil, err
		}
		if keys.seal.seals.Add(1) <= r.limit() {
			return keys.seal, nil
		}
		if keys.fixed {
			return nil, nil
		}
		if err := r.replace(keys, keys.afterSeals); err != nil {
			return nil, err
		}
	}
}

// current returns the keys that are right for this moment.
func (r *KeyRing) current() (*ringKeys, error) {
	for {
		keys := r.keys.Load()
		if keys != nil && !keys.due(r.now()) {
			return keys, nil
		}
		if err := r.replace(keys, keys.afterTime); err != nil {
			return nil, err
		}
	}
}

// replace puts what rotate returns in the place of old, unless somebody else
// has replaced old already.
func (r *KeyRing) replace(old *ringKeys, rotate func(r *KeyRing, now time.Time) (*ringKeys, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys.Load() != old {
		return nil
	}
	keys, err := rotate(r, r.now())
	if err != nil {
		return alert.Errorf(alert.InternalError, "new ticket key: %w", err)
	}
	r.keys.Store(keys)
	return nil
}

func (r *KeyRing) now() time.Time {
	if r.Time != nil {
		return r.Time()
	}
	return time.Now()
}

func (r *KeyRing) rand() io.Reader {
	if r.Rand != nil {
		return r.Rand
	}
	return rand.Reader
}

func (r *KeyRing) interval() time.Duration {
	if r.Interval > 0 {
		return r.Interval
	}
	return defaultInterval
}

func (r *KeyRing) limit() uint64 {
	if r.maxSeals > 0 {
		return r.maxSeals
	}
	return defaultMaxSeals
}

// ringKeys is what a ring holds at one time. It never changes, so that readers
// need no lock. Keys that rotate out are dropped with it.
type ringKeys struct {
	redact.Value
	keys  []*ticketKey // if not fixed: next, current, and up to two old ones
	seal  *ticketKey
	until time.Time // when the next key takes over
	fixed bool
}

const (
	nextKey, currentKey = 0, 1
	maxKeys             = 4
)

func (k *ringKeys) due(now time.Time) bool { return !k.fixed && !now.Before(k.until) }

func (k *ringKeys) find(name [keyNameLen]byte) *ticketKey {
	for _, key := range k.keys {
		if key.name == name {
			return key
		}
	}
	return nil
}

// afterTime returns the keys that follow k, which is nil at first, as many
// intervals later as have passed unnoticed.
func (k *ringKeys) afterTime(r *KeyRing, now time.Time) (*ringKeys, error) {
	if k == nil || now.Sub(k.until) >= (maxKeys-1)*r.interval() {
		first, err := newTicketKey(r.rand())
		if err != nil {
			return nil, err
		}
		k = &ringKeys{keys: []*ticketKey{first}, until: now}
	}
	var err error
	for err == nil && k.due(now) {
		k, err = k.rotated(r, k.until.Add(r.interval()))
	}
	return k, err
}

// afterSeals returns the keys that follow k because its current key is used up.
func (k *ringKeys) afterSeals(r *KeyRing, now time.Time) (*ringKeys, error) {
	return k.rotated(r, now.Add(r.interval()))
}

func (k *ringKeys) rotated(r *KeyRing, until time.Time) (*ringKeys, error) {
	next, err := newTicketKey(r.rand())
	if err != nil {
		return nil, err
	}
	keys := append([]*ticketKey{nextKey: next}, k.keys...)
	return &ringKeys{keys: keys[:min(len(keys), maxKeys)], seal: keys[currentKey], until: until}, nil
}

// ticketKey is one key. Its bytes exist only within the AEAD; crypto/cipher has
// no means to wipe that, so a key that is dropped stays in memory until the
// garbage collector's next user overwrites it.
type ticketKey struct {
	redact.Value
	name  [keyNameLen]byte
	aead  cipher.AEAD
	seals atomic.Uint64
}

// newTicketKey makes a key with a random name.
func newTicketKey(rand io.Reader) (*ticketKey, error) {
	var b [keyNameLen + 32]byte
	defer clear(b[:])
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return nil, err
	}
	return makeTicketKey(b[:]), nil
}

// fixedKey derives name and cipher key from a key that was set, so that it can
// serve another TLS stack too without being used twice for the same thing.
func fixedKey(key *[32]byte) *ticketKey {
	const label = "handoff session ticket key"
	in := append([]byte(label), key[:]...)
	sum := sha512.Sum512(in)
	defer clear(in)
	defer clear(sum[:])
	return makeTicketKey(sum[:keyNameLen+32])
}

// makeTicketKey takes the name and the AES-256 key, in this order.
func makeTicketKey(b []byte) *ticketKey {
	block, err := aes.NewCipher(b[keyNameLen:])
	if err != nil {
		panic("session: " + err.Error()) // the length is a constant
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("session: " + err.Error()) // AES has the block size of GCM
	}
	return &ticketKey{name: [keyNameLen]byte(b), aead: aead}
}

// ad is the associated data of a ticket.
func (k *ticketKey) ad() []byte {
	return binary.BigEndian.AppendUint16(k.name[:], stateFormat)
}
