package session

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// FuzzTicket opens what clients may send as tickets. Nothing opens but what was
// sealed, and by none but a ring with the key and of the zone.
func FuzzTicket(f *testing.F) {
	keys := [][32]byte{{1}, {2}}
	ring, other := &KeyRing{Zone: "a", Rand: rand.NewChaCha8([32]byte{})}, &KeyRing{Zone: "b"}
	ring.SetKeys(keys)
	other.SetKeys(keys)
	var sealed [][]byte
	for _, s := range []*State{full13(), small13(), small12()} {
		ticket, err := ring.Seal(s)
		if err != nil {
			f.Fatal(err)
		}
		sealed = append(sealed, ticket)
		f.Add(byte(len(sealed)), uint16(0), byte(0), ticket)
		f.Add(byte(len(sealed)), uint16(40), byte(1), ticket[:headLen])
	}
	f.Fuzz(func(t *testing.T, which byte, at uint16, flip byte, raw []byte) {
		if s, err := ring.Open(raw); err != nil || s != nil && !containsBytes(sealed, raw) {
			t.Fatalf("%x opens to %v, %v", raw, s, err)
		}
		ticket := bytes.Clone(sealed[int(which)%len(sealed)])
		if s, err := other.Open(ticket); s != nil || err != nil {
			t.Fatalf("opens in another zone: %v, %v", s, err)
		}
		ticket[int(at)%len(ticket)] ^= flip
		if s, err := ring.Open(ticket); err != nil || (s != nil) != (flip == 0) {
			t.Fatalf("changed by %#x at %d: %v, %v", flip, at, s, err)
		}
	})
}

func containsBytes(list [][]byte, b []byte) bool {
	for _, v := range list {
		if bytes.Equal(v, b) {
			return true
		}
	}
	return false
}
