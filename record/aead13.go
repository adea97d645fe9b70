package record

import (
	"crypto/cipher"
	"encoding/binary"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
)

const (
	tagLen   = 16
	nonceLen = 12
)

// aeadState is what the AEAD constructions have.
type aeadState struct {
	redact.Value
	aead  cipher.AEAD
	iv    [nonceLen]byte
	nonce [nonceLen]byte // scratch, here because it would escape from a stack
	add   [13]byte       // scratch, likewise; for TLS 1.2
	short bool           // iv is a salt of 4 bytes
}

// aead13 is the record protection of TLS 1.3 (RFC 9846, section 5.2).
type aead13 aeadState

func (*aead13) prefixLen() int      { return HeaderLen }
func (*aead13) recordLen(n int) int { return HeaderLen + n + 1 + tagLen }
func (*aead13) maxLength() int      { return MaxCiphertext13 }
func (a *aead13) forget()           { *a = aead13{} }

func (a *aead13) seal(rec []byte, seq uint64, typ ContentType, content []byte) error {
	inner := rec[HeaderLen : len(rec)-tagLen]
	n := copy(inner, content)
	inner[n] = byte(typ)
	clear(inner[n+1:])
	putHeader(rec, ApplicationData, wireVersion)
	xorNonce(&a.nonce, &a.iv, seq)
	a.aead.Seal(inner[:0], a.nonce[:], inner, rec[:HeaderLen])
	return nil
}

func (a *aead13) open(dst, rec []byte, seq uint64) (ContentType, []byte, error) {
	if t := ContentType(rec[0]); t != ApplicationData {
		return 0, nil, alert.Errorf(alert.UnexpectedMessage, "unprotected record of type %v", t)
	}
	xorNonce(&a.nonce, &a.iv, seq)
	sealed := rec[HeaderLen:]
	inner, err := a.aead.Open(room(dst, sealed), a.nonce[:], sealed, rec[:HeaderLen])
	if err != nil {
		return 0, nil, errMAC
	}
	if len(inner) > MaxPlaintext+1 {
		return 0, nil, alert.Errorf(alert.RecordOverflow, "record with %d bytes inside", len(inner))
	}
	for i := len(inner) - 1; i >= 0; i-- {
		if inner[i] == 0 {
			continue
		}
		typ := ContentType(inner[i])
		if typ == ChangeCipherSpec {
			return 0, nil, alert.Errorf(alert.UnexpectedMessage, "protected change_cipher_spec")
		}
		return typ, inner[:i], nil
	}
	return 0, nil, alert.Errorf(alert.UnexpectedMessage, "protected record without a type")
}

// xorNonce makes the nonce of a record (RFC 9846, section 5.3; RFC 7905,
// section 2).
func xorNonce(nonce, iv *[nonceLen]byte, seq uint64) {
	copy(nonce[:4], iv[:4])
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(iv[4:])^seq)
}

// room returns the empty slice to decrypt sealed into: dst, if what comes out
// fits it, or else sealed itself.
func room(dst, sealed []byte) []byte {
	if n := len(dst); n > 0 && n >= len(sealed)-tagLen {
		return dst[:0:n]
	}
	return sealed[:0]
}
