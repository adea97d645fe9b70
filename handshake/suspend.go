package handshake

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/certs"
	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/keyschedule"
)

// suspendedFormat is the version of the format below, which its first two bytes
// name. It changes whenever the format does.
//
//	uint16 format;
//	uint8  machine;                     1 + its place in restingStates
//	uint16 cipher_suite;
//	uint16 group;
//	uint16 signature_scheme;
//	uint16 local_signature_scheme;
//	uint16 flags;
//	opaque server_name<0..2^16-1>;
//	opaque alpn<0..2^8-1>;
//	opaque external_psk<0..2^16-1>;
//	opaque tls_unique<0..2^8-1>;
//	int64  ticket_age_skew;             nanoseconds
//	opaque ocsp_staple<0..2^24-1>;
//	Bytes24 scts<0..2^24-1>;            opaque Bytes24<0..2^24-1>
//	opaque peer_raw_key<0..2^16-1>;     SubjectPublicKeyInfo
//	Bytes24 certificates<0..2^24-1>;    each once, DER
//	uint16 peer_certificates<0..2^16-1>; places in certificates
//	Chain verified_chains<0..2^24-1>;   uint16 Chain<0..2^16-1>, as above
//	opaque pending<0..2^24-1>;          the beginning of a handshake message
//	uint8  messages;
//	uint64 write_epochs;
//	opaque read_secret<0..48>;
//	opaque write_secret<0..48>;
//	opaque resumption_secret<0..48>;
//	opaque exporter_secret<0..48>;
//	if there is an exporter in TLS 1.2:
//	    opaque client_random[32], server_random[32];
const suspendedFormat uint16 = 2

const (
	suspendedResumed = 1 << iota
	suspendedHelloRetryRequest
	suspendedExtendedMasterSecret
	suspendedEarlyData
	suspendedCertificateCompression
	suspendedRequestedUpdate
	suspendedPeerClosed
	suspendedUnknown = 0xffff &^ (1<<iota - 1)
)

const (
	// maxSuspended is how many elements a list may have: more than any chain or
	// number of chains that was verified, and few enough to be parsed at once.
	maxSuspended = 1024
	// suspendedFixed is more than the length of all that has a fixed length, of
	// all length fields outside of lists, and of the secrets.
	suspendedFixed = 512

	max8, max16, max24 = 1<<8 - 1, 1<<16 - 1, 1<<24 - 1
)

// restingStates are the states in which a handshake has ended.
var restingStates = [...]struct {
	state   waitState
	version uint16
}{
	{clientConnected, versionTLS13},
	{client12Connected, versionTLS12},
	{serverConnected, versionTLS13},
	{server12Connected, versionTLS12},
}

// IsClient reports whether the engine is a client's, whose states come first.
func (e *Engine) IsClient() bool { return e.state < serverWaitCH }

// Suspend takes an engine whose handshake is complete out of use, for [Restore]
// to go on with it elsewhere. All events must have been taken. The engine is
// wiped, so that no two engines go on with the same secrets; only on errors it
// stays as it was.
//
// A message of which only the beginning has arrived goes along: the peer decides
// how its messages are cut, and could otherwise keep the engine from leaving.
// Left behind is what only a handshake needs, and State.LocalCertificate, whose
// key may be one that cannot leave; and what sessions of an external key are bound
// to, so that no more of them are stored.
//
// The result holds all secrets of the connection. Whoever can read it can read
// the connection, and whoever can change it decides who the peer is: it must be
// kept secret and authentic, and be wiped.
func (e *Engine) Suspend() ([]byte, error) {
	switch {
	case e.err != nil:
		return nil, e.err
	case !e.established:
		return nil, alert.Errorf(alert.InternalError, "engine suspended before the handshake is complete")
	case len(e.events) > 0:
		return nil, alert.Errorf(alert.InternalError, "engine suspended with %d events that were not taken", len(e.events))
	case len(e.neg.VerifiedChains) > maxSuspended:
		return nil, alert.Errorf(alert.InternalError, "engine suspended with %d verified chains", len(e.neg.VerifiedChains))
	}
	list := newCertificateList(&e.neg)
	if len(list.ders) > maxSuspended || len(e.neg.SCTs) > maxSuspended {
		return nil, alert.Errorf(alert.InternalError, "engine suspended with %d certificates and %d SCTs", len(list.ders), len(e.neg.SCTs))
	}
	var b []byte
	if err := e.guarded(func() error { b = e.appendSuspended(list); return nil }); err != nil {
		return nil, err
	}
	e.Wipe()
	e.in.buf = nil
	return b, nil
}

// appendSuspended appends what may be too long first, so that no secret is left
// behind if it is.
func (e *Engine) appendSuspended(list *certificateList) []byte {
	b := make([]byte, 0, e.suspendedSize(list))
	b = binary.BigEndian.AppendUint16(b, suspendedFormat)
	b = e.appendNegotiated(b)
	b = wire.AppendVec16(b, e.neg.PeerRawKey)
	b = list.append(b)
	return e.appendPost(b)
}

// suspendedSize is at least the length of the encoding, so that appending does
// not leave copies of secrets behind in grown buffers.
func (e *Engine) suspendedSize(list *certificateList) int {
	n := suspendedFixed + len(e.neg.ServerName) + len(e.neg.ALPN) + len(e.neg.ExternalPSK) + len(e.neg.TLSUnique) + len(e.neg.OCSPStaple) + len(e.neg.PeerRawKey) + len(e.in.buf)
	for _, l := range [...][][]byte{e.neg.SCTs, list.ders} {
		for _, v := range l {
			n += 3 + len(v)
		}
	}
	for _, chain := range append(list.chains, list.peer) {
		n += 2 + 2*len(chain)
	}
	return n
}

func (e *Engine) appendNegotiated(b []byte) []byte {
	for i, resting := range restingStates {
		if resting.state == e.state {
			b = append(b, byte(i+1))
		}
	}
	s := &e.neg
	b = binary.BigEndian.AppendUint16(b, s.Suite.ID)
	b = binary.BigEndian.AppendUint16(b, uint16(s.Group))
	b = binary.BigEndian.AppendUint16(b, uint16(s.SignatureScheme))
	b = binary.BigEndian.AppendUint16(b, uint16(s.LocalSignatureScheme))
	b = binary.BigEndian.AppendUint16(b, e.suspendedFlags())
	b = wire.AppendVec16(b, []byte(s.ServerName))
	b = wire.AppendVec8(b, []byte(s.ALPN))
	b = wire.AppendVec16(b, s.ExternalPSK)
	b = wire.AppendVec8(b, s.TLSUnique)
	b = binary.BigEndian.AppendUint64(b, uint64(s.TicketAgeSkew))
	b = wire.AppendVec24(b, s.OCSPStaple)
	return appendVecs24(b, s.SCTs)
}

// flagged are the fields that travel as flags.
func (e *Engine) flagged() map[uint16]*bool {
	return map[uint16]*bool{
		suspendedResumed:                &e.neg.Resumed,
		suspendedHelloRetryRequest:      &e.neg.HelloRetryRequest,
		suspendedExtendedMasterSecret:   &e.neg.ExtendedMasterSecret,
		suspendedEarlyData:              &e.neg.EarlyData,
		suspendedCertificateCompression: &e.neg.CertificateCompression,
		suspendedRequestedUpdate:        &e.post.requestedUpdate,
		suspendedPeerClosed:             &e.post.peerClosed,
	}
}

func (e *Engine) suspendedFlags() (flags uint16) {
	for flag, field := range e.flagged() {
		if *field {
			flags |= flag
		}
	}
	return flags
}

func (e *Engine) appendPost(b []byte) []byte {
	b = wire.AppendVec24(b, e.in.buf)
	b = append(b, byte(e.post.messages))
	b = binary.BigEndian.AppendUint64(b, e.post.writeN)
	b = wire.AppendVec8(b, e.post.read.Bytes())
	b = wire.AppendVec8(b, e.post.write.Bytes())
	b = wire.AppendVec8(b, e.post.secrets().resumption.Bytes())
	switch x := e.post.exporter.(type) {
	case *keyschedule.Exporter:
		return wire.AppendVec8(b, x.Secret().Bytes())
	case *keyschedule.Exporter12:
		master, clientRandom, serverRandom := x.Parts()
		b = wire.AppendVec8(b, master.Bytes())
		b = append(b, clientRandom[:]...)
		return append(b, serverRandom[:]...)
	}
	return wire.AppendVec8(b, nil)
}

// Restore returns an engine that goes on where the one stood that b was made of
// by [Engine.Suspend]. Of cfg it uses what matters after a handshake: Rand, Time
// and AcceptSessions. It shares no memory with b.
func Restore(cfg *Config, b []byte) (*Engine, error) {
	r := wire.NewReader(b)
	if format := r.U16(); !r.Failed() && format != suspendedFormat {
		return nil, alert.Errorf(alert.DecodeError, "suspended engine of unknown format %d", format)
	}
	// No verification is proved here: the engine that was suspended had proved
	// them, and the caller vouches that this is it.
	e := &Engine{cfg: cfg, readLevel: LevelApplication, established: true}
	e.readNegotiated(&r)
	e.readPeerKey(&r)
	e.readCertificates(&r)
	e.readPost(&r)
	if err := r.Done("suspended engine"); err != nil {
		e.Wipe()
		return nil, err
	}
	if err := e.checkRestored(); err != nil {
		e.Wipe()
		return nil, err
	}
	return e, nil
}

// TrafficSecrets returns copies of the secrets that both directions have arrived
// at, which their keys come from. They are empty for TLS 1.2.
func (e *Engine) TrafficSecrets() (read, write keyschedule.TrafficSecret) {
	return e.post.read, e.post.write
}

func (e *Engine) readNegotiated(r *wire.Reader) {
	machine := int(r.U8())
	suite := keyschedule.SuiteByID(r.U16())
	if machine < 1 || machine > len(restingStates) || suite == nil || suite.Version != restingStates[machine-1].version {
		r.Fail()
		return
	}
	s := &e.neg
	e.state, s.Suite, s.Version = restingStates[machine-1].state, suite, suite.Version
	s.Group = NamedGroup(r.U16())
	s.SignatureScheme = SignatureScheme(r.U16())
	s.LocalSignatureScheme = SignatureScheme(r.U16())
	e.readFlags(r)
	s.ServerName = string(r.Vec16(0, max16))
	s.ALPN = string(r.Vec8(0, max8))
	s.ExternalPSK = own(r.Vec16(0, max16))
	s.TLSUnique = own(r.Vec8(0, max8))
	s.TicketAgeSkew = time.Duration(r.U64())
	s.OCSPStaple = own(r.Vec24(0, max24))
	s.SCTs = readVecs24(r)
}

func (e *Engine) readFlags(r *wire.Reader) {
	flags := r.U16()
	if flags&suspendedUnknown != 0 {
		r.Fail()
	}
	for flag, field := range e.flagged() {
		*field = flags&flag != 0
	}
}

func (e *Engine) readPost(r *wire.Reader) {
	e.in.buf = own(r.Vec24(0, max24))
	e.post.messages = r.U8()
	e.post.writeN = r.U64()
	e.post.read = keyschedule.TrafficSecret{Secret: readSecret(r)}
	e.post.write = keyschedule.TrafficSecret{Secret: readSecret(r)}
	e.post.secrets().resumption = readSecret(r)
	secret := readSecret(r)
	defer secret.Wipe()
	switch {
	case r.Failed(), secret.Len() == 0:
	case e.neg.Version == versionTLS13:
		e.post.exporter = keyschedule.NewExporter(e.neg.Suite.Hash, &secret)
	default:
		var clientRandom, serverRandom [32]byte
		copy(clientRandom[:], r.Bytes(32))
		copy(serverRandom[:], r.Bytes(32))
		e.post.exporter = keyschedule.ResumeMasterSecret(e.neg.Suite.Hash, &secret).Exporter(clientRandom, serverRandom)
	}
}

func readSecret(r *wire.Reader) keyschedule.Secret {
	return keyschedule.NewSecret(r.Vec8(0, keyschedule.MaxSecretLen))
}

// checkRestored refuses what no engine could have become by itself.
func (e *Engine) checkRestored() error {
	switch {
	case e.post.messages > maxPostHandshake, e.post.writeN > maxKeyUpdates:
		return alert.Errorf(alert.DecodeError, "suspended engine with %d messages and %d epochs", e.post.messages, e.post.writeN)
	case !e.secretsFit():
		return alert.Errorf(alert.DecodeError, "suspended engine with secrets that do not fit %s", e.neg.Suite.Name)
	}
	return e.checkPending()
}

// secretsFit checks the presence and lengths of secrets.
func (e *Engine) secretsFit() bool {
	traffic, resumption := 0, 0
	if e.neg.Version == versionTLS13 {
		traffic = e.neg.Suite.Hash.Size()
		if e.IsClient() {
			resumption = traffic
		}
	}
	if e.post.read.Len() != traffic || e.post.write.Len() != traffic || e.post.secrets().resumption.Len() != resumption {
		return false
	}
	switch x := e.post.exporter.(type) {
	case *keyschedule.Exporter:
		return x.Secret().Len() == traffic
	case *keyschedule.Exporter12:
		master, _, _ := x.Parts()
		return master.Len() == keyschedule.MaxSecretLen
	}
	return e.neg.Version == versionTLS12
}

// checkPending demands of the bytes of a message to come what handle has checked
// of them: that such a message is legal, and not all there.
func (e *Engine) checkPending() error {
	typ, ok := e.in.peek()
	if !ok {
		return nil
	}
	if transition(e.state, typ) == nil {
		return e.unexpected(typ)
	}
	if _, whole, err := e.in.next(); whole || err != nil {
		return alert.Errorf(alert.DecodeError, "suspended engine with a whole %v pending", typ)
	}
	return nil
}

// certificateList is the certificates of a [State], each of them once, and which
// of them stand where.
type certificateList struct {
	ders   [][]byte
	peer   []uint16
	chains [][]uint16
	places map[string]uint16
}

func newCertificateList(s *State) *certificateList {
	l := &certificateList{places: map[string]uint16{}}
	l.peer = l.add(s.PeerCertificates)
	for _, chain := range s.VerifiedChains {
		l.chains = append(l.chains, l.add(chain))
	}
	return l
}

// add returns where the certificates of chain stand in the list.
func (l *certificateList) add(chain []*x509.Certificate) []uint16 {
	places := make([]uint16, 0, len(chain))
	for _, cert := range chain {
		place, ok := l.places[string(cert.Raw)]
		if !ok {
			place = uint16(len(l.ders))
			l.places[string(cert.Raw)] = place
			l.ders = append(l.ders, cert.Raw)
		}
		places = append(places, place)
	}
	return places
}

func (l *certificateList) append(b []byte) []byte {
	b = appendVecs24(b, l.ders)
	b = wire.AppendU16s(b, l.peer)
	b, mark := wire.Open(b, 3)
	for _, chain := range l.chains {
		b = wire.AppendU16s(b, chain)
	}
	wire.Close(b, mark)
	return b
}

func (e *Engine) readPeerKey(r *wire.Reader) {
	if spki := own(r.Vec16(0, max16)); spki != nil && e.parseRawKey(spki) != nil {
		r.Fail()
	}
}

func (e *Engine) readCertificates(r *wire.Reader) {
	var list []*x509.Certificate
	for _, der := range readVecs24(r) {
		cert, err := certs.Parse(der)
		if err != nil {
			r.Fail()
			return
		}
		list = append(list, cert)
	}
	if e.neg.PeerCertificates = pick(r, list); len(e.neg.PeerCertificates) > 0 {
		e.neg.PeerKey = e.neg.PeerCertificates[0].PublicKey
	}
	chains := wire.NewReader(r.Vec24(0, max24))
	for chains.More() && len(e.neg.VerifiedChains) < maxSuspended {
		e.neg.VerifiedChains = append(e.neg.VerifiedChains, pick(&chains, list))
	}
	if chains.Failed() || chains.Len() > 0 {
		r.Fail()
	}
}

// pick reads places in certs, and returns the certificates there.
func pick(r *wire.Reader, certs []*x509.Certificate) (chain []*x509.Certificate) {
	for _, place := range r.U16s(0, max16) {
		if int(place) >= len(certs) {
			r.Fail()
			return nil
		}
		chain = append(chain, certs[place])
	}
	return chain
}

func appendVecs24(b []byte, list [][]byte) []byte {
	b, mark := wire.Open(b, 3)
	for _, v := range list {
		b = wire.AppendVec24(b, v)
	}
	wire.Close(b, mark)
	return b
}

func readVecs24(r *wire.Reader) (list [][]byte) {
	v := wire.NewReader(r.Vec24(0, max24))
	for v.More() && len(list) < maxSuspended {
		list = append(list, own(v.Vec24(0, max24)))
	}
	if v.Failed() || v.Len() > 0 {
		r.Fail()
	}
	return list
}

// own copies b, and makes an empty b nil.
func own(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}
