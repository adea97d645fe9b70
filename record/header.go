package record

import (
	"encoding/binary"
	"fmt"

	"github.com/go-handoff/tls/internal/alert"
)

// ContentType says what a record carries (RFC 9846, section 5.1).
type ContentType uint8

// The content types.
const (
	ChangeCipherSpec ContentType = 20
	Alert            ContentType = 21
	Handshake        ContentType = 22
	ApplicationData  ContentType = 23
)

// String returns the RFC's name of t.
func (t ContentType) String() string {
	switch t {
	case ChangeCipherSpec:
		return "change_cipher_spec"
	case Alert:
		return "alert"
	case Handshake:
		return "handshake"
	case ApplicationData:
		return "application_data"
	}
	return fmt.Sprintf("content_type(%d)", uint8(t))
}

func (t ContentType) known() bool { return t >= ChangeCipherSpec && t <= ApplicationData }

// The sizes that bound a record, in bytes: of its header, of its content, and
// of its fragment under TLS 1.3 (RFC 9846, section 5.2) and TLS 1.2 (RFC 5246,
// section 6.2.3).
const (
	HeaderLen       = 5
	MaxPlaintext    = 1 << 14
	MaxCiphertext13 = MaxPlaintext + 256
	MaxCiphertext12 = MaxPlaintext + 2048
)

// wireVersion is the version that every protected record bears, and every
// plaintext one but those of a first ClientHello.
const wireVersion = 0x0303

// Header is the header of a record (RFC 9846, section 5.1).
type Header struct {
	Type    ContentType
	Version uint16
	Length  int // of the fragment that follows
}

// ParseHeader parses and checks the first [HeaderLen] bytes of b. What it
// cannot know is left to [Opener.Need]: the epoch's bound on the length, and
// what a connection may begin with.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, alert.Errorf(alert.DecodeError, "record header of %d bytes", len(b))
	}
	h := Header{
		Type:    ContentType(b[0]),
		Version: binary.BigEndian.Uint16(b[1:]),
		Length:  int(binary.BigEndian.Uint16(b[3:])),
	}
	if !h.Type.known() {
		return h, alert.Errorf(alert.UnexpectedMessage, "record of unknown type %d", b[0])
	}
	// RFC 9846 has the version ignored. Its major part has been 3 since SSL
	// 3.0 and tells TLS from a stream that lost its framing.
	if h.Version>>8 != wireVersion>>8 {
		return h, headerError(alert.ProtocolVersion, b, fmt.Sprintf("record has version %#04x", h.Version))
	}
	return h, nil
}

// putHeader writes the header of rec, whose length is the record's.
func putHeader(rec []byte, typ ContentType, version uint16) {
	rec[0] = byte(typ)
	binary.BigEndian.PutUint16(rec[1:], version)
	binary.BigEndian.PutUint16(rec[3:], uint16(len(rec)-HeaderLen))
}

// HeaderError says that what came in place of a record header is none: the
// peer does not speak TLS, or not any more. It is found with errors.As below
// the error that carries the alert.
type HeaderError struct {
	Msg    string
	Header [HeaderLen]byte
}

func (e *HeaderError) Error() string { return e.Msg }

func headerError(d alert.Description, b []byte, msg string) error {
	return alert.Wrap(d, &HeaderError{Msg: msg, Header: [HeaderLen]byte(b)})
}

// checkFirst refuses peers that do not begin as TLS does, with a handshake
// message or an alert.
func checkFirst(b []byte) error {
	h, err := ParseHeader(b)
	switch {
	case b[0]&0x80 != 0 && b[2] == 1: // length, then CLIENT-HELLO (RFC 5246, appendix E.2)
		return headerError(alert.ProtocolVersion, b, "unsupported SSLv2 handshake received")
	case h.Type != Handshake && h.Type != Alert:
		return headerError(alert.UnexpectedMessage, b, "first record does not look like a TLS handshake")
	}
	return err
}
