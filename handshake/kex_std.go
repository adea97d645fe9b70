package handshake

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"io"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
)

// StdProvider returns the provider that uses the standard library only, as
// FIPS 140 asks for. It has no X448. It is slower than [DefaultProvider], and
// its ML-KEM encapsulation draws from crypto/rand whatever source is given.
func StdProvider() Provider { return stdProvider }

var stdProvider = groups{
	X25519:    stdCurve(X25519, ecdh.X25519(), 32, 0xff),
	Secp256r1: stdP256,
	Secp384r1: stdP384,
	Secp521r1: stdP521,
}.addHybrids(&stdMLKEM768, &stdMLKEM1024)

var (
	stdP256 = stdCurve(Secp256r1, ecdh.P256(), 32, 0xff)
	stdP384 = stdCurve(Secp384r1, ecdh.P384(), 48, 0xff)
	// The order of P-521 has 521 bits: but one of the first byte's bits are 0.
	stdP521 = stdCurve(Secp521r1, ecdh.P521(), 66, 0x01)
)

// maxScalarTries bounds how often a scalar is drawn again because it is out of
// range. With good randomness once in 2^32 is more than will ever be needed;
// the bound is for sources that are stuck.
const maxScalarTries = 64

// stdCurve makes keys from the scalarLen bytes that it reads, the first of them
// masked by topMask: crypto/ecdh's own GenerateKey does not promise to use the
// source it is given.
func stdCurve(g NamedGroup, curve ecdh.Curve, scalarLen int, topMask byte) diffieHellman {
	return diffieHellman{generate: func(rand io.Reader) (PrivateKey, error) {
		for range maxScalarTries {
			scalar, err := readRandom(rand, scalarLen)
			if err != nil {
				return nil, err
			}
			scalar[0] &= topMask
			key, err := curve.NewPrivateKey(scalar)
			clear(scalar)
			if err == nil {
				return &stdKey{group: g, key: key}, nil
			}
		}
		return nil, alert.Errorf(alert.InternalError, "randomness yields no %v key", g)
	}}
}

type stdKey struct {
	redact.Value
	group NamedGroup
	key   *ecdh.PrivateKey
}

func (k *stdKey) Share() []byte { return k.key.PublicKey().Bytes() }

func (k *stdKey) Decapsulate(peerShare []byte) ([]byte, error) {
	peer, err := k.key.Curve().NewPublicKey(peerShare)
	if err != nil {
		return nil, errBadShare(k.group)
	}
	secret, err := k.key.ECDH(peer)
	if err != nil {
		return nil, errBadShare(k.group)
	}
	return secret, nil
}

var stdMLKEM768 = kem{
	publicLen:     mlkem.EncapsulationKeySize768,
	ciphertextLen: mlkem.CiphertextSize768,
	generate: func(seed []byte) ([]byte, func([]byte) ([]byte, error), error) {
		key, err := mlkem.NewDecapsulationKey768(seed)
		if err != nil {
			return nil, nil, err
		}
		return key.EncapsulationKey().Bytes(), key.Decapsulate, nil
	},
	encapsulate: func(_ io.Reader, public []byte) (ciphertext, secret []byte, err error) {
		key, err := mlkem.NewEncapsulationKey768(public)
		if err != nil {
			return nil, nil, errBadShare(X25519MLKEM768)
		}
		secret, ciphertext = key.Encapsulate()
		return ciphertext, secret, nil
	},
}

var stdMLKEM1024 = kem{
	publicLen:     mlkem.EncapsulationKeySize1024,
	ciphertextLen: mlkem.CiphertextSize1024,
	generate: func(seed []byte) ([]byte, func([]byte) ([]byte, error), error) {
		key, err := mlkem.NewDecapsulationKey1024(seed)
		if err != nil {
			return nil, nil, err
		}
		return key.EncapsulationKey().Bytes(), key.Decapsulate, nil
	},
	encapsulate: func(_ io.Reader, public []byte) (ciphertext, secret []byte, err error) {
		key, err := mlkem.NewEncapsulationKey1024(public)
		if err != nil {
			return nil, nil, errBadShare(SecP384r1MLKEM1024)
		}
		secret, ciphertext = key.Encapsulate()
		return ciphertext, secret, nil
	},
}
