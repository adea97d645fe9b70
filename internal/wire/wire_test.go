package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRead reads one thing from an input that is as it should be, and then from
// the same input truncated at each byte and extended by one.
func TestRead(t *testing.T) {
	tests := []struct {
		name, in string
		read     func(*Reader) any
		want     any
	}{
		{"U8", "fe", func(r *Reader) any { return r.U8() }, uint8(0xfe)},
		{"U16", "0102", func(r *Reader) any { return r.U16() }, uint16(0x0102)},
		{"U24", "fffefd", func(r *Reader) any { return r.U24() }, uint32(0xfffefd)},
		{"U32", "80010203", func(r *Reader) any { return r.U32() }, uint32(0x80010203)},
		{"U64", "8001020304050607", func(r *Reader) any { return r.U64() }, uint64(0x8001020304050607)},
		{"Bytes", "0a0b0c", func(r *Reader) any { return r.Bytes(3) }, []byte{10, 11, 12}},
		{"Vec8", "020a0b", func(r *Reader) any { return r.Vec8(1, 255) }, []byte{10, 11}},
		{"Vec8 of the least size", "010a", func(r *Reader) any { return r.Vec8(1, 2) }, []byte{10}},
		{"Vec8 of the largest size", "020a0b", func(r *Reader) any { return r.Vec8(1, 2) }, []byte{10, 11}},
		{"Vec8 of nothing", "00", func(r *Reader) any { return r.Vec8(0, 255) }, []byte{}},
		{"Vec16", "00020a0b", func(r *Reader) any { return r.Vec16(0, 1<<16-1) }, []byte{10, 11}},
		{"Vec24", "0000020a0b", func(r *Reader) any { return r.Vec24(0, 1<<24-1) }, []byte{10, 11}},
		{"U16s", "000400010203", func(r *Reader) any { return r.U16s(2, 1<<16-2) }, []uint16{1, 0x0203}},
		{"U16s of nothing", "0000", func(r *Reader) any { return r.U16s(0, 1<<16-2) }, []uint16{}},
		{"two things", "01000102", func(r *Reader) any { return fmt.Sprint(r.U16(), r.U16()) }, "256 258"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := unhex(t, test.in)
			r := NewReader(in)
			if got := test.read(&r); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if err := r.Done("it"); err != nil || r.Failed() || r.More() || r.Len() != 0 {
				t.Errorf("at the end: %v, failed %v, more %v, %d bytes", err, r.Failed(), r.More(), r.Len())
			}
			for n := range in {
				r := NewReader(in[:n])
				test.read(&r)
				checkFailed(t, &r)
			}
			r = NewReader(append(in, 0))
			test.read(&r)
			if err := r.Done("it"); err == nil || alert.Of(err) != alert.DecodeError || !r.More() || r.Len() != 1 {
				t.Errorf("with a byte too many: %v, more %v, %d bytes", err, r.More(), r.Len())
			}
		})
	}
}

// checkFailed checks that r has failed, and that nothing can be read from it.
func checkFailed(t *testing.T, r *Reader) {
	t.Helper()
	if !r.Failed() || r.More() || r.Len() != 0 {
		t.Errorf("failed %v, more %v, %d bytes", r.Failed(), r.More(), r.Len())
	}
	if r.U8() != 0 || r.U16() != 0 || r.U24() != 0 || r.U32() != 0 || r.U64() != 0 ||
		r.Bytes(0) != nil || r.Vec8(0, 255) != nil || r.Rest() != nil || len(r.U16s(0, 1<<16-2)) > 0 {
		t.Error("something was read after an error")
	}
	err := r.Done("it")
	if e := (*alert.Error)(nil); !errors.As(err, &e) || e.Description != alert.DecodeError {
		t.Errorf("Done: %v", err)
	}
}

func TestReadOutOfBounds(t *testing.T) {
	tests := []struct {
		name, in string
		read     func(*Reader)
	}{
		{"negative", "0102", func(r *Reader) { r.Bytes(-1) }},
		{"Vec8 too short", "010a", func(r *Reader) { r.Vec8(2, 255) }},
		{"Vec8 too long", "030a0b0c", func(r *Reader) { r.Vec8(0, 2) }},
		{"Vec16 too short", "0000", func(r *Reader) { r.Vec16(1, 2) }},
		{"Vec16 too long", "00030a0b0c", func(r *Reader) { r.Vec16(1, 2) }},
		{"Vec24 too short", "000000", func(r *Reader) { r.Vec24(1, 2) }},
		{"Vec24 too long", "0000030a0b0c", func(r *Reader) { r.Vec24(1, 2) }},
		{"U16s of odd length", "0003000102", func(r *Reader) { r.U16s(0, 10) }},
		{"U16s too short", "0000", func(r *Reader) { r.U16s(2, 10) }},
		{"by the caller", "0102", func(r *Reader) { r.Fail() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := NewReader(unhex(t, test.in))
			test.read(&r)
			checkFailed(t, &r)
		})
	}
}

func TestZeroReader(t *testing.T) {
	var r Reader
	if r.More() || r.Len() != 0 || len(r.Rest()) != 0 || r.Done("nothing") != nil {
		t.Error("a Reader that was not set has something to read")
	}
}

// TestReadAliases checks that what is returned is the input, and that appending
// to it does not change what follows.
func TestReadAliases(t *testing.T) {
	in := []byte{2, 10, 11, 12, 13}
	r := NewReader(in)
	v := r.Vec8(0, 255)
	if &v[0] != &in[1] || cap(v) != 2 {
		t.Errorf("capacity %d", cap(v))
	}
	_ = append(v, 99)
	if rest := r.Rest(); !bytes.Equal(rest, []byte{12, 13}) {
		t.Errorf("what follows is %v", rest)
	}
}

func TestAppend(t *testing.T) {
	type group uint16
	head := []byte{9}
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"U24", AppendU24(head, 0x010203), "09010203"},
		{"Vec8", AppendVec8(head, []byte{1, 2}), "09020102"},
		{"Vec16", AppendVec16(head, []byte{1, 2}), "0900020102"},
		{"Vec24", AppendVec24(head, []byte{1, 2}), "090000020102"},
		{"Vec8 of nothing", AppendVec8(head, nil), "0900"},
		{"Vec8 of the largest size", AppendVec8(head, make([]byte, 255)), "09ff" + hex.EncodeToString(make([]byte, 255))},
		{"U16s", AppendU16s(head, []group{1, 0x0203}), "09000400010203"},
		{"U16s of nothing", AppendU16s[uint16](head, nil), "090000"},
	}
	for _, test := range tests {
		if got := hex.EncodeToString(test.got); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestOpenClose(t *testing.T) {
	b, outer := Open([]byte{9}, 3)
	b, middle := Open(b, 2)
	b, inner := Open(b, 1)
	b = append(b, 1, 2)
	Close(b, inner)
	Close(b, middle)
	b = append(b, 3)
	Close(b, outer)
	if got, want := hex.EncodeToString(b), "09000006000302010203"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCloseTooLong(t *testing.T) {
	tests := []struct {
		size, n int
		panics  bool
	}{{1, 0, false}, {1, 255, false}, {1, 256, true}, {2, 1<<16 - 1, false}, {2, 1 << 16, true}, {3, 1<<24 - 1, false}, {3, 1 << 24, true}}
	for _, test := range tests {
		func() {
			b, m := Open(nil, test.size)
			b = append(b, make([]byte, test.n)...)
			defer func() {
				if p := recover() != nil; p != test.panics {
					t.Errorf("%d bytes in a vector with %d bytes of length: panics %v", test.n, test.size, p)
				}
			}()
			Close(b, m)
			r := NewReader(b[:test.size])
			if n := r.Bytes(test.size); len(n) != test.size {
				t.Errorf("length of %d bytes", len(n))
			}
		}()
	}
}

// FuzzRoundTrip writes what was read, and reads it again.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{1, 9, 0, 2, 8, 7, 0, 0, 1, 6, 0, 2, 1, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(in)
		a, b, c, d := r.Vec8(0, 255), r.Vec16(0, 1<<16-1), r.Vec24(0, 1<<24-1), r.U16s(0, 1<<16-2)
		rest := r.Rest()
		if r.Failed() {
			return
		}
		out := append(AppendU16s(AppendVec24(AppendVec16(AppendVec8(nil, a), b), c), d), rest...)
		if !bytes.Equal(in, out) {
			t.Errorf("%x became %x", in, out)
		}
	})
}
