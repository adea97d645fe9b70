package handshake

import (
	"bytes"
	"compress/zlib"
	"errors"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

func zlibbed(t *testing.T, body []byte) *compressedCertificate {
	t.Helper()
	m, err := zlibCompressor.compress(body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCertificateCompression(t *testing.T) {
	body := traced(t, "3", "server", "Certificate", 0)[4:]
	for _, b := range [][]byte{body, bytes.Repeat(body, 100), make([]byte, maxCertificate)} {
		m, err := parseCompressedCertificate(zlibbed(t, b).append(nil)[4:])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := zlibCompressor.decompress(m); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes became %d, %v", len(b), len(got), err)
		}
	}
}

func TestBadCompression(t *testing.T) {
	body := bytes.Repeat([]byte("certificate"), 100)
	for _, tt := range []struct {
		name   string
		change func(m *compressedCertificate)
		want   alert.Description
	}{
		{"announced too short", func(m *compressedCertificate) { m.uncompressedLength-- }, alert.BadCertificate},
		{"announced too long", func(m *compressedCertificate) { m.uncompressedLength++ }, alert.BadCertificate},
		{"announced above the cap", func(m *compressedCertificate) { m.uncompressedLength = maxCertificate + 1 }, alert.BadCertificate},
		{"announced as nothing", func(m *compressedCertificate) { m.uncompressedLength = 0 }, alert.BadCertificate},
		{"truncated", func(m *compressedCertificate) { m.data = m.data[:len(m.data)-1] }, alert.BadCertificate},
		{"empty", func(m *compressedCertificate) { m.data = nil }, alert.BadCertificate},
		{"no zlib", func(m *compressedCertificate) { m.data = []byte("garbage") }, alert.BadCertificate},
		{"bad checksum", func(m *compressedCertificate) { m.data[len(m.data)-1] ^= 1 }, alert.BadCertificate},
		{"trailing byte", func(m *compressedCertificate) { m.data = append(m.data, 0) }, alert.BadCertificate},
		{"preset dictionary", func(m *compressedCertificate) {
			var b bytes.Buffer
			w, err := zlib.NewWriterLevelDict(&b, zlib.BestCompression, []byte("certificate"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(body)
			_ = w.Close()
			m.data = b.Bytes()
		}, alert.BadCertificate},
		{"bomb", func(m *compressedCertificate) {
			m.data = zlibbed(t, make([]byte, 64<<20)).data
			m.uncompressedLength = maxCertificate
		}, alert.BadCertificate},
	} {
		m := zlibbed(t, body)
		tt.change(m)
		_, err := zlibCompressor.decompress(m)
		wantAlert(t, tt.name, err, tt.want)
	}
}

// TestDecompressUnknown: what was offered and has no compressor any more is
// refused, not looked for.
func TestDecompressUnknown(t *testing.T) {
	e := &Engine{cfg: testConfig()}
	_, err := e.decompress(zlibbed(t, []byte("certificate")), []certCompressionAlg{certCompressionZlib})
	wantAlert(t, "no compressor", err, alert.IllegalParameter)
}

// TestCompressorsOneWay: a compressor without one of its functions does the other
// only, and an algorithm that is there twice is offered once.
func TestCompressorsOneWay(t *testing.T) {
	fails := func([]byte) ([]byte, error) { return nil, errors.New("used") }
	for name, tt := range map[string]struct {
		client, server []CertificateCompressor
		offered        int
		compressed     bool
	}{
		"client compresses only":   {[]CertificateCompressor{{ID: 7, Compress: compressZlib}}, []CertificateCompressor{{7, compressZlib, decompressZlib}}, 0, false},
		"server decompresses only": {[]CertificateCompressor{{7, compressZlib, decompressZlib}}, []CertificateCompressor{{ID: 7, Decompress: decompressZlib}}, 1, false},
		"one way each":             {[]CertificateCompressor{{ID: 7, Decompress: decompressZlib}}, []CertificateCompressor{{ID: 7, Compress: compressZlib}}, 1, true},
		"in two parts": {
			[]CertificateCompressor{{ID: 7, Compress: fails}, {ID: 7, Decompress: decompressZlib}},
			[]CertificateCompressor{{ID: 7, Decompress: decompressZlib}, {ID: 7, Compress: compressZlib}}, 1, true,
		},
		"twice":   {[]CertificateCompressor{{7, fails, decompressZlib}, {7, fails, nil}}, []CertificateCompressor{{7, compressZlib, nil}, {7, fails, nil}}, 1, true},
		"nothing": {[]CertificateCompressor{{}}, []CertificateCompressor{{}}, 0, false},
	} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.CertificateCompressors, server.CertificateCompressors = tt.client, tt.server
		p := newPair(client, server)
		if err := p.client.Start(); err != nil {
			t.Fatal(err)
		}
		if got := p.client.client.hello.compressCertificate; len(got) != tt.offered {
			t.Errorf("%s: client offers %v", name, got)
		}
		if err := p.pump(false); err != nil || p.client.State().CertificateCompression != tt.compressed {
			t.Errorf("%s: compressed %v, %v", name, p.client.State().CertificateCompression, err)
		}
	}
}

// TestCompressedToNothing: RFC 8879 has no room for a certificate of no bytes.
func TestCompressedToNothing(t *testing.T) {
	for name, out := range map[string][]byte{"nothing": {}, "nil": nil, "too much": make([]byte, 1<<24)} {
		client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
		client.CertificateCompressors = []CertificateCompressor{{7, compressZlib, decompressZlib}}
		server.CertificateCompressors = []CertificateCompressor{{ID: 7, Compress: func([]byte) ([]byte, error) { return out, nil }}}
		t.Run(name, func(t *testing.T) { wantFatal(t, newPair(client, server).run(false), alert.InternalError) })
	}
}
