package handshake

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

//go:embed testdata/rfc8448-messages.txt
var rfc8448Messages string

// tracedMessage is a handshake message of RFC 8448.
type tracedMessage struct {
	section, sender, name string
	raw                   []byte
}

func tracedMessages(t testing.TB) []tracedMessage {
	var all []tracedMessage
	for line := range strings.Lines(rfc8448Messages) {
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, " "):
			b, err := hex.DecodeString(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			m := &all[len(all)-1]
			m.raw = append(m.raw, b...)
		default:
			f := strings.Fields(line)
			all = append(all, tracedMessage{section: f[0], sender: f[1], name: f[2]})
		}
	}
	return all
}

// traced returns the nth message of that name, from 0.
func traced(t testing.TB, section, sender, name string, nth int) []byte {
	for _, m := range tracedMessages(t) {
		if m.section == section && m.sender == sender && m.name == name {
			if nth == 0 {
				return m.raw
			}
			nth--
		}
	}
	t.Fatalf("no %s %s %s", section, sender, name)
	return nil
}

var tracedParsers = map[string]func([]byte) (wireMessage, error){
	"ClientHello":         parserOf(parseClientHello),
	"ServerHello":         parserOf(parseServerHello),
	"EncryptedExtensions": parserOf(parseEncryptedExtensions),
	"CertificateRequest":  parserOf(parseCertificateRequest13),
	"Certificate":         parserOf(parseCertificate13),
	"CertificateVerify":   parserOf(parseCertificateVerify),
	"Finished":            parserOf(parseFinished),
	"EndOfEarlyData":      parserOf(parseEndOfEarlyData),
	"NewSessionTicket":    parserOf(parseNewSessionTicket13),
}

// TestTracedMessages parses what other stacks sent, and sends the same again:
// not the same bytes, for extensions may come in another order, but the same
// meaning.
func TestTracedMessages(t *testing.T) {
	for _, tr := range tracedMessages(t) {
		if tr.name == "TruncatedClientHello" {
			continue
		}
		name := tr.section + " " + tr.sender + " " + tr.name
		m, err := tracedParsers[tr.name](tr.raw[4:])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		forgetExtensionOrder(m)
		copied, _ := tracedParsers[tr.name](tr.raw[4:])
		again, err := tracedParsers[tr.name](copied.append(nil)[4:])
		if err != nil {
			t.Errorf("%s, marshaled: %v", name, err)
			continue
		}
		forgetExtensionOrder(again)
		if !sameValue(reflect.ValueOf(m), reflect.ValueOf(again)) {
			t.Errorf("%s:\n%+v\nmarshaled:\n%+v", name, m, again)
		}
	}
}

// forgetExtensionOrder also forgets the extension that is not implemented.
func forgetExtensionOrder(m wireMessage) {
	sorted := func(exts []uint16) []uint16 {
		return slices.DeleteFunc(slices.Sorted(slices.Values(exts)), func(e uint16) bool {
			return e == extRecordSizeLimit || e == extPadding
		})
	}
	switch m := m.(type) {
	case *clientHello:
		m.extensions = sorted(m.extensions)
	case *serverHello:
		m.extensions = sorted(m.extensions)
	case *encryptedExtensions:
		m.extensions = sorted(m.extensions)
	case *certificateRequest13:
		m.extensions = sorted(m.extensions)
	}
}

func TestTracedClientHello(t *testing.T) {
	m, err := parseClientHello(traced(t, "3", "client", "ClientHello", 0)[4:])
	if err != nil {
		t.Fatal(err)
	}
	want := []uint16{
		extServerName, extRenegotiationInfo, extSupportedGroups, extSessionTicket, extKeyShare,
		extSupportedVersions, extSignatureAlgorithms, extPskKeyExchangeModes, extRecordSizeLimit,
	}
	if !slices.Equal(m.extensions, want) {
		t.Errorf("extensions %v, want %v", m.extensions, want)
	}
	if m.serverName != "server" || m.legacyVersion != 0x0303 || !slices.Equal(m.supportedVersions, []uint16{0x0304}) {
		t.Errorf("name %q, versions %x %x", m.serverName, m.legacyVersion, m.supportedVersions)
	}
	if len(m.keyShares) != 1 || m.keyShares[0].group != X25519 || len(m.keyShares[0].data) != 32 {
		t.Errorf("key shares %+v", m.keyShares)
	}
	if !slices.Equal(m.pskModes, []pskKeyExchangeMode{pskModeDHEKE}) || !m.ticketSupported || !m.secureRenegotiation {
		t.Errorf("%+v", m)
	}
}

func TestTracedResumption(t *testing.T) {
	raw := traced(t, "4", "client", "ClientHello", 0)
	m, err := parseClientHello(raw[4:])
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := parseNewSessionTicket13(traced(t, "3", "server", "NewSessionTicket", 0)[4:])
	if err != nil {
		t.Fatal(err)
	}
	if ticket.lifetime != 30 || ticket.maxEarlyData != 1024 || !bytes.Equal(ticket.nonce, []byte{0, 0}) {
		t.Errorf("ticket %+v", ticket)
	}
	if !m.earlyData || len(m.pskIdentities) != 1 || !bytes.Equal(m.pskIdentities[0].identity, ticket.ticket) {
		t.Errorf("the ticket is not offered: %+v", m)
	}
	prefix := truncateBinders(raw, m)
	if !bytes.Equal(prefix, traced(t, "4", "client", "TruncatedClientHello", 0)) {
		t.Errorf("binders are computed over %x", prefix)
	}
	patched := bytes.Clone(raw)
	clear(patched[len(prefix)+3:])
	patchBinders(patched, m.pskBinders)
	if !bytes.Equal(patched, raw) {
		t.Errorf("patched %x", patched)
	}
	hello, err := parseServerHello(traced(t, "4", "server", "ServerHello", 0)[4:])
	if err != nil || hello.selectedIdentity == nil || *hello.selectedIdentity != 0 || hello.isRetry() {
		t.Errorf("%+v, %v", hello, err)
	}
	ee, err := parseEncryptedExtensions(traced(t, "4", "server", "EncryptedExtensions", 0)[4:])
	if err != nil || !ee.earlyData {
		t.Errorf("%+v, %v", ee, err)
	}
}

func TestTracedRetry(t *testing.T) {
	retry, err := parseServerHello(traced(t, "5", "server", "ServerHello", 0)[4:])
	if err != nil {
		t.Fatal(err)
	}
	if !retry.isRetry() || retry.selectedGroup != Secp256r1 || retry.keyShare != nil || len(retry.cookie) == 0 {
		t.Errorf("%+v", retry)
	}
	again, err := parseClientHello(traced(t, "5", "client", "ClientHello", 1)[4:])
	if err != nil || !bytes.Equal(again.cookie, retry.cookie) || again.keyShares[0].group != Secp256r1 {
		t.Errorf("%+v, %v", again, err)
	}
	hello, err := parseServerHello(traced(t, "5", "server", "ServerHello", 1)[4:])
	if err != nil || hello.isRetry() || hello.keyShare == nil || hello.selectedGroup != 0 {
		t.Errorf("%+v, %v", hello, err)
	}
}

// TestTracedSignatures verifies the CertificateVerify messages of sections 3
// and 6: by an RSA key, by an ECDSA key, and by a client.
func TestTracedSignatures(t *testing.T) {
	for _, tt := range []struct {
		section, context string
		before           [][]byte // the messages up to the Certificate
		verify           []byte
	}{
		{"3", serverSignatureContext, serverFlight(t, "3", "EncryptedExtensions", "Certificate"), traced(t, "3", "server", "CertificateVerify", 0)},
		{
			"6", serverSignatureContext, serverFlight(t, "6", "EncryptedExtensions", "CertificateRequest", "Certificate"),
			traced(t, "6", "server", "CertificateVerify", 0),
		},
		{
			"6", clientSignatureContext, append(
				serverFlight(t, "6", "EncryptedExtensions", "CertificateRequest", "Certificate", "CertificateVerify", "Finished"),
				traced(t, "6", "client", "Certificate", 0)),
			traced(t, "6", "client", "CertificateVerify", 0),
		},
	} {
		hash := sha256.Sum256(slices.Concat(tt.before...))
		cert, err := parseCertificate13(tt.before[len(tt.before)-1][4:])
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(cert.entries[0].data)
		if err != nil {
			t.Fatal(err)
		}
		cv, err := parseCertificateVerify(tt.verify[4:])
		if err != nil {
			t.Fatal(err)
		}
		if !schemeFits(keyschedule.VersionTLS13, leaf.PublicKey, cv.scheme) {
			t.Errorf("section %s: %v does not fit", tt.section, cv.scheme)
		}
		if err := verify(leaf.PublicKey, cv.scheme, signedContent13(tt.context, hash[:]), cv.signature); err != nil {
			t.Errorf("section %s: %v", tt.section, err)
		}
	}
}

// serverFlight returns both hellos and the server's messages named.
func serverFlight(t *testing.T, section string, names ...string) [][]byte {
	all := [][]byte{traced(t, section, "client", "ClientHello", 0), traced(t, section, "server", "ServerHello", 0)}
	for _, name := range names {
		all = append(all, traced(t, section, "server", name, 0))
	}
	return all
}
