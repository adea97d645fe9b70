package session

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/internal/wire"
)

// ringFormat is the version of what a [RingSource] keeps:
//
//	uint16 format;
//	uint64 generation;      one more with each change of the keys
//	opaque salt[32];
//	opaque sealed[..];
//
// sealed is, under AES-256-GCM with a nonce of zeros and all before it as
// associated data,
//
//	uint64 until;           when the next key takes over, milliseconds since 1970
//	Key keys<128..256>;     next, current, and up to two old ones
//
// where a Key is
//
//	opaque name[16];
//	opaque key[32];
//	uint64 made;            milliseconds since 1970
//	uint64 since;           when it began to seal, 0 if it has not
//
// and the cipher's key is HKDF-SHA256(KEK, salt, "handoff key ring"), used once.
const ringFormat uint16 = 1

const (
	ringSaltLen = 32
	ringHeadLen = 2 + 8 + ringSaltLen
	ringKeyLen  = keyNameLen + ticketKeyLen + 8 + 8
	maxRingLen  = ringHeadLen + 8 + 2 + maxKeys*ringKeyLen + tagLen
)

// sharedRing is what rings share, in clear.
type sharedRing struct {
	redact.Value
	generation uint64
	until      int64
	keys       []sharedKey
}

type sharedKey struct {
	redact.Value
	name        [keyNameLen]byte
	key         [ticketKeyLen]byte
	made, since int64
}

var errNoKEK = errors.New("session: a KeyRing with a Source needs a KEK")

// newSharedRing returns the first keys of a source.
func newSharedRing(rand io.Reader, now time.Time, interval time.Duration) (*sharedRing, error) {
	s := &sharedRing{until: now.Add(interval).UnixMilli(), keys: make([]sharedKey, 2, maxKeys)}
	for i := range s.keys {
		if err := s.keys[i].make(rand, now); err != nil {
			return nil, err
		}
	}
	s.keys[currentKey].since = now.UnixMilli()
	s.generation = 1
	return s, nil
}

// rotate makes the next key the current one, which it began to be at that time,
// and a new one the next, which is used after one interval. The oldest key goes
// by number and not by age: after the source was away, a ring may have sealed
// with it until now.
func (s *sharedRing) rotate(rand io.Reader, now, began time.Time, interval time.Duration) error {
	var next sharedKey
	defer clear(next.key[:])
	if err := next.make(rand, now); err != nil {
		return err
	}
	s.keys[nextKey].since = began.UnixMilli()
	keys := append(make([]sharedKey, 0, maxKeys), next)
	keys = append(keys, s.keys[:min(len(s.keys), maxKeys-1)]...)
	s.wipe()
	s.keys, s.until = keys, now.Add(interval).UnixMilli()
	s.generation++
	return nil
}

func (k *sharedKey) make(rand io.Reader, now time.Time) error {
	if _, err := io.ReadFull(rand, k.name[:]); err != nil {
		return err
	}
	k.made = now.UnixMilli()
	_, err := io.ReadFull(rand, k.key[:])
	return err
}

// seal returns s as a source may keep it.
func (s *sharedRing) seal(rand io.Reader, kek *[32]byte) ([]byte, error) {
	if *kek == [32]byte{} {
		return nil, errNoKEK
	}
	b := make([]byte, ringHeadLen, maxRingLen)
	binary.BigEndian.PutUint16(b, ringFormat)
	binary.BigEndian.PutUint64(b[2:], s.generation)
	if _, err := io.ReadFull(rand, b[ringHeadLen-ringSaltLen:]); err != nil {
		return nil, err
	}
	b = s.appendTo(b)
	aead, err := ringCipher(kek, b[ringHeadLen-ringSaltLen:ringHeadLen])
	if err != nil {
		clear(b)
		return nil, err
	}
	return aead.Seal(b[:ringHeadLen], zeroNonce[:], b[ringHeadLen:], b[:ringHeadLen]), nil
}

// appendTo appends what is to be sealed.
func (s *sharedRing) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.until))
	b, mark := wire.Open(b, 2)
	for i := range s.keys {
		b = s.keys[i].append(b)
	}
	wire.Close(b, mark)
	return b
}

func (k *sharedKey) append(b []byte) []byte {
	b = append(b, k.name[:]...)
	b = append(b, k.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(k.made))
	return binary.BigEndian.AppendUint64(b, uint64(k.since))
}

// openRing returns what a source keeps, if it was sealed under kek and is whole.
func openRing(b []byte, kek *[32]byte) (*sharedRing, error) {
	if *kek == [32]byte{} {
		return nil, errNoKEK
	}
	if len(b) > maxRingLen {
		return nil, alert.Errorf(alert.DecodeError, "shared ticket keys of %d bytes", len(b))
	}
	r := wire.NewReader(b)
	if format := r.U16(); !r.Failed() && format != ringFormat {
		return nil, alert.Errorf(alert.DecodeError, "shared ticket keys of unknown format %d", format)
	}
	s := &sharedRing{generation: r.U64()}
	salt, sealed := r.Bytes(ringSaltLen), r.Rest()
	if err := r.Done("shared ticket keys"); err != nil {
		return nil, err
	}
	aead, err := ringCipher(kek, salt)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, zeroNonce[:], sealed, b[:ringHeadLen])
	if err != nil {
		return nil, alert.Errorf(alert.DecryptError, "shared ticket keys are damaged, or sealed under another KEK")
	}
	defer clear(plain)
	if err := s.parse(plain); err != nil {
		s.wipe()
		return nil, err
	}
	return s, nil
}

// parse reads what was sealed.
func (s *sharedRing) parse(plain []byte) error {
	r := wire.NewReader(plain)
	s.until = int64(r.U64())
	list := wire.NewReader(r.Vec16(2*ringKeyLen, maxKeys*ringKeyLen))
	if err := r.Done("shared ticket keys"); err != nil {
		return err
	}
	s.keys = make([]sharedKey, 0, maxKeys)
	for list.More() {
		var k sharedKey
		copy(k.name[:], list.Bytes(keyNameLen))
		copy(k.key[:], list.Bytes(ticketKeyLen))
		k.made, k.since = int64(list.U64()), int64(list.U64())
		if s.has(k.name) {
			list.Fail()
		}
		s.keys = append(s.keys, k)
	}
	return list.Done("list of shared ticket keys")
}

func (s *sharedRing) has(name [keyNameLen]byte) bool {
	for i := range s.keys {
		if s.keys[i].name == name {
			return true
		}
	}
	return false
}

func (s *sharedRing) wipe() { clear(s.keys) }

// zeroNonce is for keys that seal once.
var zeroNonce [nonceLen]byte

// ringCipher returns the cipher that seals once, by its salt.
func ringCipher(kek *[32]byte, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, kek[:], salt, "handoff key ring", len(kek))
	if err != nil {
		return nil, alert.Errorf(alert.InternalError, "key of shared ticket keys: %w", err)
	}
	defer clear(key)
	return newGCM((*[32]byte)(key)), nil
}
