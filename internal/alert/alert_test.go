package alert

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestNames compares with crypto/tls, which has the same numbers, and says of
// those that it knows none of that they are an alert.
func TestNames(t *testing.T) {
	// Where crypto/tls says it in other words.
	other := map[Description]string{
		CloseNotify:                  "close notify",
		BadRecordMAC:                 "bad record MAC",
		BadCertificate:               "bad certificate",
		UnknownCA:                    "unknown certificate authority",
		DecodeError:                  "error decoding message",
		DecryptError:                 "error decrypting message",
		ProtocolVersion:              "protocol version not supported",
		InsufficientSecurity:         "insufficient security level",
		CertificateUnknown:           "unknown certificate",
		CertificateRevoked:           "revoked certificate",
		CertificateExpired:           "expired certificate",
		UnrecognizedName:             "unrecognized name",
		BadCertificateStatusResponse: "bad certificate status response",
		UnknownPSKIdentity:           "unknown PSK identity",
		CertificateRequired:          "certificate required",
		NoApplicationProtocol:        "no application protocol",
		ECHRequired:                  "encrypted client hello required",
		NoRenegotiation:              "no renegotiation",
		UserCanceled:                 "user canceled",
		GeneralError:                 "", // RFC 9846 added it
	}
	for i := range 256 {
		d := Description(i)
		std, known := strings.CutPrefix(tls.AlertError(i).Error(), "tls: ")
		if !known {
			t.Fatalf("crypto/tls calls %d %q", i, std)
		}
		name, listed := names[d]
		want := strings.ReplaceAll(name, "_", " ")
		if words, ok := other[d]; ok {
			want = words
		}
		switch {
		case !listed:
			if want := fmt.Sprintf("alert(%d)", i); d.String() != want {
				t.Errorf("%d is called %q, want %q", i, d, want)
			}
		case d.String() != name:
			t.Errorf("%d is called %q, want %q", i, d, name)
		case want != "" && std != want:
			t.Errorf("crypto/tls calls %v %q, want %q", d, std, want)
		}
	}
}

func TestErrors(t *testing.T) {
	owed := Errorf(DecodeError, "short %s: %w", "message", io.ErrUnexpectedEOF)
	tests := []struct {
		name  string
		err   error
		text  string
		cause error
		want  Description
	}{
		{"Errorf", owed, "tls: short message: unexpected EOF", io.ErrUnexpectedEOF, DecodeError},
		{"close_notify, which is zero", Errorf(CloseNotify, "done"), "tls: done", nil, CloseNotify},
		{"Wrap", Wrap(RecordOverflow, io.EOF), "tls: EOF", io.EOF, RecordOverflow},
		{"Wrap of one that has an alert", Wrap(RecordOverflow, owed), "tls: short message: unexpected EOF", io.ErrUnexpectedEOF, DecodeError},
		{"wrapped by somebody else", fmt.Errorf("reading: %w", owed), "reading: tls: short message: unexpected EOF", io.ErrUnexpectedEOF, DecodeError},
		{"Wrap of what has one within", Wrap(HandshakeFailure, fmt.Errorf("x: %w", owed)), "tls: x: tls: short message: unexpected EOF", owed, HandshakeFailure},
		{"joined", errors.Join(io.EOF, owed), "EOF\ntls: short message: unexpected EOF", io.EOF, DecodeError},
		{"no alert", io.EOF, "EOF", io.EOF, InternalError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.err.Error(); got != test.text {
				t.Errorf("text %q, want %q", got, test.text)
			}
			if test.cause != nil && !errors.Is(test.err, test.cause) {
				t.Errorf("%v is not in it", test.cause)
			}
			if got := Of(test.err); got != test.want {
				t.Errorf("alert %v, want %v", got, test.want)
			}
		})
	}
}

func TestWrapNil(t *testing.T) {
	if err := Wrap(DecodeError, nil); err != nil {
		t.Errorf("Wrap of nil: %#v", err)
	}
	if got := Of(nil); got != InternalError {
		t.Errorf("Of(nil): %v", got)
	}
}
