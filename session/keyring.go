package session

import (
	"crypto/rand"
	"io"
	"slices"
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
// Rings with the same Source have the same four keys. All of them change over
// at the same time, to a key that they were told of one interval before, and
// the first to notice makes the next one. The source is read and written beside
// the handshakes, in a goroutine that ends by itself. While it fails, the keys
// in use stay in use, for longer than their interval if need be, as others may
// not have heard of the next one; and the ring tries again for as long as it is
// used: see [KeyRing.Status]. What was damaged or sealed under another KEK is
// such a failure, and is not overwritten: remove it. If the source fails from
// the beginning, the ring makes keys of its own until it can be read; what was
// sealed under those is then unknown, even here.
//
// A ticket is key_name[16], salt[12], nonce[12] and the sealed encoding of the
// [State]: AES-256-GCM under HKDF-Expand-SHA256(key, "handoff ticket" || salt).
// The nonce is random for each ticket, the salt for each ring and key. Key name,
// format version and zone are the associated data.
//
// All methods may be called concurrently.
type KeyRing struct {
	redact.Value

	// Interval is how long a key seals; 0 means 12 hours. Rings that share keys
	// should have the same one.
	Interval time.Duration
	// Time returns the current time; nil means [time.Now].
	Time func() time.Time
	// Rand gives keys, names, salts and nonces. It must be safe for concurrent use.
	// Nil means crypto/rand.
	Rand io.Reader
	// Zone is where tickets are good: those of another zone are unknown, though
	// the keys be the same.
	Zone string

	// Source is where the keys are kept that several rings share; nil means
	// that this one keeps its own.
	Source RingSource
	// KEK is the key-encryption key, random and the same in all rings of a
	// Source: under it the keys are sealed that go there. It must not be zero
	// if there is a Source.
	KEK [32]byte
	// Poll is how often the Source is looked at, roughly, as long as the ring
	// is used; 0 means 30 seconds, or an eighth of Interval if that is less.
	Poll time.Duration
	// Budget is how long a call of Seal or Open may wait for the Source, which
	// it does if the ring knows no keys yet, or not the ticket's; 0 means two
	// milliseconds. It then goes on with what is known.
	Budget time.Duration
	// OnError, if not nil, is called for each failed attempt at the Source,
	// never twice at once. It should be quick: the next attempt waits for it,
	// though no call of Seal or Open for longer than Budget.
	OnError func(error)

	mu    sync.Mutex // held while keys is replaced
	keys  atomic.Pointer[ringKeys]
	looks ringLooks

	maxSeals uint64 // per key, 0 means 2^32; lowered by tests
}

const (
	defaultInterval = 12 * time.Hour
	// defaultMaxSeals bounds the seals of this ring under one key: to as many as
	// AES-GCM allows with random nonces (NIST SP 800-38D, section 8.3). Rings with
	// the same key do not add up, as each has a cipher of its own, by its random
	// salt.
	defaultMaxSeals = 1 << 32

	keyNameLen = 16
	saltLen    = 12
	nonceLen   = 12
	tagLen     = 16
	headLen    = keyNameLen + saltLen + nonceLen
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
	b, err := s.append(make([]byte, headLen, headLen+s.sizeHint()+tagLen+adLen(r.Zone)))
	if err != nil {
		return nil, err
	}
	if len(b)+tagLen > maxTicket {
		clear(b)
		return nil, nil
	}
	if _, err := io.ReadFull(r.rand(), b[keyNameLen:headLen]); err != nil {
		clear(b)
		return nil, alert.Errorf(alert.InternalError, "nonce of a ticket: %w", err)
	}
	for {
		key, err := r.sealingKey()
		if key == nil || err != nil {
			clear(b)
			return nil, err
		}
		if ticket := key.seal(b, r.Zone); ticket != nil {
			return ticket, nil
		}
	}
}

// Open returns the session of a ticket that this ring sealed. It returns nil,
// without an error, for a ticket that is unknown or damaged or whose key is
// gone. It does not look at the session's own lifetime: see [State.Expired].
func (r *KeyRing) Open(ticket []byte) (*State, error) {
	keys, err := r.current()
	if err != nil || len(ticket) < headLen+tagLen {
		return nil, err
	}
	name := [keyNameLen]byte(ticket)
	key := keys.find(name)
	if key == nil && !keys.fixed {
		key = r.lookFor(name)
	}
	if key == nil {
		return nil, nil
	}
	s, err := parseOwn(key.open(ticket, r.Zone))
	if err != nil { // damaged, or sealed by a version of this package that knew other suites
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
	if len(keys) == 0 {
		next = nil
	} else {
		next.seal = next.keys[0]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swap(next)
	r.looks.next.Store(0)
}

// swap puts next in the place of the ring's keys, and wipes those that are in
// there no more. r.mu is held.
func (r *KeyRing) swap(next *ringKeys) {
	old := r.keys.Swap(next)
	if old == nil {
		return
	}
	for _, key := range old.keys {
		if next == nil || !slices.Contains(next.keys, key) {
			key.wipe()
		}
	}
}

// sealingKey returns a key that may seal once more, or nil if none may.
func (r *KeyRing) sealingKey() (*ticketKey, error) {
	for {
		keys, err := r.current()
		if err != nil {
			return nil, err
		}
		key := r.sealer(keys)
		switch {
		case key == nil:
			return nil, nil
		case key.take(r.limit()):
			return key, nil
		case keys.fixed:
			return nil, nil
		case r.Source != nil:
			return r.keyAfter(keys), nil
		}
		if err := r.replace(keys, keys.afterSeals); err != nil {
			return nil, err
		}
	}
}

// current returns the keys that are right for this moment.
func (r *KeyRing) current() (*ringKeys, error) {
	if r.Source != nil {
		return r.shared(), nil
	}
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
	r.swap(keys)
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
// need no lock.
type ringKeys struct {
	redact.Value
	keys  []*ticketKey // if not fixed: next, current, and up to two old ones
	seal  *ticketKey
	until time.Time // when the next key takes over
	fixed bool

	// shared says where keys of a Source came from.
	shared sharedKeys
}

const (
	nextKey, currentKey = 0, 1
	maxKeys             = 4
)

// noKeys is held by a ring that has not heard from its Source.
var noKeys = new(ringKeys)

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
		first, err := newTicketKey(r.rand(), now)
		if err != nil {
			return nil, err
		}
		k = &ringKeys{keys: []*ticketKey{first}, until: now}
	}
	var err error
	for err == nil && k.due(now) {
		k, err = k.rotated(r, k.until)
	}
	return k, err
}

// afterSeals returns the keys that follow k because its current key is used up,
// or is to be used no more.
func (k *ringKeys) afterSeals(r *KeyRing, now time.Time) (*ringKeys, error) {
	return k.rotated(r, now)
}

// rotated returns the keys after k, whose next one seals from that time on.
func (k *ringKeys) rotated(r *KeyRing, from time.Time) (*ringKeys, error) {
	next, err := newTicketKey(r.rand(), from)
	if err != nil {
		return nil, err
	}
	keys := append([]*ticketKey{nextKey: next}, k.keys...)
	keys[currentKey].sealsFrom(from)
	return &ringKeys{keys: keys[:min(len(keys), maxKeys)], seal: keys[currentKey], until: from.Add(r.interval())}, nil
}
