package session

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// sealFor seals s for a [Store], bound to the key that it will have there: who
// can write to the store cannot pass one session off as another. It returns
// nil, without an error, where [KeyRing.Seal] does.
func sealFor(key string, ring *KeyRing, s *State) ([]byte, error) {
	bound := *s
	defer bound.Wipe()
	bound.Extra = append(slices.Clip(s.Extra), []byte(key))
	if !listFits(bound.Extra) {
		return nil, nil
	}
	return ring.Seal(&bound)
}

// openFrom returns the session that sealFor sealed for this key. It returns nil,
// without an error, for anything else.
func openFrom(key string, ring *KeyRing, sealed []byte) (*State, error) {
	s, err := ring.Open(sealed)
	if s == nil || err != nil {
		return nil, err
	}
	last := len(s.Extra) - 1
	if last < 0 || string(s.Extra[last]) != key {
		s.Wipe()
		return nil, nil
	}
	if s.Extra = s.Extra[:last]; last == 0 {
		s.Extra = nil
	}
	return s, nil
}

// storeKey makes a key for a [Store] of what names a session. It shows nothing
// of the name: a handle that can be read in a store cannot be used.
func storeKey(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return kind + hex.EncodeToString(sum[:])
}
