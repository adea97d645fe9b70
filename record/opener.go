package record

import (
	"encoding/binary"
	"math"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

// Opener unprotects what one direction receives in one epoch. The zero value
// is the epoch before the first keys, at the start of a connection.
type Opener struct {
	redact.Value
	_ noCopy

	keys  *keyschedule.TrafficKeys // nil without protection; counts the records
	prot  opening                  // nil without protection
	own   *aeadState               // what prot is, if it is an AEAD; may be nil before the first keys
	err   error                    // why it opens no more
	limit uint64
	begun bool // a plaintext record was opened
}

// opening is one construction that unprotects records.
type opening interface {
	// maxLength is the longest fragment that a record may have.
	maxLength() int
	// open returns the type and the content of rec, whose header is consistent.
	// Its plaintext is in dst, if that is long enough, or in rec.
	open(dst, rec []byte, seq uint64) (ContentType, []byte, error)
	// forget overwrites what can be overwritten of the keys.
	forget()
}

// errMAC is one value for every way in which a record can fail to be
// authentic, so that the ways cannot be told apart.
var errMAC = alert.Errorf(alert.BadRecordMAC, "record does not authenticate")

// NewOpener returns an Opener that unprotects with k, from record k.Seq on. It
// owns k from then on. If k's cipher is not available in this process, as in
// FIPS 140-only mode, Open says so. Without k it is the epoch before the first
// keys, with room for those that [Opener.Install] brings.
func NewOpener(k *keyschedule.TrafficKeys) *Opener {
	var both struct { // as in NewSealer
		Opener
		aeadState
	}
	o := &both.Opener
	o.own = &both.aeadState
	if k != nil {
		o.Install(k)
	}
	return o
}

// Install ends the epoch, as Wipe does, and begins that of k, as with a new
// Opener.
func (o *Opener) Install(k *keyschedule.TrafficKeys) {
	o.Wipe()
	own := o.own
	if own == nil {
		own = new(aeadState)
	}
	*o = Opener{keys: k, own: own, limit: k.Suite.RecordLimit()}
	if k.Suite.Cipher.IsCBC() {
		o.prot, o.err = newCBCOpening(k)
	} else {
		o.prot, o.err = own.init(k)
	}
}

// Need returns how many bytes from buf's start on make up its first record, or
// [HeaderLen] if it takes a whole header to tell. If buf is at least as long,
// buf[:n] is for Open. Need judges headers as early as they are there: unknown
// types and lengths above the epoch's bound are refused, and so is, with a
// [HeaderError], a connection that does not begin with TLS.
func (o *Opener) Need(buf []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if len(buf) < HeaderLen {
		return HeaderLen, nil
	}
	if o.prot == nil && !o.begun {
		if err := checkFirst(buf); err != nil {
			return 0, err
		}
	}
	h, err := ParseHeader(buf)
	if err != nil {
		return 0, err
	}
	if err := o.checkLength(h); err != nil {
		return 0, err
	}
	return HeaderLen + h.Length, nil
}

// checkLength refuses records longer than the epoch allows (RFC 9846, sections
// 5.1 and 5.2; RFC 5246, section 6.2.3).
func (o *Opener) checkLength(h Header) error {
	bound := MaxPlaintext
	switch {
	case o.prot != nil:
		bound = o.prot.maxLength()
	case h.Type == ApplicationData:
		// Early data that the receiver of a second ClientHello must skip is
		// protected with keys that it does not have.
		bound = MaxCiphertext13
	}
	if h.Length > bound {
		return alert.Errorf(alert.RecordOverflow, "record of %d bytes", h.Length)
	}
	return nil
}

// Open returns the type and content of rec, which is one whole record with its
// header. The content is in dst if that is long enough for all that is
// decrypted, padding included, and does not overlap rec; otherwise it is in
// rec. In either case all of dst and rec may be overwritten. After copy(dst, content)
// dst holds as much of the content as fits it.
//
// A record that does not authenticate gives bad_record_mac and does not
// advance the sequence number, so that a server can skip early data that it
// has no keys for. ChangeCipherSpec records of TLS 1.3, which are never
// protected, must be taken out before.
func (o *Opener) Open(dst, rec []byte) (ContentType, []byte, error) {
	h, err := o.check(rec)
	if err != nil {
		return 0, nil, err
	}
	typ, content := h.Type, rec[HeaderLen:]
	if o.prot != nil {
		if overlap(dst, rec) {
			dst = nil
		}
		if typ, content, err = o.prot.open(dst, rec, o.keys.Seq); err != nil {
			return 0, nil, err
		}
		o.keys.Seq++
	}
	if err := o.checkContent(typ, content); err != nil {
		return 0, nil, err
	}
	o.begun = true
	return typ, content, nil
}

// check refuses records that need no key to be refused.
func (o *Opener) check(rec []byte) (Header, error) {
	if o.err != nil {
		return Header{}, o.err
	}
	h, err := ParseHeader(rec)
	if err != nil {
		return h, err
	}
	if h.Length != len(rec)-HeaderLen {
		return h, alert.Errorf(alert.DecodeError, "record of length %d in %d bytes", h.Length, len(rec))
	}
	if err := o.checkLength(h); err != nil {
		return h, err
	}
	if o.prot == nil {
		return h, nil
	}
	if h.Version != wireVersion {
		return h, headerError(alert.ProtocolVersion, rec, "protected record with a version other than 0x0303")
	}
	if o.keys.Seq == math.MaxUint64 {
		return h, ErrLimit
	}
	return h, nil
}

// checkContent refuses records that no sender may make.
func (o *Opener) checkContent(typ ContentType, content []byte) error {
	switch {
	case len(content) > MaxPlaintext:
		return alert.Errorf(alert.RecordOverflow, "record with %d bytes of content", len(content))
	case !typ.known():
		return alert.Errorf(alert.UnexpectedMessage, "protected record of unknown type %d", uint8(typ))
	case typ == ApplicationData && o.prot == nil:
		return alert.Errorf(alert.UnexpectedMessage, "application data without protection")
	case typ != ApplicationData && len(content) == 0:
		return alert.Errorf(alert.UnexpectedMessage, "empty record of type %v", typ)
	}
	return nil
}

// Seq returns the number of the next record, 0 without protection.
func (o *Opener) Seq() uint64 {
	if o.keys == nil {
		return 0
	}
	return o.keys.Seq
}

// Remaining returns how many records the peer may still send under its key's
// limit. Opener does not enforce it, as RFC 9846, section 5.5, asks of
// receivers; a caller may ask the peer for new keys when it runs low.
func (o *Opener) Remaining() uint64 {
	if o.keys == nil {
		return math.MaxUint64
	}
	return o.limit - min(o.limit, o.keys.Seq)
}

// SetLimit lowers the limit that Remaining counts against.
func (o *Opener) SetLimit(n uint64) { o.limit = min(o.limit, n) }

// Release ends the Opener and returns its keys, with Seq the number of the next
// record, to be used elsewhere. It returns nil if there are none.
func (o *Opener) Release() *keyschedule.TrafficKeys {
	k := o.keys
	if o.prot != nil {
		o.prot.forget()
	}
	o.keys, o.prot, o.err = nil, nil, ErrReleased
	return k
}

// Wipe ends the Opener and overwrites its keys; see [Sealer.Wipe] for what is
// out of its reach.
func (o *Opener) Wipe() {
	if k := o.Release(); k != nil {
		k.Wipe()
	}
}

// putAdditional12 writes the additional data of a TLS 1.2 record with n bytes
// of content, which is also what its MAC begins with (RFC 5246, sections
// 6.2.3.1 and 6.2.3.3).
func putAdditional12(b *[13]byte, seq uint64, typ ContentType, n int) {
	binary.BigEndian.PutUint64(b[0:], seq)
	b[8] = byte(typ)
	binary.BigEndian.PutUint16(b[9:], wireVersion)
	binary.BigEndian.PutUint16(b[11:], uint16(n))
}
