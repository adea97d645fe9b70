package wire

import "encoding/binary"

// AppendU24 appends v as a uint24.
func AppendU24(b []byte, v uint32) []byte {
	return append(b, byte(v>>16), byte(v>>8), byte(v))
}

// AppendU16s appends the values with a two-byte length in front.
func AppendU16s[T ~uint16](b []byte, v []T) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(v)))
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, uint16(x))
	}
	return b
}

// AppendVec8 appends v with a one-byte length in front.
func AppendVec8(b, v []byte) []byte { return append(append(b, byte(len(v))), v...) }

// AppendVec16 appends v with a two-byte length in front.
func AppendVec16(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
}

// AppendVec24 appends v with a three-byte length in front.
func AppendVec24(b, v []byte) []byte { return append(AppendU24(b, uint32(len(v))), v...) }

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

// Close fills in the length of the vector opened at m. It panics if the
// content does not fit the length field: callers bound what they append.
func Close(b []byte, m Mark) {
	n := len(b) - m.start
	if n < 0 || n>>(8*m.size) != 0 {
		panic("wire: vector too long for its length field")
	}
	for i := range m.size {
		b[m.start-1-i] = byte(n >> (8 * i))
	}
}
