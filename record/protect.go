package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"io"
	"unsafe"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// newSealing returns the construction of k's suite.
func newSealing(k *keyschedule.TrafficKeys, r io.Reader) (sealing, error) {
	if k.Suite.Cipher.IsCBC() {
		if r == nil {
			r = rand.Reader
		}
		return newCBCSealing(k, r)
	}
	a, err := newAEAD(k)
	if err != nil {
		return nil, err
	}
	if k.Suite.Version == keyschedule.VersionTLS13 {
		return &aead13{aead: a, iv: k.IV()}, nil
	}
	return &aead12{aead: a, iv: k.IV()}, nil
}

// newOpening returns the construction of k's suite.
func newOpening(k *keyschedule.TrafficKeys) (opening, error) {
	if k.Suite.Cipher.IsCBC() {
		return newCBCOpening(k)
	}
	a, err := newAEAD(k)
	if err != nil {
		return nil, err
	}
	if k.Suite.Version == keyschedule.VersionTLS13 {
		return &aead13{aead: a, iv: k.IV()}, nil
	}
	return &aead12{aead: a, iv: k.IV()}, nil
}

func newAEAD(k *keyschedule.TrafficKeys) (a cipher.AEAD, err error) {
	switch k.Suite.Cipher {
	case keyschedule.AES128GCM, keyschedule.AES256GCM:
		var block cipher.Block
		if block, err = aes.NewCipher(k.Key()); err == nil {
			a, err = cipher.NewGCM(block)
		}
	case keyschedule.ChaCha20Poly1305:
		a, err = chacha20poly1305.New(k.Key())
	default:
		err = alert.Errorf(alert.InternalError, "suite %#04x has no cipher", k.Suite.ID)
	}
	return a, alert.Wrap(alert.InternalError, err)
}

// plaintext is the construction before the first keys.
type plaintext struct{ version uint16 }

func (*plaintext) prefixLen() int      { return HeaderLen }
func (*plaintext) recordLen(n int) int { return HeaderLen + n }
func (*plaintext) forget()             {}

func (p *plaintext) seal(rec []byte, _ uint64, typ ContentType, content []byte) error {
	version := p.version
	if version == 0 {
		version = wireVersion
	}
	copy(rec[HeaderLen:], content)
	putHeader(rec, typ, version)
	return nil
}

// overlap reports whether a and b share memory. Ciphers panic or, where we
// copy ourselves, garble records if they are given what overlaps inexactly.
func overlap(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 &&
		uintptr(unsafe.Pointer(&a[0])) <= uintptr(unsafe.Pointer(&b[len(b)-1])) &&
		uintptr(unsafe.Pointer(&b[0])) <= uintptr(unsafe.Pointer(&a[len(a)-1]))
}
