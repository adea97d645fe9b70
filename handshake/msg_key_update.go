package handshake

import (
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
)

// keyUpdate is KeyUpdate (RFC 9846, section 4.7.3).
type keyUpdate struct{ request keyUpdateRequest }

func (m *keyUpdate) append(b []byte) []byte {
	return append(b, byte(typeKeyUpdate), 0, 0, 1, byte(m.request))
}

func parseKeyUpdate(body []byte) (*keyUpdate, error) {
	r := wire.NewReader(body)
	m := &keyUpdate{request: keyUpdateRequest(r.U8())}
	if err := r.Done("KeyUpdate"); err != nil {
		return nil, err
	}
	if m.request > updateRequested {
		return nil, alert.Errorf(alert.IllegalParameter, "KeyUpdate with request_update %d", m.request)
	}
	return m, nil
}
