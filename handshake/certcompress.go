package handshake

import (
	"bytes"
	"compress/zlib"
	"io"

	"github.com/go-handoff/tls/internal/alert"
)

// compressCertificate compresses the body of a Certificate message with zlib
// (RFC 8879, section 4).
func compressCertificate(body []byte) *compressedCertificate {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	// A bytes.Buffer does not fail.
	_, _ = w.Write(body)
	_ = w.Close()
	return &compressedCertificate{alg: certCompressionZlib, uncompressedLength: uint32(len(body)), data: out.Bytes()}
}

// decompress returns the body of the Certificate message. The length announced
// bounds what is read, so that little data cannot become much memory.
func (m *compressedCertificate) decompress() ([]byte, error) {
	if m.alg != certCompressionZlib {
		return nil, alert.Errorf(alert.IllegalParameter, "certificate compressed with %v, which was not offered", m.alg)
	}
	if m.uncompressedLength > maxCertificate {
		return nil, alert.Errorf(alert.BadCertificate, "compressed certificate of %d bytes", m.uncompressedLength)
	}
	compressed := bytes.NewReader(m.data)
	z, err := zlib.NewReader(compressed)
	if err != nil {
		return nil, alert.Errorf(alert.BadCertificate, "decompressing certificate: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(z, int64(m.uncompressedLength)+1))
	switch {
	case err != nil:
		return nil, alert.Errorf(alert.BadCertificate, "decompressing certificate: %w", err)
	case len(body) != int(m.uncompressedLength):
		return nil, alert.Errorf(alert.BadCertificate, "certificate is not of the announced %d bytes", m.uncompressedLength)
	case compressed.Len() > 0:
		return nil, alert.Errorf(alert.BadCertificate, "%d bytes after the compressed certificate", compressed.Len())
	}
	return body, nil
}
