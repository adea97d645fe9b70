package handshake

import (
	"crypto/subtle"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

// The types below are proofs: only the functions in this file, and
// reassembler.aligned, make values of them, each after it has verified
// something, and what depends on the verification demands the value. Leaving
// out a verification does not compile, or where a proof is kept between two
// messages, its zero value is refused.

// alignedProof says that no handshake bytes are pending at a key change.
type alignedProof struct{ ok bool }

// peerVerified says that the peer has proved who it is, as far as the
// configuration demands.
type peerVerified struct{ ok bool }

// finishedVerified says that the peer's Finished covers our transcript.
type finishedVerified struct{ ok bool }

// verifyPeerSignature checks a CertificateVerify or ServerKeyExchange signature
// by the key that the peer has shown.
func (e *Engine) verifyPeerSignature(offered []SignatureScheme, s SignatureScheme, message, sig []byte) (peerVerified, error) {
	key := e.neg.PeerKey
	if !contains(offered, s) || !schemeFits(e.neg.Version, key, s) {
		return peerVerified{}, alert.Errorf(alert.IllegalParameter, "peer signed with %v, which was not offered or does not fit its key", s)
	}
	if err := verify(key, s, message, sig); err != nil {
		return peerVerified{}, err
	}
	e.neg.SignatureScheme = s
	return peerVerified{ok: true}, nil
}

// verifiedByPSK holds when the key schedule rests on a pre-shared key, which
// only the right peer knows: its Finished proves it.
func (e *Engine) verifiedByPSK() peerVerified {
	return peerVerified{ok: e.neg.Resumed || e.neg.ExternalPSK != nil}
}

// verifiedBySession holds when a TLS 1.2 session is resumed: only who took part
// in it knows its master secret, and Finished proves that.
func verifiedBySession(m *keyschedule.MasterSecret) peerVerified {
	return peerVerified{ok: m.Len() > 0}
}

// verifiedAnonymous accepts a client without a certificate where the server's
// policy allows that.
func verifiedAnonymous(policy ClientAuth) (peerVerified, error) {
	if policy == RequireClientCert {
		return peerVerified{}, alert.Errorf(alert.CertificateRequired, "client sent no certificate")
	}
	return peerVerified{ok: true}, nil
}

// verifyFinished compares the peer's Finished with what it must be.
func verifyFinished(got, want []byte) (finishedVerified, error) {
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return finishedVerified{}, alert.Errorf(alert.DecryptError, "peer's Finished does not match the handshake")
	}
	return finishedVerified{ok: true}, nil
}

// establish ends the handshake. It is the only place that emits Established.
func (e *Engine) establish(peer peerVerified, fin finishedVerified) error {
	if !peer.ok || !fin.ok {
		return alert.Errorf(alert.InternalError, "handshake ended without verification")
	}
	e.established = true
	e.letGo()
	e.emit(Established{})
	return nil
}

// letGo drops what only a handshake needs, which is most of an idle connection's
// memory: of the Config, with all that its callbacks hold, a server needs nothing
// any more, and a client only what is about new sessions.
func (e *Engine) letGo() {
	client := e.client != nil
	e.client, e.server, e.neg.LocalCertificate = nil, nil, nil
	switch {
	case client && e.cfg.AcceptSessions:
	case e.cfg.Trace != nil:
		e.cfg = &Config{Trace: e.cfg.Trace}
	default:
		e.cfg = &established
	}
}

// established is the Config of engines that need nothing of theirs any more. It is
// never changed.
var established Config
