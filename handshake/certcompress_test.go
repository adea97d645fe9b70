package handshake

import (
	"bytes"
	"compress/zlib"
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
		m, err := parseCompressedCertificate(zlibbed(t, b).marshal()[4:])
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
