package handshake

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// maxPSKs is how many of a client's identities are looked at: each costs a
// look-up or a decryption.
const maxPSKs = 5

// serverSchedule13 is a server's part of the TLS 1.3 key schedule.
type serverSchedule13 struct {
	psk            *offeredPSK
	pskIndex       int
	share          *keyShareEntry // the client's
	handshake      keyschedule.Handshake
	main           keyschedule.Main
	client, server keyschedule.TrafficSecret // of the handshake
	retry          *keyschedule.Suite        // of our HelloRetryRequest
	retryGroup     NamedGroup
	earlyData      bool // accepted
	askedCert      bool
	ticketsSent    bool
	sentCCS        bool

	clientFinished []byte
	finishedRoom   [keyschedule.MaxSecretLen]byte
}

func (s *serverSchedule13) wipe() {
	if s.psk != nil {
		s.psk.secret.Wipe()
	}
	s.handshake.Wipe()
	s.main.Wipe()
	s.client.Wipe()
	s.server.Wipe()
}

// onClientHello13 checks what every TLS 1.3 ClientHello must have.
func (s *serverHandshake) onClientHello13(m *clientHello, raw message) (waitState, error) {
	aligned, err := s.in.aligned()
	if err != nil {
		return 0, err
	}
	if err := checkClientHello13(m); err != nil {
		return 0, err
	}
	s.neg.ExtendedMasterSecret = true
	if err := s.selectParameters(raw); err != nil {
		return 0, err
	}
	if s.schedule.share == nil {
		return s.sendRetry(raw)
	}
	return s.respond(aligned, raw)
}

// checkClientHello13 (RFC 9846, sections 4.2.2, 4.3 and 9.2).
func checkClientHello13(m *clientHello) error {
	switch {
	case m.legacyVersion != versionTLS12:
		return alert.Errorf(alert.ProtocolVersion, "TLS 1.3 ClientHello with legacy_version %#04x", m.legacyVersion)
	case !bytes.Equal(m.compressionMethods, []byte{0}):
		return alert.Errorf(alert.IllegalParameter, "TLS 1.3 ClientHello offers compression")
	case len(m.renegotiationInfo) > 0:
		return alert.Errorf(alert.HandshakeFailure, "initial ClientHello with a non-empty renegotiation_info")
	case m.has(extSupportedGroups) != m.has(extKeyShare):
		return alert.Errorf(alert.MissingExtension, "supported_groups and key_share must come together")
	case m.has(extPreSharedKey) && !m.has(extPskKeyExchangeModes):
		return alert.Errorf(alert.MissingExtension, "pre_shared_key without psk_key_exchange_modes")
	case !m.has(extPreSharedKey) && (!m.has(extSignatureAlgorithms) || !m.has(extSupportedGroups)):
		return alert.Errorf(alert.MissingExtension, "ClientHello without signature_algorithms or supported_groups")
	}
	for _, binder := range m.pskBinders {
		if len(binder) < 32 {
			return alert.Errorf(alert.DecodeError, "binder of %d bytes", len(binder))
		}
	}
	return checkShares(m)
}

// checkShares checks that key shares are for groups that the client offers. A
// peer chooses how many there are of both, so where that are many, each list is
// gone through once.
func checkShares(m *clientHello) error {
	offered := func(g NamedGroup) bool { return contains(m.supportedGroups, g) }
	if len(m.keyShares) > usualExtensions {
		groups := make(map[NamedGroup]bool, len(m.supportedGroups))
		for _, g := range m.supportedGroups {
			groups[g] = true
		}
		offered = func(g NamedGroup) bool { return groups[g] }
	}
	for _, share := range m.keyShares {
		if !offered(share.group) {
			return alert.Errorf(alert.IllegalParameter, "key share for %v, which is not in supported_groups", share.group)
		}
	}
	return nil
}

// selectParameters chooses pre-shared key, suite and group. A pre-shared key
// comes first because it fixes the hash of the suite.
func (s *serverHandshake) selectParameters(raw message) error {
	if err := s.selectPSK(raw); err != nil {
		return err
	}
	s.neg.Suite = s.suiteWith(func(suite *keyschedule.Suite) bool {
		return (s.schedule.psk == nil || s.schedule.psk.hash == suite.Hash) &&
			(s.schedule.retry == nil || s.schedule.retry == suite)
	})
	switch {
	case s.neg.Suite == nil:
		return alert.Errorf(alert.HandshakeFailure, "no cipher suite in common: client offers %s", brief(s.hello.cipherSuites))
	case s.schedule.psk == nil && s.cfg.PSKOnly:
		return alert.Errorf(alert.HandshakeFailure, "client offers no pre-shared key of ours")
	case s.schedule.psk == nil && !s.hello.has(extSignatureAlgorithms):
		return alert.Errorf(alert.MissingExtension, "ClientHello without signature_algorithms")
	}
	return s.selectGroup()
}

// selectGroup prefers, among the groups that both sides have, our order; a
// share that is there already wins over one that costs a round trip, unless
// that one is a hybrid and the share is not: then the client, which knows
// hybrids, is asked for it.
func (s *serverHandshake) selectGroup() error {
	var first NamedGroup
	s.neg.Group = 0
	for g := range s.cfg.groupsFor(versionTLS13) {
		if !contains(s.hello.supportedGroups, g) {
			continue
		}
		if first == 0 {
			first = g
		}
		if s.shareFor(g) != nil && (g.hybrid() || !first.hybrid()) {
			s.neg.Group = g
			break
		}
	}
	if first == 0 {
		return alert.Errorf(alert.HandshakeFailure, "no key exchange group in common: client offers %s", brief(s.hello.supportedGroups))
	}
	s.neg.Group = cmp.Or(s.neg.Group, first)
	s.schedule.share = s.shareFor(s.neg.Group)
	return nil
}

func (s *serverHandshake) shareFor(g NamedGroup) *keyShareEntry {
	for i := range s.hello.keyShares {
		if s.hello.keyShares[i].group == g {
			return &s.hello.keyShares[i]
		}
	}
	return nil
}

// selectPSK finds the first identity that we know and verifies its binder
// (RFC 9846, section 4.3.11). An unknown one is passed over; a wrong binder is
// fatal.
func (s *serverHandshake) selectPSK(raw message) error {
	if !contains(s.hello.pskModes, pskModeDHEKE) {
		return nil
	}
	for i, id := range s.hello.pskIdentities[:min(maxPSKs, len(s.hello.pskIdentities))] {
		p, err := s.lookup(id.identity)
		if err != nil {
			return err
		}
		if p == nil || !s.suitable(p) {
			continue
		}
		var room [keyschedule.MaxSecretLen]byte
		want := p.appendBinder(room[:0], &s.transcript, truncateBinders(raw.raw, s.hello))
		if _, err := verifyFinished(s.hello.pskBinders[i], want); err != nil {
			return alert.Errorf(alert.DecryptError, "binder of pre-shared key %d is wrong", i)
		}
		s.schedule.psk, s.schedule.pskIndex = p, i
		if p.session == nil {
			s.neg.ExternalPSK, s.post.secrets().pskFingerprint = p.name, p.fingerprint
			return nil
		}
		return s.resume(p)
	}
	return nil
}

// lookup finds the key of an identity: an external one or a ticket's.
func (s *serverHandshake) lookup(identity []byte) (*offeredPSK, error) {
	p, err := s.externalPSK(identity)
	if p != nil || err != nil || s.cfg.Tickets == nil {
		return p, err
	}
	state, err := s.cfg.Tickets.Open(s.ctx, &s.neg, identity)
	if err != nil {
		return nil, alert.Wrap(alert.InternalError, err)
	}
	if state == nil {
		return nil, nil
	}
	defer state.Secret.Wipe()
	if state.Version != versionTLS13 || state.Expired(s.cfg.Time()) || !s.belongs(state) {
		return nil, nil
	}
	suite := keyschedule.SuiteByID(state.CipherSuite)
	if suite == nil || suite.Version != versionTLS13 {
		return nil, nil
	}
	if known, err := s.stillKnows(state); !known || err != nil {
		return nil, err
	}
	chains, ok := s.resumptionAllowed(state)
	if !ok {
		return nil, nil
	}
	return &offeredPSK{
		kind:     keyschedule.ResumptionPSK,
		hash:     suite.Hash,
		secret:   state.Secret,
		identity: identity,
		session:  state,
		chains:   chains,
	}, nil
}

// stillKnows reports whether the external key that authenticated a session's
// client, if that is what did, is known still.
func (s *serverHandshake) stillKnows(state *session.State) (bool, error) {
	if state.PSKIdentity == nil {
		return !s.cfg.PSKOnly, nil
	}
	if s.cfg.GetPSK == nil {
		return false, nil
	}
	p, err := s.lookupPSK(state.PSKIdentity)
	return p != nil && p.began(state), err
}

// suitable reports whether a suite with the key's hash can be negotiated.
func (s *serverHandshake) suitable(p *offeredPSK) bool {
	return s.suiteWith(func(suite *keyschedule.Suite) bool {
		return suite.Hash == p.hash && (s.schedule.retry == nil || s.schedule.retry == suite)
	}) != nil
}

// resumptionAllowed checks a session against the policy on client certificates:
// resuming must not get around it, nor carry over an identity that nobody asks
// for any more. It returns the chains that verify the client's certificate now.
func (s *serverHandshake) resumptionAllowed(state *session.State) ([][]*x509.Certificate, bool) {
	hasCert := len(state.PeerChain) > 0 || state.PeerRawKey != nil
	switch {
	case s.cfg.ClientAuth == RequireClientCert && !hasCert && state.PSKIdentity == nil,
		s.cfg.ClientAuth == NoClientCert && hasCert,
		!s.cfg.takesPeerOf(state):
		return nil, false
	case hasCert && s.cfg.VerifyResumed != nil:
		chains, err := s.cfg.VerifyResumed(state)
		return chains, err == nil
	}
	return nil, true
}

// resume restores what the session knows of the client.
func (s *serverHandshake) resume(p *offeredPSK) error {
	s.neg.Resumed, s.neg.VerifiedChains = true, p.chains
	s.neg.TicketAgeSkew = s.ageSkew(p.session)
	return s.restorePeer(p.session)
}

// sendRetry asks for a share of the selected group (RFC 9846, section 4.2.4).
func (s *serverHandshake) sendRetry(raw message) (waitState, error) {
	if s.schedule.retry != nil {
		return 0, alert.Errorf(alert.IllegalParameter, "second ClientHello without the key share that was asked for")
	}
	s.schedule.retry, s.schedule.retryGroup = s.neg.Suite, s.neg.Group
	s.neg.HelloRetryRequest, s.info.HelloRetryRequest = true, true
	s.transcript.Add(raw.raw)
	s.transcript.Start(s.neg.Suite.Hash)
	s.transcript.Retry()
	m := &serverHello{
		legacyVersion:    versionTLS12,
		random:           helloRetryRandom,
		sessionID:        s.hello.sessionID,
		cipherSuite:      s.neg.Suite.ID,
		supportedVersion: versionTLS13,
		selectedGroup:    s.neg.Group,
	}
	s.send(LevelInitial, m.append)
	s.compatCCS()
	if s.hello.earlyData {
		s.rejectEarlyData()
	}
	return serverWaitCH2, nil
}

// onSecondClientHello takes the answer to a HelloRetryRequest.
func (s *serverHandshake) onSecondClientHello(m *clientHello, raw message) (waitState, error) {
	aligned, err := s.in.aligned()
	if err != nil {
		return 0, err
	}
	first := s.hello
	switch {
	case !sameHello(first, m):
		return 0, alert.Errorf(alert.IllegalParameter, "second ClientHello differs from the first")
	case m.earlyData:
		return 0, alert.Errorf(alert.IllegalParameter, "early_data after a HelloRetryRequest")
	case len(m.keyShares) != 1 || m.keyShares[0].group != s.schedule.retryGroup:
		return 0, alert.Errorf(alert.IllegalParameter, "second ClientHello does not have the one key share that was asked for")
	}
	if err := checkClientHello13(m); err != nil {
		return 0, err
	}
	if err := s.checkKept(m); err != nil {
		return 0, err
	}
	s.forgetPeer()
	s.hello = m
	if err := s.selectParameters(raw); err != nil {
		return 0, err
	}
	return s.respond(aligned, raw)
}

// checkKept checks that a second ClientHello offers the pre-shared key that the
// suite of our HelloRetryRequest is for: a client may drop only those that do not
// fit it (RFC 9846, section 4.2.2).
func (s *serverHandshake) checkKept(m *clientHello) error {
	p := s.schedule.psk
	switch {
	case p == nil:
		return nil
	case !m.has(extPreSharedKey):
		return alert.Errorf(alert.MissingExtension, "second ClientHello without pre_shared_key")
	}
	for _, id := range m.pskIdentities {
		if bytes.Equal(id.identity, p.identity) {
			return nil
		}
	}
	return alert.Errorf(alert.IllegalParameter, "second ClientHello without the pre-shared key that was selected")
}

// forgetPeer drops what was resumed by the first ClientHello: the second one
// may offer other keys.
func (s *serverHandshake) forgetPeer() {
	if s.schedule.psk != nil {
		s.schedule.psk.secret.Wipe()
		s.schedule.psk = nil
	}
	s.neg.Resumed, s.neg.ExternalPSK, s.neg.TicketAgeSkew = false, nil, 0
	s.neg.PeerKey, s.neg.PeerRawKey = nil, nil
	s.neg.PeerCertificates, s.neg.VerifiedChains, s.neg.OCSPStaple, s.neg.SCTs = nil, nil, nil, nil
	s.neg.SignatureScheme, s.post.sessions = 0, nil
}

// compatCCS sends the ChangeCipherSpec of middlebox compatibility after our
// first message. A client that wants it shows so by its session ID.
func (s *serverHandshake) compatCCS() {
	if s.cfg.MiddleboxCompat && !s.schedule.sentCCS && len(s.hello.sessionID) > 0 {
		s.schedule.sentCCS = true
		s.sendChangeCipherSpec()
	}
}

// respond queues the server's flight, ServerHello to Finished.
func (s *serverHandshake) respond(aligned alignedProof, raw message) (waitState, error) {
	types := s.serverType()
	if s.schedule.psk == nil {
		var err error
		if err = s.selectCertificate(); err != nil {
			return 0, err
		}
		if types, err = s.selectCertificateTypes(); err != nil {
			return 0, err
		}
	}
	s.transcript.Add(raw.raw)
	s.transcript.Start(s.neg.Suite.Hash)
	s.transcript.Forget()
	s.decideEarlyData()
	if err := s.sendServerHello13(); err != nil {
		return 0, err
	}
	s.handshakeKeys(aligned)
	s.sendEncryptedExtensions(types)
	if err := s.sendServerAuth(); err != nil {
		return 0, err
	}
	s.sendFinished13()
	if s.schedule.earlyData {
		// Whoever refuses the connection must do so before its data is there.
		return serverWaitEOED, s.verifyConnection()
	}
	if err := s.sendEarlyTickets(); err != nil {
		return 0, err
	}
	switch {
	case s.schedule.askedCert:
		return serverWaitCert, nil
	default:
		return serverWaitFinished, nil
	}
}

// decideEarlyData accepts early data for the session's first identity only, and
// only if what was negotiated is what the session had (RFC 9846, section 4.3.10).
func (s *serverHandshake) decideEarlyData() {
	if !s.hello.earlyData {
		return
	}
	if !s.acceptsEarlyData() {
		s.rejectEarlyData()
		return
	}
	s.schedule.earlyData, s.neg.EarlyData = true, true
	s.emit(EarlyDataAccepted{})
}

// acceptsEarlyData asks the caller only if nothing else speaks against early
// data: what it remembers of accepted ClientHellos has a bound.
func (s *serverHandshake) acceptsEarlyData() bool {
	p := s.schedule.psk
	if p == nil || p.session == nil || s.schedule.pskIndex != 0 || s.schedule.retry != nil || s.cfg.AcceptEarlyData == nil {
		return false
	}
	return p.session.EarlyData && p.session.MaxEarlyData > 0 && p.session.MaxEarlyData <= s.cfg.MaxEarlyData &&
		p.session.CipherSuite == s.neg.Suite.ID && p.session.ALPN == s.neg.ALPN &&
		s.fresh() && s.cfg.AcceptEarlyData(s.ctx, &s.info, p.session, s.hello.pskBinders[0])
}

// rejectEarlyData says how much there may be to skip: what a ticket of today
// allows, or the client's own.
func (s *serverHandshake) rejectEarlyData() {
	n := s.cfg.MaxEarlyData
	if p := s.schedule.psk; p != nil && p.session != nil {
		n = max(n, p.session.MaxEarlyData)
	}
	s.emit(EarlyDataRejected{MaxBytes: n})
}

// fresh compares the ticket's age as the client says it with ours. A replayed
// ClientHello falls behind (RFC 9846, sections 4.3.10 and 8.3).
func (s *serverHandshake) fresh() bool {
	return s.neg.TicketAgeSkew.Abs() <= session.AgeTolerance
}

// ageSkew is by how much the client's age of a ticket is more than ours, in whole
// milliseconds.
func (s *serverHandshake) ageSkew(state *session.State) time.Duration {
	claimed := time.Duration(s.hello.pskIdentities[s.schedule.pskIndex].obfuscatedTicketAge-state.AgeAdd) * time.Millisecond
	return (claimed - s.cfg.Time().Sub(state.CreatedAt)).Round(time.Millisecond)
}

// sendServerHello13 answers the key share and queues ServerHello.
func (s *serverHandshake) sendServerHello13() error {
	share, secret, err := s.cfg.provider().KeyExchange(s.neg.Group).Encapsulate(s.cfg.Rand, s.schedule.share.data)
	if err != nil {
		return err
	}
	defer clear(secret)
	var both struct { // one allocation
		serverHello
		share keyShareEntry
		index uint16
	}
	both.share = keyShareEntry{group: s.neg.Group, data: share}
	both.serverHello = serverHello{
		legacyVersion:    versionTLS12,
		sessionID:        s.hello.sessionID,
		cipherSuite:      s.neg.Suite.ID,
		supportedVersion: versionTLS13,
		keyShare:         &both.share,
	}
	m := &both.serverHello
	if err = s.serverRandom(&m.random); err != nil {
		return err
	}
	var psk []byte
	if p := s.schedule.psk; p != nil {
		psk = p.secret.Bytes()
		both.index = uint16(s.schedule.pskIndex)
		m.selectedIdentity = &both.index
	}
	early := keyschedule.NewEarly(s.neg.Suite.Hash, psk)
	if s.schedule.earlyData {
		s.earlyDataKeys(early)
	}
	s.send(LevelInitial, m.append)
	s.compatCCS()
	next := early.Handshake(secret)
	s.schedule.handshake = *next
	next.Wipe()
	return nil
}

// earlyDataKeys derives the keys of 0-RTT over the ClientHello; they are handed
// out once ServerHello is queued.
func (s *serverHandshake) earlyDataKeys(early *keyschedule.Early) {
	s.schedule.client = early.ClientEarlyTrafficSecret(s.transcript.Sum())
	s.cfg.logSecret("CLIENT_EARLY_TRAFFIC_SECRET", &s.hello.random, &s.schedule.client.Secret)
}

// handshakeKeys hands out the keys of the handshake level. While early data
// comes in, reading stays at its level.
func (s *serverHandshake) handshakeKeys(aligned alignedProof) {
	k := &s.schedule
	if k.earlyData {
		s.installRead(aligned, LevelEarly, &k.client)
	}
	sum := s.transcript.Sum()
	k.client = k.handshake.ClientHandshakeTrafficSecret(sum)
	k.server = k.handshake.ServerHandshakeTrafficSecret(sum)
	s.cfg.logSecret("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &s.hello.random, &k.client.Secret)
	s.cfg.logSecret("SERVER_HANDSHAKE_TRAFFIC_SECRET", &s.hello.random, &k.server.Secret)
	if !k.earlyData {
		s.installRead(aligned, LevelHandshake, &k.client)
	}
	s.installWrite(LevelHandshake, &k.server)
}

func (s *serverHandshake) sendEncryptedExtensions(types certificateTypes) {
	s.send(LevelHandshake, (&encryptedExtensions{
		alpn:          s.neg.ALPN,
		serverNameAck: s.hello.serverName != "" && !s.neg.Resumed,
		earlyData:     s.schedule.earlyData,

		certificateTypes: types,
	}).append)
}

// sendServerAuth queues CertificateRequest, Certificate and CertificateVerify;
// a pre-shared key replaces them all.
func (s *serverHandshake) sendServerAuth() error {
	if s.schedule.psk != nil {
		s.peer = s.verifiedByPSK()
		return nil
	}
	if s.cfg.ClientAuth != NoClientCert {
		s.schedule.askedCert = true
		s.send(LevelHandshake, (&certificateRequest13{
			signatureSchemes:       s.cfg.signatureSchemes(),
			certificateAuthorities: s.cfg.ClientCAs,
			ocspStapling:           true,
			scts:                   true,
			compressCertificate:    s.cfg.compressionAlgs(),
		}).append)
	} else {
		var err error
		if s.peer, err = verifiedAnonymous(s.cfg.ClientAuth); err != nil {
			return err
		}
	}
	want := certificateWants{ocsp: s.hello.ocspStapling, scts: s.hello.scts, compress: s.hello.compressCertificate}
	return s.sendCertificate13(s.cert, want, serverSignatureContext, s.hello.signatureSchemes)
}

// sendFinished13 queues Finished and hands out our application keys, with which
// a server may send from here on.
func (s *serverHandshake) sendFinished13() {
	var room [keyschedule.MaxSecretLen]byte
	verify := s.schedule.server.VerifyData(s.neg.Suite.Hash, room[:0], s.transcript.Sum())
	s.send(LevelHandshake, (&finished{verifyData: verify}).append)
	main := s.schedule.handshake.Main()
	s.schedule.main = *main
	main.Wipe()
	s.applicationKeys(&s.schedule.main, s.transcript.Sum(), &s.hello.random)
	s.installWrite(LevelApplication, &s.post.write)
}

// sendEarlyTickets sends tickets before the client's Finished, where what it
// will be is known already: no certificate comes before it.
func (s *serverHandshake) sendEarlyTickets() error {
	if s.schedule.askedCert || !s.sendsTickets() {
		return nil
	}
	s.schedule.ticketsSent = true
	raw := (&finished{verifyData: s.clientVerifyData()}).append(make([]byte, 0, messageHeaderLen+keyschedule.MaxSecretLen))
	resumption := s.schedule.main.ResumptionMainSecret(s.transcript.SumWith(s.neg.Suite.Hash, raw))
	defer resumption.Wipe()
	return s.sendTickets(&resumption)
}

// clientVerifyData returns what the client's Finished must hold. Once it was
// asked for, nothing but that may be added to the transcript.
func (s *serverHandshake) clientVerifyData() []byte {
	k := &s.schedule
	if len(k.clientFinished) == 0 {
		k.clientFinished = k.client.VerifyData(s.neg.Suite.Hash, k.finishedRoom[:0], s.transcript.Sum())
	}
	return k.clientFinished
}

// onEndOfEarlyData (RFC 9846, section 4.6).
func (s *serverHandshake) onEndOfEarlyData(_ *endOfEarlyData, raw message) (waitState, error) {
	aligned, err := s.in.aligned()
	if err != nil {
		return 0, err
	}
	s.transcript.Add(raw.raw)
	s.installRead(aligned, LevelHandshake, &s.schedule.client)
	return serverWaitFinished, nil
}

// onCertificate13 takes the client's certificate, or its refusal to send one.
func (s *serverHandshake) onCertificate13(m *certificate13, raw message) (waitState, error) {
	if len(m.entries) == 0 {
		var err error
		if s.peer, err = verifiedAnonymous(s.cfg.ClientAuth); err != nil {
			return 0, err
		}
		s.transcript.Add(raw.raw)
		return serverWaitFinished, nil
	}
	offered := []uint16{extStatusRequest, extSCT}
	if err := s.takeCertificate13(m, func(ext uint16) bool { return slices.Contains(offered, ext) }); err != nil {
		return 0, err
	}
	s.transcript.Add(raw.raw)
	return serverWaitCV, nil
}

func (s *serverHandshake) onCompressedCertificate(m *compressedCertificate, raw message) (waitState, error) {
	inner, err := s.decompress(m, s.cfg.compressionAlgs())
	if err != nil {
		return 0, err
	}
	return s.onCertificate13(inner, raw)
}

func (s *serverHandshake) onCertificateVerify13(m *certificateVerify, raw message) (waitState, error) {
	signed := signedContent13(clientSignatureContext, s.transcript.Sum())
	var err error
	if s.peer, err = s.verifyPeerSignature(s.cfg.signatureSchemes(), m.scheme, signed, m.signature); err != nil {
		return 0, err
	}
	s.transcript.Add(raw.raw)
	return serverWaitFinished, nil
}

// onFinished13 ends the handshake.
func (s *serverHandshake) onFinished13(m *finished, raw message) (waitState, error) {
	aligned, err := s.in.aligned()
	if err != nil {
		return 0, err
	}
	fin, err := verifyFinished(m.verifyData, s.clientVerifyData())
	if err != nil {
		return 0, err
	}
	s.transcript.Add(raw.raw)
	if !s.schedule.earlyData {
		if err := s.verifyConnection(); err != nil {
			return 0, err
		}
	}
	if !s.schedule.ticketsSent && s.sendsTickets() {
		resumption := s.schedule.main.ResumptionMainSecret(s.transcript.Sum())
		defer resumption.Wipe()
		if err := s.sendTickets(&resumption); err != nil {
			return 0, err
		}
	}
	s.installRead(aligned, LevelApplication, &s.post.read)
	s.wipe()
	return serverConnected, s.establish(s.peer, fin)
}

// verifyConnection asks the caller for its last word on the connection.
func (s *serverHandshake) verifyConnection() error {
	if s.cfg.VerifyConnection == nil {
		return nil
	}
	return alert.Wrap(alert.BadCertificate, s.cfg.VerifyConnection(&s.neg))
}
