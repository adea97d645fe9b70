package handshake

import (
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// Level is an encryption level: which keys protect a handshake message. The
// values are those of QUIC's encryption levels.
type Level uint8

// The levels. TLS 1.2 uses Initial before ChangeCipherSpec and Application
// after it.
const (
	LevelInitial Level = iota
	LevelEarly
	LevelHandshake
	LevelApplication
)

func (l Level) String() string {
	switch l {
	case LevelInitial:
		return "initial"
	case LevelEarly:
		return "early"
	case LevelHandshake:
		return "handshake"
	default:
		return "application"
	}
}

// Event is an effect that the engine asks its caller for. The set is closed:
// [*SendHandshake], [SendChangeCipherSpec], [*InstallRead], [*InstallWrite],
// [EarlyDataAccepted], [EarlyDataRejected], [StoreSession], [Established] and
// [PeerKeyUpdate].
//
// The order of events is the order of effects. Bytes of a SendHandshake that
// comes before an InstallWrite travel under the old keys; those that come
// after it travel under the new ones.
type Event interface{ event() }

// SendHandshake asks to send handshake messages at a level. Bytes is valid
// for as long as the caller likes, who must not change them: the transcript is made of
// them, and so are signatures and binders later.
type SendHandshake struct {
	Level Level
	Bytes []byte
}

// SendChangeCipherSpec asks to send a ChangeCipherSpec record: the real one of
// TLS 1.2, or the one that makes TLS 1.3 look like it to middleboxes (RFC 9846,
// appendix E.4), which is never encrypted.
type SendChangeCipherSpec struct{}

// InstallRead hands out the keys for what arrives from here on. The caller
// owns Keys. Secret is the traffic secret that Keys were derived from; it is
// nil for TLS 1.2. At the application level it is the engine's own, to be copied
// by who wants to keep it: the next keys of the direction come with another value in
// the same place. The peer's bytes that the caller already holds but has not
// decrypted belong to the new keys.
type InstallRead struct {
	Level  Level
	Keys   *keyschedule.TrafficKeys
	Secret *keyschedule.TrafficSecret
}

// InstallWrite hands out the keys for what is sent from here on; see
// [InstallRead]. Keys and Secret are nil where a client whose early data met a
// HelloRetryRequest goes back to cleartext.
type InstallWrite struct {
	Level  Level
	Keys   *keyschedule.TrafficKeys
	Secret *keyschedule.TrafficSecret
}

// EarlyDataAccepted says that the server takes the client's early data.
type EarlyDataAccepted struct{}

// EarlyDataRejected says that early data was not taken: a client may send it
// again after the handshake, a server skips up to MaxBytes of data in records
// that do not decrypt.
type EarlyDataRejected struct{ MaxBytes uint32 }

// StoreSession gives a client a session for later resumption. In TLS 1.3 it
// may come several times, at any time after the handshake.
type StoreSession struct{ Session *session.State }

// Established says that the handshake is complete and authenticated: from
// now on application data may be sent, and what arrives may be delivered.
type Established struct{}

// PeerKeyUpdate says that the peer changed its sending keys. InstallRead comes
// right before it.
type PeerKeyUpdate struct {
	// Requested is true if the peer wants ours changed too. The caller then
	// calls UpdateWriteKeys before it sends its next application data; once
	// will do for any number of requests, so that a peer cannot pile up answers
	// with a caller that is silent or blocked (RFC 9846, section 4.7.3).
	Requested bool
}

func (*SendHandshake) event()       {}
func (SendChangeCipherSpec) event() {}
func (*InstallRead) event()         {}
func (*InstallWrite) event()        {}
func (EarlyDataAccepted) event()    {}
func (EarlyDataRejected) event()    {}
func (StoreSession) event()         {}
func (Established) event()          {}
func (PeerKeyUpdate) event()        {}

// eventRoom is where the events of a handshake are, so that they need no memory
// of their own.
type eventRoom struct {
	queue  [8]Event
	sends  []SendHandshake
	reads  []InstallRead
	writes []InstallWrite

	allSends  [4]SendHandshake
	allReads  [2]InstallRead
	allWrites [2]InstallWrite
}

func (r *eventRoom) init() {
	r.sends, r.reads, r.writes = r.allSends[:], r.allReads[:], r.allWrites[:]
}

// take returns an element that was not used yet, or a new one.
func take[T any](unused *[]T) *T {
	if len(*unused) == 0 {
		return new(T)
	}
	first := &(*unused)[0]
	*unused = (*unused)[1:]
	return first
}

// newSend, newRead and newWrite make events. After the handshake they are few.

func (e *Engine) newSend(level Level, b []byte) *SendHandshake {
	ev := take(&e.room().sends)
	ev.Level, ev.Bytes = level, b
	return ev
}

func (e *Engine) newRead(level Level, keys *keyschedule.TrafficKeys, secret *keyschedule.TrafficSecret) *InstallRead {
	ev := take(&e.room().reads)
	ev.Level, ev.Keys, ev.Secret = level, keys, secret
	return ev
}

func (e *Engine) newWrite(level Level, keys *keyschedule.TrafficKeys, secret *keyschedule.TrafficSecret) *InstallWrite {
	ev := take(&e.room().writes)
	ev.Level, ev.Keys, ev.Secret = level, keys, secret
	return ev
}

// noRoom is for the time after the handshake. Nobody changes it.
var noRoom eventRoom

// room returns where events are made.
func (e *Engine) room() *eventRoom {
	if w := e.working(); w != nil {
		return &w.eventRoom
	}
	return &noRoom
}
