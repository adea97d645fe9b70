package handshake

import "github.com/go-handoff/tls/internal/wire"

// clientKeyExchange is the ClientKeyExchange of the ECDHE suites of TLS 1.2
// (RFC 8422, section 5.7).
type clientKeyExchange struct{ public []byte }

func (m *clientKeyExchange) append(b []byte) []byte {
	b, body := newMessage(b, typeClientKeyExchange)
	b = wire.AppendVec8(b, m.public)
	wire.Close(b, body)
	return b
}

func parseClientKeyExchange(body []byte) (*clientKeyExchange, error) {
	r := wire.NewReader(body)
	m := &clientKeyExchange{public: r.Vec8(1, maxVec8)}
	if err := r.Done("ClientKeyExchange"); err != nil {
		return nil, err
	}
	return m, nil
}
