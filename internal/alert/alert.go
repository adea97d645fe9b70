// Package alert holds TLS alert descriptions and the one error type that
// carries them (RFC 9846, section 6).
//
// Every protocol error in this module is built by [Errorf], so that the alert
// to send is decided where the mistake is seen. Note that close_notify is
// zero: "zero means no error" does not hold for descriptions, therefore
// functions return error and never a bare [Description].
package alert

import (
	"errors"
	"fmt"
)

// Description is an AlertDescription of RFC 9846, section 6.
type Description uint8

// The alert descriptions in the order of their values.
const (
	CloseNotify                  Description = 0
	UnexpectedMessage            Description = 10
	BadRecordMAC                 Description = 20
	RecordOverflow               Description = 22
	HandshakeFailure             Description = 40
	BadCertificate               Description = 42
	UnsupportedCertificate       Description = 43
	CertificateRevoked           Description = 44
	CertificateExpired           Description = 45
	CertificateUnknown           Description = 46
	IllegalParameter             Description = 47
	UnknownCA                    Description = 48
	AccessDenied                 Description = 49
	DecodeError                  Description = 50
	DecryptError                 Description = 51
	ProtocolVersion              Description = 70
	InsufficientSecurity         Description = 71
	InternalError                Description = 80
	InappropriateFallback        Description = 86
	UserCanceled                 Description = 90
	NoRenegotiation              Description = 100
	MissingExtension             Description = 109
	UnsupportedExtension         Description = 110
	UnrecognizedName             Description = 112
	BadCertificateStatusResponse Description = 113
	UnknownPSKIdentity           Description = 115
	CertificateRequired          Description = 116
	GeneralError                 Description = 117
	NoApplicationProtocol        Description = 120
	ECHRequired                  Description = 121
)

var names = map[Description]string{
	CloseNotify:                  "close_notify",
	UnexpectedMessage:            "unexpected_message",
	BadRecordMAC:                 "bad_record_mac",
	RecordOverflow:               "record_overflow",
	HandshakeFailure:             "handshake_failure",
	BadCertificate:               "bad_certificate",
	UnsupportedCertificate:       "unsupported_certificate",
	CertificateRevoked:           "certificate_revoked",
	CertificateExpired:           "certificate_expired",
	CertificateUnknown:           "certificate_unknown",
	IllegalParameter:             "illegal_parameter",
	UnknownCA:                    "unknown_ca",
	AccessDenied:                 "access_denied",
	DecodeError:                  "decode_error",
	DecryptError:                 "decrypt_error",
	ProtocolVersion:              "protocol_version",
	InsufficientSecurity:         "insufficient_security",
	InternalError:                "internal_error",
	InappropriateFallback:        "inappropriate_fallback",
	UserCanceled:                 "user_canceled",
	NoRenegotiation:              "no_renegotiation",
	MissingExtension:             "missing_extension",
	UnsupportedExtension:         "unsupported_extension",
	UnrecognizedName:             "unrecognized_name",
	BadCertificateStatusResponse: "bad_certificate_status_response",
	UnknownPSKIdentity:           "unknown_psk_identity",
	CertificateRequired:          "certificate_required",
	GeneralError:                 "general_error",
	NoApplicationProtocol:        "no_application_protocol",
	ECHRequired:                  "ech_required",
}

// String returns the RFC's name of d.
func (d Description) String() string {
	if s, ok := names[d]; ok {
		return s
	}
	return fmt.Sprintf("alert(%d)", uint8(d))
}

// Error is a protocol error together with the alert that the peer is owed.
type Error struct {
	Description Description
	err         error
}

// Errorf returns an error that carries d. The format may use %w.
func Errorf(d Description, format string, args ...any) error {
	return &Error{Description: d, err: fmt.Errorf(format, args...)}
}

// Wrap returns err as an error that carries d, unless it is an [Error] itself.
// One further down in err's chain does not count: it may be of another
// connection, which a callback has used. It returns nil for a nil err.
func Wrap(d Description, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // see above
		return e
	}
	return &Error{Description: d, err: err}
}

func (e *Error) Error() string { return "tls: " + e.err.Error() }

// Unwrap returns the cause, without the alert.
func (e *Error) Unwrap() error { return e.err }

// Of returns the alert that err carries, or internal_error if it carries none.
func Of(err error) Description {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Description
	}
	return InternalError
}
