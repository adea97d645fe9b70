package handshake

import (
	"bytes"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// serverHandshake is what a server needs until the handshake ends.
type serverHandshake struct {
	*Engine

	hello *clientHello // the last one received
	info  *ClientHelloInfo

	schedule serverSchedule13
	server12State

	cert *Certificate
	peer peerVerified
}

func (s *serverHandshake) wipe() {
	s.schedule.wipe()
	s.server12State.wipe()
}

// onClientHello chooses configuration and version and goes on in its machine.
func (s *serverHandshake) onClientHello(m *clientHello, raw message) (waitState, error) {
	s.hello = m
	s.info = newClientHelloInfo(m)
	if s.cfg.GetConfigForClient != nil {
		cfg, err := s.cfg.GetConfigForClient(s.ctx, s.info)
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

func newClientHelloInfo(m *clientHello) *ClientHelloInfo {
	versions := m.supportedVersions
	if len(versions) == 0 {
		versions = legacyVersions(m.legacyVersion)
	}
	return &ClientHelloInfo{
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
	}
}

// legacyVersions lists what a client without supported_versions speaks.
func legacyVersions(highest uint16) []uint16 {
	var list []uint16
	for _, v := range [...]uint16{versionTLS12, 0x0302, 0x0301} {
		if v <= highest {
			list = append(list, v)
		}
	}
	return list
}

// selectVersion picks the highest version that both sides speak (RFC 9846,
// section 4.3.1). Our preference is by number, whatever the client's order.
func (s *serverHandshake) selectVersion() (uint16, error) {
	for _, v := range s.cfg.versions() {
		if contains(s.info.SupportedVersions, v) {
			return v, s.checkFallback(v)
		}
	}
	return 0, alert.Errorf(alert.ProtocolVersion, "client speaks none of our versions: %s", brief(s.info.SupportedVersions))
}

// checkFallback refuses a client that was pushed to a version below what both
// sides can speak (RFC 7507).
func (s *serverHandshake) checkFallback(version uint16) error {
	if version < s.cfg.maxVersion() && contains(s.hello.cipherSuites, fallbackSCSV) {
		return alert.Errorf(alert.InappropriateFallback, "client fell back to a lower version than we speak")
	}
	return nil
}

// selectCertificate asks the caller for a certificate.
func (s *serverHandshake) selectCertificate() error {
	if s.cfg.GetCertificate == nil {
		return alert.Errorf(alert.InternalError, "no certificate is configured")
	}
	cert, err := s.cfg.GetCertificate(s.ctx, s.info)
	if err != nil {
		return alert.Wrap(alert.InternalError, err)
	}
	if cert == nil || len(cert.Chain) == 0 {
		return alert.Errorf(alert.UnrecognizedName, "no certificate for %q", s.hello.serverName)
	}
	s.cert = cert
	return nil
}

// serverRandom makes ServerHello.random, with the sentinel that tells a client
// of a downgrade (RFC 9846, section 4.2.3).
func (s *serverHandshake) serverRandom() (random [32]byte, err error) {
	err = s.cfg.random(random[:])
	if s.neg.Version < s.cfg.maxVersion() {
		copy(random[24:], downgradeTLS12[:])
	}
	return random, err
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
		slices.Equal(first.compressCertificate, second.compressCertificate)
}

// suiteWith returns the first suite of ours, of the negotiated version, that
// the client offers and that fits.
func (s *serverHandshake) suiteWith(fits func(*keyschedule.Suite) bool) *keyschedule.Suite {
	for _, suite := range s.cfg.suitesFor(s.neg.Version) {
		if contains(s.hello.cipherSuites, suite.ID) && fits(suite) {
			return suite
		}
	}
	return nil
}
