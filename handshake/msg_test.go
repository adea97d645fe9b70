package handshake

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// wireMessage is what every message struct is.
type wireMessage interface{ append(b []byte) []byte }

// messageFormat is one message: its type, its parser, how to fill it at
// random, and its layout in the notation of [layout].
type messageFormat struct {
	name   string
	typ    handshakeType
	parse  func(body []byte) (wireMessage, error)
	random func(g *gen) wireMessage
	layout string
	// exts lays out the extensions that the message knows.
	exts map[uint16]string
}

func parserOf[M any, P interface {
	*M
	wireMessage
}](parse func([]byte) (*M, error)) func([]byte) (wireMessage, error) {
	return func(body []byte) (wireMessage, error) {
		m, err := parse(body)
		if err != nil {
			if m != nil {
				panic("a message comes with an error")
			}
			return nil, err
		}
		return P(m), nil
	}
}

var messageFormats = []messageFormat{
	{
		"ClientHello", typeClientHello, parserOf(parseClientHello), randomClientHello, "2 32 v1 v2 v1 e",
		map[uint16]string{
			extServerName: "l2(1 v2)", extStatusRequest: "1 v2 v2", extSupportedGroups: "v2", extECPointFormats: "v1",
			extSessionTicket: "*", extSignatureAlgorithms: "v2", extSignatureAlgorithmsCert: "v2", extRenegotiationInfo: "v1",
			extExtendedMasterSecret: "", extALPN: "l2(v1)", extSCT: "", extSupportedVersions: "v1", extCookie: "v2",
			extKeyShare: "l2(2 v2)", extPskKeyExchangeModes: "v1", extCertificateAuthorities: "l2(v2)",
			extCompressCertificate: "v1", extPostHandshakeAuth: "", extEarlyData: "", extPreSharedKey: "l2(v2 4) l2(v1)",
		},
	},
	{
		"ServerHello13", typeServerHello, parserOf(parseServerHello), randomServerHello13, "2 32 v1 2 1 e",
		map[uint16]string{extSupportedVersions: "2", extKeyShare: "2 v2", extPreSharedKey: "2"},
	},
	{
		"HelloRetryRequest", typeServerHello, parserOf(parseServerHello), randomRetry, "2 32 v1 2 1 e",
		map[uint16]string{extSupportedVersions: "2", extKeyShare: "2", extCookie: "v2"},
	},
	{
		"ServerHello12", typeServerHello, parserOf(parseServerHello), randomServerHello12, "2 32 v1 2 1 e",
		map[uint16]string{
			extServerName: "", extRenegotiationInfo: "v1", extExtendedMasterSecret: "", extSessionTicket: "",
			extStatusRequest: "", extSCT: "l2(v2)", extECPointFormats: "v1", extALPN: "l2(v1)",
		},
	},
	{
		"EncryptedExtensions", typeEncryptedExtensions, parserOf(parseEncryptedExtensions), randomEncryptedExtensions, "e",
		map[uint16]string{extServerName: "", extSupportedGroups: "v2", extALPN: "l2(v1)", extEarlyData: ""},
	},
	{
		"CertificateRequest13", typeCertificateRequest, parserOf(parseCertificateRequest13), randomCertificateRequest13, "v1 e",
		map[uint16]string{
			extSignatureAlgorithms: "v2", extSignatureAlgorithmsCert: "v2", extCertificateAuthorities: "l2(v2)",
			extStatusRequest: "", extSCT: "", extCompressCertificate: "v1",
		},
	},
	{
		"CertificateRequest12", typeCertificateRequest, parserOf(parseCertificateRequest12), randomCertificateRequest12,
		"v1 v2 l2(v2)", nil,
	},
	{
		"Certificate13", typeCertificate, parserOf(parseCertificate13), randomCertificate13, "v1 l3(v3 e)",
		map[uint16]string{extStatusRequest: "1 v3", extSCT: "l2(v2)"},
	},
	{"Certificate12", typeCertificate, parserOf(parseCertificate12), randomCertificate12, "l3(v3)", nil},
	{
		"CompressedCertificate", typeCompressedCertificate, parserOf(parseCompressedCertificate),
		func(g *gen) wireMessage {
			return &compressedCertificate{certCompressionAlg(g.u16()), g.Uint32N(1 << 24), g.bytes(1, 60)}
		},
		"2 3 v3", nil,
	},
	{
		"CertificateVerify", typeCertificateVerify, parserOf(parseCertificateVerify),
		func(g *gen) wireMessage { return &certificateVerify{SignatureScheme(g.u16()), g.bytes(0, 60)} },
		"2 v2", nil,
	},
	{
		"Finished", typeFinished, parserOf(parseFinished),
		func(g *gen) wireMessage { return &finished{g.bytes(12, 48)} }, "*", nil,
	},
	{
		"NewSessionTicket13", typeNewSessionTicket, parserOf(parseNewSessionTicket13),
		func(g *gen) wireMessage {
			return &newSessionTicket13{
				lifetime: g.Uint32(), ageAdd: g.Uint32(), nonce: g.bytes(0, 20), ticket: g.bytes(1, 60),
				maxEarlyData: g.Uint32N(2) * g.Uint32(),
			}
		},
		"4 4 v1 v2 e",
		map[uint16]string{extEarlyData: "4"},
	},
	{
		"NewSessionTicket12", typeNewSessionTicket, parserOf(parseNewSessionTicket12),
		func(g *gen) wireMessage { return &newSessionTicket12{g.Uint32(), g.bytes(0, 60)} }, "4 v2", nil,
	},
	{
		"KeyUpdate", typeKeyUpdate, parserOf(parseKeyUpdate),
		func(g *gen) wireMessage { return &keyUpdate{keyUpdateRequest(g.Uint32N(2))} }, "1", nil,
	},
	{
		"CertificateStatus", typeCertificateStatus, parserOf(parseCertificateStatus),
		func(g *gen) wireMessage { return &certificateStatus{g.bytes(1, 60)} }, "1 v3", nil,
	},
	{
		"ServerKeyExchange", typeServerKeyExchange, parserOf(parseServerKeyExchange),
		func(g *gen) wireMessage {
			return &serverKeyExchange{NamedGroup(g.u16()), g.bytes(1, 60), SignatureScheme(g.u16()), g.bytes(0, 60)}
		},
		"1 2 v1 2 v2", nil,
	},
	{
		"ClientKeyExchange", typeClientKeyExchange, parserOf(parseClientKeyExchange),
		func(g *gen) wireMessage { return &clientKeyExchange{g.bytes(1, 60)} }, "v1", nil,
	},
	{
		"EndOfEarlyData", typeEndOfEarlyData, parserOf(parseEndOfEarlyData),
		func(*gen) wireMessage { return &endOfEarlyData{} }, "", nil,
	},
	{
		"HelloRequest", typeHelloRequest, parserOf(parseHelloRequest),
		func(*gen) wireMessage { return &helloRequest{} }, "", nil,
	},
	{
		"ServerHelloDone", typeServerHelloDone, parserOf(parseServerHelloDone),
		func(*gen) wireMessage { return &serverHelloDone{} }, "", nil,
	},
}

func TestMessageRoundTrip(t *testing.T) {
	forEachSample(t, 100, func(t *testing.T, f *messageFormat, m wireMessage, raw []byte) {
		if typ := handshakeType(raw[0]); typ != f.typ {
			t.Fatalf("type %v, want %v", typ, f.typ)
		}
		if n := int(raw[1])<<16 | int(raw[2])<<8 | int(raw[3]); n != len(raw)-4 {
			t.Fatalf("header says %d bytes, body has %d", n, len(raw)-4)
		}
		got, err := f.parse(raw[4:])
		if err != nil {
			t.Fatalf("parse(%x): %v", raw, err)
		}
		if !sameValue(reflect.ValueOf(got), reflect.ValueOf(m)) {
			t.Fatalf("parsed:\n%+v\nsent:\n%+v", got, m)
		}
		if again := got.append(nil); !bytes.Equal(again, raw) {
			t.Fatalf("marshaled again:\n%x\nfirst:\n%x", again, raw)
		}
	})
}

// TestMessageTruncated cuts every message at each byte. Only what ends before
// an optional block is still a message, and a Finished of any length, which the
// comparison of its value refuses.
func TestMessageTruncated(t *testing.T) {
	forEachSample(t, 20, func(t *testing.T, f *messageFormat, _ wireMessage, raw []byte) {
		body := raw[4:]
		for n := range body {
			_, err := f.parse(body[:n])
			legal := f.typ == typeFinished || f.typ == typeClientHello && n == clientHelloBlock(body) ||
				f.typ == typeServerHello && n == serverHelloBlock(body)
			if legal != (err == nil) {
				t.Fatalf("%d of %d bytes: %v", n, len(body), err)
			}
			checkParseAlert(t, err)
		}
	})
}

func TestMessageExtended(t *testing.T) {
	forEachSample(t, 20, func(t *testing.T, f *messageFormat, _ wireMessage, raw []byte) {
		for _, extra := range []byte{0, 1, 0xff} {
			_, err := f.parse(append(slices.Clone(raw[4:]), extra))
			if (err == nil) != (f.typ == typeFinished) {
				t.Fatalf("with one more byte %#x: %v", extra, err)
			}
			checkParseAlert(t, err)
		}
	})
}

// TestMessageLengthsOff changes each length field, found by the layout, by one
// in both directions.
func TestMessageLengthsOff(t *testing.T) {
	forEachSample(t, 20, func(t *testing.T, f *messageFormat, _ wireMessage, raw []byte) {
		body := raw[4:]
		fields := layout{exts: f.exts}
		if n := fields.walk(f.layout, body, 0); n != len(body) {
			t.Fatalf("layout %q ends at %d of %d bytes of %x", f.layout, n, len(body), body)
		}
		for _, field := range fields.lengths {
			for _, delta := range []int{-1, 1} {
				bad := slices.Clone(body)
				v := readUint(bad[field.at:][:field.size]) + delta
				if v < 0 {
					continue
				}
				writeUint(bad[field.at:][:field.size], v)
				if _, err := f.parse(bad); err == nil {
					t.Fatalf("length at %d changed to %d: accepted %x", field.at, v, bad)
				} else {
					checkParseAlert(t, err)
				}
			}
		}
	})
}

// TestMessageBytesFlipped puts every value in every byte of small messages and
// wants no more than an orderly answer.
func TestMessageBytesFlipped(t *testing.T) {
	forEachSample(t, 1, func(t *testing.T, f *messageFormat, _ wireMessage, raw []byte) {
		for i := range raw[4:] {
			for v := range 256 {
				body := slices.Clone(raw[4:])
				body[i] = byte(v)
				m, err := f.parse(body)
				if (m == nil) == (err == nil) {
					t.Fatalf("byte %d is %#x: message %v and error %v", i, v, m, err)
				}
				checkParseAlert(t, err)
			}
		}
	})
}

func checkParseAlert(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	switch alert.Of(err) {
	case alert.DecodeError, alert.IllegalParameter, alert.MissingExtension:
	default:
		t.Fatalf("%v carries %v", err, alert.Of(err))
	}
}

func forEachSample(t *testing.T, n int, run func(t *testing.T, f *messageFormat, m wireMessage, raw []byte)) {
	for i := range messageFormats {
		f := &messageFormats[i]
		t.Run(f.name, func(t *testing.T) {
			g := newGen(uint64(i))
			for range n {
				m := f.random(g)
				run(t, f, m, m.append(nil))
			}
		})
	}
}

func clientHelloBlock(body []byte) int {
	n := 2 + 32
	n += 1 + int(body[n])
	n += 2 + int(binary.BigEndian.Uint16(body[n:]))
	return n + 1 + int(body[n])
}

func serverHelloBlock(body []byte) int { return 34 + 1 + int(body[34]) + 3 }

// layout finds the length fields of a message. It knows nothing of the parsers:
// the notation has a number for that many bytes, vN for a vector with a length
// of N bytes, lN(...) for a vector that repeats what stands in parentheses, e
// for an extension block, and * for the rest.
type layout struct {
	exts    map[uint16]string
	lengths []lengthField
}

type lengthField struct{ at, size int }

func (l *layout) walk(spec string, b []byte, base int) int {
	at := 0
	for _, tok := range splitLayout(spec) {
		switch {
		case tok == "*":
			at = len(b)
		case tok == "e":
			at += l.vector("2", b[at:], base+at, l.extension)
		case tok[0] == 'v':
			at += l.vector(tok[1:], b[at:], base+at, func(v []byte, _ int) int { return len(v) })
		case tok[0] == 'l':
			item := tok[3 : len(tok)-1]
			at += l.vector(tok[1:2], b[at:], base+at, func(v []byte, base int) int { return l.walk(item, v, base) })
		default:
			var n int
			if _, err := fmt.Sscan(tok, &n); err != nil {
				panic(err)
			}
			at += n
		}
	}
	return at
}

// vector notes a length field and walks the items of the vector behind it.
func (l *layout) vector(size string, b []byte, base int, item func(v []byte, base int) int) int {
	n := int(size[0] - '0')
	l.lengths = append(l.lengths, lengthField{base, n})
	end := n + readUint(b[:n])
	for at := n; at < end; {
		at += item(b[at:end], base+at)
	}
	return end
}

func (l *layout) extension(b []byte, base int) int {
	spec, ok := l.exts[binary.BigEndian.Uint16(b)]
	if !ok {
		panic(fmt.Sprintf("no layout for %s", extensionName(binary.BigEndian.Uint16(b))))
	}
	return 2 + l.vector("2", b[2:], base+2, func(v []byte, base int) int { return l.walk(spec, v, base) })
}

func splitLayout(spec string) []string {
	var toks []string
	depth, start := 0, 0
	for i, c := range spec + " " {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ' ':
			if depth == 0 {
				if i > start {
					toks = append(toks, spec[start:i])
				}
				start = i + 1
			}
		}
	}
	return toks
}

func readUint(b []byte) int {
	v := 0
	for _, x := range b {
		v = v<<8 | int(x)
	}
	return v
}

func writeUint(b []byte, v int) {
	for i := range b {
		b[len(b)-1-i] = byte(v >> (8 * i))
	}
}

// sameValue is reflect.DeepEqual, but nil and empty slices are the same.
func sameValue(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		return a.IsNil() == b.IsNil() && (a.IsNil() || sameValue(a.Elem(), b.Elem()))
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return a.Equal(b)
	}
}

// gen makes values at random. Its bytes are above 0xf0, so that whatever is
// mistaken for a length is too long.
type gen struct{ *rand.Rand }

func newGen(seed uint64) *gen { return &gen{rand.New(rand.NewPCG(seed, 8446))} }

func (g *gen) u8() uint8   { return uint8(0xf0 + g.IntN(16)) }
func (g *gen) u16() uint16 { return uint16(g.u8())<<8 | uint16(g.u8()) }
func (g *gen) flip() bool  { return g.IntN(2) == 1 }

func (g *gen) bytes(lo, hi int) []byte {
	b := make([]byte, lo+g.IntN(hi-lo+1))
	for i := range b {
		b[i] = g.u8()
	}
	return b
}

func (g *gen) name() string { return string(g.bytes(1, 20)) }

func (g *gen) random() (r [32]byte) {
	copy(r[:], g.bytes(32, 32))
	return r
}

// list makes lo to hi values, or nil if lo is negative and chance wills it.
func list[T any](g *gen, lo, hi int, item func() T) []T {
	if lo < 0 {
		if g.flip() {
			return nil
		}
		lo = -lo
	}
	v := make([]T, lo+g.IntN(hi-lo+1))
	for i := range v {
		v[i] = item()
	}
	return v
}

func (g *gen) groups() []NamedGroup {
	return list(g, -1, 5, func() NamedGroup { return NamedGroup(g.u16()) })
}

func (g *gen) schemes(lo int) []SignatureScheme {
	return list(g, lo, 5, func() SignatureScheme { return SignatureScheme(g.u16()) })
}

func (g *gen) compression() []certCompressionAlg {
	return list(g, -1, 1, func() certCompressionAlg { return certCompressionAlg(g.u16()) })
}

func (g *gen) vecs(lo int) [][]byte {
	return list(g, lo, 3, func() []byte { return g.bytes(1, 20) })
}

func randomClientHello(g *gen) wireMessage {
	m := &clientHello{
		legacyVersion: g.u16(), random: g.random(), sessionID: g.bytes(0, 32), compressionMethods: g.bytes(1, 3),
		cipherSuites: list(g, 1, 9, g.u16),
		ocspStapling: g.flip(), scts: g.flip(), extendedMasterSecret: g.flip(), earlyData: g.flip(), postHandshakeAuth: g.flip(),
		supportedGroups: g.groups(), pointFormats: g.bytes(1, 3),
		signatureSchemes: g.schemes(-1), signatureSchemesCert: g.schemes(-1),
		alpn: list(g, -1, 3, g.name), compressCertificate: g.compression(),
		supportedVersions:      list(g, -1, 4, g.u16),
		pskModes:               list(g, -1, 2, func() pskKeyExchangeMode { return pskKeyExchangeMode(g.u8()) }),
		certificateAuthorities: g.vecs(-1),
	}
	if g.flip() {
		m.serverName = g.name()
	}
	if g.flip() {
		m.ticketSupported, m.sessionTicket = true, g.bytes(0, 30)
	}
	if g.flip() {
		m.secureRenegotiation, m.renegotiationInfo = true, g.bytes(0, 24)
	}
	if g.flip() {
		m.cookie = g.bytes(1, 30)
	}
	if g.flip() {
		m.keyShares = []keyShareEntry{}
		for i := range g.IntN(4) {
			m.keyShares = append(m.keyShares, keyShareEntry{NamedGroup(0xf0f0 + i), g.bytes(1, 40)})
		}
	}
	if g.flip() {
		for range 1 + g.IntN(3) {
			m.pskIdentities = append(m.pskIdentities, pskIdentity{g.bytes(1, 30), uint32(g.u16())<<16 | uint32(g.u16())})
			m.pskBinders = append(m.pskBinders, g.bytes(32, 48))
		}
	}
	return m
}

func randomServerHello13(g *gen) wireMessage {
	m := &serverHello{
		legacyVersion: g.u16(), random: g.random(), sessionID: g.bytes(0, 32), cipherSuite: g.u16(), compressionMethod: g.u8(),
		supportedVersion: g.u16(),
	}
	if g.flip() {
		m.keyShare = &keyShareEntry{NamedGroup(g.u16()), g.bytes(1, 60)}
	}
	if g.flip() {
		m.selectedIdentity = new(g.u16())
	}
	return m
}

func randomRetry(g *gen) wireMessage {
	m := &serverHello{
		legacyVersion: g.u16(), random: helloRetryRandom, sessionID: g.bytes(0, 32), cipherSuite: g.u16(),
		supportedVersion: g.u16(),
	}
	if g.flip() {
		m.selectedGroup = NamedGroup(g.u16())
	}
	if g.flip() {
		m.cookie = g.bytes(1, 60)
	}
	return m
}

func randomServerHello12(g *gen) wireMessage {
	m := &serverHello{
		legacyVersion: g.u16(), random: g.random(), sessionID: g.bytes(0, 32), cipherSuite: g.u16(), compressionMethod: g.u8(),
		extendedMasterSecret: g.flip(), ticketSupported: g.flip(), ocspStapling: g.flip(), serverNameAck: g.flip(),
		scts: g.vecs(-1),
	}
	if g.flip() {
		m.secureRenegotiation, m.renegotiationInfo = true, g.bytes(0, 24)
	}
	if g.flip() {
		m.pointFormats = []byte{g.u8(), 0, g.u8()}
	}
	if g.flip() {
		m.alpn = g.name()
	}
	return m
}

func randomEncryptedExtensions(g *gen) wireMessage {
	m := &encryptedExtensions{serverNameAck: g.flip(), earlyData: g.flip(), supportedGroups: g.groups()}
	if g.flip() {
		m.alpn = g.name()
	}
	return m
}

func randomCertificateRequest13(g *gen) wireMessage {
	return &certificateRequest13{
		context: g.bytes(0, 20), signatureSchemes: g.schemes(1), signatureSchemesCert: g.schemes(-1),
		certificateAuthorities: g.vecs(-1), ocspStapling: g.flip(), scts: g.flip(), compressCertificate: g.compression(),
	}
}

func randomCertificateRequest12(g *gen) wireMessage {
	return &certificateRequest12{g.bytes(1, 4), g.schemes(1), g.vecs(0)}
}

func randomCertificate13(g *gen) wireMessage {
	m := &certificate13{context: g.bytes(0, 20)}
	for range g.IntN(4) {
		e := certificateEntry{data: g.bytes(1, 60), scts: g.vecs(-1)}
		if g.flip() {
			e.ocspStaple = g.bytes(1, 40)
		}
		m.entries = append(m.entries, e)
	}
	return m
}

func randomCertificate12(g *gen) wireMessage { return &certificate12{g.vecs(0)} }
