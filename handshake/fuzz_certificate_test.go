package handshake

import (
	"bytes"
	"compress/zlib"
	"io"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// FuzzCompressedCertificate opens what a peer may send as a compressed
// certificate. What opens is what zlib makes of it, whole and of the announced
// length; nothing makes more memory than the largest certificate; and what is in
// it is refused as a certificate in the clear would be.
func FuzzCompressedCertificate(f *testing.F) {
	for _, cert := range testCerts() {
		m := &certificate13{entries: []certificateEntry{{data: cert.Chain[0]}}}
		f.Add(compressedBody(f, m.append(nil)[messageHeaderLen:]))
	}
	f.Add(compressedBody(f, make([]byte, maxCertificate)))
	f.Add(compressedBody(f, make([]byte, maxCertificate+1)))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseCompressedCertificate(body)
		if err != nil {
			return
		}
		got, err := zlibCompressor.decompress(m)
		want, zlibErr := inflate(m.data)
		exact := zlibErr == nil && len(want) == int(m.uncompressedLength) && len(want) <= maxCertificate
		switch {
		case err == nil && (!exact || !bytes.Equal(got, want)):
			t.Fatalf("%d bytes open to %d, zlib makes %d, %v", len(m.data), len(got), len(want), zlibErr)
		case err != nil && got != nil, cap(got) > 4*maxCertificate:
			t.Fatalf("%d bytes of memory, %v", cap(got), err)
		case err != nil:
			if a := alert.Of(err); a != alert.BadCertificate {
				t.Fatalf("refused by %v: %v", a, err)
			}
			return
		}
		m.alg = certCompressionZlib
		config := clientTestConfig()
		config.CompressCertificates = true
		e := NewClient(t.Context(), config)
		_, clear := parseCertificate13(got)
		if _, err := e.decompress(m, []certCompressionAlg{certCompressionZlib}); (err == nil) != (clear == nil) {
			t.Fatalf("in the clear: %v, compressed: %v", clear, err)
		}
	})
}

func compressedBody(t testing.TB, body []byte) []byte {
	t.Helper()
	m, err := zlibCompressor.compress(body)
	if err != nil {
		t.Fatal(err)
	}
	return m.append(nil)[messageHeaderLen:]
}

// inflate opens as much as a certificate may be, and a byte.
func inflate(b []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxCertificate+1))
}

// FuzzChain gives a client what a server may send as its chain, or as its raw
// public key. What is taken
// has a leaf whose key can verify a signature, and what is not has an alert about
// certificates.
func FuzzChain(f *testing.F) {
	for _, cert := range testCerts() {
		f.Add(false, cert.Chain[0], []byte{})
		f.Add(true, cert.Leaf.RawSubjectPublicKeyInfo, []byte{})
		f.Add(false, cert.Chain[0], cert.Chain[0][:len(cert.Chain[0])-1])
	}
	f.Fuzz(func(t *testing.T, raw bool, leaf, other []byte) {
		e := NewClient(t.Context(), clientTestConfig())
		if raw {
			e.peerType = RawPublicKey
		}
		m := &certificate13{entries: []certificateEntry{{data: leaf}}}
		if len(other) > 0 {
			m.entries = append(m.entries, certificateEntry{data: other})
		}
		err := e.takeCertificate13(m, func(uint16) bool { return true })
		if err != nil {
			if a := alert.Of(err); a != alert.DecodeError && a != alert.UnsupportedCertificate {
				t.Fatalf("refused by %v: %v", a, err)
			}
			return
		}
		if chain := e.neg.PeerCertificates; !raw && (len(chain) != len(m.entries) || !bytes.Equal(chain[0].Raw, leaf)) {
			t.Fatalf("%d certificates of %d", len(chain), len(m.entries))
		}
		key := e.neg.PeerKey
		if key == nil {
			key = e.neg.PeerCertificates[0].PublicKey
		}
		for _, s := range DefaultSignatureSchemes() {
			if !schemeFits(versionTLS13, key, s) {
				continue
			}
			if err := verify(key, s, []byte("message"), make([]byte, 64)); err == nil {
				t.Fatalf("zeros are a signature by %v", s)
			}
		}
	})
}
