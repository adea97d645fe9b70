package wire

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/alert"
)

// AppendU24 appends v as a uint24.
func AppendU24(b []byte, v uint32) []byte {
	return append(b, byte(v>>16), byte(v>>8), byte(v))
}

// AppendU16s appends the values with a two-byte length in front.
func AppendU16s[T ~uint16](b []byte, v []T) []byte {
	b, m := Open(b, 2)
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, uint16(x))
	}
	Close(b, m)
	return b
}

// AppendVec8 appends v with a one-byte length in front.
func AppendVec8(b, v []byte) []byte { return appendVec(b, v, 1) }

// AppendVec16 appends v with a two-byte length in front.
func AppendVec16(b, v []byte) []byte { return appendVec(b, v, 2) }

// AppendVec24 appends v with a three-byte length in front.
func AppendVec24(b, v []byte) []byte { return appendVec(b, v, 3) }

func appendVec(b, v []byte, size int) []byte {
	b, m := Open(b, size)
	b = append(b, v...)
	Close(b, m)
	return b
}

// Open reserves a length field of n bytes (1, 2 or 3) and returns the buffer
// and the mark that [Close] takes once the vector's content is appended.
func Open(b []byte, n int) ([]byte, Mark) {
	for range n {
		b = append(b, 0)
	}
	return b, Mark{start: len(b), size: n}
}

// Mark remembers an open vector.
type Mark struct{ start, size int }

// tooLong is what a vector panics with that does not fit its length field.
type tooLong struct{}

// Close fills in the length of the vector opened at m. Content that does not
// fit the length field, whether a configuration or a peer brought it, makes it
// panic; whoever appends messages turns that into an error by [Catch].
func Close(b []byte, m Mark) {
	n := len(b) - m.start
	if n>>(8*m.size) != 0 {
		panic(tooLong{})
	}
	for i := range m.size {
		b[m.start-1-i] = byte(n >> (8 * i))
	}
}

// Catch is deferred by what appends messages. It turns the panic of a vector
// that was too long into an internal_error in *err.
func Catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case tooLong:
		*err = alert.Errorf(alert.InternalError, "message too long: what it must hold does not fit")
	default:
		panic(r)
	}
}
