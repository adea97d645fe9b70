package kernel

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/redact"
	"github.com/go-handoff/tls/keyschedule"
)

// tlsEnable is FreeBSD's struct tls_enable, from sys/ktls.h. It points to the
// keys and has no copy of them. C and Go lay it out alike.
type tlsEnable struct {
	redact.Value

	cipherKey, iv, authKey *byte
	cipherAlgorithm        int32
	cipherKeyLen, ivLen    int32
	authAlgorithm          int32
	authKeyLen             int32
	flags                  int32
	versionMajor           uint8
	versionMinor           uint8
	recSeq                 [8]byte // number of the next record, big-endian
}

// Numbers of ciphers, from opencrypto/cryptodev.h.
const (
	cryptoAESGCM   = 25
	cryptoChaCha20 = 41
)

// newTLSEnable returns the struct for k, with pointers into k. It reports false
// if FreeBSD has no such cipher, or one that this package does not use. In
// TLS 1.2 AES-GCM the kernel chooses the explicit nonces.
func newTLSEnable(k *keyschedule.TrafficKeys) (e tlsEnable, ok bool) {
	switch k.Suite.Cipher {
	case keyschedule.AES128GCM, keyschedule.AES256GCM:
		e.cipherAlgorithm = cryptoAESGCM
	case keyschedule.ChaCha20Poly1305:
		e.cipherAlgorithm = cryptoChaCha20
	default:
		return e, false
	}
	key, iv := k.Key(), k.IV()
	e.cipherKey, e.cipherKeyLen = &key[0], int32(len(key))
	e.iv, e.ivLen = &iv[0], int32(len(iv))
	e.versionMajor, e.versionMinor = byte(k.Suite.Version>>8), byte(k.Suite.Version)
	binary.BigEndian.PutUint64(e.recSeq[:], k.Seq)
	return e, true
}
