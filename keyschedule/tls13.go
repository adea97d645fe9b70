package keyschedule

import (
	"errors"

	"github.com/go-handoff/tls/internal/redact"
)

// PSKKind says where a pre-shared key comes from; its binder is labelled by it.
type PSKKind uint8

// The kinds of PSK (RFC 9846, section 7.1, and RFC 9258, section 5.2).
const (
	ResumptionPSK PSKKind = iota + 1
	ExternalPSK
	ImportedPSK
)

func (k PSKKind) binderLabel() string {
	switch k {
	case ResumptionPSK:
		return "res binder"
	case ImportedPSK:
		return "imp binder"
	default:
		return "ext binder"
	}
}

// Early is the first stage of the TLS 1.3 key schedule: Early Secret.
type Early struct {
	redact.Value
	h      Hash
	secret Secret
}

// NewEarly starts a key schedule from psk, or from zeros if psk is empty.
func NewEarly(h Hash, psk []byte) *Early {
	// This and what makes the other stages is small enough for the compiler to
	// put them on the caller's stack, where they can be.
	e := &Early{h: h}
	e.begin(psk)
	return e
}

func (e *Early) begin(psk []byte) { e.secret = extractInput(e.h, nil, psk) }

// BinderKey returns the key of the PSK's binder; see [Secret.VerifyData].
func (e *Early) BinderKey(kind PSKKind) Secret {
	return deriveSecret(e.h, &e.secret, kind.binderLabel(), e.h.emptySum())
}

// ClientEarlyTrafficSecret covers ClientHello.
func (e *Early) ClientEarlyTrafficSecret(transcriptHash []byte) TrafficSecret {
	return TrafficSecret{deriveSecret(e.h, &e.secret, "c e traffic", transcriptHash)}
}

// EarlyExporterSecret covers ClientHello.
func (e *Early) EarlyExporterSecret(transcriptHash []byte) *Exporter {
	return &Exporter{h: e.h, secret: deriveSecret(e.h, &e.secret, "e exp master", transcriptHash)}
}

// Handshake goes on to the next stage with the (EC)DHE secret. e is wiped.
func (e *Early) Handshake(sharedSecret []byte) *Handshake {
	s := &Handshake{h: e.h}
	s.secret = nextStage(e.h, &e.secret, sharedSecret)
	return s
}

// nextStage returns the secret of the stage after that of secret, which it wipes.
func nextStage(h Hash, secret *Secret, ikm []byte) Secret {
	defer secret.Wipe()
	salt := deriveSecret(h, secret, "derived", h.emptySum())
	defer salt.Wipe()
	return extractInput(h, salt.Bytes(), ikm)
}

// extractInput extracts from an input of the schedule, or from zeros if there is
// none.
func extractInput(h Hash, salt, ikm []byte) Secret {
	var zeros [MaxSecretLen]byte
	if len(ikm) == 0 {
		ikm = zeros[:h.Size()]
	}
	return extract(h, salt, ikm)
}

// Wipe overwrites the stage's secret.
func (e *Early) Wipe() { e.secret.Wipe() }

// Handshake is the second stage: Handshake Secret.
type Handshake struct {
	redact.Value
	h      Hash
	secret Secret
}

// ClientHandshakeTrafficSecret covers ClientHello...ServerHello.
func (s *Handshake) ClientHandshakeTrafficSecret(transcriptHash []byte) TrafficSecret {
	return TrafficSecret{deriveSecret(s.h, &s.secret, "c hs traffic", transcriptHash)}
}

// ServerHandshakeTrafficSecret covers ClientHello...ServerHello.
func (s *Handshake) ServerHandshakeTrafficSecret(transcriptHash []byte) TrafficSecret {
	return TrafficSecret{deriveSecret(s.h, &s.secret, "s hs traffic", transcriptHash)}
}

// Main goes on to the last stage. s is wiped.
func (s *Handshake) Main() *Main {
	m := &Main{h: s.h}
	m.secret = nextStage(s.h, &s.secret, nil)
	return m
}

// Wipe overwrites the stage's secret.
func (s *Handshake) Wipe() { s.secret.Wipe() }

// Main is the last stage: Main Secret.
type Main struct {
	redact.Value
	h      Hash
	secret Secret
}

// ClientApplicationTrafficSecret covers ClientHello...server Finished.
func (m *Main) ClientApplicationTrafficSecret(transcriptHash []byte) TrafficSecret {
	return TrafficSecret{deriveSecret(m.h, &m.secret, "c ap traffic", transcriptHash)}
}

// ServerApplicationTrafficSecret covers ClientHello...server Finished.
func (m *Main) ServerApplicationTrafficSecret(transcriptHash []byte) TrafficSecret {
	return TrafficSecret{deriveSecret(m.h, &m.secret, "s ap traffic", transcriptHash)}
}

// ExporterMainSecret covers ClientHello...server Finished.
func (m *Main) ExporterMainSecret(transcriptHash []byte) *Exporter {
	return &Exporter{h: m.h, secret: deriveSecret(m.h, &m.secret, "exp master", transcriptHash)}
}

// ResumptionMainSecret covers ClientHello...client Finished.
func (m *Main) ResumptionMainSecret(transcriptHash []byte) Secret {
	return deriveSecret(m.h, &m.secret, "res master", transcriptHash)
}

// Wipe overwrites the stage's secret.
func (m *Main) Wipe() { m.secret.Wipe() }

// ResumptionPSKFrom returns the PSK of a ticket with the given nonce
// (RFC 9846, section 4.7.1).
func ResumptionPSKFrom(h Hash, resumptionMainSecret *Secret, nonce []byte) Secret {
	psk := Secret{n: uint8(h.Size())}
	expandLabel(h, psk.b[:psk.n], resumptionMainSecret.Bytes(), "resumption", nonce)
	return psk
}

// Exporter makes keying material for applications (RFC 9846, section 7.5).
type Exporter struct {
	redact.Value
	h      Hash
	secret Secret
}

// NewExporter returns the exporter with a secret that was taken from another one
// by [Exporter.Secret], of which it keeps a copy.
func NewExporter(h Hash, secret *Secret) *Exporter {
	return &Exporter{h: h, secret: *secret}
}

var errExportLength = errors.New("tls: too much keying material asked for")

// Export returns n bytes of keying material bound to label and context.
func (e *Exporter) Export(label string, context []byte, n int) ([]byte, error) {
	if n < 0 || n > 255*e.h.Size() {
		return nil, errExportLength
	}
	if len("tls13 ")+len(label) > 255 {
		return nil, errors.New("tls: exporter label too long")
	}
	secret := deriveSecret(e.h, &e.secret, label, e.h.emptySum())
	defer secret.Wipe()
	out := make([]byte, n)
	var sum [MaxSecretLen]byte
	expandLabel(e.h, out, secret.Bytes(), "exporter", e.h.appendSum(sum[:0], context))
	return out, nil
}

// Secret returns the exporter's secret, which key logs name.
func (e *Exporter) Secret() *Secret { return &e.secret }

// Wipe overwrites the exporter's secret.
func (e *Exporter) Wipe() { e.secret.Wipe() }
