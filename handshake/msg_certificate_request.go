package handshake

import (
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
)

// certificateRequest13 is the CertificateRequest of TLS 1.3 (RFC 9846,
// section 4.4.2).
type certificateRequest13 struct {
	context                []byte
	extensions             []uint16
	signatureSchemes       []SignatureScheme
	signatureSchemesCert   []SignatureScheme
	certificateAuthorities [][]byte
	ocspStapling           bool
	scts                   bool
	compressCertificate    []certCompressionAlg
}

func (m *certificateRequest13) append(b []byte) []byte {
	b, body := newMessage(b, typeCertificateRequest)
	b = wire.AppendVec8(b, m.context)
	b, m.extensions = appendExtensions(b, m, certificateRequestExtensions)
	wire.Close(b, body)
	return b
}

func parseCertificateRequest13(body []byte) (*certificateRequest13, error) {
	r := wire.NewReader(body)
	in := &received[certificateRequest13]{}
	m := &in.message
	m.context = r.Vec8(0, maxVec8)
	block := r.Vec16(0, maxVec16)
	if err := r.Done("CertificateRequest"); err != nil {
		return nil, err
	}
	var err error
	if m.extensions, err = parseExtensions(block, in, certificateRequestExtensions); err != nil {
		return nil, err
	}
	if err = m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *certificateRequest13) check() error {
	if !slices.Contains(m.extensions, extSignatureAlgorithms) {
		return alert.Errorf(alert.MissingExtension, "CertificateRequest without signature_algorithms")
	}
	if alg, twice := duplicate(m.compressCertificate); twice {
		return alert.Errorf(alert.IllegalParameter, "%v certificate compression is listed twice", alg)
	}
	return checkExtensions(inCertificateRequest, m.extensions, nil)
}

var certificateRequestExtensions = []extCodec[certificateRequest13]{
	{
		ext:   extSignatureAlgorithms,
		sends: func(m *certificateRequest13) bool { return m.signatureSchemes != nil },
		write: func(m *certificateRequest13, b []byte) []byte { return wire.AppendU16s(b, m.signatureSchemes) },
		read: func(m *certificateRequest13, r *wire.Reader) {
			m.signatureSchemes = readU16s[SignatureScheme](r, 2, maxVec16-1)
		},
	},
	{
		ext:   extSignatureAlgorithmsCert,
		sends: func(m *certificateRequest13) bool { return len(m.signatureSchemesCert) > 0 },
		write: func(m *certificateRequest13, b []byte) []byte { return wire.AppendU16s(b, m.signatureSchemesCert) },
		read: func(m *certificateRequest13, r *wire.Reader) {
			m.signatureSchemesCert = readU16s[SignatureScheme](r, 2, maxVec16-1)
		},
	},
	{
		ext:   extCertificateAuthorities,
		sends: func(m *certificateRequest13) bool { return len(m.certificateAuthorities) > 0 },
		write: func(m *certificateRequest13, b []byte) []byte { return appendVecs16(b, m.certificateAuthorities) },
		read: func(m *certificateRequest13, r *wire.Reader) {
			m.certificateAuthorities = readVecs16(r, 3)
		},
	},
	{
		ext:   extStatusRequest,
		sends: func(m *certificateRequest13) bool { return m.ocspStapling },
		read:  func(m *certificateRequest13, _ *wire.Reader) { m.ocspStapling = true },
	},
	{
		ext:   extSCT,
		sends: func(m *certificateRequest13) bool { return m.scts },
		read:  func(m *certificateRequest13, _ *wire.Reader) { m.scts = true },
	},
	{
		ext:   extCompressCertificate,
		sends: func(m *certificateRequest13) bool { return len(m.compressCertificate) > 0 },
		write: func(m *certificateRequest13, b []byte) []byte { return appendShortU16s(b, m.compressCertificate) },
		read: func(m *certificateRequest13, r *wire.Reader) {
			m.compressCertificate = readShortU16s[certCompressionAlg](r, 2, 254)
		},
	},
}

// certificateRequest12 is the CertificateRequest of TLS 1.2 (RFC 5246, section
// 7.4.4).
type certificateRequest12 struct {
	certificateTypes       []uint8
	signatureSchemes       []SignatureScheme
	certificateAuthorities [][]byte
}

func (m *certificateRequest12) append(b []byte) []byte {
	b, body := newMessage(b, typeCertificateRequest)
	b = wire.AppendVec8(b, m.certificateTypes)
	b = wire.AppendU16s(b, m.signatureSchemes)
	b = appendVecs16(b, m.certificateAuthorities)
	wire.Close(b, body)
	return b
}

func parseCertificateRequest12(body []byte) (*certificateRequest12, error) {
	r := wire.NewReader(body)
	m := &certificateRequest12{
		certificateTypes:       r.Vec8(1, maxVec8),
		signatureSchemes:       readU16s[SignatureScheme](&r, 2, maxVec16-1),
		certificateAuthorities: readVecs16(&r, 0),
	}
	if err := r.Done("CertificateRequest"); err != nil {
		return nil, err
	}
	return m, nil
}

// schemes returns the signature schemes that the server accepts from keys of the
// types that it accepts: in TLS 1.2 it names both (RFC 5246, section 7.4.4).
func (m *certificateRequest12) schemes() []SignatureScheme {
	return slices.DeleteFunc(slices.Clone(m.signatureSchemes), func(s SignatureScheme) bool {
		want := certTypeECDSASign // Ed25519 too (RFC 8422, section 5.5)
		if kind := schemeSpecs[s].kind; kind == kindPKCS1 || kind == kindPSS {
			want = certTypeRSASign
		}
		return !slices.Contains(m.certificateTypes, want)
	})
}
