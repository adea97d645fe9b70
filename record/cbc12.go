package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"hash"
	"io"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

// macLen is the length of an HMAC-SHA1.
const macLen = sha1.Size

// cbcMode is what crypto/aes gives, beyond what its interface promises: the
// IV can be set, so that records share one object.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

// newCBC returns the mode that newMode makes of k's key.
func newCBC(k *keyschedule.TrafficKeys, newMode func(cipher.Block, []byte) cipher.BlockMode) (cbcMode, error) {
	if fips140.Enforced() {
		return nil, alert.Errorf(alert.InternalError, "HMAC-SHA1 records are not allowed in FIPS 140-only mode")
	}
	block, err := aes.NewCipher(k.Key())
	if err != nil {
		return nil, alert.Wrap(alert.InternalError, err)
	}
	var iv [aes.BlockSize]byte
	mode, ok := newMode(block, iv[:]).(cbcMode)
	if !ok {
		return nil, alert.Errorf(alert.InternalError, "CBC mode without SetIV")
	}
	return mode, nil
}

// cbcSealing protects TLS 1.2 records with AES-CBC and HMAC-SHA1: the MAC
// first, then padding, then encryption under a random IV (RFC 5246, section
// 6.2.3.2).
type cbcSealing struct {
	redact.Value
	mode cbcMode
	mac  hash.Hash
	rand io.Reader
	add  [13]byte // scratch, here because it would escape from a stack
}

func newCBCSealing(k *keyschedule.TrafficKeys, r io.Reader) (sealing, error) {
	if r == nil {
		r = rand.Reader
	}
	mode, err := newCBC(k, cipher.NewCBCEncrypter)
	if err != nil {
		return nil, err
	}
	return &cbcSealing{mode: mode, mac: hmac.New(sha1.New, k.MACKey()), rand: r}, nil
}

func (*cbcSealing) prefixLen() int { return HeaderLen + aes.BlockSize }

func (c *cbcSealing) recordLen(n int) int {
	padded := (n + macLen + 1 + aes.BlockSize - 1) / aes.BlockSize * aes.BlockSize
	return c.prefixLen() + padded
}

func (c *cbcSealing) forget() { c.mac = nil }

func (c *cbcSealing) seal(rec []byte, seq uint64, typ ContentType, content []byte) error {
	iv, body := rec[HeaderLen:c.prefixLen()], rec[c.prefixLen():]
	if _, err := io.ReadFull(c.rand, iv); err != nil {
		return alert.Wrap(alert.InternalError, err)
	}
	n := copy(body, content)
	putAdditional12(&c.add, seq, typ, n)
	c.mac.Reset()
	c.mac.Write(c.add[:])
	c.mac.Write(body[:n])
	c.mac.Sum(body[:n])
	for i := n + macLen; i < len(body); i++ {
		body[i] = byte(len(body) - n - macLen - 1)
	}
	c.mode.SetIV(iv)
	c.mode.CryptBlocks(body, body)
	putHeader(rec, typ, wireVersion)
	return nil
}

// cbcOpening is the reverse of [cbcSealing]. Whether the padding or the MAC is
// wrong, and where the one ends and the other begins, must not show in the
// time it takes, or records can be decrypted by guessing (Lucky Thirteen).
type cbcOpening struct {
	redact.Value
	mode cbcMode
	mac  constantMAC
}

func newCBCOpening(k *keyschedule.TrafficKeys) (opening, error) {
	mode, err := newCBC(k, cipher.NewCBCDecrypter)
	if err != nil {
		return nil, err
	}
	c := &cbcOpening{mode: mode}
	if err := c.mac.init(k.MACKey()); err != nil {
		return nil, err
	}
	return c, nil
}

func (*cbcOpening) maxLength() int { return MaxCiphertext12 }
func (c *cbcOpening) forget()      { c.mac.forget() }

// open decrypts in place: what it may copy to dst and what not would be known
// only after the checks.
func (c *cbcOpening) open(_, rec []byte, seq uint64) (ContentType, []byte, error) {
	const least = aes.BlockSize + (macLen+1+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize
	sealed := rec[HeaderLen:]
	if len(sealed)%aes.BlockSize != 0 || len(sealed) < least {
		return 0, nil, errMAC
	}
	body := sealed[aes.BlockSize:]
	c.mode.SetIV(sealed[:aes.BlockSize])
	c.mode.CryptBlocks(body, body)

	typ := ContentType(rec[0])
	n, good := contentLen(body)
	putAdditional12(&c.mac.add, seq, typ, n)
	if err := c.mac.sum(body, n); err != nil {
		return 0, nil, err
	}
	if good&c.mac.matches(body, n) != 1 {
		clear(body)
		return 0, nil, errMAC
	}
	return typ, body[:n], nil
}

// contentLen returns how much of body is content, by its padding, and 1 if the
// padding is as it must be. If it is not, it returns 0 and the length that a
// body without padding would have, so that as much goes on to be hashed. Only
// the length of body shows in the time it takes.
func contentLen(body []byte) (n, good int) {
	last := len(body) - 1
	longest := last - macLen
	pad := int(body[last])
	good = subtle.ConstantTimeLessOrEq(pad, longest)
	for i := range min(256, len(body)) {
		outside := 1 ^ subtle.ConstantTimeLessOrEq(i, pad)
		good &= outside | subtle.ConstantTimeByteEq(body[last-i], byte(pad))
	}
	return longest - subtle.ConstantTimeSelect(good, pad, 0), good
}
