package handshake

import (
	"encoding/binary"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
)

// Each msg_*.go file holds the format of one handshake message, both ways.
//
// A parser takes the body without the four-byte header, consumes all of it and
// ends in Done; what it returns aliases the body. append appends the whole
// message with its header. Where a message has an extension block, both leave
// the types in it, in wire order, in the field extensions: so what was offered
// is asked of the message that offered it, sent or received.

// newMessage opens a handshake message, to be closed by [wire.Close].
func newMessage(b []byte, typ handshakeType) ([]byte, wire.Mark) {
	return wire.Open(append(b, byte(typ)), 3)
}

// clientHello is the ClientHello of both versions (RFC 9846, section 4.2.2;
// RFC 5246, section 7.4.1.2).
type clientHello struct {
	legacyVersion      uint16
	random             [32]byte
	sessionID          []byte
	cipherSuites       []uint16
	compressionMethods []byte
	extensions         []uint16

	serverName             string
	ocspStapling           bool
	scts                   bool
	supportedGroups        []NamedGroup
	pointFormats           []uint8
	signatureSchemes       []SignatureScheme
	signatureSchemesCert   []SignatureScheme
	alpn                   []string
	extendedMasterSecret   bool
	compressCertificate    []certCompressionAlg
	clientCertificateTypes []CertificateType // that the client can show, nil for none said
	serverCertificateTypes []CertificateType // that it accepts
	ticketSupported        bool
	sessionTicket          []byte // of RFC 5077
	supportedVersions      []uint16
	cookie                 []byte
	pskModes               []pskKeyExchangeMode
	certificateAuthorities [][]byte
	keyShares              []keyShareEntry // empty but not nil asks for a HelloRetryRequest
	earlyData              bool
	pskIdentities          []pskIdentity
	pskBinders             [][]byte
	secureRenegotiation    bool // by extension or by signaling cipher suite
	renegotiationInfo      []byte
	postHandshakeAuth      bool
}

// keyShareEntry is a KeyShareEntry (RFC 9846, section 4.3.8).
type keyShareEntry struct {
	group NamedGroup
	data  []byte
}

// pskIdentity is a PskIdentity (RFC 9846, section 4.3.11).
type pskIdentity struct {
	identity            []byte
	obfuscatedTicketAge uint32
}

// emptyRenegotiationInfoSCSV stands in a list of cipher suites for an empty
// renegotiation_info extension (RFC 5746, section 3.3).
const emptyRenegotiationInfoSCSV uint16 = 0x00ff

func (m *clientHello) has(ext uint16) bool { return slices.Contains(m.extensions, ext) }

func (m *clientHello) append(b []byte) []byte {
	b, body := newMessage(b, typeClientHello)
	b = binary.BigEndian.AppendUint16(b, m.legacyVersion)
	b = append(b, m.random[:]...)
	b = wire.AppendVec8(b, m.sessionID)
	b = wire.AppendU16s(b, m.cipherSuites)
	b = wire.AppendVec8(b, m.compressionMethods)
	b, m.extensions = appendExtensions(b, m, clientHelloExtensions)
	wire.Close(b, body)
	return b
}

func parseClientHello(body []byte) (*clientHello, error) {
	r := wire.NewReader(body)
	in := &received[clientHello]{}
	m := &in.message
	m.legacyVersion = r.U16()
	copy(m.random[:], r.Bytes(32))
	m.sessionID = r.Vec8(0, 32)
	m.cipherSuites = r.U16s(2, maxVec16-1)
	m.compressionMethods = r.Vec8(1, maxVec8)
	m.secureRenegotiation = slices.Contains(m.cipherSuites, emptyRenegotiationInfoSCSV)
	// Clients older than extensions send no block at all, which is not the
	// same as an empty one.
	var block []byte
	if r.More() {
		block = r.Vec16(0, maxVec16)
	}
	if err := r.Done("ClientHello"); err != nil {
		return nil, err
	}
	var err error
	if m.extensions, err = parseExtensions(block, in, clientHelloExtensions); err != nil {
		return nil, err
	}
	if err = m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// check holds the rules that need more than one field. The formal syntax is
// right by now, hence illegal_parameter.
func (m *clientHello) check() error {
	for _, list := range [...][]CertificateType{m.clientCertificateTypes, m.serverCertificateTypes} {
		if slices.Equal(list, onlyX509) {
			return alert.Errorf(alert.IllegalParameter, "list of certificate types holds the default alone") // RFC 7250, section 4.1
		}
	}
	if alg, twice := duplicate(m.compressCertificate); twice {
		return alert.Errorf(alert.IllegalParameter, "%v certificate compression is listed twice", alg)
	}
	if g, twice := duplicate(m.keyShareGroups()); twice {
		return alert.Errorf(alert.IllegalParameter, "two key shares for %v", g)
	}
	if !m.has(extPreSharedKey) {
		return nil
	}
	if m.extensions[len(m.extensions)-1] != extPreSharedKey {
		return alert.Errorf(alert.IllegalParameter, "pre_shared_key is not the last extension")
	}
	if len(m.pskIdentities) != len(m.pskBinders) {
		return alert.Errorf(alert.IllegalParameter, "%d PSK identities but %d binders", len(m.pskIdentities), len(m.pskBinders))
	}
	return nil
}

func (m *clientHello) keyShareGroups() []NamedGroup {
	groups := make([]NamedGroup, 0, usualShares)
	for _, s := range m.keyShares {
		groups = append(groups, s.group)
	}
	return groups
}

// clientHelloExtensions is in the order of sending. pre_shared_key must be the
// last one.
var clientHelloExtensions = []extCodec[clientHello]{
	{
		ext:   extServerName,
		sends: func(m *clientHello) bool { return m.serverName != "" },
		write: func(m *clientHello, b []byte) []byte { return appendServerName(b, m.serverName) },
		read:  func(m *clientHello, r *wire.Reader) { m.serverName = readServerName(r) },
	},
	{
		ext:   extStatusRequest,
		sends: func(m *clientHello) bool { return m.ocspStapling },
		// No responder IDs and no extensions.
		write: func(_ *clientHello, b []byte) []byte { return append(b, ocspType, 0, 0, 0, 0) },
		read:  func(m *clientHello, r *wire.Reader) { m.ocspStapling = readStatusRequest(r) },
	},
	{
		ext:   extSupportedGroups,
		sends: func(m *clientHello) bool { return m.supportedGroups != nil },
		write: func(m *clientHello, b []byte) []byte { return wire.AppendU16s(b, m.supportedGroups) },
		read:  func(m *clientHello, r *wire.Reader) { m.supportedGroups = readU16s[NamedGroup](r, 2, maxVec16) },
	},
	{
		ext:   extECPointFormats,
		sends: func(m *clientHello) bool { return m.pointFormats != nil },
		write: func(m *clientHello, b []byte) []byte { return wire.AppendVec8(b, m.pointFormats) },
		read:  func(m *clientHello, r *wire.Reader) { m.pointFormats = r.Vec8(1, maxVec8) },
	},
	{
		ext:   extSessionTicket,
		sends: func(m *clientHello) bool { return m.ticketSupported },
		write: func(m *clientHello, b []byte) []byte { return append(b, m.sessionTicket...) },
		read:  func(m *clientHello, r *wire.Reader) { m.ticketSupported, m.sessionTicket = true, r.Rest() },
	},
	{
		ext:   extSignatureAlgorithms,
		sends: func(m *clientHello) bool { return m.signatureSchemes != nil },
		write: func(m *clientHello, b []byte) []byte { return wire.AppendU16s(b, m.signatureSchemes) },
		read: func(m *clientHello, r *wire.Reader) {
			m.signatureSchemes = readU16s[SignatureScheme](r, 2, maxVec16-1)
		},
	},
	{
		ext:   extSignatureAlgorithmsCert,
		sends: func(m *clientHello) bool { return m.signatureSchemesCert != nil },
		write: func(m *clientHello, b []byte) []byte { return wire.AppendU16s(b, m.signatureSchemesCert) },
		read: func(m *clientHello, r *wire.Reader) {
			m.signatureSchemesCert = readU16s[SignatureScheme](r, 2, maxVec16-1)
		},
	},
	{
		ext:   extRenegotiationInfo,
		sends: func(m *clientHello) bool { return m.secureRenegotiation },
		write: func(m *clientHello, b []byte) []byte { return wire.AppendVec8(b, m.renegotiationInfo) },
		read: func(m *clientHello, r *wire.Reader) {
			m.secureRenegotiation, m.renegotiationInfo = true, r.Vec8(0, maxVec8)
		},
	},
	{
		ext:   extExtendedMasterSecret,
		sends: func(m *clientHello) bool { return m.extendedMasterSecret },
		read:  func(m *clientHello, _ *wire.Reader) { m.extendedMasterSecret = true },
	},
	{
		ext:   extALPN,
		sends: func(m *clientHello) bool { return len(m.alpn) > 0 },
		write: func(m *clientHello, b []byte) []byte { return appendALPN(b, m.alpn...) },
		read:  func(m *clientHello, r *wire.Reader) { m.alpn = readALPN(r) },
	},
	{
		ext:   extSCT,
		sends: func(m *clientHello) bool { return m.scts },
		read:  func(m *clientHello, _ *wire.Reader) { m.scts = true },
	},
	{
		ext:   extSupportedVersions,
		sends: func(m *clientHello) bool { return m.supportedVersions != nil },
		write: func(m *clientHello, b []byte) []byte { return appendShortU16s(b, m.supportedVersions) },
		read:  func(m *clientHello, r *wire.Reader) { m.supportedVersions = readShortU16s[uint16](r, 2, 254) },
	},
	{
		ext:   extCookie,
		sends: func(m *clientHello) bool { return m.cookie != nil },
		write: func(m *clientHello, b []byte) []byte { return wire.AppendVec16(b, m.cookie) },
		read:  func(m *clientHello, r *wire.Reader) { m.cookie = r.Vec16(1, maxVec16) },
	},
	{
		ext:   extKeyShare,
		sends: func(m *clientHello) bool { return m.keyShares != nil },
		write: func(m *clientHello, b []byte) []byte { return appendKeyShares(b, m.keyShares) },
		read:  func(m *clientHello, r *wire.Reader) { m.keyShares = readKeyShares(r) },
	},
	{
		ext:   extPskKeyExchangeModes,
		sends: func(m *clientHello) bool { return m.pskModes != nil },
		write: func(m *clientHello, b []byte) []byte { return wire.AppendVec8(b, convertBytes[byte](m.pskModes)) },
		read: func(m *clientHello, r *wire.Reader) {
			m.pskModes = convertBytes[pskKeyExchangeMode](r.Vec8(1, maxVec8))
		},
	},
	{
		ext:   extCertificateAuthorities,
		sends: func(m *clientHello) bool { return m.certificateAuthorities != nil },
		write: func(m *clientHello, b []byte) []byte { return appendVecs16(b, m.certificateAuthorities) },
		read:  func(m *clientHello, r *wire.Reader) { m.certificateAuthorities = readVecs16(r, 3) },
	},
	{
		ext:   extCompressCertificate,
		sends: func(m *clientHello) bool { return m.compressCertificate != nil },
		write: func(m *clientHello, b []byte) []byte { return appendShortU16s(b, m.compressCertificate) },
		read: func(m *clientHello, r *wire.Reader) {
			m.compressCertificate = readShortU16s[certCompressionAlg](r, 2, 254)
		},
	},
	{
		ext:   extClientCertificateType,
		sends: func(m *clientHello) bool { return m.clientCertificateTypes != nil },
		write: func(m *clientHello, b []byte) []byte { return appendCertificateTypes(b, m.clientCertificateTypes) },
		read:  func(m *clientHello, r *wire.Reader) { m.clientCertificateTypes = readCertificateTypes(r) },
	},
	{
		ext:   extServerCertificateType,
		sends: func(m *clientHello) bool { return m.serverCertificateTypes != nil },
		write: func(m *clientHello, b []byte) []byte { return appendCertificateTypes(b, m.serverCertificateTypes) },
		read:  func(m *clientHello, r *wire.Reader) { m.serverCertificateTypes = readCertificateTypes(r) },
	},
	{
		ext:   extPostHandshakeAuth,
		sends: func(m *clientHello) bool { return m.postHandshakeAuth },
		read:  func(m *clientHello, _ *wire.Reader) { m.postHandshakeAuth = true },
	},
	{
		ext:   extEarlyData,
		sends: func(m *clientHello) bool { return m.earlyData },
		read:  func(m *clientHello, _ *wire.Reader) { m.earlyData = true },
	},
	{
		ext:   extPreSharedKey,
		sends: func(m *clientHello) bool { return len(m.pskIdentities) > 0 },
		write: appendOfferedPsks,
		read:  readOfferedPsks,
	},
}

// hostNameType is the only NameType (RFC 6066, section 3).
const hostNameType = 0

// readServerName reads a ServerNameList. There is one type of name, and no
// type may come twice, so the list holds one name.
func readServerName(r *wire.Reader) string {
	list := wire.NewReader(r.Vec16(1, maxVec16))
	if list.U8() != hostNameType {
		r.Fail()
	}
	name := string(list.Vec16(1, maxVec16))
	if list.Done("") != nil || len(name) > 255 || slices.Contains([]byte(name), 0) {
		r.Fail()
	}
	return name
}

func appendServerName(b []byte, name string) []byte {
	b, list := wire.Open(b, 2)
	b = wire.AppendVec16(append(b, hostNameType), []byte(name))
	wire.Close(b, list)
	return b
}

// readStatusRequest reads a CertificateStatusRequest (RFC 6066, section 8) and
// reports whether it asks for OCSP. Other types have unknown contents.
func readStatusRequest(r *wire.Reader) bool {
	if r.U8() != ocspType {
		r.Rest()
		return false
	}
	readVecs16(r, 0)     // responder IDs
	r.Vec16(0, maxVec16) // request extensions
	return true
}

func readKeyShareEntry(r *wire.Reader) keyShareEntry {
	return keyShareEntry{group: NamedGroup(r.U16()), data: r.Vec16(1, maxVec16)}
}

func appendKeyShareEntry(b []byte, s keyShareEntry) []byte {
	return wire.AppendVec16(binary.BigEndian.AppendUint16(b, uint16(s.group)), s.data)
}

func readKeyShares(r *wire.Reader) []keyShareEntry {
	v := []keyShareEntry{}
	readList(r, r.Vec16(0, maxVec16), func(l *wire.Reader) { v = append(v, readKeyShareEntry(l)) })
	return v
}

func appendKeyShares(b []byte, v []keyShareEntry) []byte {
	b, list := wire.Open(b, 2)
	for _, s := range v {
		b = appendKeyShareEntry(b, s)
	}
	wire.Close(b, list)
	return b
}

// readOfferedPsks reads OfferedPsks (RFC 9846, section 4.3.11).
func readOfferedPsks(m *clientHello, r *wire.Reader) {
	readList(r, r.Vec16(7, maxVec16), func(l *wire.Reader) {
		m.pskIdentities = append(m.pskIdentities, pskIdentity{identity: l.Vec16(1, maxVec16), obfuscatedTicketAge: l.U32()})
	})
	// How long a binder must be, and how many there must be, is checked where they
	// matter: in a ClientHello for TLS 1.2 they do not.
	readList(r, r.Vec16(1, maxVec16), func(l *wire.Reader) {
		m.pskBinders = append(m.pskBinders, l.Vec8(0, maxVec8))
	})
}

func appendOfferedPsks(m *clientHello, b []byte) []byte {
	b, identities := wire.Open(b, 2)
	for _, id := range m.pskIdentities {
		b = wire.AppendVec16(b, id.identity)
		b = binary.BigEndian.AppendUint32(b, id.obfuscatedTicketAge)
	}
	wire.Close(b, identities)
	b, binders := wire.Open(b, 2)
	b = appendBinders(b, m.pskBinders)
	wire.Close(b, binders)
	return b
}

func appendBinders(b []byte, binders [][]byte) []byte {
	for _, v := range binders {
		b = wire.AppendVec8(b, v)
	}
	return b
}

// truncateBinders returns the ClientHello raw, header included, without its
// list of binders: what binders are computed over (RFC 9846, section
// 4.3.11.2). m is raw, parsed or before marshaling.
func truncateBinders(raw []byte, m *clientHello) []byte {
	n := 2
	for _, v := range m.pskBinders {
		n += 1 + len(v)
	}
	return raw[:len(raw)-n]
}

// patchBinders replaces the binders at the end of the ClientHello raw by
// others of the same lengths.
func patchBinders(raw []byte, binders [][]byte) {
	n := 0
	for _, v := range binders {
		n += 1 + len(v)
	}
	appendBinders(raw[:len(raw)-n], binders)
}
