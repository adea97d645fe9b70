package handshake

import "github.com/go-handoff/tls/internal/wire"

// encryptedExtensions is EncryptedExtensions (RFC 9846, section 4.4.1).
type encryptedExtensions struct {
	extensions    []uint16
	alpn          string
	serverNameAck bool
	earlyData     bool
	certificateTypes
	supportedGroups []NamedGroup
}

func (m *encryptedExtensions) append(b []byte) []byte {
	b, body := newMessage(b, typeEncryptedExtensions)
	b, m.extensions = appendExtensions(b, m, encryptedExtensionsExtensions)
	wire.Close(b, body)
	return b
}

func parseEncryptedExtensions(body []byte) (*encryptedExtensions, error) {
	r := wire.NewReader(body)
	block := r.Vec16(0, maxVec16)
	if err := r.Done("EncryptedExtensions"); err != nil {
		return nil, err
	}
	in := &received[encryptedExtensions]{}
	m := &in.message
	var err error
	if m.extensions, err = parseExtensions(block, in, encryptedExtensionsExtensions); err != nil {
		return nil, err
	}
	return m, nil
}

var encryptedExtensionsExtensions = []extCodec[encryptedExtensions]{
	{
		ext:   extServerName,
		sends: func(m *encryptedExtensions) bool { return m.serverNameAck },
		read:  func(m *encryptedExtensions, _ *wire.Reader) { m.serverNameAck = true },
	},
	{
		ext:   extSupportedGroups,
		sends: func(m *encryptedExtensions) bool { return len(m.supportedGroups) > 0 },
		write: func(m *encryptedExtensions, b []byte) []byte { return wire.AppendU16s(b, m.supportedGroups) },
		read: func(m *encryptedExtensions, r *wire.Reader) {
			m.supportedGroups = readU16s[NamedGroup](r, 2, maxVec16)
		},
	},
	{
		ext:   extALPN,
		sends: func(m *encryptedExtensions) bool { return m.alpn != "" },
		write: func(m *encryptedExtensions, b []byte) []byte { return appendALPN(b, m.alpn) },
		read:  func(m *encryptedExtensions, r *wire.Reader) { m.alpn = readSelectedALPN(r) },
	},
	{
		ext:   extEarlyData,
		sends: func(m *encryptedExtensions) bool { return m.earlyData },
		read:  func(m *encryptedExtensions, _ *wire.Reader) { m.earlyData = true },
	},
	{
		ext:   extClientCertificateType,
		sends: func(m *encryptedExtensions) bool { return m.client != nil },
		write: func(m *encryptedExtensions, b []byte) []byte { return append(b, byte(*m.client)) },
		read:  func(m *encryptedExtensions, r *wire.Reader) { m.client = new(CertificateType(r.U8())) },
	},
	{
		ext:   extServerCertificateType,
		sends: func(m *encryptedExtensions) bool { return m.server != nil },
		write: func(m *encryptedExtensions, b []byte) []byte { return append(b, byte(*m.server)) },
		read:  func(m *encryptedExtensions, r *wire.Reader) { m.server = new(CertificateType(r.U8())) },
	},
}
