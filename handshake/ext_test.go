package handshake

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// rfc9846Extensions is the table of RFC 9846, section 4.3, line by line.
const rfc9846Extensions = `
server_name                              CH EE CR
status_request                           CH CR CT
supported_groups                         CH EE
signature_algorithms                     CH CR
use_srtp                                 CH EE
heartbeat                                CH EE
application_layer_protocol_negotiation   CH EE
client_certificate_type                  CH EE
server_certificate_type                  CH EE
padding                                  CH
compress_certificate                     CH CR
record_size_limit                        CH EE
delegated_credential                     CH CR CT
supported_ekt_ciphers                    CH EE
pre_shared_key                           CH SH
early_data                               CH EE NST
supported_versions                       CH SH HRR
cookie                                   CH HRR
psk_key_exchange_modes                   CH
certificate_authorities                  CH CR
oid_filters                              CR
post_handshake_auth                      CH
signature_algorithms_cert                CH CR
key_share                                CH SH HRR
transparency_info                        CH CR CT
external_id_hash                         CH EE
external_session_id                      CH EE
quic_transport_parameters                CH EE
ticket_request                           CH EE
ech_outer_extensions                     CH
encrypted_client_hello                   CH HRR EE
`

// notInRFC9846 are the extensions of TLS 1.2, and the one for certificate
// transparency, whose line stands in the registry only.
const notInRFC9846 = `
ec_point_formats                         CH
extended_master_secret                   CH
session_ticket                           CH
renegotiation_info                       CH
signed_certificate_timestamp             CH CR CT
`

// extensionValues are the values that the RFC gives the names.
var extensionValues = map[string]uint16{
	"server_name": 0, "status_request": 5, "supported_groups": 10, "ec_point_formats": 11, "signature_algorithms": 13,
	"use_srtp": 14, "heartbeat": 15, "application_layer_protocol_negotiation": 16, "signed_certificate_timestamp": 18,
	"client_certificate_type": 19, "server_certificate_type": 20, "padding": 21, "extended_master_secret": 23,
	"compress_certificate": 27, "record_size_limit": 28, "delegated_credential": 34, "session_ticket": 35,
	"supported_ekt_ciphers": 39, "pre_shared_key": 41, "early_data": 42, "supported_versions": 43, "cookie": 44,
	"psk_key_exchange_modes": 45, "certificate_authorities": 47, "oid_filters": 48, "post_handshake_auth": 49,
	"signature_algorithms_cert": 50, "key_share": 51, "transparency_info": 52, "external_id_hash": 55,
	"external_session_id": 56, "quic_transport_parameters": 57, "ticket_request": 58, "ech_outer_extensions": 64768,
	"encrypted_client_hello": 65037, "renegotiation_info": 65281,
}

var contextNames = map[string]extContext{
	"CH": inClientHello, "SH": inServerHello13, "HRR": inHelloRetryRequest, "EE": inEncryptedExtensions,
	"CT": inCertificate, "CR": inCertificateRequest, "NST": inNewSessionTicket,
}

func TestExtensionTable(t *testing.T) {
	want := map[string]extContext{}
	for line := range strings.Lines(strings.TrimSpace(rfc9846Extensions) + "\n" + strings.TrimSpace(notInRFC9846)) {
		fields := strings.Fields(line)
		for _, c := range fields[1:] {
			want[fields[0]] |= contextNames[c]
		}
	}
	for _, spec := range extensions {
		if got := spec.in &^ inServerHello12; got != want[spec.name] {
			t.Errorf("%s: contexts %b, want %b", spec.name, got, want[spec.name])
		}
		if v, ok := extensionValues[spec.name]; !ok || v != spec.ext {
			t.Errorf("%s has value %d, want %d", spec.name, spec.ext, v)
		}
		delete(want, spec.name)
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
}

func TestServerHello12Extensions(t *testing.T) {
	want := []string{
		"server_name", "status_request", "supported_groups", "ec_point_formats", "application_layer_protocol_negotiation",
		"signed_certificate_timestamp", "client_certificate_type", "server_certificate_type", "extended_master_secret", "session_ticket", "renegotiation_info",
	}
	var got []string
	for _, spec := range extensions {
		if spec.in&inServerHello12 != 0 {
			got = append(got, spec.name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCheckExtensions(t *testing.T) {
	const unknown = 0x4a4a
	all := func(uint16) bool { return true }
	none := func(uint16) bool { return false }
	ok := alert.Description(255)
	for _, tt := range []struct {
		name    string
		where   extContext
		ext     uint16
		offered func(uint16) bool
		want    alert.Description
	}{
		{"answer to an offer", inEncryptedExtensions, extALPN, all, ok},
		{"answer without an offer", inEncryptedExtensions, extALPN, none, alert.UnsupportedExtension},
		{"answer in the wrong message", inServerHello13, extALPN, all, alert.IllegalParameter},
		{"key_share in EncryptedExtensions", inEncryptedExtensions, extKeyShare, all, alert.IllegalParameter},
		{"unknown answer", inServerHello13, unknown, none, alert.UnsupportedExtension},
		{"unknown answer that was offered", inServerHello12, unknown, all, alert.UnsupportedExtension},
		{"unsolicited in TLS 1.2", inServerHello12, extSessionTicket, none, alert.UnsupportedExtension},
		{"TLS 1.3 answer in TLS 1.2", inServerHello12, extKeyShare, all, alert.IllegalParameter},
		{"TLS 1.2 answer in TLS 1.3", inServerHello13, extExtendedMasterSecret, all, alert.IllegalParameter},
		{"echoed groups in TLS 1.2", inServerHello12, extSupportedGroups, all, ok},
		{"cookie", inHelloRetryRequest, extCookie, none, ok},
		{"cookie in ServerHello", inServerHello13, extCookie, none, alert.UnsupportedExtension},
		{"unsolicited in HelloRetryRequest", inHelloRetryRequest, extKeyShare, none, alert.UnsupportedExtension},
		{"misplaced in HelloRetryRequest", inHelloRetryRequest, extPreSharedKey, all, alert.IllegalParameter},
		{"unsolicited staple", inCertificate, extStatusRequest, none, alert.UnsupportedExtension},
		{"misplaced in Certificate", inCertificate, extServerName, all, alert.IllegalParameter},
		{"unknown in CertificateRequest", inCertificateRequest, unknown, nil, ok},
		{"oid_filters", inCertificateRequest, extOIDFilters, nil, ok},
		{"misplaced in CertificateRequest", inCertificateRequest, extKeyShare, nil, alert.IllegalParameter},
		{"unknown in NewSessionTicket", inNewSessionTicket, unknown, nil, ok},
		{"misplaced in NewSessionTicket", inNewSessionTicket, extCookie, nil, alert.IllegalParameter},
		{"unknown in ClientHello", inClientHello, unknown, nil, ok},
		{"misplaced in ClientHello", inClientHello, extOIDFilters, nil, alert.IllegalParameter},
	} {
		err := checkExtensions(tt.where, []uint16{tt.ext}, tt.offered)
		if tt.want == ok {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		wantAlert(t, tt.name, err, tt.want)
	}
}

func wantAlert(t *testing.T, what string, err error, want alert.Description) {
	t.Helper()
	var e *alert.Error
	if !errors.As(err, &e) || e.Description != want {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// block makes an extension block.
func block(exts ...[]byte) []byte {
	b := slices.Concat(exts...)
	return slices.Concat(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b)
}

func extension(ext uint16, data ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, ext)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func TestDuplicateExtensions(t *testing.T) {
	hello := func(rest ...byte) []byte {
		b := append([]byte{3, 3}, make([]byte, 32)...)
		return append(append(b, 0), rest...)
	}
	client := func(exts ...[]byte) error {
		_, err := parseClientHello(append(hello(0, 2, 0x13, 1, 1, 0), block(exts...)...))
		return err
	}
	server := func(exts ...[]byte) error {
		_, err := parseServerHello(append(hello(0x13, 1, 0), block(exts...)...))
		return err
	}
	ems, unknown, other := extension(extExtendedMasterSecret), extension(0x4a4a, 1), extension(0x5a5a, 2)
	if err := client(ems, unknown, other); err != nil {
		t.Errorf("ClientHello: %v", err)
	}
	wantAlert(t, "ClientHello", client(ems, unknown, ems), alert.IllegalParameter)
	wantAlert(t, "ClientHello, unknown", client(unknown, ems, unknown), alert.DecodeError)
	wantAlert(t, "ServerHello", server(ems, other, ems), alert.IllegalParameter)
	wantAlert(t, "ServerHello, unknown", server(other, other), alert.DecodeError)
}

func TestDuplicate(t *testing.T) {
	for _, tt := range []struct {
		in    []uint16
		v     uint16
		twice bool
	}{
		{nil, 0, false},
		{[]uint16{1}, 0, false},
		{[]uint16{2, 1}, 0, false},
		{[]uint16{1, 1}, 1, true},
		{[]uint16{7, 3, 9, 7}, 7, true},
	} {
		if v, twice := duplicate(tt.in); v != tt.v || twice != tt.twice {
			t.Errorf("duplicate(%v) = %v, %v", tt.in, v, twice)
		}
	}
}
