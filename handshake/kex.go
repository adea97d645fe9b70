package handshake

import (
	"io"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/redact"
)

// Provider makes the ephemeral keys of key exchange groups. It must be safe
// for concurrent use.
type Provider interface {
	// KeyExchange returns the implementation of g, or nil if there is none.
	KeyExchange(g NamedGroup) KeyExchange
}

// KeyExchange is one group (RFC 9846, section 4.3.8). What it draws from rand
// determines its keys, so that a fixed source gives a fixed handshake; the one
// exception is [StdProvider]'s ML-KEM encapsulation. Its errors carry
// illegal_parameter if the peer's share is to blame.
type KeyExchange interface {
	// Generate makes a key, whose share goes to the peer: a TLS 1.3 client or a
	// TLS 1.2 server.
	Generate(rand io.Reader) (PrivateKey, error)
	// Encapsulate answers a peer's share: a TLS 1.3 server or a TLS 1.2 client.
	Encapsulate(rand io.Reader, peerShare []byte) (share, secret []byte, err error)
}

// PrivateKey is an ephemeral private key.
type PrivateKey interface {
	// Share returns the public part in the format of RFC 9846, section 4.3.8.
	Share() []byte
	// Decapsulate returns the secret that the peer's answer leads to.
	Decapsulate(peerShare []byte) (secret []byte, err error)
}

type groups map[NamedGroup]KeyExchange

// KeyExchange implements [Provider].
func (p groups) KeyExchange(g NamedGroup) KeyExchange { return p[g] }

// diffieHellman turns a curve's private key into both directions of
// [KeyExchange]: answering a share means making a key of one's own.
type diffieHellman struct {
	generate func(rand io.Reader) (PrivateKey, error)
}

func (d diffieHellman) Generate(rand io.Reader) (PrivateKey, error) { return d.generate(rand) }

func (d diffieHellman) Encapsulate(rand io.Reader, peerShare []byte) (share, secret []byte, err error) {
	key, err := d.generate(rand)
	if err != nil {
		return nil, nil, err
	}
	if secret, err = key.Decapsulate(peerShare); err != nil {
		return nil, nil, err
	}
	return key.Share(), secret, nil
}

// kem is ML-KEM with one set of parameters.
type kem struct {
	publicLen, ciphertextLen int
	// generate expands the seed d || z of FIPS 203, section 7.1.
	generate func(seed []byte) (public []byte, decapsulate func(ciphertext []byte) ([]byte, error), err error)
	// encapsulate fails if public does not pass the check of FIPS 203, section
	// 7.2, or if rand does.
	encapsulate func(rand io.Reader, public []byte) (ciphertext, secret []byte, err error)
}

const (
	kemSeedLen   = 64
	kemSecretLen = 32
)

// hybrid joins a curve and ML-KEM as draft-ietf-tls-ecdhe-mlkem defines.
type hybrid struct {
	curve    KeyExchange
	curveLen int // of its share
	kem      *kem
	// kemFirst puts the parts of ML-KEM before those of the curve, in shares
	// and secret alike.
	kemFirst bool
}

func (h *hybrid) Generate(rand io.Reader) (PrivateKey, error) {
	curve, err := h.curve.Generate(rand)
	if err != nil {
		return nil, err
	}
	seed, err := readRandom(rand, kemSeedLen)
	if err != nil {
		return nil, err
	}
	defer clear(seed)
	public, decapsulate, err := h.kem.generate(seed)
	if err != nil {
		return nil, alert.Wrap(alert.InternalError, err)
	}
	return &hybridKey{group: h, curve: curve, decapsulate: decapsulate, share: h.join(curve.Share(), public)}, nil
}

func (h *hybrid) Encapsulate(rand io.Reader, peerShare []byte) (share, secret []byte, err error) {
	peerCurve, peerPublic, err := h.split(peerShare, h.kem.publicLen)
	if err != nil {
		return nil, nil, err
	}
	curveShare, curveSecret, err := h.curve.Encapsulate(rand, peerCurve)
	if err != nil {
		return nil, nil, err
	}
	ciphertext, kemSecret, err := h.kem.encapsulate(rand, peerPublic)
	if err != nil {
		return nil, nil, err
	}
	return h.join(curveShare, ciphertext), h.joinSecrets(curveSecret, kemSecret), nil
}

// split takes a share apart whose ML-KEM part is kemLen bytes long.
func (h *hybrid) split(share []byte, kemLen int) (curve, kem []byte, err error) {
	if len(share) != h.curveLen+kemLen {
		return nil, nil, alert.Errorf(alert.IllegalParameter, "hybrid key share of %d bytes", len(share))
	}
	if h.kemFirst {
		return share[kemLen:], share[:kemLen], nil
	}
	return share[:h.curveLen], share[h.curveLen:], nil
}

func (h *hybrid) join(curve, kem []byte) []byte {
	first, second := curve, kem
	if h.kemFirst {
		first, second = kem, curve
	}
	return append(append(make([]byte, 0, len(curve)+len(kem)), first...), second...)
}

func (h *hybrid) joinSecrets(curve, kem []byte) []byte {
	defer clear(curve)
	defer clear(kem)
	return h.join(curve, kem)
}

type hybridKey struct {
	redact.Value
	group       *hybrid
	curve       PrivateKey
	decapsulate func(ciphertext []byte) ([]byte, error)
	share       []byte
}

func (k *hybridKey) Share() []byte { return k.share }

func (k *hybridKey) Decapsulate(peerShare []byte) ([]byte, error) {
	peerCurve, ciphertext, err := k.group.split(peerShare, k.group.kem.ciphertextLen)
	if err != nil {
		return nil, err
	}
	curveSecret, err := k.curve.Decapsulate(peerCurve)
	if err != nil {
		return nil, err
	}
	kemSecret, err := k.decapsulate(ciphertext)
	if err != nil {
		return nil, alert.Wrap(alert.InternalError, err)
	}
	return k.group.joinSecrets(curveSecret, kemSecret), nil
}

// addHybrids completes a provider's curves by the three hybrid groups.
func (p groups) addHybrids(mlkem768, mlkem1024 *kem) groups {
	p[X25519MLKEM768] = &hybrid{curve: p[X25519], curveLen: 32, kem: mlkem768, kemFirst: true}
	p[SecP256r1MLKEM768] = &hybrid{curve: p[Secp256r1], curveLen: 65, kem: mlkem768}
	p[SecP384r1MLKEM1024] = &hybrid{curve: p[Secp384r1], curveLen: 97, kem: mlkem1024}
	return p
}

func readRandom(rand io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, fillRandom(rand, b)
}

func fillRandom(rand io.Reader, b []byte) error {
	if _, err := io.ReadFull(rand, b); err != nil {
		return alert.Errorf(alert.InternalError, "reading randomness: %w", err)
	}
	return nil
}

func errBadShare(g NamedGroup) error {
	return alert.Errorf(alert.IllegalParameter, "invalid %v key share", g)
}
