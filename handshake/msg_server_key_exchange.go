package handshake

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
)

// serverKeyExchange is the ServerKeyExchange of the ECDHE suites of TLS 1.2
// (RFC 8422, section 5.4).
type serverKeyExchange struct {
	group     NamedGroup
	public    []byte
	scheme    SignatureScheme
	signature []byte
}

// namedCurve is the only ECCurveType that is still allowed.
const namedCurve = 3

// appendParams appends ServerECDHParams, which is signed after the two randoms.
func (m *serverKeyExchange) appendParams(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, namedCurve), uint16(m.group))
	return wire.AppendVec8(b, m.public)
}

func (m *serverKeyExchange) append(b []byte) []byte {
	b, body := newMessage(b, typeServerKeyExchange)
	b = m.appendParams(b)
	b = binary.BigEndian.AppendUint16(b, uint16(m.scheme))
	b = wire.AppendVec16(b, m.signature)
	wire.Close(b, body)
	return b
}

func parseServerKeyExchange(body []byte) (*serverKeyExchange, error) {
	r := wire.NewReader(body)
	curveType := r.U8()
	if !r.Failed() && curveType != namedCurve {
		return nil, alert.Errorf(alert.IllegalParameter, "ServerKeyExchange with curve type %d", curveType)
	}
	m := &serverKeyExchange{
		group:     NamedGroup(r.U16()),
		public:    r.Vec8(1, maxVec8),
		scheme:    SignatureScheme(r.U16()),
		signature: r.Vec16(0, maxVec16),
	}
	if err := r.Done("ServerKeyExchange"); err != nil {
		return nil, err
	}
	return m, nil
}
