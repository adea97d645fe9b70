package handshake

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/wire"
)

// compressedCertificate is CompressedCertificate (RFC 8879, section 4).
type compressedCertificate struct {
	alg                certCompressionAlg
	uncompressedLength uint32
	data               []byte
}

func (m *compressedCertificate) append(b []byte) []byte {
	b, body := newMessage(b, typeCompressedCertificate)
	b = binary.BigEndian.AppendUint16(b, uint16(m.alg))
	b = wire.AppendU24(b, m.uncompressedLength)
	b = wire.AppendVec24(b, m.data)
	wire.Close(b, body)
	return b
}

func parseCompressedCertificate(body []byte) (*compressedCertificate, error) {
	r := wire.NewReader(body)
	m := &compressedCertificate{
		alg:                certCompressionAlg(r.U16()),
		uncompressedLength: r.U24(),
		data:               r.Vec24(1, maxVec24),
	}
	if err := r.Done("CompressedCertificate"); err != nil {
		return nil, err
	}
	return m, nil
}
