package handshake

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// maxCookieLen bounds the cookie of a HelloRetryRequest: it must fit into our
// ClientHello beside everything else.
const maxCookieLen = 1 << 14

// clientHandshake is what a client needs until the handshake ends.
type clientHandshake struct {
	*Engine
	working

	// What was offered; every answer is checked against it.
	hello *clientHello
	keys  []offeredKey
	room  helloRoom
	psks  []offeredPSK

	retrySuite *keyschedule.Suite // of a HelloRetryRequest, nil if none came
	retryGroup NamedGroup

	schedule clientSchedule13
	client12State

	ownType       CertificateType // how we show ours
	peer          peerVerified
	certRequest   *certificateRequest13
	certRequest12 *certificateRequest12
}

// helloRoom is where the parts of a usual ClientHello are.
type helloRoom struct {
	sessionID [32]byte
	shares    [2]keyShareEntry
	keys      [2]offeredKey
	psk       [1]offeredPSK
	identity  [1]pskIdentity
	binder    [1][]byte
}

// offeredKey is the key of a key share in our ClientHello.
type offeredKey struct {
	group NamedGroup
	key   PrivateKey
}

// offeredPSK is a pre-shared key in our ClientHello.
type offeredPSK struct {
	kind     keyschedule.PSKKind
	hash     keyschedule.Hash
	secret   keyschedule.Secret
	identity []byte
	session  *session.State        // of a resumption PSK
	chains   [][]*x509.Certificate // of its client, verified again
	// Of an external one: the identity before importing, and what its sessions are
	// bound to.
	name, fingerprint []byte
}

func (c *clientHandshake) wipe() {
	for i := range c.psks {
		c.psks[i].secret.Wipe()
	}
	c.room.psk[0].secret.Wipe() // where it was before others came behind it
	c.schedule.wipe()
	c.client12State.wipe()
}

// sendClientHello queues the first ClientHello.
func (c *clientHandshake) sendClientHello() error {
	m, err := c.newClientHello()
	if err != nil {
		return err
	}
	if c.cfg.allows(versionTLS13) {
		if err := c.offerKeyShares(m); err != nil {
			return err
		}
		if err := c.preparePSKs(); err != nil {
			return err
		}
	}
	c.offerPSKs(m)
	m.earlyData = c.offersEarlyData()
	if err := c.queueHello(m); err != nil {
		return err
	}
	c.state = clientWaitSH
	if m.earlyData {
		c.startEarlyData()
	}
	return nil
}

// What every ClientHello offers.
var (
	noCompression  = []byte{0}
	offeredModes   = []pskKeyExchangeMode{pskModeDHEKE}
	offeredFormats = []uint8{pointFormatUncompressed}
)

// newClientHello fills in all but key shares and PSKs.
func (c *clientHandshake) newClientHello() (*clientHello, error) {
	cfg := c.cfg
	versions := cfg.versions()
	if len(versions) == 0 {
		return nil, alert.Errorf(alert.InternalError, "no protocol version is allowed by the configuration")
	}
	m := &clientHello{
		legacyVersion:       versionTLS12,
		compressionMethods:  noCompression,
		serverName:          cfg.ServerName,
		ocspStapling:        true,
		scts:                true,
		supportedGroups:     slices.Collect(cfg.groupsFor(versions[0])),
		signatureSchemes:    cfg.signatureSchemes(),
		alpn:                cfg.ALPN,
		compressCertificate: cfg.compressionAlgs(),

		clientCertificateTypes: offerTypes(cfg.CertificateTypes),
		serverCertificateTypes: offerTypes(cfg.PeerCertificateTypes),
	}
	if err := checkNames(cfg.ServerName, cfg.ALPN); err != nil {
		return nil, err
	}
	m.cipherSuites = make([]uint16, 0, len(cfg.cipherSuites()))
	for _, v := range versions {
		for s := range cfg.suitesFor(v) {
			m.cipherSuites = append(m.cipherSuites, s.ID)
		}
	}
	switch {
	case len(m.cipherSuites) == 0:
		return nil, alert.Errorf(alert.InternalError, "no cipher suite is allowed by the configuration")
	case len(m.supportedGroups) == 0:
		return nil, alert.Errorf(alert.InternalError, "no key exchange group is allowed by the configuration")
	}
	if err := cfg.random(m.random[:]); err != nil {
		return nil, err
	}
	if cfg.allows(versionTLS13) {
		m.supportedVersions = versions
		m.pskModes = offeredModes
	}
	if cfg.allows(versionTLS12) {
		m.pointFormats = offeredFormats
		m.extendedMasterSecret = true
		m.secureRenegotiation = true
		m.ticketSupported = cfg.AcceptSessions
	}
	return m, c.chooseSessionID(m)
}

// checkNames refuses names that the wire has no room for.
func checkNames(serverName string, alpn []string) error {
	total := 0
	for _, p := range alpn {
		if len(p) == 0 || len(p) > 255 {
			return alert.Errorf(alert.InternalError, "application protocol %q must be 1 to 255 bytes long", p)
		}
		total += 1 + len(p)
	}
	if len(serverName) > 255 || total > 0xffff {
		return alert.Errorf(alert.InternalError, "server name or list of application protocols too long")
	}
	return nil
}

// chooseSessionID offers a TLS 1.2 session, if there is one, and sets the
// session ID: the session's own, or a random one by whose echo a resumed
// ticket is recognised (RFC 5077, section 3.4), or the random one of middlebox
// compatibility.
func (c *clientHandshake) chooseSessionID(m *clientHello) error {
	if s := c.resumable(versionTLS12); s != nil {
		m.sessionTicket, m.sessionID = s.Ticket, s.SessionID
		m.ticketSupported = true
		c.session12 = s
		if len(s.Ticket) == 0 {
			return nil
		}
	}
	if c.session12 != nil || (c.cfg.MiddleboxCompat && c.cfg.allows(versionTLS13)) {
		m.sessionID = c.room.sessionID[:]
		return c.cfg.random(m.sessionID)
	}
	return nil
}

// resumable returns the configured session if it can be offered for version.
// Sessions without extended_master_secret are never resumed: they are what the
// triple handshake attack needs (RFC 7627, section 5.3). What a cache of the
// application gives may have lost its ticket.
func (c *clientHandshake) resumable(version uint16) *session.State {
	s := c.cfg.Session
	if s == nil || s.Version != version || !c.cfg.allows(version) ||
		s.ServerName != c.cfg.ServerName || s.Expired(c.cfg.Time()) || !c.stillHas(s) || !c.cfg.takesPeerOf(s) ||
		len(s.Ticket) > maxTicketLen || len(s.SessionID) > 32 || !named(s) {
		return nil
	}
	suite := keyschedule.SuiteByID(s.CipherSuite)
	for mine := range c.cfg.suitesFor(version) {
		if mine == suite && (version == versionTLS13 || s.ExtendedMasterSecret) {
			return s
		}
	}
	return nil
}

// stillHas reports whether the external key that authenticated a session's
// server, if that is what did, is configured still.
func (c *clientHandshake) stillHas(s *session.State) bool {
	if s.PSKIdentity == nil {
		return !c.cfg.PSKOnly
	}
	return slices.ContainsFunc(c.cfg.PSKs, func(p ExternalPSK) bool { return p.began(s) })
}

// named reports whether there is something to offer a session by.
func named(s *session.State) bool {
	return len(s.Ticket) > 0 || s.Version == versionTLS12 && len(s.SessionID) > 0
}

// sharedGroups are the groups to send key shares for: unless the Config says so,
// the preferred one, and if that is a hybrid, which many servers do not know yet,
// the first that is not.
func (c *clientHandshake) sharedGroups(offered []NamedGroup) []NamedGroup {
	if c.cfg.KeyShares != nil {
		return slices.DeleteFunc(slices.Clone(offered), func(g NamedGroup) bool { return !contains(c.cfg.KeyShares, g) })
	}
	groups := offered[:1:1]
	if i := slices.IndexFunc(offered, func(g NamedGroup) bool { return !g.hybrid() }); i > 0 {
		groups = append(groups, offered[i])
	}
	return groups
}

// offerKeyShares makes a key for each group and puts its share into m.
func (c *clientHandshake) offerKeyShares(m *clientHello) error {
	groups := c.sharedGroups(m.supportedGroups)
	m.keyShares, c.keys = c.room.shares[:0], c.room.keys[:0]
	for _, g := range groups {
		if err := c.addKeyShare(m, g); err != nil {
			return err
		}
	}
	return nil
}

func (c *clientHandshake) addKeyShare(m *clientHello, g NamedGroup) error {
	key, err := c.cfg.provider().KeyExchange(g).Generate(c.cfg.Rand)
	if err != nil {
		return alert.Errorf(alert.InternalError, "making a key share for %v: %w", g, err)
	}
	c.keys = append(c.keys, offeredKey{g, key})
	m.keyShares = append(m.keyShares, keyShareEntry{group: g, data: key.Share()})
	return nil
}

// keyFor returns the key of the share that was offered for g, or nil.
func (c *clientHandshake) keyFor(g NamedGroup) PrivateKey {
	for _, offered := range c.keys {
		if offered.group == g {
			return offered.key
		}
	}
	return nil
}

// preparePSKs collects the keys to offer: the session to resume first, because
// early data belongs to the first (RFC 9846, section 4.3.10).
func (c *clientHandshake) preparePSKs() error {
	if s := c.resumable(versionTLS13); s != nil {
		c.psks = append(c.room.psk[:0], offeredPSK{
			kind:     keyschedule.ResumptionPSK,
			hash:     keyschedule.SuiteByID(s.CipherSuite).Hash,
			secret:   s.Secret,
			identity: s.Ticket,
			session:  s,
		})
	}
	for _, p := range c.cfg.PSKs {
		list, err := p.forHashes(c.hashes())
		if err != nil {
			return err
		}
		c.psks = append(c.psks, list...)
	}
	if c.cfg.PSKOnly && len(c.psks) == 0 {
		return alert.Errorf(alert.InternalError, "only pre-shared keys are allowed, and there is none to offer")
	}
	return nil
}

// hashes lists the hashes of the TLS 1.3 suites that are offered.
func (c *clientHandshake) hashes() []keyschedule.Hash {
	var list []keyschedule.Hash
	for s := range c.cfg.suitesFor(versionTLS13) {
		if !contains(list, s.Hash) {
			list = append(list, s.Hash)
		}
	}
	return list
}

// offerPSKs puts the identities into m, with room for the binders.
func (c *clientHandshake) offerPSKs(m *clientHello) {
	m.pskIdentities, m.pskBinders = nil, nil
	if len(c.psks) == 1 {
		m.pskIdentities, m.pskBinders = c.room.identity[:0], c.room.binder[:0]
	}
	for i := range c.psks {
		p := &c.psks[i]
		id := pskIdentity{identity: p.identity}
		if p.session != nil {
			age := c.cfg.Time().Sub(p.session.CreatedAt)
			id.obfuscatedTicketAge = uint32(max(age, 0)/time.Millisecond) + p.session.AgeAdd
		}
		m.pskIdentities = append(m.pskIdentities, id)
		m.pskBinders = append(m.pskBinders, make([]byte, p.hash.Size()))
	}
}

// queueHello queues m, with its binders.
func (c *clientHandshake) queueHello(m *clientHello) error {
	c.hello = m
	raw := c.queueMessage(LevelInitial, func(b []byte) []byte {
		begin := len(b)
		b = m.append(b)
		c.bind(m, b[begin:])
		return b
	})
	c.transcript.Add(raw)
	if c.cfg.rewrite == nil {
		return nil
	}
	var err error
	c.hello, err = parseClientHello(bytes.Clone(raw[messageHeaderLen:]))
	return err
}

// bind fills in the binders of raw, which is m (RFC 9846, section 4.3.11.2).
func (c *clientHandshake) bind(m *clientHello, raw []byte) {
	if len(c.psks) == 0 {
		return
	}
	partial := truncateBinders(raw, m)
	for i := range c.psks {
		m.pskBinders[i] = c.psks[i].appendBinder(m.pskBinders[i][:0], &c.transcript, partial)
	}
	patchBinders(raw, m.pskBinders)
}

// appendBinder appends the proof that we hold the PSK (RFC 9846, section 4.3.11.2).
func (p *offeredPSK) appendBinder(dst []byte, t *keyschedule.Transcript, partial []byte) []byte {
	early := keyschedule.NewEarly(p.hash, p.secret.Bytes())
	defer early.Wipe()
	key := early.BinderKey(p.kind)
	defer key.Wipe()
	return key.VerifyData(p.hash, dst, t.SumWith(p.hash, partial))
}

// offersEarlyData reports whether the first PSK allows early data and the
// caller wants it.
func (c *clientHandshake) offersEarlyData() bool {
	if !c.cfg.EarlyData || len(c.psks) == 0 {
		return false
	}
	s := c.psks[0].session
	return s != nil && s.EarlyData && s.MaxEarlyData > 0 && (s.ALPN == "" || contains(c.cfg.ALPN, s.ALPN))
}

// startEarlyData hands out the keys of 0-RTT.
func (c *clientHandshake) startEarlyData() {
	p := &c.psks[0]
	suite := keyschedule.SuiteByID(p.session.CipherSuite)
	early := keyschedule.NewEarly(p.hash, p.secret.Bytes())
	defer early.Wipe()
	sum := c.transcript.SumWith(p.hash, nil)
	secret := early.ClientEarlyTrafficSecret(sum)
	c.cfg.logSecret("CLIENT_EARLY_TRAFFIC_SECRET", &c.hello.random, &secret.Secret)
	c.compatCCS()
	c.installWriteFor(suite, LevelEarly, &secret)
}

// ErrEarlyDataVersion means that a client sent early data and met a server that
// chose TLS 1.2: the connection must fail (RFC 9846, appendix E.3), and can be
// tried again without early data.
var ErrEarlyDataVersion = errors.New("early data was sent, and the server chose TLS 1.2")

// compatCCS sends the ChangeCipherSpec of middlebox compatibility, once, right
// before our second flight.
func (c *clientHandshake) compatCCS() {
	if c.cfg.MiddleboxCompat && !c.schedule.sentCCS {
		c.schedule.sentCCS = true
		c.sendChangeCipherSpec()
	}
}

// onServerHello negotiates the version and goes on in its machine.
func (c *clientHandshake) onServerHello(m *serverHello, raw message) (waitState, error) {
	version, err := c.selectedVersion(m)
	if err != nil {
		return 0, err
	}
	if err := c.checkServerHello(m, version); err != nil {
		return 0, err
	}
	switch {
	case m.isRetry():
		return c.onHelloRetryRequest(m, raw)
	case version == versionTLS13:
		return c.onServerHello13(m, raw)
	default:
		return c.onServerHello12(m, raw)
	}
}

// selectedVersion checks the server's choice of version (RFC 9846, sections
// 4.2.3 and 4.3.1).
func (c *clientHandshake) selectedVersion(m *serverHello) (uint16, error) {
	if m.legacyVersion != versionTLS12 {
		return 0, alert.Errorf(alert.ProtocolVersion, "server speaks version %#04x", m.legacyVersion)
	}
	version := versionTLS12
	if contains(m.extensions, extSupportedVersions) {
		if version = m.supportedVersion; version != versionTLS13 || !c.cfg.allows(version) {
			return 0, alert.Errorf(alert.IllegalParameter, "server selected version %#04x, which was not offered", version)
		}
	}
	switch {
	case version == versionTLS12 && (c.retrySuite != nil || m.isRetry()):
		return 0, alert.Errorf(alert.IllegalParameter, "server left TLS 1.3 in the middle of its negotiation")
	case !c.cfg.allows(version):
		return 0, alert.Errorf(alert.ProtocolVersion, "server selected TLS 1.2, which is not allowed")
	case version == versionTLS12 && c.cfg.allows(versionTLS13) && isDowngrade(m.random):
		return 0, alert.Errorf(alert.IllegalParameter, "server could speak TLS 1.3: somebody downgraded the connection")
	case version == versionTLS12 && c.hello.earlyData:
		return 0, alert.Wrap(alert.ProtocolVersion, ErrEarlyDataVersion)
	case version == versionTLS12 && c.earlyCCS:
		return 0, alert.Errorf(alert.UnexpectedMessage, "ChangeCipherSpec before ServerHello")
	}
	return version, nil
}

// isDowngrade finds the sentinels of RFC 9846, section 4.2.3.
func isDowngrade(random [32]byte) bool {
	tail := [8]byte(random[24:])
	return tail == downgradeTLS12 || tail == downgradeTLS11
}

// checkServerHello checks what is common to both versions.
func (c *clientHandshake) checkServerHello(m *serverHello, version uint16) error {
	where := inServerHello12
	switch {
	case m.isRetry():
		where = inHelloRetryRequest
	case version == versionTLS13:
		where = inServerHello13
	}
	if err := checkExtensions(where, m.extensions, c.hello.has); err != nil {
		return err
	}
	suite := keyschedule.SuiteByID(m.cipherSuite)
	switch {
	case m.compressionMethod != 0:
		return alert.Errorf(alert.IllegalParameter, "server selected compression method %d", m.compressionMethod)
	case suite == nil || suite.Version != version || !contains(c.hello.cipherSuites, m.cipherSuite):
		return alert.Errorf(alert.IllegalParameter, "server selected cipher suite %#04x, which was not offered", m.cipherSuite)
	case version == versionTLS13 && !bytes.Equal(m.sessionID, c.hello.sessionID):
		return alert.Errorf(alert.IllegalParameter, "server did not echo the session ID")
	}
	c.neg.Version, c.neg.Suite, c.neg.ServerName = version, suite, c.cfg.ServerName
	return nil
}

// onHelloRetryRequest sends the second ClientHello (RFC 9846, section 4.2.4).
func (c *clientHandshake) onHelloRetryRequest(m *serverHello, raw message) (waitState, error) {
	aligned, err := c.in.aligned()
	if err != nil {
		return 0, err
	}
	if c.retrySuite != nil {
		return 0, alert.Errorf(alert.UnexpectedMessage, "second HelloRetryRequest")
	}
	newShare := contains(m.extensions, extKeyShare)
	switch {
	case !newShare && m.cookie == nil:
		return 0, alert.Errorf(alert.IllegalParameter, "HelloRetryRequest changes nothing")
	case len(m.cookie) > maxCookieLen:
		return 0, alert.Errorf(alert.IllegalParameter, "cookie of %d bytes does not fit into a ClientHello", len(m.cookie))
	}
	c.retrySuite, c.neg.HelloRetryRequest = c.neg.Suite, true
	c.transcript.Start(c.neg.Suite.Hash)
	c.transcript.Retry()
	c.transcript.Add(raw.raw)

	if c.hello.earlyData {
		c.hello.earlyData = false
		c.stopEarlyData(aligned)
	}
	if newShare {
		if err := c.replaceKeyShare(m.selectedGroup); err != nil {
			return 0, err
		}
	}
	c.hello.cookie = m.cookie
	c.dropPSKs()
	c.offerPSKs(c.hello)
	c.compatCCS()
	return clientWaitSH, c.queueHello(c.hello)
}

// stopEarlyData returns to cleartext after a HelloRetryRequest.
func (c *clientHandshake) stopEarlyData(alignedProof) {
	c.emit(EarlyDataRejected{})
	c.emit(c.newWrite(LevelInitial, nil, nil))
}

// replaceKeyShare makes the one share that a HelloRetryRequest asks for.
func (c *clientHandshake) replaceKeyShare(g NamedGroup) error {
	if !contains(c.hello.supportedGroups, g) || c.keyFor(g) != nil {
		return alert.Errorf(alert.IllegalParameter, "HelloRetryRequest selects group %v", g)
	}
	c.retryGroup = g
	c.keys, c.hello.keyShares = nil, nil
	return c.addKeyShare(c.hello, g)
}

// dropPSKs removes the keys that do not fit the suite of a HelloRetryRequest.
func (c *clientHandshake) dropPSKs() {
	kept := c.psks[:0]
	for _, p := range c.psks {
		if p.hash == c.retrySuite.Hash {
			kept = append(kept, p)
		}
	}
	clear(c.psks[len(kept):])
	c.psks = kept
}
