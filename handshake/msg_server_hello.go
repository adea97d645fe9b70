package handshake

import (
	"encoding/binary"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
)

// serverHello is the ServerHello of both versions and the HelloRetryRequest
// (RFC 9846, sections 4.2.3 and 4.2.4; RFC 5246, section 7.4.1.3).
type serverHello struct {
	legacyVersion     uint16
	random            [32]byte
	sessionID         []byte
	cipherSuite       uint16
	compressionMethod uint8
	extensions        []uint16

	// TLS 1.3.
	supportedVersion uint16
	keyShare         *keyShareEntry
	selectedGroup    NamedGroup // HelloRetryRequest only
	cookie           []byte
	selectedIdentity *uint16

	// TLS 1.2.
	extendedMasterSecret bool
	ticketSupported      bool
	secureRenegotiation  bool
	renegotiationInfo    []byte
	pointFormats         []uint8
	alpn                 string
	ocspStapling         bool
	serverNameAck        bool
	scts                 [][]byte
	certificateTypes
}

// helloRetryRandom is the random that makes a ServerHello a HelloRetryRequest
// (RFC 9846, section 4.2.3).
var helloRetryRandom = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// The last bytes of a server's random that tell a client of an attacker who
// removed the newer version from its offer (RFC 9846, section 4.2.3).
var (
	downgradeTLS12 = [8]byte{'D', 'O', 'W', 'N', 'G', 'R', 'D', 1}
	downgradeTLS11 = [8]byte{'D', 'O', 'W', 'N', 'G', 'R', 'D', 0}
)

func (m *serverHello) isRetry() bool { return m.random == helloRetryRandom }

// append leaves the extension block out if it would be empty, which only
// happens in TLS 1.2: clients of its time need not know extensions.
func (m *serverHello) append(b []byte) []byte {
	b, body := newMessage(b, typeServerHello)
	b = binary.BigEndian.AppendUint16(b, m.legacyVersion)
	b = append(b, m.random[:]...)
	b = wire.AppendVec8(b, m.sessionID)
	b = binary.BigEndian.AppendUint16(b, m.cipherSuite)
	b = append(b, m.compressionMethod)
	withBlock, present := appendExtensions(b, m, serverHelloExtensions)
	if m.extensions = present; len(present) > 0 {
		b = withBlock
	}
	wire.Close(b, body)
	return b
}

func parseServerHello(body []byte) (*serverHello, error) {
	r := wire.NewReader(body)
	in := &received[serverHello]{}
	m := &in.message
	m.legacyVersion = r.U16()
	copy(m.random[:], r.Bytes(32))
	m.sessionID = r.Vec8(0, 32)
	m.cipherSuite = r.U16()
	m.compressionMethod = r.U8()
	var block []byte
	if r.More() {
		block = r.Vec16(0, maxVec16)
	}
	if err := r.Done("ServerHello"); err != nil {
		return nil, err
	}
	var err error
	if m.extensions, err = parseExtensions(block, in, serverHelloExtensions); err != nil {
		return nil, err
	}
	// RFC 8422, section 5.2. TLS 1.3 has no such extension here.
	if m.pointFormats != nil && !slices.Contains(m.pointFormats, 0) {
		return nil, alert.Errorf(alert.IllegalParameter, "server does not know uncompressed points")
	}
	return m, nil
}

// serverHelloExtensions is in the order of sending.
var serverHelloExtensions = []extCodec[serverHello]{
	{
		ext:   extPreSharedKey,
		sends: func(m *serverHello) bool { return m.selectedIdentity != nil },
		write: func(m *serverHello, b []byte) []byte { return binary.BigEndian.AppendUint16(b, *m.selectedIdentity) },
		read:  func(m *serverHello, r *wire.Reader) { m.selectedIdentity = new(r.U16()) },
	},
	{
		ext:   extKeyShare,
		sends: func(m *serverHello) bool { return m.keyShare != nil || m.selectedGroup != 0 },
		write: appendServerKeyShare,
		read:  readServerKeyShare,
	},
	{
		ext:   extCookie,
		sends: func(m *serverHello) bool { return len(m.cookie) > 0 },
		write: func(m *serverHello, b []byte) []byte { return wire.AppendVec16(b, m.cookie) },
		read:  func(m *serverHello, r *wire.Reader) { m.cookie = r.Vec16(1, maxVec16) },
	},
	{
		ext:   extSupportedVersions,
		sends: func(m *serverHello) bool { return m.supportedVersion != 0 },
		write: func(m *serverHello, b []byte) []byte { return binary.BigEndian.AppendUint16(b, m.supportedVersion) },
		read:  func(m *serverHello, r *wire.Reader) { m.supportedVersion = r.U16() },
	},
	{
		ext:   extServerName,
		sends: func(m *serverHello) bool { return m.serverNameAck },
		read:  func(m *serverHello, _ *wire.Reader) { m.serverNameAck = true },
	},
	{
		ext:   extRenegotiationInfo,
		sends: func(m *serverHello) bool { return m.secureRenegotiation },
		write: func(m *serverHello, b []byte) []byte { return wire.AppendVec8(b, m.renegotiationInfo) },
		read: func(m *serverHello, r *wire.Reader) {
			m.secureRenegotiation, m.renegotiationInfo = true, r.Vec8(0, maxVec8)
		},
	},
	{
		ext:   extExtendedMasterSecret,
		sends: func(m *serverHello) bool { return m.extendedMasterSecret },
		read:  func(m *serverHello, _ *wire.Reader) { m.extendedMasterSecret = true },
	},
	{
		ext:   extSessionTicket,
		sends: func(m *serverHello) bool { return m.ticketSupported },
		read:  func(m *serverHello, _ *wire.Reader) { m.ticketSupported = true },
	},
	{
		ext:   extStatusRequest,
		sends: func(m *serverHello) bool { return m.ocspStapling },
		read:  func(m *serverHello, _ *wire.Reader) { m.ocspStapling = true },
	},
	{
		ext:   extSCT,
		sends: func(m *serverHello) bool { return len(m.scts) > 0 },
		write: func(m *serverHello, b []byte) []byte { return appendVecs16(b, m.scts) },
		read:  func(m *serverHello, r *wire.Reader) { m.scts = readVecs16(r, 1) },
	},
	{
		ext:   extECPointFormats,
		sends: func(m *serverHello) bool { return len(m.pointFormats) > 0 },
		write: func(m *serverHello, b []byte) []byte { return wire.AppendVec8(b, m.pointFormats) },
		read:  func(m *serverHello, r *wire.Reader) { m.pointFormats = r.Vec8(1, maxVec8) },
	},
	{
		ext:   extALPN,
		sends: func(m *serverHello) bool { return m.alpn != "" },
		write: func(m *serverHello, b []byte) []byte { return appendALPN(b, m.alpn) },
		read:  func(m *serverHello, r *wire.Reader) { m.alpn = readSelectedALPN(r) },
	},
	{
		ext:   extClientCertificateType,
		sends: func(m *serverHello) bool { return m.client != nil },
		write: func(m *serverHello, b []byte) []byte { return append(b, byte(*m.client)) },
		read:  func(m *serverHello, r *wire.Reader) { m.client = new(CertificateType(r.U8())) },
	},
	{
		ext:   extServerCertificateType,
		sends: func(m *serverHello) bool { return m.server != nil },
		write: func(m *serverHello, b []byte) []byte { return append(b, byte(*m.server)) },
		read:  func(m *serverHello, r *wire.Reader) { m.server = new(CertificateType(r.U8())) },
	},
}

// readServerKeyShare reads a KeyShareHelloRetryRequest or a
// KeyShareServerHello (RFC 9846, section 4.3.8).
func readServerKeyShare(m *serverHello, r *wire.Reader) {
	if m.isRetry() {
		m.selectedGroup = NamedGroup(r.U16())
		return
	}
	m.keyShare = new(readKeyShareEntry(r))
}

func appendServerKeyShare(m *serverHello, b []byte) []byte {
	if m.isRetry() {
		return binary.BigEndian.AppendUint16(b, uint16(m.selectedGroup))
	}
	return appendKeyShareEntry(b, *m.keyShare)
}
