package handshake

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/wire"
)

// certificateVerify is CertificateVerify, which has one format in both
// versions (RFC 9846, section 4.5.2; RFC 5246, section 7.4.8).
type certificateVerify struct {
	scheme    SignatureScheme
	signature []byte
}

func (m *certificateVerify) append(b []byte) []byte {
	b, body := newMessage(b, typeCertificateVerify)
	b = binary.BigEndian.AppendUint16(b, uint16(m.scheme))
	b = wire.AppendVec16(b, m.signature)
	wire.Close(b, body)
	return b
}

func parseCertificateVerify(body []byte) (*certificateVerify, error) {
	r := wire.NewReader(body)
	m := &certificateVerify{scheme: SignatureScheme(r.U16()), signature: r.Vec16(0, maxVec16)}
	if err := r.Done("CertificateVerify"); err != nil {
		return nil, err
	}
	return m, nil
}
