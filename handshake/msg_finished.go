package handshake

import "github.com/go-handoff/tls/internal/wire"

// finished is Finished (RFC 9846, section 4.5.3; RFC 5246, section 7.4.9). How
// long its only field must be depends on version and suite, so that the
// comparison with the expected value decides.
type finished struct{ verifyData []byte }

func (m *finished) append(b []byte) []byte {
	b, body := newMessage(b, typeFinished)
	b = append(b, m.verifyData...)
	wire.Close(b, body)
	return b
}

func parseFinished(body []byte) (*finished, error) {
	r := wire.NewReader(body)
	m := &finished{verifyData: r.Rest()}
	if err := r.Done("Finished"); err != nil {
		return nil, err
	}
	return m, nil
}
