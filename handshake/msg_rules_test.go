package handshake

import (
	"slices"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// TestMessageRules has the rules that the layout of a message does not show.
func TestMessageRules(t *testing.T) {
	serverHello12 := func(exts ...[]byte) []byte {
		b := slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0xc0, 0x2f, 0})
		return append(b, block(exts...)...)
	}
	for _, tt := range []struct {
		name  string
		parse func([]byte) (wireMessage, error)
		body  []byte
		want  alert.Description
	}{
		{"KeyUpdate with an unknown request", parserOf(parseKeyUpdate), []byte{2}, alert.IllegalParameter},
		{"KeyUpdate, empty", parserOf(parseKeyUpdate), nil, alert.DecodeError},
		{"NewSessionTicket without a ticket", parserOf(parseNewSessionTicket13), make([]byte, 13), alert.DecodeError},
		{
			"NewSessionTicket with key_share", parserOf(parseNewSessionTicket13),
			slices.Concat(make([]byte, 9), []byte{0, 1, 7}, block(extension(extKeyShare))), alert.IllegalParameter,
		},
		{"CertificateRequest without signature_algorithms", parserOf(parseCertificateRequest13), []byte{0, 0, 0}, alert.MissingExtension},
		{
			"CertificateRequest with key_share", parserOf(parseCertificateRequest13),
			append([]byte{0}, block(extension(extSignatureAlgorithms, 0, 2, 4, 3), extension(extKeyShare))...), alert.IllegalParameter,
		},
		{
			"CertificateRequest with compression listed twice", parserOf(parseCertificateRequest13),
			append([]byte{0}, block(extension(extSignatureAlgorithms, 0, 2, 4, 3), extension(extCompressCertificate, 4, 0, 1, 0, 1))...),
			alert.IllegalParameter,
		},
		{
			"CertificateRequest without authorities", parserOf(parseCertificateRequest13),
			append([]byte{0}, block(extension(extCertificateAuthorities, 0, 0))...), alert.DecodeError,
		},
		{"CertificateRequest 1.2 without types", parserOf(parseCertificateRequest12), []byte{0, 0, 2, 4, 3, 0, 0}, alert.DecodeError},
		{"CertificateRequest 1.2 without schemes", parserOf(parseCertificateRequest12), []byte{1, 1, 0, 0, 0, 0}, alert.DecodeError},
		{"empty certificate", parserOf(parseCertificate12), []byte{0, 0, 3, 0, 0, 0}, alert.DecodeError},
		{"empty certificate in TLS 1.3", parserOf(parseCertificate13), []byte{0, 0, 0, 5, 0, 0, 0, 0, 0}, alert.DecodeError},
		{
			"empty SCT list", parserOf(parseCertificate13),
			slices.Concat([]byte{0, 0, 0, 12, 0, 0, 1, 9}, block(extension(extSCT, 0, 0))), alert.DecodeError,
		},
		{
			"empty OCSP response", parserOf(parseCertificate13),
			slices.Concat([]byte{0, 0, 0, 14, 0, 0, 1, 9}, block(extension(extStatusRequest, 1, 0, 0, 0))), alert.DecodeError,
		},
		{
			"other certificate status", parserOf(parseCertificate13),
			slices.Concat([]byte{0, 0, 0, 15, 0, 0, 1, 9}, block(extension(extStatusRequest, 2, 0, 0, 1, 7))), alert.DecodeError,
		},
		{"CertificateStatus without a response", parserOf(parseCertificateStatus), []byte{1, 0, 0, 0}, alert.DecodeError},
		{"ServerKeyExchange with an explicit curve", parserOf(parseServerKeyExchange), []byte{1, 0, 23, 1, 4, 4, 3, 0, 0}, alert.IllegalParameter},
		{"ServerKeyExchange, empty", parserOf(parseServerKeyExchange), nil, alert.DecodeError},
		{"ServerKeyExchange without a point", parserOf(parseServerKeyExchange), []byte{3, 0, 23, 0, 4, 3, 0, 0}, alert.DecodeError},
		{"ClientKeyExchange without a point", parserOf(parseClientKeyExchange), []byte{0}, alert.DecodeError},
		{"CompressedCertificate without data", parserOf(parseCompressedCertificate), []byte{0, 1, 0, 0, 9, 0, 0, 0}, alert.DecodeError},
		{"ServerHello without uncompressed points", parserOf(parseServerHello), serverHello12(extension(extECPointFormats, 1, 1)), alert.IllegalParameter},
		{"ServerHello with an empty protocol list", parserOf(parseServerHello), serverHello12(extension(extALPN, 0, 0)), alert.DecodeError},
		{
			"ServerHello with two protocols", parserOf(parseServerHello),
			serverHello12(extension(extALPN, 0, 4, 1, 'a', 1, 'b')), alert.DecodeError,
		},
		{"ServerHello with a server name", parserOf(parseServerHello), serverHello12(extension(extServerName, 0)), alert.DecodeError},
		{"EncryptedExtensions without a block", parserOf(parseEncryptedExtensions), nil, alert.DecodeError},
		{
			"EncryptedExtensions with two protocols", parserOf(parseEncryptedExtensions),
			block(extension(extALPN, 0, 4, 1, 'a', 1, 'b')), alert.DecodeError,
		},
	} {
		_, err := tt.parse(tt.body)
		wantAlert(t, tt.name, err, tt.want)
	}
}

// TestUnknownExtensionsPass: receivers ignore what they do not know, where they
// may, but remember that it was there.
func TestUnknownExtensionsPass(t *testing.T) {
	unknown := extension(0x4a4a, 1, 2, 3)
	m, err := parseCertificateRequest13(append([]byte{0}, block(unknown, extension(extSignatureAlgorithms, 0, 2, 4, 3))...))
	if err != nil || !slices.Equal(m.extensions, []uint16{0x4a4a, extSignatureAlgorithms}) {
		t.Errorf("CertificateRequest: %+v, %v", m, err)
	}
	n, err := parseNewSessionTicket13(slices.Concat(make([]byte, 9), []byte{0, 1, 7}, block(unknown)))
	if err != nil || !slices.Equal(n.extensions, []uint16{0x4a4a}) {
		t.Errorf("NewSessionTicket: %+v, %v", n, err)
	}
	c, err := parseClientHello(helloWith(extension(0x0a0a), unknown))
	if err != nil || !c.has(0x0a0a) || !c.has(0x4a4a) {
		t.Errorf("ClientHello: %+v, %v", c, err)
	}
}

func TestServerKeyExchangeParams(t *testing.T) {
	m := &serverKeyExchange{group: X25519, public: []byte{7, 8, 9}}
	if got, want := m.appendParams(nil), []byte{3, 0, 29, 3, 7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("params %x, want %x", got, want)
	}
}
