//go:build unix

package kerneltest

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

const (
	headerLen   = 5
	tagLen      = 16
	explicitLen = 8
	maxContent  = 1 << 14

	typeHandshake = 22
	typeData      = 23
)

// protection is the record protection of one direction under one key. It is not
// package record's, whose mistakes it would share.
type protection struct {
	redact.Value
	suite    *keyschedule.Suite
	aead     cipher.AEAD
	iv       []byte
	seq      uint64 // of the next record
	explicit uint64 // the next explicit nonce, in TLS 1.2 AES-GCM
}

func newProtection(k *keyschedule.TrafficKeys) (*protection, error) {
	p := &protection{suite: k.Suite, iv: append([]byte(nil), k.IV()...), seq: k.Seq, explicit: k.Seq}
	var err error
	if k.Suite.Cipher == keyschedule.ChaCha20Poly1305 {
		p.aead, err = chacha20poly1305.New(k.Key())
		return p, err
	}
	block, err := aes.NewCipher(k.Key())
	if err != nil {
		return nil, err
	}
	p.aead, err = cipher.NewGCM(block)
	return p, err
}

func (p *protection) tls13() bool { return p.suite.Version == keyschedule.VersionTLS13 }

// explicitLen is how many bytes of nonce a record has.
func (p *protection) explicitLen() int {
	if p.tls13() || p.suite.Cipher == keyschedule.ChaCha20Poly1305 {
		return 0
	}
	return explicitLen
}

// overhead is how much longer a fragment is than its content, at least.
func (p *protection) overhead() int { return p.explicitLen() + tagLen }

// maxFragment is the longest fragment that a kernel takes.
func (p *protection) maxFragment() int {
	if p.tls13() {
		return maxContent + 1 + p.overhead()
	}
	return maxContent + p.overhead()
}

// seal returns a record.
func (p *protection) seal(typ byte, content []byte) []byte {
	outer := typ
	if p.tls13() {
		content = append(append([]byte(nil), content...), typ)
		outer = typeData
	}
	rec := []byte{outer, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(rec[3:], uint16(len(content)+p.overhead()))
	if p.explicitLen() > 0 {
		rec = binary.BigEndian.AppendUint64(rec, p.explicit)
	}
	rec = p.aead.Seal(rec, p.nonce(rec[headerLen:]), content, p.additional(rec, len(content)))
	p.seq++
	p.explicit++
	return rec
}

// open returns type and content of a record. A record that does not
// authenticate, or has no type inside, is not counted.
func (p *protection) open(rec []byte) (typ byte, content []byte, ok bool) {
	fragment := rec[headerLen:]
	sealed := fragment[p.explicitLen():]
	content, err := p.aead.Open(nil, p.nonce(fragment), sealed, p.additional(rec, len(sealed)-tagLen))
	if err != nil {
		return 0, nil, false
	}
	typ = rec[0]
	if p.tls13() {
		n := len(content)
		for n > 0 && content[n-1] == 0 {
			n--
		}
		if n == 0 {
			return 0, nil, false
		}
		typ, content = content[n-1], content[:n-1]
	}
	p.seq++
	return typ, content, true
}

// nonce returns the nonce of the next record, whose fragment is given.
func (p *protection) nonce(fragment []byte) []byte {
	nonce := append([]byte(nil), p.iv...)
	if p.explicitLen() > 0 {
		return append(nonce, fragment[:explicitLen]...)
	}
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(p.seq >> (8 * i))
	}
	return nonce
}

// additional returns the additional data of the next record, with n bytes of
// content (RFC 9846, section 5.2; RFC 5246, section 6.2.3.3).
func (p *protection) additional(rec []byte, n int) []byte {
	if p.tls13() {
		return []byte{typeData, 3, 3, rec[3], rec[4]}
	}
	b := binary.BigEndian.AppendUint64(nil, p.seq)
	return binary.BigEndian.AppendUint16(append(b, rec[0], 3, 3), uint16(n))
}
