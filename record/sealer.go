package record

import (
	"io"
	"math"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

// Errors that callers act on. Both carry internal_error: they are about our
// own keys, and nothing that the peer did.
var (
	// ErrLimit means that the key may protect no more records: the connection
	// must change keys or close (RFC 9846, sections 5.3 and 5.5).
	ErrLimit = alert.Errorf(alert.InternalError, "record limit of the traffic key reached")
	// ErrReleased means that the keys were given away or wiped.
	ErrReleased = alert.Errorf(alert.InternalError, "traffic keys are no longer here")
)

// Sealer protects what one direction sends in one epoch. The zero value is the
// epoch before the first keys, and sends plaintext records.
type Sealer struct {
	redact.Value
	_ noCopy

	keys   *keyschedule.TrafficKeys // nil without protection; counts the records
	prot   sealing                  // nil without protection
	own    *aeadState               // what prot is, if it is an AEAD; may be nil before the first keys
	err    error                    // why it seals no more
	limit  uint64
	pad    Padding
	rand   io.Reader // source of CBC IVs, nil for crypto/rand
	plain  plaintext
	maxLen uint16 // content per record, 0 for MaxPlaintext
}

// sealing is one construction that protects records.
type sealing interface {
	// prefixLen is how many bytes stand before the content in a record.
	prefixLen() int
	// recordLen is the length of a record with n bytes of content and padding.
	recordLen(n int) int
	// seal fills rec, which has the record's length, with content, which is
	// elsewhere or in its place already. What is left over becomes padding.
	seal(rec []byte, seq uint64, typ ContentType, content []byte) error
	// forget overwrites what can be overwritten of the keys.
	forget()
}

// Option changes how a [Sealer] works, from the start.
type Option func(*Sealer)

// WithRand makes r the source of the random IVs of CBC records, in place of
// crypto/rand. Other records need no randomness.
func WithRand(r io.Reader) Option { return func(s *Sealer) { s.rand = r } }

// NewSealer returns a Sealer that protects with k, from record k.Seq on. It
// owns k from then on. If k's cipher is not available in this process, as in
// FIPS 140-only mode, Seal says so. Without k it is the epoch before the first
// keys, with room for those that [Sealer.Install] brings.
func NewSealer(k *keyschedule.TrafficKeys, opts ...Option) *Sealer {
	// One allocation, with a pointer from one to the other: see TrafficKeys.
	var both struct {
		Sealer
		aeadState
	}
	s := &both.Sealer
	s.own = &both.aeadState
	if k != nil {
		s.Install(k, opts...)
	}
	return s
}

// Install ends the epoch, as Wipe does, and begins that of k, as with a new
// Sealer: what was set for the one before does not hold any more.
func (s *Sealer) Install(k *keyschedule.TrafficKeys, opts ...Option) {
	s.Wipe()
	own := s.own
	if own == nil {
		own = new(aeadState)
	}
	*s = Sealer{keys: k, own: own, limit: k.Suite.RecordLimit()}
	for _, o := range opts {
		o(s)
	}
	if k.Suite.Cipher.IsCBC() {
		s.prot, s.err = newCBCSealing(k, s.rand)
	} else {
		s.prot, s.err = own.init(k)
	}
}

// Seal appends to dst the records that carry payload as type typ: one for each
// [MaxPlaintext] bytes, or for as many as SetMaxFragment said, and one for an
// empty payload. It does not allocate if dst has room for [Sealer.SealedLen]
// more bytes. On errors it returns dst unchanged; a call that would pass the
// key's record limit seals nothing and returns [ErrLimit].
//
// The payload must not overlap dst's room, with one exception: if it fits one
// record, it may be where its record has it, [Sealer.PrefixLen] bytes after
// dst's end, and is then sealed in place.
//
// Application data needs protection (RFC 9846, section 5.1). A TLS 1.3
// ChangeCipherSpec never has any (appendix E.4), and does not count.
func (s *Sealer) Seal(dst []byte, typ ContentType, payload []byte) ([]byte, error) {
	bare, full := s.bare(typ), s.maxFragment()
	if err := s.check(bare, typ, payload); err != nil {
		return dst, err
	}
	if len(payload) <= full {
		return s.sealOne(dst, bare, typ, payload)
	}
	size := s.SealedLen(typ, len(payload))
	out := slices.Grow(dst, size)
	if overlap(out[len(out):len(out)+size], payload) {
		return dst, errOverlap
	}
	for len(payload) > 0 {
		n := min(len(payload), full)
		var err error
		if out, err = s.sealOne(out, bare, typ, payload[:n]); err != nil {
			return dst, err
		}
		payload = payload[n:]
	}
	return out, nil
}

var errOverlap = alert.Errorf(alert.InternalError, "payload overlaps the room for its records")

// sealOne appends one record to dst.
func (s *Sealer) sealOne(dst []byte, bare bool, typ ContentType, content []byte) ([]byte, error) {
	prot, padded := s.prot, len(content)
	if bare {
		prot = &s.plain
	} else if s.pad != nil {
		padded += s.padding(typ, len(content))
	}
	n := prot.recordLen(padded)
	out := slices.Grow(dst, n)[:len(dst)+n]
	rec := out[len(dst):len(out):len(out)]
	if overlap(rec, content) && &content[0] != &rec[prot.prefixLen()] {
		return dst, errOverlap
	}
	if bare {
		return out, prot.seal(rec, 0, typ, content)
	}
	if err := prot.seal(rec, s.keys.Seq, typ, content); err != nil {
		return dst, err
	}
	s.keys.Seq++
	return out, nil
}

// check refuses what must not be sent.
func (s *Sealer) check(bare bool, typ ContentType, payload []byte) error {
	switch {
	case s.err != nil:
		return s.err
	case len(payload) == 0 && typ != ApplicationData:
		return alert.Errorf(alert.InternalError, "empty record of type %v", typ)
	case !typ.known():
		return alert.Errorf(alert.InternalError, "record of type %v", typ)
	case s.keys == nil && typ == ApplicationData:
		return alert.Errorf(alert.InternalError, "application data without protection")
	case !bare && uint64(s.records(len(payload))) > s.Remaining():
		return ErrLimit
	}
	return nil
}

// protection returns the construction for records of type typ.
func (s *Sealer) protection(typ ContentType) sealing {
	if s.bare(typ) {
		return &s.plain
	}
	return s.prot
}

// bare reports whether records of type typ are not protected.
func (s *Sealer) bare(typ ContentType) bool {
	return s.keys == nil || typ == ChangeCipherSpec && s.tls13()
}

func (s *Sealer) tls13() bool {
	return s.keys != nil && s.keys.Suite.Version == keyschedule.VersionTLS13
}

// SealedLen returns how many bytes Seal appends for n bytes of type typ. It is
// exact but for a padding policy, with which it is an upper bound.
func (s *Sealer) SealedLen(typ ContentType, n int) int {
	prot, full := s.protection(typ), s.maxFragment()
	if prot == nil {
		return 0
	}
	records := s.records(n)
	if s.pads(typ) {
		return records * prot.recordLen(full)
	}
	return (records-1)*prot.recordLen(full) + prot.recordLen(n-(records-1)*full)
}

// PrefixLen returns how many bytes of a record stand before its content. A
// caller that leaves them free can have its content sealed in place.
func (s *Sealer) PrefixLen() int {
	if s.prot == nil {
		return HeaderLen
	}
	return s.prot.prefixLen()
}

// Seq returns the number of the next record, 0 without protection.
func (s *Sealer) Seq() uint64 {
	if s.keys == nil {
		return 0
	}
	return s.keys.Seq
}

// Remaining returns how many records may still be sealed. A change of keys, or
// the alert that closes the connection, needs one of them itself.
func (s *Sealer) Remaining() uint64 {
	if s.keys == nil {
		return math.MaxUint64
	}
	return s.limit - min(s.limit, s.keys.Seq)
}

// SetLimit lowers the number of records that the key may protect in all, below
// what its suite allows (RFC 9846, section 5.5). It cannot raise it.
func (s *Sealer) SetLimit(n uint64) { s.limit = min(s.limit, n) }

// Padding says how many bytes of padding to add to a TLS 1.3 record with
// contentLen bytes of content (RFC 9846, section 5.4). What is too much for a
// record is cut.
type Padding func(contentLen int) int

// SetPadding sets the padding policy, nil for none. TLS 1.2 has no padding that
// could hide a length.
func (s *Sealer) SetPadding(p Padding) { s.pad = p }

func (s *Sealer) pads(typ ContentType) bool {
	return s.pad != nil && s.tls13() && typ != ChangeCipherSpec
}

// padding returns how much to pad a record with n bytes of content.
func (s *Sealer) padding(typ ContentType, n int) int {
	if !s.pads(typ) {
		return 0
	}
	return min(max(s.pad(n), 0), s.maxFragment()-n)
}

// SetMaxFragment bounds the content of a record, together with padding, to n
// bytes from 64 (RFC 8449, section 4) to [MaxPlaintext].
func (s *Sealer) SetMaxFragment(n int) { s.maxLen = uint16(min(max(n, 64), MaxPlaintext)) }

func (s *Sealer) maxFragment() int {
	if s.maxLen == 0 {
		return MaxPlaintext
	}
	return int(s.maxLen)
}

// records returns how many records n bytes need.
func (s *Sealer) records(n int) int {
	full := s.maxFragment()
	if n <= full {
		return 1
	}
	return (n + full - 1) / full
}

// SetPlaintextVersion sets the version in the header of plaintext records,
// 0x0303 by default. A first ClientHello travels under 0x0301 (RFC 9846,
// section 5.1). Protected records bear 0x0303 always.
func (s *Sealer) SetPlaintextVersion(v uint16) { s.plain.version = v }

// Release ends the Sealer and returns its keys, with Seq the number of the next
// record, to be used elsewhere. It returns nil if there are none.
func (s *Sealer) Release() *keyschedule.TrafficKeys {
	k := s.keys
	if s.prot != nil {
		s.prot.forget()
	}
	s.keys, s.prot, s.err = nil, nil, ErrReleased
	return k
}

// Wipe ends the Sealer and overwrites its keys. The expanded keys inside the
// standard library's ciphers are out of its reach, and left to the garbage
// collector.
func (s *Sealer) Wipe() {
	if k := s.Release(); k != nil {
		k.Wipe()
	}
}

// noCopy makes go vet report copies: two Sealers with one key would use the
// same nonces.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
