package handshake

import (
	"io"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/dh/x448"
	circlkem "github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"

	"github.com/go-handoff/tls/internal/redact"
)

// DefaultProvider returns the provider that takes each primitive from where it
// is fastest: X25519, X448 and ML-KEM from circl, the NIST curves from the
// standard library.
func DefaultProvider() Provider { return defaultProvider }

var defaultProvider = groups{
	X25519:    diffieHellman{generateX25519},
	X448:      diffieHellman{generateX448},
	Secp256r1: stdP256,
	Secp384r1: stdP384,
	Secp521r1: stdP521,
}.addHybrids(circlKEM(X25519MLKEM768, mlkem768.Scheme()), circlKEM(SecP384r1MLKEM1024, mlkem1024.Scheme()))

type x25519Key struct {
	redact.Value
	public, secret x25519.Key
}

func generateX25519(rand io.Reader) (PrivateKey, error) {
	k := new(x25519Key)
	if err := fillRandom(rand, k.secret[:]); err != nil {
		return nil, err
	}
	x25519.KeyGen(&k.public, &k.secret)
	return k, nil
}

func (k *x25519Key) Share() []byte { return k.public[:] }

func (k *x25519Key) Decapsulate(peerShare []byte) ([]byte, error) {
	if len(peerShare) != x25519.Size {
		return nil, errBadShare(X25519)
	}
	var secret x25519.Key
	peer := x25519.Key(peerShare)
	if !x25519.Shared(&secret, &k.secret, &peer) {
		return nil, errBadShare(X25519)
	}
	return secret[:], nil
}

type x448Key struct {
	redact.Value
	public, secret x448.Key
}

func generateX448(rand io.Reader) (PrivateKey, error) {
	k := new(x448Key)
	if err := fillRandom(rand, k.secret[:]); err != nil {
		return nil, err
	}
	x448.KeyGen(&k.public, &k.secret)
	return k, nil
}

func (k *x448Key) Share() []byte { return k.public[:] }

func (k *x448Key) Decapsulate(peerShare []byte) ([]byte, error) {
	if len(peerShare) != x448.Size {
		return nil, errBadShare(X448)
	}
	var secret x448.Key
	peer := x448.Key(peerShare)
	if !x448.Shared(&secret, &k.secret, &peer) {
		return nil, errBadShare(X448)
	}
	return secret[:], nil
}

// circlKEM adapts one of circl's ML-KEM schemes; errors name the group g.
func circlKEM(g NamedGroup, s circlkem.Scheme) *kem {
	return &kem{
		publicLen:     s.PublicKeySize(),
		ciphertextLen: s.CiphertextSize(),
		generate: func(seed []byte) ([]byte, func([]byte) ([]byte, error), error) {
			public, private := s.DeriveKeyPair(seed)
			b, err := public.MarshalBinary()
			return b, func(ct []byte) ([]byte, error) { return s.Decapsulate(private, ct) }, err
		},
		encapsulate: func(rand io.Reader, public []byte) (ciphertext, secret []byte, err error) {
			key, err := s.UnmarshalBinaryPublicKey(public)
			if err != nil {
				return nil, nil, errBadShare(g)
			}
			m, err := readRandom(rand, s.EncapsulationSeedSize())
			if err != nil {
				return nil, nil, err
			}
			defer clear(m)
			return s.EncapsulateDeterministically(key, m)
		},
	}
}
