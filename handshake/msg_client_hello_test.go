package handshake

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
)

// minimalHello is a ClientHello of TLS 1.2 without extensions.
func minimalHello() *clientHello {
	return &clientHello{legacyVersion: 0x0303, cipherSuites: []uint16{0xc02f}, compressionMethods: []byte{0}}
}

func TestClientHelloWithoutExtensions(t *testing.T) {
	raw := minimalHello().append(nil)
	body := raw[4 : len(raw)-2] // without the empty block
	m, err := parseClientHello(body)
	if err != nil || len(m.extensions) != 0 {
		t.Fatalf("%+v, %v", m, err)
	}
}

func TestClientHelloRules(t *testing.T) {
	psk := []pskIdentity{{identity: []byte("id")}}
	binder := bytes.Repeat([]byte{1}, 32)
	for _, tt := range []struct {
		name   string
		change func(m *clientHello)
		want   alert.Description
	}{
		{"two shares for a group", func(m *clientHello) {
			m.keyShares = []keyShareEntry{{X25519, []byte{1}}, {Secp256r1, []byte{1}}, {X25519, []byte{2}}}
		}, alert.IllegalParameter},
		{"compression listed twice", func(m *clientHello) {
			m.compressCertificate = []certCompressionAlg{certCompressionZlib, certCompressionZlib}
		}, alert.IllegalParameter},
		{"more identities than binders", func(m *clientHello) {
			m.pskIdentities = slices.Concat(psk, psk)
			m.pskBinders = [][]byte{binder}
		}, alert.IllegalParameter},
		{"more binders than identities", func(m *clientHello) {
			m.pskIdentities, m.pskBinders = psk, [][]byte{binder, binder}
		}, alert.IllegalParameter},
		{"no binders", func(m *clientHello) { m.pskIdentities = psk }, alert.DecodeError},
		{"empty identity", func(m *clientHello) {
			m.pskIdentities, m.pskBinders = []pskIdentity{{}, psk[0]}, [][]byte{binder, binder}
		}, alert.DecodeError},
		{"no groups", func(m *clientHello) { m.supportedGroups = []NamedGroup{} }, alert.DecodeError},
		{"no signature schemes", func(m *clientHello) { m.signatureSchemes = []SignatureScheme{} }, alert.DecodeError},
		{"no versions", func(m *clientHello) { m.supportedVersions = []uint16{} }, alert.DecodeError},
		{"no compression algorithm", func(m *clientHello) { m.compressCertificate = []certCompressionAlg{} }, alert.DecodeError},
		{"no certificate authorities", func(m *clientHello) { m.certificateAuthorities = [][]byte{} }, alert.DecodeError},
		{"empty certificate authority", func(m *clientHello) { m.certificateAuthorities = [][]byte{{1}, {}} }, alert.DecodeError},
		{"no PSK modes", func(m *clientHello) { m.pskModes = []pskKeyExchangeMode{} }, alert.DecodeError},
		{"no point formats", func(m *clientHello) { m.pointFormats = []uint8{} }, alert.DecodeError},
		{"empty cookie", func(m *clientHello) { m.cookie = []byte{} }, alert.DecodeError},
		{"empty protocol name", func(m *clientHello) { m.alpn = []string{"h2", ""} }, alert.DecodeError},
		{"empty key share", func(m *clientHello) { m.keyShares = []keyShareEntry{{X25519, nil}} }, alert.DecodeError},
		{"NUL in the server name", func(m *clientHello) { m.serverName = "a\x00b" }, alert.DecodeError},
		{"long server name", func(m *clientHello) { m.serverName = strings.Repeat("a", 256) }, alert.DecodeError},
		{"long session ID", func(m *clientHello) { m.sessionID = make([]byte, 33) }, alert.DecodeError},
		{"no cipher suites", func(m *clientHello) { m.cipherSuites = nil }, alert.DecodeError},
		{"no compression methods", func(m *clientHello) { m.compressionMethods = nil }, alert.DecodeError},
	} {
		m := minimalHello()
		tt.change(m)
		_, err := parseClientHello(m.append(nil)[4:])
		wantAlert(t, tt.name, err, tt.want)
	}
}

func helloWith(exts ...[]byte) []byte {
	raw := minimalHello().append(nil)
	return append(raw[4:len(raw)-2:len(raw)-2], block(exts...)...)
}

func TestPreSharedKeyMustBeLast(t *testing.T) {
	m := minimalHello()
	m.pskIdentities = []pskIdentity{{identity: []byte("id")}}
	m.pskBinders = [][]byte{make([]byte, 32)}
	raw := m.append(nil)
	psk := raw[len(m.append(nil))-(4+2+2+2+4+2+33):]
	if _, err := parseClientHello(helloWith(extension(extSCT), psk)); err != nil {
		t.Fatal(err)
	}
	_, err := parseClientHello(helloWith(psk, extension(extSCT)))
	wantAlert(t, "pre_shared_key first", err, alert.IllegalParameter)
	_, err = parseClientHello(helloWith(psk, extension(0x4a4a)))
	wantAlert(t, "pre_shared_key before an unknown one", err, alert.IllegalParameter)
}

func TestServerNameForms(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []byte
		want string // "" if it must be refused
	}{
		{"one name", []byte{0, 4, 0, 0, 1, 'a'}, "a"},
		{"two names", []byte{0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b'}, ""},
		{"other type", []byte{0, 4, 1, 0, 1, 'a'}, ""},
		{"empty list", []byte{0, 0}, ""},
		{"empty extension", nil, ""},
	} {
		m, err := parseClientHello(helloWith(extension(extServerName, tt.data...)))
		if tt.want == "" {
			wantAlert(t, tt.name, err, alert.DecodeError)
		} else if err != nil || m.serverName != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, m, err)
		}
	}
}

func TestStatusRequestForms(t *testing.T) {
	for _, tt := range []struct {
		name    string
		data    []byte
		ok, set bool
	}{
		{"plain", []byte{1, 0, 0, 0, 0}, true, true},
		{"with responder and extensions", []byte{1, 0, 3, 0, 1, 9, 0, 1, 7}, true, true},
		{"other type", []byte{2, 9, 9}, true, false},
		{"empty", nil, false, false},
		{"trailing byte", []byte{1, 0, 0, 0, 0, 0}, false, false},
	} {
		m, err := parseClientHello(helloWith(extension(extStatusRequest, tt.data...)))
		if !tt.ok {
			wantAlert(t, tt.name, err, alert.DecodeError)
		} else if err != nil || m.ocspStapling != tt.set {
			t.Errorf("%s: %+v, %v", tt.name, m, err)
		}
	}
}

func TestSignalingCipherSuite(t *testing.T) {
	m := minimalHello()
	m.cipherSuites = append(m.cipherSuites, emptyRenegotiationInfoSCSV)
	got, err := parseClientHello(m.append(nil)[4:])
	if err != nil || !got.secureRenegotiation || got.has(extRenegotiationInfo) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEmptyKeyShareIsAnOffer(t *testing.T) {
	m := minimalHello()
	m.keyShares = []keyShareEntry{}
	got, err := parseClientHello(m.append(nil)[4:])
	if err != nil || !got.has(extKeyShare) || got.keyShares == nil || len(got.keyShares) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPatchBinders(t *testing.T) {
	m := minimalHello()
	m.pskIdentities = []pskIdentity{{identity: []byte("one")}, {identity: []byte("two")}}
	m.pskBinders = [][]byte{make([]byte, 32), make([]byte, 48)}
	raw := m.append(nil)
	prefix := bytes.Clone(truncateBinders(raw, m))
	m.pskBinders = [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 48)}
	patchBinders(raw, m.pskBinders)
	if want := m.append(nil); !bytes.Equal(raw, want) {
		t.Errorf("patched %x\nwant %x", raw, want)
	}
	if !bytes.Equal(raw[:len(prefix)], prefix) {
		t.Errorf("the part before the binders changed: %x, was %x", raw[:len(prefix)], prefix)
	}
	if want := len(raw) - 2 - 33 - 49; len(prefix) != want {
		t.Errorf("prefix has %d bytes, want %d", len(prefix), want)
	}
}
