package handshake

import "github.com/go-handoff/tls/internal/wire"

// certificateStatus is the CertificateStatus message of TLS 1.2 (RFC 6066,
// section 8).
type certificateStatus struct{ ocsp []byte }

func (m *certificateStatus) append(b []byte) []byte {
	b, body := newMessage(b, typeCertificateStatus)
	b = appendCertificateStatus(b, m.ocsp)
	wire.Close(b, body)
	return b
}

func parseCertificateStatus(body []byte) (*certificateStatus, error) {
	r := wire.NewReader(body)
	m := &certificateStatus{ocsp: readCertificateStatus(&r)}
	if err := r.Done("CertificateStatus"); err != nil {
		return nil, err
	}
	return m, nil
}
