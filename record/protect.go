package record

import (
	"crypto/aes"
	"crypto/cipher"
	"unsafe"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// aeadProtection is the construction of an AEAD suite, for both directions.
type aeadProtection interface {
	sealing
	opening
}

// init makes a the state of the construction of k's suite, and returns that.
func (a *aeadState) init(k *keyschedule.TrafficKeys) (aeadProtection, error) {
	var err error
	if a.aead, err = newAEAD(k); err != nil {
		return nil, err
	}
	a.short = copy(a.iv[:], k.IV()) == saltLen
	if k.Suite.Version == keyschedule.VersionTLS13 {
		return (*aead13)(a), nil
	}
	return (*aead12)(a), nil
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
