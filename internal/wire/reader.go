// Package wire reads and writes the presentation language of TLS
// (RFC 9846, section 3): big-endian numbers and length-prefixed vectors.
//
// A [Reader] keeps its first error and from then on returns zero values, so
// that a parser reads like the structure in the RFC and checks once, at its
// end, with [Reader.Done].
package wire

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/alert"
)

// Reader reads from a byte slice. Its zero value reads an empty message. What
// it returns aliases the input.
type Reader struct {
	rest   []byte
	failed bool
}

// NewReader returns a Reader over b.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Bytes reads exactly n bytes.
func (r *Reader) Bytes(n int) []byte {
	if r.failed || n < 0 || len(r.rest) < n {
		r.Fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// U8 reads a uint8.
func (r *Reader) U8() uint8 {
	if b := r.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 reads a uint16.
func (r *Reader) U16() uint16 {
	if b := r.Bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U24 reads a uint24.
func (r *Reader) U24() uint32 {
	if b := r.Bytes(3); b != nil {
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	return 0
}

// U32 reads a uint32.
func (r *Reader) U32() uint32 {
	if b := r.Bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 reads a uint64.
func (r *Reader) U64() uint64 {
	if b := r.Bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Vec8 reads a vector of lo to hi bytes with a one-byte length: opaque v<lo..hi>.
func (r *Reader) Vec8(lo, hi int) []byte { return r.vec(int(r.U8()), lo, hi) }

// Vec16 reads a vector of lo to hi bytes with a two-byte length.
func (r *Reader) Vec16(lo, hi int) []byte { return r.vec(int(r.U16()), lo, hi) }

// Vec24 reads a vector of lo to hi bytes with a three-byte length.
func (r *Reader) Vec24(lo, hi int) []byte { return r.vec(int(r.U24()), lo, hi) }

func (r *Reader) vec(n, lo, hi int) []byte {
	if n < lo || n > hi {
		r.Fail()
		return nil
	}
	return r.Bytes(n)
}

// U16s reads a vector of lo to hi bytes that holds uint16 values, with a
// two-byte length.
func (r *Reader) U16s(lo, hi int) []uint16 {
	b := r.Vec16(lo, hi)
	if len(b)%2 != 0 {
		r.Fail()
		return nil
	}
	v := make([]uint16, 0, len(b)/2)
	for ; len(b) > 0; b = b[2:] {
		v = append(v, binary.BigEndian.Uint16(b))
	}
	return v
}

// Rest reads all that is left.
func (r *Reader) Rest() []byte { return r.Bytes(len(r.rest)) }

// More reports whether there is more to read. It is false after an error, so
// that loops over a vector end.
func (r *Reader) More() bool { return !r.failed && len(r.rest) > 0 }

// Len returns how many bytes are left to read.
func (r *Reader) Len() int { return len(r.rest) }

// Fail marks the message as malformed.
func (r *Reader) Fail() {
	r.failed = true
	r.rest = nil
}

// Failed reports whether an earlier read failed.
func (r *Reader) Failed() bool { return r.failed }

// Done returns a decode_error that names what was being read, if a read failed
// or if bytes are left over.
func (r *Reader) Done(what string) error {
	switch {
	case r.failed:
		return alert.Errorf(alert.DecodeError, "malformed %s", what)
	case len(r.rest) > 0:
		return alert.Errorf(alert.DecodeError, "%d trailing bytes after %s", len(r.rest), what)
	}
	return nil
}
