package record

import "encoding/binary"

// In TLS 1.2 a nonce of AES-GCM is a salt from the key schedule and a part that each
// record brings (RFC 5288, section 3).
const (
	saltLen     = 4
	explicitLen = 8
)

// aead12 is the AEAD record protection of TLS 1.2 (RFC 5246, section 6.2.3.3),
// with the nonces of AES-GCM (RFC 5288, section 3) if the key schedule gave a
// salt of 4 bytes, and else with those of ChaCha20-Poly1305 (RFC 7905, section
// 2), which are those of TLS 1.3.
type aead12 aeadState

func (a *aead12) explicit() int {
	if a.short {
		return explicitLen
	}
	return 0
}

func (a *aead12) prefixLen() int      { return HeaderLen + a.explicit() }
func (a *aead12) recordLen(n int) int { return a.prefixLen() + n + tagLen }
func (*aead12) maxLength() int        { return MaxCiphertext12 }
func (a *aead12) forget()             { *a = aead12{} }

func (a *aead12) seal(rec []byte, seq uint64, typ ContentType, content []byte) error {
	prefix := a.prefixLen()
	putHeader(rec, typ, wireVersion)
	if a.short {
		// The sequence number is unique under this key, which is all that the
		// explicit part must be. A kernel that takes the key over goes on with
		// it from there.
		binary.BigEndian.PutUint64(rec[HeaderLen:], seq)
	}
	xorNonce(&a.nonce, &a.iv, seq) // with a salt, what is behind it in iv is zero
	putAdditional12(&a.add, seq, typ, len(content))
	a.aead.Seal(rec[prefix:prefix], a.nonce[:], content, a.add[:])
	return nil
}

func (a *aead12) open(dst, rec []byte, seq uint64) (ContentType, []byte, error) {
	typ, prefix := ContentType(rec[0]), a.prefixLen()
	if len(rec) < prefix+tagLen {
		return 0, nil, errMAC
	}
	number := seq
	if a.short {
		number = binary.BigEndian.Uint64(rec[HeaderLen:])
	}
	xorNonce(&a.nonce, &a.iv, number)
	sealed := rec[prefix:]
	putAdditional12(&a.add, seq, typ, len(sealed)-tagLen)
	content, err := a.aead.Open(room(dst, sealed), a.nonce[:], sealed, a.add[:])
	if err != nil {
		return 0, nil, errMAC
	}
	return typ, content, nil
}
