package handshake

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
)

// Extension types, in the order of their values.
const (
	extServerName              uint16 = 0
	extStatusRequest           uint16 = 5
	extSupportedGroups         uint16 = 10
	extECPointFormats          uint16 = 11
	extSignatureAlgorithms     uint16 = 13
	extUseSRTP                 uint16 = 14
	extHeartbeat               uint16 = 15
	extALPN                    uint16 = 16
	extSCT                     uint16 = 18
	extClientCertificateType   uint16 = 19
	extServerCertificateType   uint16 = 20
	extPadding                 uint16 = 21
	extExtendedMasterSecret    uint16 = 23
	extCompressCertificate     uint16 = 27
	extRecordSizeLimit         uint16 = 28
	extDelegatedCredential     uint16 = 34
	extSessionTicket           uint16 = 35
	extSupportedEKTCiphers     uint16 = 39
	extPreSharedKey            uint16 = 41
	extEarlyData               uint16 = 42
	extSupportedVersions       uint16 = 43
	extCookie                  uint16 = 44
	extPskKeyExchangeModes     uint16 = 45
	extCertificateAuthorities  uint16 = 47
	extOIDFilters              uint16 = 48
	extPostHandshakeAuth       uint16 = 49
	extSignatureAlgorithmsCert uint16 = 50
	extKeyShare                uint16 = 51
	extTransparencyInfo        uint16 = 52
	extExternalIDHash          uint16 = 55
	extExternalSessionID       uint16 = 56
	extQUICTransportParameters uint16 = 57
	extTicketRequest           uint16 = 58
	extECHOuterExtensions      uint16 = 64768
	extEncryptedClientHello    uint16 = 65037
	extRenegotiationInfo       uint16 = 0xff01
)

// extContext is a set of messages that carry an extension block.
type extContext uint16

const (
	inClientHello extContext = 1 << iota
	inServerHello13
	inServerHello12
	inHelloRetryRequest
	inEncryptedExtensions
	inCertificate
	inCertificateRequest
	inNewSessionTicket

	// inResponses are the messages that may only answer what was asked for.
	inResponses = inServerHello13 | inServerHello12 | inHelloRetryRequest | inEncryptedExtensions | inCertificate
)

// extSpec says which messages may carry an extension.
type extSpec struct {
	ext  uint16
	name string
	in   extContext
}

// extensions is the table of RFC 9846, section 4.3, joined with what TLS 1.2
// has: the column for its ServerHello and the extensions that only it uses.
// Extensions that are not implemented stand here too, because recognizing them
// is what makes them refusable in the wrong message.
var extensions = [...]extSpec{
	{extServerName, "server_name", inClientHello | inEncryptedExtensions | inCertificateRequest | inServerHello12},
	{extStatusRequest, "status_request", inClientHello | inCertificateRequest | inCertificate | inServerHello12},
	// TLS 1.2 has no supported_groups in the ServerHello, but some load
	// balancers echo it there, and clients have always let that pass.
	{extSupportedGroups, "supported_groups", inClientHello | inEncryptedExtensions | inServerHello12},
	{extECPointFormats, "ec_point_formats", inClientHello | inServerHello12},
	{extSignatureAlgorithms, "signature_algorithms", inClientHello | inCertificateRequest},
	{extUseSRTP, "use_srtp", inClientHello | inEncryptedExtensions},
	{extHeartbeat, "heartbeat", inClientHello | inEncryptedExtensions},
	{extALPN, "application_layer_protocol_negotiation", inClientHello | inEncryptedExtensions | inServerHello12},
	{extSCT, "signed_certificate_timestamp", inClientHello | inCertificateRequest | inCertificate | inServerHello12},
	{extClientCertificateType, "client_certificate_type", inClientHello | inEncryptedExtensions | inServerHello12},
	{extServerCertificateType, "server_certificate_type", inClientHello | inEncryptedExtensions | inServerHello12},
	{extPadding, "padding", inClientHello},
	{extExtendedMasterSecret, "extended_master_secret", inClientHello | inServerHello12},
	{extCompressCertificate, "compress_certificate", inClientHello | inCertificateRequest},
	{extRecordSizeLimit, "record_size_limit", inClientHello | inEncryptedExtensions},
	{extDelegatedCredential, "delegated_credential", inClientHello | inCertificateRequest | inCertificate},
	{extSessionTicket, "session_ticket", inClientHello | inServerHello12},
	{extSupportedEKTCiphers, "supported_ekt_ciphers", inClientHello | inEncryptedExtensions},
	{extPreSharedKey, "pre_shared_key", inClientHello | inServerHello13},
	{extEarlyData, "early_data", inClientHello | inEncryptedExtensions | inNewSessionTicket},
	{extSupportedVersions, "supported_versions", inClientHello | inServerHello13 | inHelloRetryRequest},
	{extCookie, "cookie", inClientHello | inHelloRetryRequest},
	{extPskKeyExchangeModes, "psk_key_exchange_modes", inClientHello},
	{extCertificateAuthorities, "certificate_authorities", inClientHello | inCertificateRequest},
	{extOIDFilters, "oid_filters", inCertificateRequest},
	{extPostHandshakeAuth, "post_handshake_auth", inClientHello},
	{extSignatureAlgorithmsCert, "signature_algorithms_cert", inClientHello | inCertificateRequest},
	{extKeyShare, "key_share", inClientHello | inServerHello13 | inHelloRetryRequest},
	{extTransparencyInfo, "transparency_info", inClientHello | inCertificateRequest | inCertificate},
	{extExternalIDHash, "external_id_hash", inClientHello | inEncryptedExtensions},
	{extExternalSessionID, "external_session_id", inClientHello | inEncryptedExtensions},
	{extQUICTransportParameters, "quic_transport_parameters", inClientHello | inEncryptedExtensions},
	{extTicketRequest, "ticket_request", inClientHello | inEncryptedExtensions},
	{extECHOuterExtensions, "ech_outer_extensions", inClientHello},
	{extEncryptedClientHello, "encrypted_client_hello", inClientHello | inHelloRetryRequest | inEncryptedExtensions},
	{extRenegotiationInfo, "renegotiation_info", inClientHello | inServerHello12},
}

func extensionSpec(ext uint16) *extSpec {
	for i := range extensions {
		if extensions[i].ext == ext {
			return &extensions[i]
		}
	}
	return nil
}

func extensionName(ext uint16) string {
	if s := extensionSpec(ext); s != nil {
		return s.name
	}
	return fmt.Sprintf("extension(0x%04x)", ext)
}

// checkExtensions applies the table to the extensions present in a message of
// kind where (RFC 9846, section 4.3). In a message that answers, what was not
// offered is refused, but for a HelloRetryRequest's cookie; offered is not
// asked for other messages and may be nil there. Extensions that are known but
// belong elsewhere are refused everywhere.
func checkExtensions(where extContext, present []uint16, offered func(ext uint16) bool) error {
	for _, ext := range present {
		spec := extensionSpec(ext)
		unasked := where == inHelloRetryRequest && ext == extCookie
		switch {
		case where&inResponses != 0 && !unasked && (spec == nil || !offered(ext)):
			return alert.Errorf(alert.UnsupportedExtension, "unsolicited extension %s", extensionName(ext))
		case spec != nil && spec.in&where == 0:
			return alert.Errorf(alert.IllegalParameter, "misplaced extension %s", spec.name)
		}
	}
	return nil
}

// extCodec is how one message of type M sends and receives one extension.
type extCodec[M any] struct {
	ext uint16
	// sends reports whether m carries the extension.
	sends func(m *M) bool
	// write appends the extension_data; nil if that is empty.
	write func(m *M, b []byte) []byte
	// read reads the whole of extension_data.
	read func(m *M, r *wire.Reader)
}

// appendExtensions appends the extension block of m and returns the types that
// it holds.
func appendExtensions[M any](b []byte, m *M, codecs []extCodec[M]) ([]byte, []uint16) {
	var present []uint16
	b, block := wire.Open(b, 2)
	for i := range codecs {
		c := &codecs[i]
		if !c.sends(m) {
			continue
		}
		present = append(present, c.ext)
		b = binary.BigEndian.AppendUint16(b, c.ext)
		var data wire.Mark
		b, data = wire.Open(b, 2)
		if c.write != nil {
			b = c.write(m, b)
		}
		wire.Close(b, data)
	}
	wire.Close(b, block)
	return b, present
}

// received is a message together with what is needed to parse its extensions, so that
// it is not allocated apart.
type received[M any] struct {
	message M
	data    wire.Reader // of one extension
	present [usualExtensions]uint16
}

// parseExtensions reads the extension block of m and returns the types present,
// in wire order. It leaves out what codecs does not know and refuses what comes
// twice.
func parseExtensions[M any](block []byte, m *received[M], codecs []extCodec[M]) ([]uint16, error) {
	present := m.present[:0]
	r := wire.NewReader(block)
	for r.More() {
		ext := r.U16()
		m.data = wire.NewReader(r.Vec16(0, maxVec16))
		present = append(present, ext)
		c := codecFor(codecs, ext)
		if c == nil || r.Failed() {
			continue
		}
		if c.read(&m.message, &m.data); m.data.Failed() || m.data.Len() > 0 {
			return nil, m.data.Done(extensionName(ext) + " extension")
		}
	}
	if err := r.Done("extension block"); err != nil {
		return nil, err
	}
	if len(present) == 0 {
		present = nil
	}
	return present, checkUnique(present, codecs)
}

// checkUnique refuses duplicates. RFC 9846, section 4.3, names no alert for
// them: of an extension that is understood, two values contradict each other;
// of an unknown one, only the form is known to be wrong. Other stacks' tests
// expect the same.
func checkUnique[M any](present []uint16, codecs []extCodec[M]) error {
	ext, twice := duplicate(present)
	switch {
	case !twice:
		return nil
	case codecFor(codecs, ext) == nil:
		return alert.Errorf(alert.DecodeError, "%s comes twice", extensionName(ext))
	default:
		return alert.Errorf(alert.IllegalParameter, "%s comes twice", extensionName(ext))
	}
}

func codecFor[M any](codecs []extCodec[M], ext uint16) *extCodec[M] {
	for i := range codecs {
		if codecs[i].ext == ext {
			return &codecs[i]
		}
	}
	return nil
}

const (
	// usualExtensions is more than most messages have.
	usualExtensions = 16
	// usualShares is how many key shares there are at most, mostly.
	usualShares = 4

	maxVec8  = 1<<8 - 1
	maxVec16 = 1<<16 - 1
	maxVec24 = 1<<24 - 1
)

// duplicate returns a value that comes twice, if there is one. It takes no more
// than n log n steps, because a peer chooses n.
func duplicate[T cmp.Ordered](v []T) (T, bool) {
	if len(v) <= 2*usualExtensions {
		for i := range v {
			if slices.Contains(v[:i], v[i]) {
				return v[i], true
			}
		}
		return *new(T), false
	}
	s := slices.Sorted(slices.Values(v))
	for i := range s[min(1, len(s)):] {
		if s[i] == s[i+1] {
			return s[i], true
		}
	}
	return *new(T), false
}

// readList reads a vector's content item by item.
func readList(r *wire.Reader, content []byte, item func(*wire.Reader)) {
	l := wire.NewReader(content)
	for l.More() {
		item(&l)
	}
	if l.Failed() {
		r.Fail()
	}
}

// readU16s reads a vector of 16-bit values with a two-byte length.
func readU16s[T ~uint16](r *wire.Reader, lo, hi int) []T { return toU16s[T](r, r.Vec16(lo, hi)) }

// readShortU16s reads a vector of 16-bit values with a one-byte length.
func readShortU16s[T ~uint16](r *wire.Reader, lo, hi int) []T { return toU16s[T](r, r.Vec8(lo, hi)) }

func toU16s[T ~uint16](r *wire.Reader, content []byte) []T {
	if len(content)%2 != 0 {
		r.Fail()
	}
	v := make([]T, len(content)/2)
	for i := range v {
		v[i] = T(binary.BigEndian.Uint16(content[2*i:]))
	}
	return v
}

// appendShortU16s appends 16-bit values with a one-byte length in front.
func appendShortU16s[T ~uint16](b []byte, v []T) []byte {
	b = append(b, byte(2*len(v)))
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, uint16(x))
	}
	return b
}

// convertBytes converts vectors of one-byte enumerations.
func convertBytes[To, From ~uint8](v []From) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = To(x)
	}
	return out
}

// readVecs16 reads a vector of vectors, item<1..2^16-1> each.
func readVecs16(r *wire.Reader, lo int) [][]byte {
	var v [][]byte
	readList(r, r.Vec16(lo, maxVec16), func(l *wire.Reader) { v = append(v, l.Vec16(1, maxVec16)) })
	return v
}

func appendVecs16(b []byte, v [][]byte) []byte {
	b, list := wire.Open(b, 2)
	for _, x := range v {
		b = wire.AppendVec16(b, x)
	}
	wire.Close(b, list)
	return b
}

// readALPN reads a ProtocolNameList (RFC 7301, section 3.1).
func readALPN(r *wire.Reader) []string {
	var v []string
	readList(r, r.Vec16(2, maxVec16), func(l *wire.Reader) { v = append(v, string(l.Vec8(1, maxVec8))) })
	return v
}

// readSelectedALPN reads the answer, a list that must hold exactly one name.
func readSelectedALPN(r *wire.Reader) string {
	v := readALPN(r)
	if len(v) != 1 {
		r.Fail()
		return ""
	}
	return v[0]
}

func appendALPN(b []byte, v ...string) []byte {
	b, list := wire.Open(b, 2)
	for _, p := range v {
		b = wire.AppendVec8(b, []byte(p))
	}
	wire.Close(b, list)
	return b
}

// ocspType is the only CertificateStatusType (RFC 6066, section 8).
const ocspType = 1

// readCertificateStatus reads a CertificateStatus (RFC 6066, section 8).
func readCertificateStatus(r *wire.Reader) []byte {
	if r.U8() != ocspType {
		r.Fail()
	}
	return r.Vec24(1, maxVec24)
}

func appendCertificateStatus(b, ocsp []byte) []byte {
	return wire.AppendVec24(append(b, ocspType), ocsp)
}
