package keyschedule

import (
	"hash"
	"slices"
)

// typeMessageHash is the synthetic handshake type that stands for the first
// ClientHello after a HelloRetryRequest (RFC 9846, section 4.1).
const typeMessageHash = 254

// Transcript hashes handshake messages as they stand on the wire. Until the
// suite, and so the hash, is known it keeps the messages; a TLS 1.2 handshake
// keeps them until [Transcript.Forget], because CertificateVerify may use
// another hash than the PRF. The zero value is ready for use; once it is used it
// must not be copied.
type Transcript struct {
	digest hash.Hash
	alg    Hash
	forget bool
	kept   [][]byte // aliases the messages
	first  [1][]byte
	sum    [MaxSecretLen]byte // scratch, here because it would escape from a stack
}

// maxUsual is how many messages a TLS 1.2 handshake keeps at most, usually.
const maxUsual = 8

// Add appends one whole handshake message, header included. What is kept is raw
// itself: it must not change any more.
func (t *Transcript) Add(raw []byte) {
	if t.digest != nil {
		t.digest.Write(raw)
	}
	switch n := len(t.kept); {
	case t.forget:
		return
	case n == 0:
		t.kept = t.first[:0]
	case n == len(t.first):
		t.kept = append(make([][]byte, 0, maxUsual), t.kept...)
	}
	t.kept = append(t.kept, raw)
}

// Start chooses the hash. Further calls are ignored.
func (t *Transcript) Start(h Hash) {
	if t.digest != nil {
		return
	}
	t.alg, t.digest = h, h.New()
	t.writeKept(t.digest)
}

func (t *Transcript) writeKept(d hash.Hash) {
	for _, raw := range t.kept {
		d.Write(raw)
	}
}

// Hash returns the hash that was chosen, 0 before Start.
func (t *Transcript) Hash() Hash { return t.alg }

// Forget drops the kept messages: from now on only the hash goes on.
func (t *Transcript) Forget() {
	t.kept, t.first, t.forget = nil, [1][]byte{}, true
}

// Messages returns the messages added so far, one after the other, if they were
// not forgotten.
func (t *Transcript) Messages() []byte { return slices.Concat(t.kept...) }

// Sum returns the hash of all messages so far. It is valid only after Start.
func (t *Transcript) Sum() []byte {
	// What allocates is here for the compiler to put it on the caller's stack.
	return t.appendSum(make([]byte, 0, MaxSecretLen))
}

func (t *Transcript) appendSum(dst []byte) []byte {
	return append(dst, t.digest.Sum(t.sum[:0])...)
}

// SumWith returns the hash of all messages so far and of partial, without
// adding partial; PSK binders cover a truncated ClientHello this way. Before
// Start it uses h, afterwards the chosen hash.
func (t *Transcript) SumWith(h Hash, partial []byte) []byte {
	return t.appendSumWith(make([]byte, 0, MaxSecretLen), h, partial) // as in Sum
}

func (t *Transcript) appendSumWith(dst []byte, h Hash, partial []byte) []byte {
	var d hash.Hash
	switch {
	case t.digest != nil:
		d = t.clone()
	case len(t.kept) == 0:
		return h.appendSum(dst, partial)
	default:
		d = h.New()
		t.writeKept(d)
	}
	d.Write(partial)
	return append(dst, d.Sum(t.sum[:0])...)
}

func (t *Transcript) clone() hash.Hash {
	c, err := t.digest.(hash.Cloner).Clone()
	if err != nil {
		panic("keyschedule: digest cannot be cloned: " + err.Error())
	}
	return c
}

// Retry replaces the ClientHello, the only message so far, by its hash, as a
// HelloRetryRequest demands. It is valid only after Start.
func (t *Transcript) Retry() {
	head := []byte{typeMessageHash, 0, 0, byte(t.alg.Size())}
	synthetic := t.appendSum(head)
	t.digest.Reset()
	t.kept = nil
	t.Add(synthetic)
}
