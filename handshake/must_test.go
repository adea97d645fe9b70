package handshake

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// The tests below have one peer do, one at a time, what RFC 9846 forbids it, and
// look at what ours sends. conformance/requirements names the sentences.

// twoGroups is a client's config with a share for X25519 and none for P-256.
func twoGroups() *Config {
	cfg := clientTestConfig()
	cfg.Groups = []NamedGroup{X25519, Secp256r1}
	return cfg
}

// shareOf makes somebody's share for g.
func shareOf(t *testing.T, g NamedGroup) *keyShareEntry {
	t.Helper()
	key, err := DefaultProvider().KeyExchange(g).Generate(testConfig().Rand)
	if err != nil {
		t.Fatal(err)
	}
	return &keyShareEntry{group: g, data: key.Share()}
}

// answerTo is a good ServerHello for the hello of a client of twoGroups.
func answerTo(t *testing.T, hello *clientHello) *serverHello {
	t.Helper()
	return &serverHello{
		legacyVersion: versionTLS12, random: [32]byte{1}, sessionID: hello.sessionID, cipherSuite: 0x1301,
		supportedVersion: versionTLS13, keyShare: shareOf(t, X25519),
	}
}

// retryOf is a good HelloRetryRequest for the same.
func retryOf(hello *clientHello) *serverHello {
	return &serverHello{
		legacyVersion: versionTLS12, random: helloRetryRandom, sessionID: hello.sessionID, cipherSuite: 0x1301,
		supportedVersion: versionTLS13, selectedGroup: Secp256r1,
	}
}

// inTLS12 makes a good ServerHello one of TLS 1.2.
func inTLS12(m *serverHello) {
	m.supportedVersion, m.keyShare, m.sessionID, m.cipherSuite = 0, nil, nil, 0xc02b
}

// endWith makes the last bytes of a random.
func endWith(sentinel [8]byte) [32]byte {
	var random [32]byte
	copy(random[24:], sentinel[:])
	return random
}

func TestServerHelloRules(t *testing.T) {
	first := uint16(0)
	for _, tt := range []struct {
		name   string
		change func(*serverHello)
		want   alert.Description
	}{
		{"good", func(*serverHello) {}, unfailing},
		{"legacy_version 0x0304", func(m *serverHello) { m.legacyVersion = 0x0304 }, alert.ProtocolVersion},
		{"legacy_version 0x0302", func(m *serverHello) { m.legacyVersion = 0x0302 }, alert.ProtocolVersion},
		{"other session ID", func(m *serverHello) { m.sessionID = make([]byte, 32) }, alert.IllegalParameter},
		{"no session ID", func(m *serverHello) { m.sessionID = nil }, alert.IllegalParameter},
		{"suite not offered", func(m *serverHello) { m.cipherSuite = 0x1304 }, alert.IllegalParameter},
		{"suite of TLS 1.2", func(m *serverHello) { m.cipherSuite = 0xc02b }, alert.IllegalParameter},
		{"compression", func(m *serverHello) { m.compressionMethod = 1 }, alert.IllegalParameter},
		{"version not offered", func(m *serverHello) { m.supportedVersion = 0x0305 }, alert.IllegalParameter},
		{"TLS 1.2 in supported_versions", func(m *serverHello) { m.supportedVersion = versionTLS12 }, alert.IllegalParameter},
		{"no key_share", func(m *serverHello) { m.keyShare = nil }, alert.MissingExtension},
		{"group without a share", func(m *serverHello) { m.keyShare.group = Secp256r1 }, alert.IllegalParameter},
		{"group not offered", func(m *serverHello) { m.keyShare.group = Secp521r1 }, alert.IllegalParameter},
		{"pre_shared_key not offered", func(m *serverHello) { m.selectedIdentity = &first }, alert.UnsupportedExtension},
		{"cookie", func(m *serverHello) { m.cookie = []byte{1} }, alert.UnsupportedExtension},
		{"TLS 1.2", inTLS12, unfailing},
		{"TLS 1.2 by one who has TLS 1.3", func(m *serverHello) { inTLS12(m); m.random = endWith(downgradeTLS12) }, alert.IllegalParameter},
		{"TLS 1.2, sentinel of TLS 1.1", func(m *serverHello) { inTLS12(m); m.random = endWith(downgradeTLS11) }, alert.IllegalParameter},
		{"TLS 1.1", func(m *serverHello) { inTLS12(m); m.legacyVersion = 0x0302 }, alert.ProtocolVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, hello := startClient(t, twoGroups())
			m := answerTo(t, hello)
			tt.change(m)
			wantOutcome(t, c.Handle(LevelInitial, m.append(nil)), tt.want)
		})
	}
}

// TestSelectedPSKRules has a server select a pre-shared key wrongly.
func TestSelectedPSKRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*serverHello)
		want   alert.Description
	}{
		{"good", func(*serverHello) {}, unfailing},
		{"out of range", func(m *serverHello) { *m.selectedIdentity = 1 }, alert.IllegalParameter},
		{"suite of another hash", func(m *serverHello) { m.cipherSuite = 0x1302 }, alert.IllegalParameter},
		{"no key_share", func(m *serverHello) { m.keyShare = nil }, alert.IllegalParameter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := twoGroups()
			cfg.PSKs = pskOf(8)
			c, hello := startClient(t, cfg)
			m := answerTo(t, hello)
			m.selectedIdentity = new(uint16)
			tt.change(m)
			wantOutcome(t, c.Handle(LevelInitial, m.append(nil)), tt.want)
		})
	}
}

func TestHelloRetryRequestRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*serverHello)
		want   alert.Description
	}{
		{"good", func(*serverHello) {}, unfailing},
		{"legacy_version", func(m *serverHello) { m.legacyVersion = 0x0304 }, alert.ProtocolVersion},
		{"other session ID", func(m *serverHello) { m.sessionID = make([]byte, 32) }, alert.IllegalParameter},
		{"suite not offered", func(m *serverHello) { m.cipherSuite = 0x1304 }, alert.IllegalParameter},
		{"compression", func(m *serverHello) { m.compressionMethod = 1 }, alert.IllegalParameter},
		{"no supported_versions", func(m *serverHello) { m.supportedVersion, m.cipherSuite = 0, 0xc02b }, alert.IllegalParameter},
		{"version not offered", func(m *serverHello) { m.supportedVersion = 0x0305 }, alert.IllegalParameter},
		{"nothing to change", func(m *serverHello) { m.selectedGroup = 0 }, alert.IllegalParameter},
		{"group not offered", func(m *serverHello) { m.selectedGroup = Secp521r1 }, alert.IllegalParameter},
		{"group with a share", func(m *serverHello) { m.selectedGroup = X25519 }, alert.IllegalParameter},
		{"pre_shared_key", func(m *serverHello) { m.selectedIdentity = new(uint16) }, alert.UnsupportedExtension},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, hello := startClient(t, twoGroups())
			m := retryOf(hello)
			tt.change(m)
			wantOutcome(t, c.Handle(LevelInitial, m.append(nil)), tt.want)
		})
	}
}

// TestAfterHelloRetryRequest has a server go back on what its HelloRetryRequest
// has settled.
func TestAfterHelloRetryRequest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(t *testing.T, hello *clientHello) *serverHello
		want   alert.Description
	}{
		{"good", func(t *testing.T, h *clientHello) *serverHello {
			m := answerTo(t, h)
			m.keyShare = shareOf(t, Secp256r1)
			return m
		}, unfailing},
		{"again", func(_ *testing.T, h *clientHello) *serverHello { return retryOf(h) }, alert.UnexpectedMessage},
		{"again, for a cookie", func(_ *testing.T, h *clientHello) *serverHello {
			m := retryOf(h)
			m.selectedGroup, m.cookie = 0, []byte{1}
			return m
		}, alert.UnexpectedMessage},
		{"first group", answerTo, alert.IllegalParameter},
		{"other suite", func(t *testing.T, h *clientHello) *serverHello {
			m := answerTo(t, h)
			m.keyShare, m.cipherSuite = shareOf(t, Secp256r1), 0x1302
			return m
		}, alert.IllegalParameter},
		{"TLS 1.2", func(t *testing.T, h *clientHello) *serverHello {
			m := answerTo(t, h)
			inTLS12(m)
			return m
		}, alert.IllegalParameter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, hello := startClient(t, twoGroups())
			if err := c.Handle(LevelInitial, retryOf(hello).append(nil)); err != nil {
				t.Fatal(err)
			}
			err := c.Handle(LevelInitial, tt.answer(t, lastHello(t, c)).append(nil))
			wantOutcome(t, err, tt.want)
		})
	}
}

// TestSecondClientHello compares a client's second ClientHello with its first.
func TestSecondClientHello(t *testing.T) {
	cfg, _, _ := earlyConfigs(t)
	cfg.Groups = []NamedGroup{X25519, Secp256r1}
	c, first := startClient2(t, cfg)
	if !first.earlyData || first.cookie != nil {
		t.Fatalf("early data %v, cookie %x", first.earlyData, first.cookie)
	}
	retry := retryOf(first)
	retry.cookie = []byte("a cookie")
	retry.cipherSuite = cfg.Session.CipherSuite
	if err := c.Handle(LevelInitial, retry.append(nil)); err != nil {
		t.Fatal(err)
	}
	second := lastHello(t, c)
	if !sameHello(first, second) {
		t.Errorf("other things changed:\n%+v\n%+v", first, second)
	}
	if len(second.keyShares) != 1 || second.keyShares[0].group != Secp256r1 || len(second.keyShares[0].data) != 65 {
		t.Errorf("key shares %v", second.keyShares)
	}
	if second.earlyData || string(second.cookie) != "a cookie" {
		t.Errorf("early data %v, cookie %q", second.earlyData, second.cookie)
	}
	if len(second.pskIdentities) != 1 || bytes.Equal(second.pskBinders[0], first.pskBinders[0]) {
		t.Errorf("%d identities, binder as before", len(second.pskIdentities))
	}
	if _, again := startClient2(t, cfg); again.cookie != nil {
		t.Error("the cookie is used again in another connection")
	}
}

// startClient2 is startClient for one that sends early data, and so more than
// its ClientHello.
func startClient2(t *testing.T, cfg *Config) (*side, *clientHello) {
	t.Helper()
	c := newPair(cfg, testConfig()).client
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.drain()
	m, err := parseClientHello(c.out[0].bytes[messageHeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

// TestClientHelloToServer changes the ClientHello of a TLS 1.3 client.
func TestClientHelloToServer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*clientHello)
		want   alert.Description
	}{
		{"good", func(*clientHello) {}, unfailing},
		{"legacy_version 0x0302", func(m *clientHello) { m.legacyVersion = 0x0302 }, alert.ProtocolVersion},
		{"legacy_version 0x0304", func(m *clientHello) { m.legacyVersion = 0x0304 }, alert.ProtocolVersion},
		{"compression", func(m *clientHello) { m.compressionMethods = []byte{0, 1} }, alert.IllegalParameter},
		{"other compression", func(m *clientHello) { m.compressionMethods = []byte{1} }, alert.IllegalParameter},
		{"no supported_groups", func(m *clientHello) { m.supportedGroups = nil }, alert.MissingExtension},
		{"no key_share", func(m *clientHello) { m.keyShares = nil }, alert.MissingExtension},
		{"neither", func(m *clientHello) { m.supportedGroups, m.keyShares = nil, nil }, alert.MissingExtension},
		{"no signature_algorithms", func(m *clientHello) { m.signatureSchemes = nil }, alert.MissingExtension},
		{"pre_shared_key alone", func(m *clientHello) {
			m.pskModes, m.pskIdentities, m.pskBinders = nil, []pskIdentity{{identity: []byte("id")}}, [][]byte{make([]byte, 32)}
		}, alert.MissingExtension},
		{"unknown pre_shared_key, no signature_algorithms", func(m *clientHello) {
			m.signatureSchemes, m.pskIdentities, m.pskBinders = nil, []pskIdentity{{identity: []byte("id")}}, [][]byte{make([]byte, 32)}
		}, alert.MissingExtension},
		{"share outside of supported_groups", func(m *clientHello) { m.supportedGroups = []NamedGroup{Secp256r1} }, alert.IllegalParameter},
		{"no group in common", func(m *clientHello) {
			m.supportedGroups, m.keyShares = []NamedGroup{0x0100}, []keyShareEntry{{0x0100, []byte{1}}}
		}, alert.HandshakeFailure},
		{"no suite in common", func(m *clientHello) { m.cipherSuites = []uint16{0x1304} }, alert.HandshakeFailure},
		{"unknown suites too", func(m *clientHello) { m.cipherSuites = append([]uint16{0x1304, 0x00ff}, m.cipherSuites...) }, unfailing},
		{"unknown versions too", func(m *clientHello) { m.supportedVersions = []uint16{0x7f1c, 0x0305, versionTLS13} }, unfailing},
		{"only unknown versions", func(m *clientHello) { m.supportedVersions = []uint16{0x7f1c, 0x0305} }, alert.ProtocolVersion},
		{"only old versions", func(m *clientHello) { m.supportedVersions = []uint16{0x0302, 0x0301} }, alert.ProtocolVersion},
		{"old version without the extension", func(m *clientHello) { m.supportedVersions, m.legacyVersion = nil, 0x0302 }, alert.ProtocolVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, hello := startClient(t, twoGroups())
			tt.change(hello)
			err := NewServer(context.Background(), serverTestConfig(testCerts()["p256"])).Handle(LevelInitial, hello.append(nil))
			wantOutcome(t, err, tt.want)
		})
	}
}

// serverHelloFor returns a server's answer to hello.
func serverHelloFor(t *testing.T, cfg *Config, hello *clientHello) *serverHello {
	t.Helper()
	s := newPair(clientTestConfig(), cfg).server
	if err := s.Handle(LevelInitial, hello.append(nil)); err != nil {
		t.Fatal(err)
	}
	s.drain()
	b := s.out[0].bytes
	n := messageHeaderLen + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
	m, err := parseServerHello(b[messageHeaderLen:n])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestVersionOfServer has clients that say their versions in every way.
func TestVersionOfServer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		legacy  uint16
		listed  []uint16
		version uint16
	}{
		{"TLS 1.3", versionTLS12, []uint16{versionTLS13, versionTLS12}, versionTLS13},
		{"TLS 1.2, listed", versionTLS12, []uint16{versionTLS12}, versionTLS12},
		{"TLS 1.2, listed, another one in front", 0x0301, []uint16{versionTLS12}, versionTLS12},
		{"TLS 1.2", versionTLS12, nil, versionTLS12},
		{"TLS 1.3, not listed", versionTLS13, nil, versionTLS12},
		{"TLS 99, not listed", 0x0363, nil, versionTLS12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, hello := startClient(t, twoGroups())
			hello.legacyVersion, hello.supportedVersions = tt.legacy, tt.listed
			m := serverHelloFor(t, serverTestConfig(testCerts()["p256"]), hello)
			tls13 := tt.version == versionTLS13
			if m.legacyVersion != versionTLS12 || slices.Contains(m.extensions, extSupportedVersions) != tls13 || tls13 != (m.supportedVersion == versionTLS13) {
				t.Errorf("legacy_version %#x, supported_versions %#x", m.legacyVersion, m.supportedVersion)
			}
			if m.random == hello.random {
				t.Error("the server's random is the client's")
			}
			if downgrade := [8]byte(m.random[24:]) == downgradeTLS12; downgrade == tls13 {
				t.Errorf("sentinel of a downgrade: %v", downgrade)
			}
		})
	}
}

// TestServerHelloFields looks at what a TLS 1.3 server answers.
func TestServerHelloFields(t *testing.T) {
	_, hello := startClient(t, twoGroups())
	hello.scts, hello.ocspStapling, hello.serverName = true, true, "server.test"
	cfg := serverTestConfig(testCerts()["p256"])
	m := serverHelloFor(t, cfg, hello)
	if !bytes.Equal(m.sessionID, hello.sessionID) || m.compressionMethod != 0 || !slices.Contains(hello.cipherSuites, m.cipherSuite) {
		t.Errorf("%+v", m)
	}
	if !slices.Equal(m.extensions, []uint16{extKeyShare, extSupportedVersions}) || m.keyShare.group != X25519 {
		t.Errorf("extensions %v, group %v", m.extensions, m.keyShare.group)
	}
	// The same ClientHello again, share included: accepted, and answered with
	// other values.
	again := serverHelloFor(t, cfg, hello)
	if again.random == m.random || bytes.Equal(again.keyShare.data, m.keyShare.data) {
		t.Error("random or key share is used again")
	}
	cfg.MaxVersion = versionTLS12
	if m = serverHelloFor(t, cfg, hello); [8]byte(m.random[24:]) == downgradeTLS12 {
		t.Error("a server without TLS 1.3 says that it has it")
	}
}

// TestSecondClientHelloRules changes the second ClientHello that a server gets.
func TestSecondClientHelloRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*clientHello)
		want   alert.Description
	}{
		{"good", func(*clientHello) {}, unfailing},
		{"random", func(m *clientHello) { m.random[0]++ }, alert.IllegalParameter},
		{"suites", func(m *clientHello) { m.cipherSuites = m.cipherSuites[1:] }, alert.IllegalParameter},
		{"other share", func(m *clientHello) { m.keyShares[0].group = X25519 }, alert.IllegalParameter},
		{"two shares", func(m *clientHello) { m.keyShares = append(m.keyShares, keyShareEntry{X25519, []byte{1}}) }, alert.IllegalParameter},
		{"early data", func(m *clientHello) { m.earlyData = true }, alert.IllegalParameter},
		{"groups", func(m *clientHello) { m.supportedGroups = m.supportedGroups[1:] }, alert.IllegalParameter},
		{"name", func(m *clientHello) { m.serverName = "other.test" }, alert.IllegalParameter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := serverTestConfig(testCerts()["p256"])
			server.Groups = []NamedGroup{Secp256r1}
			p := newPair(twoGroups(), server)
			if err := p.client.Start(); err != nil {
				t.Fatal(err)
			}
			p.client.drain()
			if err := p.server.deliver(p.client, false); err != nil {
				t.Fatal(err)
			}
			if err := p.client.deliver(p.server, false); err != nil {
				t.Fatal(err)
			}
			hello := lastHello(t, p.client)
			tt.change(hello)
			wantOutcome(t, p.server.Handle(LevelInitial, hello.append(nil)), tt.want)
		})
	}
}

// TestClientHelloFields looks at what a client offers.
func TestClientHelloFields(t *testing.T) {
	cfg := clientTestConfig()
	cfg.Groups = []NamedGroup{X25519MLKEM768, X25519, X25519, Secp256r1, X25519MLKEM768}
	cfg.PSKs = pskOf(8)
	_, m := startClient(t, cfg)
	if m.legacyVersion != versionTLS12 || !bytes.Equal(m.compressionMethods, []byte{0}) || len(m.sessionID) != 32 {
		t.Errorf("legacy_version %#x, compression %x, session ID %x", m.legacyVersion, m.compressionMethods, m.sessionID)
	}
	if !slices.Equal(m.supportedVersions, []uint16{versionTLS13, versionTLS12}) {
		t.Errorf("versions %#x", m.supportedVersions)
	}
	if want := []NamedGroup{X25519MLKEM768, X25519, Secp256r1}; !slices.Equal(m.supportedGroups, want) {
		t.Errorf("groups %v, want %v", m.supportedGroups, want)
	}
	if got, want := m.keyShareGroups(), []NamedGroup{X25519MLKEM768, X25519}; !slices.Equal(got, want) {
		t.Fatalf("shares for %v, want %v", got, want)
	}
	if hybrid := m.keyShares[0].data; bytes.Equal(hybrid[len(hybrid)-32:], m.keyShares[1].data) {
		t.Error("the hybrid's share holds the other one")
	}
	if m.extensions[len(m.extensions)-1] != extPreSharedKey || !slices.Equal(m.pskModes, []pskKeyExchangeMode{pskModeDHEKE}) {
		t.Errorf("extensions %v, PSK modes %v", m.extensions, m.pskModes)
	}
	if len(m.signatureSchemes) == 0 || !m.extendedMasterSecret || m.earlyData || m.cookie != nil || m.postHandshakeAuth {
		t.Errorf("%+v", m)
	}
	_, again := startClient(t, cfg)
	for i := range m.keyShares {
		if bytes.Equal(again.keyShares[i].data, m.keyShares[i].data) {
			t.Errorf("share for %v is used again", m.keyShares[i].group)
		}
	}
	if again.random == m.random || bytes.Equal(again.sessionID, m.sessionID) {
		t.Error("random or session ID is used again")
	}
	cfg.MiddleboxCompat = false
	if _, m = startClient(t, cfg); len(m.sessionID) != 0 {
		t.Errorf("session ID %x without compatibility mode", m.sessionID)
	}
	cfg.MinVersion = versionTLS13
	if _, m = startClient(t, cfg); !slices.Equal(m.supportedVersions, []uint16{versionTLS13}) {
		t.Errorf("versions %#x", m.supportedVersions)
	}
}

// onMessage changes one type of message that a side sends.
func onMessage(typ handshakeType, change func(body []byte) []byte) func([]byte) []byte {
	return func(raw []byte) []byte {
		if handshakeType(raw[0]) != typ {
			return raw
		}
		body := change(bytes.Clone(raw[messageHeaderLen:]))
		n := len(body)
		return append([]byte{raw[0], byte(n >> 16), byte(n >> 8), byte(n)}, body...)
	}
}

// TestAuthenticationRules has either side change a message of its
// authentication. The transcript has the message as it was changed, so that
// nothing but the rule refuses it.
func TestAuthenticationRules(t *testing.T) {
	scheme := func(s SignatureScheme) func([]byte) []byte {
		return func(b []byte) []byte { return append([]byte{byte(s >> 8), byte(s)}, b[2:]...) }
	}
	flipLast := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	withContext := func(b []byte) []byte { return append([]byte{1, 7}, b[1:]...) }
	unasked := func(b []byte) []byte {
		m, _ := parseCertificate13(b)
		m.entries[0].data = bytes.Clone(m.entries[0].data)
		raw := m.append(nil)[messageHeaderLen:]
		ext := extension(extTransparencyInfo, 1)
		// The one entry's block of extensions is the last thing and empty.
		raw = append(raw[:len(raw)-2], block(ext)...)
		n := len(raw) - 4
		raw[1], raw[2], raw[3] = byte(n>>16), byte(n>>8), byte(n)
		return raw
	}
	for _, tt := range []struct {
		name   string
		typ    handshakeType
		change func([]byte) []byte
		want   [2]alert.Description // of a server that does it, and of a client
	}{
		{"scheme with SHA-1", typeCertificateVerify, scheme(EcdsaSha1), each(alert.IllegalParameter)},
		{"scheme of another key", typeCertificateVerify, scheme(RsaPssRsaeSha256), each(alert.IllegalParameter)},
		{"scheme of another curve", typeCertificateVerify, scheme(EcdsaSecp384r1Sha384), each(alert.IllegalParameter)},
		{"unknown scheme", typeCertificateVerify, scheme(0x4a4a), each(alert.IllegalParameter)},
		{"wrong signature", typeCertificateVerify, func(b []byte) []byte { b[len(b)-5] ^= 1; return b }, each(alert.DecryptError)},
		{"wrong Finished", typeFinished, flipLast, each(alert.DecryptError)},
		{"short Finished", typeFinished, func(b []byte) []byte { return b[1:] }, each(alert.DecryptError)},
		{"Certificate with a context", typeCertificate, withContext, each(alert.IllegalParameter)},
		{"Certificate with an extension not asked for", typeCertificate, unasked, each(alert.UnsupportedExtension)},
		{"no certificate", typeCertificate, func([]byte) []byte { return make([]byte, 4) }, [2]alert.Description{alert.DecodeError, alert.CertificateRequired}},
		{"CertificateRequest with a context", typeCertificateRequest, withContext, [2]alert.Description{alert.IllegalParameter, unfailing}},
		{"key_share in EncryptedExtensions", typeEncryptedExtensions, func([]byte) []byte { return block(extension(extKeyShare)) }, [2]alert.Description{alert.IllegalParameter, unfailing}},
		{"unasked in EncryptedExtensions", typeEncryptedExtensions, func([]byte) []byte { return block(extension(extHeartbeat, 1)) }, [2]alert.Description{alert.UnsupportedExtension, unfailing}},
	} {
		for i, who := range []string{"server", "client"} {
			t.Run(tt.name+"/"+who, func(t *testing.T) {
				cert := testCerts()["p256"]
				client, server := clientTestConfig(), serverTestConfig(cert)
				server.ClientAuth = RequireClientCert
				client.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) { return cert, nil }
				[]*Config{server, client}[i].rewrite = onMessage(tt.typ, tt.change)
				err := newPair(client, server).run(false)
				wantOutcome(t, err, tt.want[i])
				if other := []string{"client", "server"}[i]; err != nil && !strings.HasPrefix(err.Error(), other) {
					t.Errorf("not the %s has refused it: %v", other, err)
				}
			})
		}
	}
}

// TestTwoRawKeys has a server show two raw public keys, where one is the most.
func TestTwoRawKeys(t *testing.T) {
	cert := *testCerts()["p256"]
	cert.Chain, cert.Leaf, cert.Type = [][]byte{cert.Leaf.RawSubjectPublicKeyInfo}, nil, RawPublicKey
	client, server := clientTestConfig(), serverTestConfig(&cert)
	client.PeerCertificateTypes, server.CertificateTypes = []CertificateType{RawPublicKey}, []CertificateType{RawPublicKey}
	mustRun(t, client, server)
	server.rewrite = onMessage(typeCertificate, func(b []byte) []byte {
		m, err := parseCertificate13(b)
		if err != nil {
			t.Fatal(err)
		}
		m.entries = append(m.entries, m.entries[0])
		return m.append(nil)[messageHeaderLen:]
	})
	wantFatal(t, newPair(client, server).run(false), alert.DecodeError)
}

// TestNoCertificateWithPSK checks that an external pre-shared key is all the
// authentication there is.
func TestNoCertificateWithPSK(t *testing.T) {
	psk := pskOf(8)[0]
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	client.PSKs = []ExternalPSK{psk}
	server.GetPSK = func(context.Context, []byte) (*ExternalPSK, error) { return &psk, nil }
	server.ClientAuth = RequireClientCert
	client.GetClientCertificate = func(context.Context, *CertificateRequestInfo) (*Certificate, error) {
		t.Error("asked for a certificate")
		return &Certificate{}, nil
	}
	var sent []handshakeType
	server.rewrite = func(raw []byte) []byte {
		sent = append(sent, handshakeType(raw[0]))
		return raw
	}
	p := mustRun(t, client, server)
	if len(p.client.State().PeerCertificates) != 0 {
		t.Error("the server showed a certificate")
	}
	if want := []handshakeType{typeServerHello, typeEncryptedExtensions, typeFinished}; !slices.Equal(sent, want) {
		t.Errorf("the server sent %v, want %v", sent, want)
	}
}

// TestPSKAlone: a client that would only take a PSK without a key exchange gets
// neither that nor another mode.
func TestPSKAlone(t *testing.T) {
	psk := pskOf(8)[0]
	client, server := twoGroups(), serverTestConfig(testCerts()["p256"])
	client.PSKs = []ExternalPSK{psk}
	server.GetPSK = func(context.Context, []byte) (*ExternalPSK, error) { return &psk, nil }
	for mode, selected := range map[pskKeyExchangeMode]bool{0: false, pskModeDHEKE: true} {
		_, hello := startClient(t, client)
		hello.pskModes = []pskKeyExchangeMode{mode}
		raw := hello.append(nil)
		p := offeredPSK{kind: keyschedule.ExternalPSK, hash: keyschedule.SHA256, secret: keyschedule.NewSecret(psk.Secret)}
		hello.pskBinders[0] = p.appendBinder(nil, new(keyschedule.Transcript), truncateBinders(raw, hello))
		if m := serverHelloFor(t, server, hello); (m.selectedIdentity != nil) != selected || m.keyShare == nil {
			t.Errorf("mode %d: %+v", mode, m)
		}
	}
}

// TestSessionsWithExtendedMasterSecret: only sessions with it are offered and
// resumed, and only with it (RFC 7627, section 5.3).
func TestSessionsWithExtendedMasterSecret(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	client.MaxVersion = versionTLS12
	tickets := &fakeTickets{}
	server.Tickets = tickets
	client.Session = mustRun(t, client, server).client.sessions[0]
	if !mustRun(t, client, server).client.State().Resumed {
		t.Error("not resumed")
	}
	server.rewrite = func(raw []byte) []byte {
		if m, err := parseServerHello(raw[messageHeaderLen:]); raw[0] == byte(typeServerHello) && err == nil {
			m.extendedMasterSecret = false
			return m.append(nil)
		}
		return raw
	}
	wantFatal(t, newPair(client, server).run(false), alert.HandshakeFailure)
	server.rewrite = nil
	for _, s := range tickets.states {
		s.ExtendedMasterSecret = false
	}
	if mustRun(t, client, server).client.State().Resumed {
		t.Error("a server resumes a session without it")
	}
	client.Session = client.Session.Clone()
	client.Session.ExtendedMasterSecret = false
	if _, m := startClient(t, client); len(m.sessionTicket) > 0 {
		t.Error("a client offers a session without it")
	}
}

// TestTicketFields looks at the tickets of one connection.
func TestTicketFields(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets, server.TicketCount = &fakeTickets{}, 4
	var tickets []*newSessionTicket13
	server.rewrite = onMessage(typeNewSessionTicket, func(b []byte) []byte {
		m, err := parseNewSessionTicket13(b)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, m)
		return b
	})
	mustRun(t, client, server)
	if len(tickets) != 4 {
		t.Fatalf("%d tickets", len(tickets))
	}
	for i, a := range tickets {
		if a.lifetime > 604800 {
			t.Errorf("lifetime of %d seconds", a.lifetime)
		}
		for _, b := range tickets[:i] {
			if a.ageAdd == b.ageAdd || bytes.Equal(a.nonce, b.nonce) {
				t.Errorf("two tickets have ticket_age_add %d and %d, nonces %x and %x", a.ageAdd, b.ageAdd, a.nonce, b.nonce)
			}
		}
	}
}

// TestNoSessionsWanted: a client without sessions passes over tickets.
func TestNoSessionsWanted(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	client.AcceptSessions = false
	server.Tickets = &fakeTickets{}
	if p := mustRun(t, client, server); len(p.client.sessions) > 0 {
		t.Error("session that nobody wants")
	}
}

// TestLongLifetime: whatever a server says, seven days are the most.
func TestLongLifetime(t *testing.T) {
	client, server := clientTestConfig(), serverTestConfig(testCerts()["p256"])
	server.Tickets = &fakeTickets{}
	server.rewrite = onMessage(typeNewSessionTicket, func(b []byte) []byte { return append([]byte{0xff, 0xff, 0xff, 0xff}, b[4:]...) })
	s := mustRun(t, client, server).client.sessions[0]
	if s.Lifetime != maxTicketLifetime {
		t.Errorf("lifetime %v", s.Lifetime)
	}
	if s.Expired(testNow.Add(maxTicketLifetime)) || !s.Expired(testNow.Add(maxTicketLifetime+1)) {
		t.Error("seven days are not the limit")
	}
}

// TestKeyUpdateLimits: a sender stops at its last epoch, and asks once at a time.
func TestKeyUpdateLimits(t *testing.T) {
	p := mustRun(t, clientTestConfig(), serverTestConfig(testCerts()["p256"]))
	requests := func() []byte {
		var list []byte
		p.client.drain()
		for _, r := range p.client.out {
			list = append(list, r.bytes[messageHeaderLen])
		}
		p.client.out = nil
		return list
	}
	for range 3 {
		if err := p.client.RequestKeyUpdate(); err != nil {
			t.Fatal(err)
		}
	}
	if got := requests(); !bytes.Equal(got, []byte{1, 0, 0}) {
		t.Errorf("requests %v, want one", got)
	}
	if err := p.client.Handle(LevelApplication, (&keyUpdate{}).append(nil)); err != nil {
		t.Fatal(err)
	}
	p.client.post.writeN = maxKeyUpdates - 1
	if err := p.client.RequestKeyUpdate(); err != nil {
		t.Fatal(err)
	}
	if got := requests(); !bytes.Equal(got, []byte{1}) {
		t.Errorf("requests %v after an answer", got)
	}
	if err := p.client.UpdateWriteKeys(); err == nil || len(requests()) > 0 {
		t.Error("KeyUpdate beyond the last epoch")
	}
}
