package handshake

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/go-handoff/tls/internal/alert"
)

// CertificateCompressor is an algorithm that makes certificates smaller (RFC 8879).
// Its functions may be called by any number of connections at once. Without one of
// them it is not used for that.
type CertificateCompressor struct {
	// ID is the algorithm's number: 2 for Brotli, 3 for Zstandard.
	ID uint16
	// Compress returns data in compressed form, which is never nothing.
	Compress func(data []byte) ([]byte, error)
	// Decompress is its reverse for data that a stranger has sent. The result
	// must have just size bytes; for what would become longer it must return an
	// error, and not make it first.
	Decompress func(compressed []byte, size int) ([]byte, error)
}

// zlibCompressor is the one that the standard library has.
var zlibCompressor = CertificateCompressor{uint16(certCompressionZlib), compressZlib, decompressZlib}

func (z *CertificateCompressor) compress(body []byte) (*compressedCertificate, error) {
	data, err := z.Compress(body)
	if err == nil && len(data) == 0 {
		err = errors.New("nothing is left of it")
	}
	if err != nil {
		return nil, alert.Errorf(alert.InternalError, "compressing our certificate: %w", err)
	}
	return &compressedCertificate{alg: certCompressionAlg(z.ID), uncompressedLength: uint32(len(body)), data: data}, nil
}

// decompress returns the body of the Certificate message. The length announced
// bounds what is made, so that little data cannot become much memory.
func (z *CertificateCompressor) decompress(m *compressedCertificate) ([]byte, error) {
	if m.uncompressedLength > maxCertificate {
		return nil, alert.Errorf(alert.BadCertificate, "compressed certificate of %d bytes", m.uncompressedLength)
	}
	body, err := z.Decompress(m.data, int(m.uncompressedLength))
	if err == nil && len(body) != int(m.uncompressedLength) {
		err = fmt.Errorf("not of the announced %d bytes", m.uncompressedLength)
	}
	if err != nil {
		return nil, alert.Errorf(alert.BadCertificate, "decompressing certificate: %w", err)
	}
	return body, nil
}

func compressZlib(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

func decompressZlib(data []byte, size int) ([]byte, error) {
	compressed := bytes.NewReader(data)
	z, err := zlib.NewReader(compressed)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(z, int64(size)+1))
	if err == nil && compressed.Len() > 0 {
		err = fmt.Errorf("%d bytes follow", compressed.Len())
	}
	return body, err
}
