package record

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
)

// constantMAC computes and compares the HMAC-SHA1 of a record without showing
// in time or memory access where its content ends, beyond what the record's
// length says.
//
// It hashes up to the last block that could hold content of the longest
// possible length, with the end marker and the length put by masks where the
// content ends, and looks at the digest's state after each block, of which it
// keeps the one that is right. That way the number of compressions depends
// on the record's length alone.
type constantMAC struct {
	redact.Value
	add [13]byte // what is hashed before the content

	h          stateHash
	ipad, opad [sha1.BlockSize]byte
	digest     [macLen]byte
	block      [sha1.BlockSize]byte
	state      [stateMagic + macLen + sha1.BlockSize + 8]byte
}

// stateHash is a hash whose state can be read.
type stateHash interface {
	hash.Hash
	encoding.BinaryAppender
}

// stateMagic is how long the prefix of SHA-1's encoded state is.
const stateMagic = 4

func (m *constantMAC) init(key []byte) error {
	var ok bool
	if m.h, ok = sha1.New().(stateHash); !ok {
		return alert.Errorf(alert.InternalError, "SHA-1 does not show its state")
	}
	copy(m.ipad[:], key)
	copy(m.opad[:], key)
	for i := range m.ipad {
		m.ipad[i] ^= 0x36
		m.opad[i] ^= 0x5c
	}
	return nil
}

func (m *constantMAC) forget() {
	m.h.Reset()
	clear(m.ipad[:])
	clear(m.opad[:])
	clear(m.state[:])
}

// bounds returns the least and the greatest length of the content of body. Its
// padding length is one byte, so they are at most 255 apart.
func bounds(body []byte) (shortest, longest int) {
	longest = len(body) - macLen - 1
	return max(0, longest-255), longest
}

// sum sets digest to the HMAC of add and body[:n], n being secret. It fails
// only if the hash does not give its state.
func (m *constantMAC) sum(body []byte, n int) error {
	const blockLen = sha1.BlockSize
	shortest, longest := bounds(body)
	m.h.Reset()
	m.h.Write(m.ipad[:])

	// These blocks hold content whatever n is.
	public := (len(m.add) + shortest) / blockLen
	if public > 0 {
		m.h.Write(m.add[:])
		m.h.Write(body[:public*blockLen-len(m.add)])
	}
	end := len(m.add) + n
	clear(m.digest[:])
	for i := public; i <= (len(m.add)+longest+8)/blockLen; i++ {
		m.fill(body, i, end)
		m.h.Write(m.block[:])
		if err := m.keep(subtle.ConstantTimeEq(int32(i), int32((end+8)/blockLen))); err != nil {
			return err
		}
	}

	m.h.Reset()
	m.h.Write(m.opad[:])
	m.h.Write(m.digest[:])
	m.h.Sum(m.digest[:0])
	return nil
}

// fill sets block to the i-th block of what is hashed after ipad: add, then
// body up to end, then SHA-1's end marker and length.
func (m *constantMAC) fill(body []byte, i, end int) {
	for j := range m.block {
		pos := i*len(m.block) + j
		var b byte
		switch k := pos - len(m.add); {
		case k < 0:
			b = m.add[pos]
		case k < len(body):
			b = body[k]
		}
		before := byte(subtle.ConstantTimeLessOrEq(pos+1, end))
		marker := byte(subtle.ConstantTimeEq(int32(pos), int32(end)))
		m.block[j] = -before&b | -marker&0x80
	}
	var bits [8]byte
	binary.BigEndian.PutUint64(bits[:], uint64(len(m.ipad)+end)*8)
	final := byte(subtle.ConstantTimeEq(int32(i), int32((end+8)/len(m.block))))
	for j, b := range bits {
		m.block[len(m.block)-8+j] |= -final & b
	}
}

// keep sets digest to the state of the hash if this is 1. The state is at a
// block's end, and is then the digest of what the block completes.
func (m *constantMAC) keep(this int) error {
	state, err := m.h.AppendBinary(m.state[:0])
	if err != nil || len(state) < stateMagic+macLen {
		return errMAC
	}
	subtle.ConstantTimeCopy(this, m.digest[:], state[stateMagic:stateMagic+macLen])
	return nil
}

// matches returns 1 if the MAC at body[n:] is digest, n being secret. It reads
// all places where the MAC could be and collects its bytes, rotated by n,
// before it puts them in order.
func (m *constantMAC) matches(body []byte, n int) int {
	var rotated, mac [macLen]byte
	shortest, longest := bounds(body)
	start := 0
	for i := shortest; i < longest+macLen; i++ {
		k := (i - shortest) % macLen
		inside := subtle.ConstantTimeLessOrEq(n, i) & subtle.ConstantTimeLessOrEq(i+1, n+macLen)
		rotated[k] |= -byte(inside) & body[i]
		start |= -subtle.ConstantTimeEq(int32(i), int32(n)) & k
	}
	for i := range mac {
		at := start + i
		at -= macLen & -subtle.ConstantTimeLessOrEq(macLen, at)
		for k, b := range rotated {
			mac[i] |= -byte(subtle.ConstantTimeEq(int32(k), int32(at))) & b
		}
	}
	return subtle.ConstantTimeCompare(mac[:], m.digest[:])
}
