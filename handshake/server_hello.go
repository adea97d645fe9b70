package handshake

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// serverHandshake is what a server needs until the handshake ends.
type serverHandshake struct {
	*Engine
	working

	hello *clientHello // the last one received
	info  ClientHelloInfo

	onlyX509 [1]CertificateType // what info has of a client that says nothing

	schedule serverSchedule13
	server12State

	cert    *Certificate
	certErr error // why there is none
	peer    peerVerified
}

func (s *serverHandshake) wipe() {
	s.schedule.wipe()
	s.server12State.wipe()
}

// onClientHello chooses configuration and version and goes on in its machine.
func (s *serverHandshake) onClientHello(m *clientHello, raw message) (waitState, error) {
	s.hello = m
	s.info = s.clientHelloInfo(m)
	if s.cfg.GetConfigForClient != nil {
		cfg, err := s.cfg.GetConfigForClient(s.ctx, &s.info)
		if err != nil {
			return 0, alert.Wrap(alert.InternalError, err)
		}
		if cfg != nil {
			s.cfg = cfg
		}
	}
	if err := checkExtensions(inClientHello, m.extensions, nil); err != nil {
		return 0, err
	}
	version, err := s.selectVersion()
	if err != nil {
		return 0, err
	}
	s.neg.Version, s.neg.ServerName = version, m.serverName
	s.info.NegotiatedVersion = version
	if s.neg.ALPN, err = selectALPN(s.cfg.ALPN, m.alpn); err != nil {
		return 0, err
	}
	if version == versionTLS13 {
		return s.onClientHello13(m, raw)
	}
	return s.onClientHello12(m, raw)
}

func (s *serverHandshake) clientHelloInfo(m *clientHello) ClientHelloInfo {
	versions := m.supportedVersions
	if len(versions) == 0 {
		versions = legacyVersions[:]
		for len(versions) > 0 && versions[0] > m.legacyVersion {
			versions = versions[1:]
		}
		versions = slices.Clone(versions) // callbacks get it
	}
	types := m.serverCertificateTypes
	if len(types) == 0 {
		s.onlyX509 = [1]CertificateType{X509} // likewise
		types = s.onlyX509[:]
	}
	return ClientHelloInfo{
		CipherSuites:           m.cipherSuites,
		ServerName:             m.serverName,
		SupportedGroups:        m.supportedGroups,
		SupportedPoints:        m.pointFormats,
		SignatureSchemes:       m.signatureSchemes,
		SignatureSchemesCert:   m.signatureSchemesCert,
		SupportedProtos:        m.alpn,
		SupportedVersions:      versions,
		Extensions:             m.extensions,
		CertificateAuthorities: m.certificateAuthorities,
		ServerCertificateTypes: types,
	}
}

// legacyVersions are those that a client without supported_versions may speak,
// highest first.
var legacyVersions = [...]uint16{versionTLS12, 0x0302, 0x0301}

// selectVersion picks the highest version that both sides speak (RFC 9846,
// section 4.3.1). Our preference is by number, whatever the client's order.
func (s *serverHandshake) selectVersion() (uint16, error) {
	for _, v := range s.cfg.versions() {
		if contains(s.info.SupportedVersions, v) {
			return v, s.checkFallback(v)
		}
	}
	if err := s.checkFallback(0); err != nil {
		return 0, err
	}
	return 0, alert.Errorf(alert.ProtocolVersion, "client speaks none of our versions: %s", brief(s.info.SupportedVersions))
}

// checkFallback refuses a client that was pushed to a version below what both
// sides can speak (RFC 7507), which may be one that is none of ours.
func (s *serverHandshake) checkFallback(version uint16) error {
	if version < s.cfg.maxVersion() && contains(s.hello.cipherSuites, fallbackSCSV) {
		return alert.Errorf(alert.InappropriateFallback, "client fell back to a lower version than we speak")
	}
	return nil
}

// selectCertificate asks the caller for a certificate, once.
func (s *serverHandshake) selectCertificate() error {
	if s.cert == nil && s.certErr == nil {
		s.cert, s.certErr = s.askCertificate()
	}
	return s.certErr
}

func (s *serverHandshake) askCertificate() (*Certificate, error) {
	if s.cfg.GetCertificate == nil {
		return nil, alert.Errorf(alert.InternalError, "no certificate is configured")
	}
	cert, err := s.cfg.GetCertificate(s.ctx, &s.info)
	if err != nil {
		return nil, alert.Wrap(alert.InternalError, err)
	}
	if cert == nil || len(cert.Chain) == 0 {
		return nil, alert.Errorf(alert.UnrecognizedName, "no certificate for %q", s.hello.serverName)
	}
	return cert, nil
}

// belongs reports whether a session is bound to what this connection has: the
// name, the protocol and the certificate that a full handshake would show. RFC
// 9846 leaves the name to the client and lets the protocol change; but behind
// another one there may be another policy, and who replaces a certificate may
// do so because its key is no longer to be trusted.
func (s *serverHandshake) belongs(state *session.State) bool {
	if state.ServerName != s.neg.ServerName || state.ALPN != s.neg.ALPN {
		return false
	}
	if state.LeafHash == nil {
		return true // there was none: a pre-shared key authenticated us
	}
	return s.selectCertificate() == nil && bytes.Equal(state.LeafHash, leafHash(s.cert))
}

// newSession returns a session of this connection, without its secret and
// ticket. One that continues another stays bound as that was.
func (s *serverHandshake) newSession() *session.State {
	state := s.Engine.newSession()
	switch {
	case s.neg.LocalCertificate != nil:
		state.LeafHash = leafHash(s.neg.LocalCertificate)
	case s.schedule.psk != nil && s.schedule.psk.session != nil:
		state.LeafHash = s.schedule.psk.session.LeafHash
	}
	return state
}

func leafHash(c *Certificate) []byte {
	sum := sha256.Sum256(c.Chain[0])
	return sum[:]
}

// serverRandom makes ServerHello.random, with the sentinel that tells a client
// of a downgrade (RFC 9846, section 4.2.3).
func (s *serverHandshake) serverRandom(random *[32]byte) error {
	err := s.cfg.random(random[:])
	if s.neg.Version < s.cfg.maxVersion() {
		copy(random[24:], downgradeTLS12[:])
	}
	return err
}

// sameHello checks that a second ClientHello changes, of all that we look at,
// only what a HelloRetryRequest allows (RFC 9846, section 4.2.2).
func sameHello(first, second *clientHello) bool {
	return first.random == second.random &&
		bytes.Equal(first.sessionID, second.sessionID) &&
		first.serverName == second.serverName &&
		slices.Equal(first.cipherSuites, second.cipherSuites) &&
		bytes.Equal(first.compressionMethods, second.compressionMethods) &&
		slices.Equal(first.supportedGroups, second.supportedGroups) &&
		slices.Equal(first.signatureSchemes, second.signatureSchemes) &&
		slices.Equal(first.signatureSchemesCert, second.signatureSchemesCert) &&
		slices.Equal(first.supportedVersions, second.supportedVersions) &&
		slices.Equal(first.alpn, second.alpn) &&
		slices.Equal(first.pskModes, second.pskModes) &&
		bytes.Equal(first.pointFormats, second.pointFormats) &&
		slices.EqualFunc(first.certificateAuthorities, second.certificateAuthorities, bytes.Equal) &&
		first.extendedMasterSecret == second.extendedMasterSecret &&
		first.ocspStapling == second.ocspStapling && first.scts == second.scts &&
		slices.Equal(first.compressCertificate, second.compressCertificate) &&
		slices.Equal(first.clientCertificateTypes, second.clientCertificateTypes) &&
		slices.Equal(first.serverCertificateTypes, second.serverCertificateTypes)
}

// suiteWith returns the first suite of ours, of the negotiated version, that
// the client offers and that fits. A client that would rather have ChaCha20 than
// AES has no hardware for the latter, and gets its wish.
func (s *serverHandshake) suiteWith(fits func(*keyschedule.Suite) bool) *keyschedule.Suite {
	var first *keyschedule.Suite
	chaCha20 := s.hello.prefersChaCha20(s.neg.Version)
	for suite := range s.cfg.suitesFor(s.neg.Version) {
		switch {
		case !contains(s.hello.cipherSuites, suite.ID) || !fits(suite):
		case !chaCha20 || suite.Cipher == keyschedule.ChaCha20Poly1305:
			return suite
		case first == nil:
			first = suite
		}
	}
	return first
}

// prefersChaCha20 reports whether the first suite of a version that the client
// lists, of those that are known, is with ChaCha20.
func (m *clientHello) prefersChaCha20(version uint16) bool {
	for _, id := range m.cipherSuites {
		if suite := keyschedule.SuiteByID(id); suite != nil && suite.Version == version {
			return suite.Cipher == keyschedule.ChaCha20Poly1305
		}
	}
	return false
}
