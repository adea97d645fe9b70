package handshake

import (
	"encoding/binary"

	"github.com/go-handoff/tls/internal/wire"
)

// newSessionTicket13 is the NewSessionTicket of TLS 1.3 (RFC 9846, section
// 4.7.1).
type newSessionTicket13 struct {
	lifetime     uint32 // seconds
	ageAdd       uint32
	nonce        []byte
	ticket       []byte
	extensions   []uint16
	maxEarlyData uint32
}

func (m *newSessionTicket13) append(b []byte) []byte {
	b, body := newMessage(b, typeNewSessionTicket)
	b = binary.BigEndian.AppendUint32(b, m.lifetime)
	b = binary.BigEndian.AppendUint32(b, m.ageAdd)
	b = wire.AppendVec8(b, m.nonce)
	b = wire.AppendVec16(b, m.ticket)
	b, m.extensions = appendExtensions(b, m, newSessionTicketExtensions)
	wire.Close(b, body)
	return b
}

func parseNewSessionTicket13(body []byte) (*newSessionTicket13, error) {
	r := wire.NewReader(body)
	in := &received[newSessionTicket13]{}
	m := &in.message
	m.lifetime, m.ageAdd = r.U32(), r.U32()
	m.nonce = r.Vec8(0, maxVec8)
	m.ticket = r.Vec16(1, maxVec16)
	block := r.Vec16(0, maxVec16)
	if err := r.Done("NewSessionTicket"); err != nil {
		return nil, err
	}
	var err error
	if m.extensions, err = parseExtensions(block, in, newSessionTicketExtensions); err != nil {
		return nil, err
	}
	if err = checkExtensions(inNewSessionTicket, m.extensions, nil); err != nil {
		return nil, err
	}
	return m, nil
}

var newSessionTicketExtensions = []extCodec[newSessionTicket13]{
	{
		ext:   extEarlyData,
		sends: func(m *newSessionTicket13) bool { return m.maxEarlyData > 0 },
		write: func(m *newSessionTicket13, b []byte) []byte { return binary.BigEndian.AppendUint32(b, m.maxEarlyData) },
		read:  func(m *newSessionTicket13, r *wire.Reader) { m.maxEarlyData = r.U32() },
	},
}

// newSessionTicket12 is the NewSessionTicket of TLS 1.2 (RFC 5077, section
// 3.3). An empty ticket takes back the server's promise to send one.
type newSessionTicket12 struct {
	lifetimeHint uint32 // seconds
	ticket       []byte
}

func (m *newSessionTicket12) append(b []byte) []byte {
	b, body := newMessage(b, typeNewSessionTicket)
	b = binary.BigEndian.AppendUint32(b, m.lifetimeHint)
	b = wire.AppendVec16(b, m.ticket)
	wire.Close(b, body)
	return b
}

func parseNewSessionTicket12(body []byte) (*newSessionTicket12, error) {
	r := wire.NewReader(body)
	m := &newSessionTicket12{lifetimeHint: r.U32(), ticket: r.Vec16(0, maxVec16)}
	if err := r.Done("NewSessionTicket"); err != nil {
		return nil, err
	}
	return m, nil
}
