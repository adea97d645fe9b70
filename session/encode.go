package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/keyschedule"
)

// stateFormat is the version of the format below, which its first two bytes
// name. It changes whenever the format does: tickets of the other version are
// then unknown, which costs their clients one full handshake.
//
//	uint16 format;
//	uint16 version;
//	uint16 cipher_suite;
//	uint64 created_at;              milliseconds since 1970
//	uint8  flags;
//	opaque secret<32..48>;
//	opaque server_name<0..2^16-1>;
//	opaque alpn<0..2^8-1>;
//	opaque leaf_hash<0..32>;        0 or 32 bytes
//	uint16 signature_scheme;
//	uint16 group;
//	Bytes24 peer_chain<0..2^24-1>;  opaque Bytes24<0..2^24-1>
//	opaque peer_raw_key<0..2^16-1>;
//	opaque psk_identity<0..2^16-1>;
//	opaque psk_hash<0..32>;         32 bytes if there is an identity
//	opaque ocsp_staple<0..2^24-1>;
//	Bytes24 scts<0..2^24-1>;
//	opaque ticket<0..2^16-1>;
//	opaque session_id<0..32>;
//	uint32 lifetime;                seconds
//	uint32 age_add;
//	uint32 max_early_data;
//	Bytes24 extra<0..2^24-1>;
const stateFormat uint16 = 3

const (
	flagExtendedMasterSecret = 1 << iota
	flagEarlyData
	flagsUnknown = 0xff &^ (1<<iota - 1)
)

const (
	max8, max16, max24 = 1<<8 - 1, 1<<16 - 1, 1<<24 - 1

	maxSessionID = 32
	// maxList is how many elements a list may have: far more than any chain, and
	// few enough that a hostile encoding cannot blow up in memory.
	maxList = 256
	// fixedSize is more than the length of all that has a fixed length, of all
	// length fields outside of lists, and of the secret.
	fixedSize = 128
)

// Bytes returns s in a versioned binary format, for [ParseState]. It contains
// the secret: whoever gets it can resume the session and, without a new key
// exchange, read it.
func (s *State) Bytes() ([]byte, error) {
	return s.append(make([]byte, 0, s.sizeHint()))
}

// ParseState parses what [State.Bytes] returned. The result shares no memory
// with b.
func ParseState(b []byte) (*State, error) { return parseOwn(bytes.Clone(b)) }

// parseOwn parses b, which is the result's from then on. There is no secret in
// it any more, whatever comes out.
func parseOwn(b []byte) (*State, error) {
	s, err := parseAlias(b)
	if err != nil {
		clear(b)
	}
	return s, err
}

// parseAlias returns a State that aliases b, but for the secret, which it moves.
func parseAlias(b []byte) (*State, error) {
	r := wire.NewReader(b)
	if format := r.U16(); !r.Failed() && format != stateFormat {
		return nil, alert.Errorf(alert.DecodeError, "session of unknown format %d", format)
	}
	s := new(State)
	s.readConnection(&r)
	s.readPeer(&r)
	s.readTicket(&r)
	if err := r.Done("session"); err != nil {
		s.Wipe()
		return nil, err
	}
	if err := s.check(); err != nil {
		s.Wipe()
		return nil, alert.Errorf(alert.DecodeError, "malformed %w", err)
	}
	return s, nil
}

func (s *State) append(b []byte) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, alert.Errorf(alert.InternalError, "cannot encode %w", err)
	}
	b = binary.BigEndian.AppendUint16(b, stateFormat)
	b = binary.BigEndian.AppendUint16(b, s.Version)
	b = binary.BigEndian.AppendUint16(b, s.CipherSuite)
	b = binary.BigEndian.AppendUint64(b, uint64(s.CreatedAt.UnixMilli()))
	b = append(b, s.flags())
	b = wire.AppendVec8(b, s.Secret.Bytes())
	b = wire.AppendVec16(b, []byte(s.ServerName))
	b = wire.AppendVec8(b, []byte(s.ALPN))
	b = wire.AppendVec8(b, s.LeafHash)
	b = binary.BigEndian.AppendUint16(b, s.SignatureScheme)
	b = binary.BigEndian.AppendUint16(b, s.Group)
	b = appendList(b, s.PeerChain)
	b = wire.AppendVec16(b, s.PeerRawKey)
	b = wire.AppendVec16(b, s.PSKIdentity)
	b = wire.AppendVec8(b, s.PSKHash)
	b = wire.AppendVec24(b, s.OCSPStaple)
	b = appendList(b, s.SCTs)
	b = wire.AppendVec16(b, s.Ticket)
	b = wire.AppendVec8(b, s.SessionID)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Lifetime/time.Second))
	b = binary.BigEndian.AppendUint32(b, s.AgeAdd)
	b = binary.BigEndian.AppendUint32(b, s.MaxEarlyData)
	return appendList(b, s.Extra), nil
}

// sizeHint is at least the length of the encoding, so that appending does not
// leave half-written copies of the secret behind in grown buffers.
func (s *State) sizeHint() int {
	return fixedSize + len(s.ServerName) + len(s.ALPN) + len(s.LeafHash) + len(s.PeerRawKey) + len(s.PSKIdentity) + len(s.PSKHash) + len(s.OCSPStaple) + len(s.Ticket) + len(s.SessionID) +
		listSize(s.PeerChain) + listSize(s.SCTs) + listSize(s.Extra)
}

func (s *State) readConnection(r *wire.Reader) {
	s.Version = r.U16()
	s.CipherSuite = r.U16()
	s.CreatedAt = time.UnixMilli(int64(r.U64())).UTC()
	s.setFlags(r)
	secret := r.Vec8(0, keyschedule.MaxSecretLen)
	s.Secret = keyschedule.NewSecret(secret)
	clear(secret)
	s.ServerName = string(r.Vec16(0, max16))
	s.ALPN = string(r.Vec8(0, max8))
	s.LeafHash = some(r.Vec8(0, max8))
	s.SignatureScheme = r.U16()
	s.Group = r.U16()
}

func (s *State) readPeer(r *wire.Reader) {
	s.PeerChain = readList(r)
	s.PeerRawKey = some(r.Vec16(0, max16))
	s.PSKIdentity = some(r.Vec16(0, max16))
	s.PSKHash = some(r.Vec8(0, max8))
	s.OCSPStaple = some(r.Vec24(0, max24))
	s.SCTs = readList(r)
}

func (s *State) readTicket(r *wire.Reader) {
	s.Ticket = some(r.Vec16(0, max16))
	s.SessionID = some(r.Vec8(0, maxSessionID))
	s.Lifetime = time.Duration(r.U32()) * time.Second
	s.AgeAdd = r.U32()
	s.MaxEarlyData = r.U32()
	s.Extra = readList(r)
}

func (s *State) flags() (f byte) {
	if s.ExtendedMasterSecret {
		f |= flagExtendedMasterSecret
	}
	if s.EarlyData {
		f |= flagEarlyData
	}
	return f
}

func (s *State) setFlags(r *wire.Reader) {
	f := r.U8()
	if f&flagsUnknown != 0 {
		r.Fail()
	}
	s.ExtendedMasterSecret = f&flagExtendedMasterSecret != 0
	s.EarlyData = f&flagEarlyData != 0
}

// check says whether s has an encoding, and what it is that has none.
func (s *State) check() error {
	suite := keyschedule.SuiteByID(s.CipherSuite)
	switch {
	case suite == nil || suite.Version != s.Version:
		return fmt.Errorf("session with suite %#04x of version %#04x", s.CipherSuite, s.Version)
	case s.Secret.Len() != secretLen(suite):
		return fmt.Errorf("session with a secret of %d bytes", s.Secret.Len())
	case len(s.ServerName) > max16, len(s.ALPN) > max8, len(s.PeerRawKey) > max16, len(s.PSKIdentity) > max16, len(s.OCSPStaple) > max24, len(s.Ticket) > max16, len(s.SessionID) > maxSessionID:
		return fmt.Errorf("session with a field that is too long")
	case s.LeafHash != nil && len(s.LeafHash) != sha256.Size:
		return fmt.Errorf("session with a certificate's hash of %d bytes", len(s.LeafHash))
	case (s.PSKIdentity == nil) != (s.PSKHash == nil), s.PSKHash != nil && len(s.PSKHash) != sha256.Size:
		return fmt.Errorf("session with an external key's name of %d bytes and hash of %d", len(s.PSKIdentity), len(s.PSKHash))
	case s.Lifetime < 0 || s.Lifetime/time.Second > 1<<32-1:
		return fmt.Errorf("session with a lifetime of %v", s.Lifetime)
	case !listFits(s.PeerChain), !listFits(s.SCTs), !listFits(s.Extra):
		return fmt.Errorf("session with a list that is too long")
	}
	return nil
}

// secretLen is the length of what suite's connections resume with.
func secretLen(suite *keyschedule.Suite) int {
	if suite.Version == keyschedule.VersionTLS12 {
		return keyschedule.MaxSecretLen
	}
	return suite.Hash.Size()
}

func appendList(b []byte, list [][]byte) []byte {
	b, mark := wire.Open(b, 3)
	for _, v := range list {
		b = wire.AppendVec24(b, v)
	}
	wire.Close(b, mark)
	return b
}

func readList(r *wire.Reader) (list [][]byte) {
	v := wire.NewReader(r.Vec24(0, max24))
	n := 0
	for rest := v; rest.More() && n < maxList; n++ {
		rest.Vec24(0, max24)
	}
	if n > 0 {
		list = make([][]byte, 0, n)
	}
	for v.More() && len(list) < maxList {
		list = append(list, some(v.Vec24(0, max24)))
	}
	if v.Failed() || v.Len() > 0 {
		r.Fail()
	}
	return list
}

func listFits(list [][]byte) bool { return len(list) <= maxList && listSize(list) <= max24 }

// listSize is the length of a list's content.
func listSize(list [][]byte) (n int) {
	for _, v := range list {
		n += 3 + len(v)
	}
	return n
}

// some makes an empty b nil.
func some(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
