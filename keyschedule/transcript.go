package keyschedule

import "hash"

// typeMessageHash is the synthetic handshake type that stands for the first
// ClientHello after a HelloRetryRequest (RFC 9846, section 4.1).
const typeMessageHash = 254

// Transcript hashes handshake messages as they stand on the wire. Until the
// suite, and so the hash, is known it keeps the messages; a TLS 1.2 handshake
// keeps them until [Transcript.Forget], because CertificateVerify may use
// another hash than the PRF. The zero value is ready for use.
type Transcript struct {
	digest hash.Hash
	alg    Hash
	buf    []byte
	forget bool
}

// Add appends one whole handshake message, header included.
func (t *Transcript) Add(raw []byte) {
	if t.digest != nil {
		t.digest.Write(raw)
	}
	if !t.forget {
		t.buf = append(t.buf, raw...)
	}
}

// Start chooses the hash. Further calls are ignored.
func (t *Transcript) Start(h Hash) {
	if t.digest != nil {
		return
	}
	t.alg, t.digest = h, h.New()
	t.digest.Write(t.buf)
}

// Hash returns the hash that was chosen, 0 before Start.
func (t *Transcript) Hash() Hash { return t.alg }

// Forget drops the kept messages: from now on only the hash goes on.
func (t *Transcript) Forget() {
	t.buf, t.forget = nil, true
}

// Messages returns the messages added so far, if they were not forgotten.
// It aliases t.
func (t *Transcript) Messages() []byte { return t.buf }

// Sum returns the hash of all messages so far. It is valid only after Start.
func (t *Transcript) Sum() []byte { return t.digest.Sum(nil) }

// SumWith returns the hash of all messages so far and of partial, without
// adding partial; PSK binders cover a truncated ClientHello this way. Before
// Start it uses h, afterwards the chosen hash.
func (t *Transcript) SumWith(h Hash, partial []byte) []byte {
	var d hash.Hash
	if t.digest == nil {
		d = h.New()
		d.Write(t.buf)
	} else {
		d = t.clone()
	}
	d.Write(partial)
	return d.Sum(nil)
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
	sum := t.Sum()
	t.digest.Reset()
	t.buf = nil
	t.Add(append([]byte{typeMessageHash, 0, 0, byte(len(sum))}, sum...))
}
