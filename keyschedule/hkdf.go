package keyschedule

import (
	"bytes"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
)

// The HKDF functions below are written over the hash and not over crypto/hkdf
// because that one allocates ten times for each expansion, and a handshake
// makes about thirty. Their inputs are short, so that an HMAC is two one-shot
// hashes over a buffer on the stack. The tests compare them with crypto/hkdf.

// maxShortHMAC bounds the data of appendHMAC's allocation-free path. It covers
// every HkdfLabel but absurdly long exporter labels and contexts.
const maxShortHMAC = 192

// innerPad makes a key into what the inner hash of HMAC begins with, and outerPad
// makes that into what the outer one begins with (RFC 2104).
var (
	innerPad = [128]byte(bytes.Repeat([]byte{0x36}, 128))
	outerPad = [128]byte(bytes.Repeat([]byte{0x36 ^ 0x5c}, 128))
)

// appendHMAC appends HMAC-h(key, data) to dst.
func appendHMAC(h Hash, dst, key, data []byte) []byte {
	if len(data) > maxShortHMAC {
		return append(dst, longHMAC(h, key, data)...)
	}
	var buf [128 + maxShortHMAC]byte
	defer clear(buf[:])
	block := buf[:h.blockSize()]
	if len(key) > len(block) {
		h.appendSum(block[:0], key)
	} else {
		copy(block, key)
	}
	subtle.XORBytes(block, block, innerPad[:])
	inner := h.appendSum(block[len(block):], append(block, data...))
	subtle.XORBytes(block, block, outerPad[:])
	return h.appendSum(dst, buf[:len(block)+len(inner)])
}

// longHMAC copies its inputs because what goes through the hash interface is
// taken to escape: without the copies, appendHMAC's callers would have all
// their buffers on the heap.
func longHMAC(h Hash, key, data []byte) []byte {
	k, d := bytes.Clone(key), bytes.Clone(data)
	defer clear(k)
	defer clear(d)
	m := hmac.New(h.New, k)
	m.Write(d)
	return m.Sum(nil)
}

// extract is HKDF-Extract (RFC 5869, section 2.2).
func extract(h Hash, salt, ikm []byte) Secret {
	s := Secret{n: uint8(h.Size())}
	appendHMAC(h, s.b[:0], salt, ikm)
	return s
}

// expandLabel fills out with HKDF-Expand-Label(secret, label, context,
// len(out)) of RFC 9846, section 7.1.
func expandLabel(h Hash, out, secret []byte, label string, context []byte) {
	var buf [maxShortHMAC]byte
	info := binary.BigEndian.AppendUint16(buf[:0], uint16(len(out)))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "...)
	info = append(info, label...)
	info = append(info, byte(len(context)))
	info = append(info, context...)
	expand(h, out, secret, info)
}

// expand is HKDF-Expand (RFC 5869, section 2.3).
func expand(h Hash, out, secret, info []byte) {
	var block [MaxSecretLen]byte
	defer clear(block[:])
	var buf [maxShortHMAC]byte
	var t []byte
	for i := byte(1); len(out) > 0; i++ {
		in := append(append(append(buf[:0], t...), info...), i)
		t = appendHMAC(h, block[:0], secret, in)
		out = out[copy(out, t):]
	}
	clear(buf[:])
}

// deriveSecret is Derive-Secret of RFC 9846, section 7.1, over a transcript
// hash that is already computed.
func deriveSecret(h Hash, secret *Secret, label string, transcriptHash []byte) Secret {
	out := Secret{n: uint8(h.Size())}
	expandLabel(h, out.b[:out.n], secret.Bytes(), label, transcriptHash)
	return out
}
