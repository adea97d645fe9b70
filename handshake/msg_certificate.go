package handshake

import "github.com/go-handoff/tls/internal/wire"

// certificate13 is the Certificate of TLS 1.3 (RFC 9846, section 4.5.1).
type certificate13 struct {
	context []byte
	entries []certificateEntry
}

// certificateEntry is a CertificateEntry. What stands in extensions must be
// checked against what was asked for, entry by entry.
type certificateEntry struct {
	data       []byte
	extensions []uint16
	ocspStaple []byte
	scts       [][]byte
}

func (m *certificate13) append(b []byte) []byte {
	b, body := newMessage(b, typeCertificate)
	b = wire.AppendVec8(b, m.context)
	b, list := wire.Open(b, 3)
	for i := range m.entries {
		e := &m.entries[i]
		b = wire.AppendVec24(b, e.data)
		b, e.extensions = appendExtensions(b, e, certificateExtensions)
	}
	wire.Close(b, list)
	wire.Close(b, body)
	return b
}

func parseCertificate13(body []byte) (*certificate13, error) {
	r := wire.NewReader(body)
	m := &certificate13{context: r.Vec8(0, maxVec8)}
	list := wire.NewReader(r.Vec24(0, maxVec24))
	if err := r.Done("Certificate"); err != nil {
		return nil, err
	}
	for list.More() {
		e := &received[certificateEntry]{}
		e.message.data = list.Vec24(1, maxVec24)
		var err error
		if e.message.extensions, err = parseExtensions(list.Vec16(0, maxVec16), e, certificateExtensions); err != nil {
			return nil, err
		}
		m.entries = append(m.entries, e.message)
	}
	if err := list.Done("Certificate"); err != nil {
		return nil, err
	}
	return m, nil
}

var certificateExtensions = []extCodec[certificateEntry]{
	{
		ext:   extStatusRequest,
		sends: func(e *certificateEntry) bool { return len(e.ocspStaple) > 0 },
		write: func(e *certificateEntry, b []byte) []byte { return appendCertificateStatus(b, e.ocspStaple) },
		read:  func(e *certificateEntry, r *wire.Reader) { e.ocspStaple = readCertificateStatus(r) },
	},
	{
		ext:   extSCT,
		sends: func(e *certificateEntry) bool { return len(e.scts) > 0 },
		write: func(e *certificateEntry, b []byte) []byte { return appendVecs16(b, e.scts) },
		read:  func(e *certificateEntry, r *wire.Reader) { e.scts = readVecs16(r, 1) },
	},
}

// certificate12 is the Certificate of TLS 1.2 (RFC 5246, section 7.4.2).
type certificate12 struct{ chain [][]byte }

func (m *certificate12) append(b []byte) []byte {
	b, body := newMessage(b, typeCertificate)
	b, list := wire.Open(b, 3)
	for _, c := range m.chain {
		b = wire.AppendVec24(b, c)
	}
	wire.Close(b, list)
	wire.Close(b, body)
	return b
}

// appendCertificate12 appends the Certificate that shows cert, or none, in the
// form that was agreed on.
func appendCertificate12(b []byte, cert *Certificate, t CertificateType) []byte {
	if t != RawPublicKey {
		return (&certificate12{chain: cert.Chain}).append(b)
	}
	if len(cert.Chain) == 0 {
		return appendRawKey12(b, nil)
	}
	return appendRawKey12(b, cert.Chain[0])
}

// appendRawKey12 appends the Certificate of TLS 1.2 that holds a raw public key
// instead, or nothing (RFC 7250, section 3).
func appendRawKey12(b, spki []byte) []byte {
	b, body := newMessage(b, typeCertificate)
	b = wire.AppendVec24(b, spki)
	wire.Close(b, body)
	return b
}

// parseRawKey12 is its reverse. The chain is the key, or empty.
func parseRawKey12(body []byte) (*certificate12, error) {
	r := wire.NewReader(body)
	m := &certificate12{}
	if spki := r.Vec24(0, maxVec24); len(spki) > 0 {
		m.chain = [][]byte{spki}
	}
	if err := r.Done("Certificate"); err != nil {
		return nil, err
	}
	return m, nil
}

func parseCertificate12(body []byte) (*certificate12, error) {
	r := wire.NewReader(body)
	m := &certificate12{}
	readList(&r, r.Vec24(0, maxVec24), func(l *wire.Reader) { m.chain = append(m.chain, l.Vec24(1, maxVec24)) })
	if err := r.Done("Certificate"); err != nil {
		return nil, err
	}
	return m, nil
}
