package session

import (
	"bytes"
	"sync"
	"testing"
)

// ringsWithOneKey returns so many rings, each for itself.
func ringsWithOneKey(n int) []*KeyRing {
	rings := make([]*KeyRing, n)
	for i := range rings {
		rings[i] = new(KeyRing)
		rings[i].SetKeys([][32]byte{{1}})
	}
	return rings
}

// TestTicketNonces: each ring has a salt of its own under each key, and each
// ticket a nonce of its own.
func TestTicketNonces(t *testing.T) {
	rings := ringsWithOneKey(2)
	salt := func(ticket []byte) []byte { return ticket[keyNameLen : keyNameLen+saltLen] }
	nonce := func(ticket []byte) []byte { return ticket[keyNameLen+saltLen : headLen] }
	first, second, other := mustSeal(t, rings[0], small13()), mustSeal(t, rings[0], small13()), mustSeal(t, rings[1], small13())
	if !bytes.Equal(salt(first), salt(second)) || bytes.Equal(nonce(first), nonce(second)) {
		t.Errorf("two tickets of one ring: %x and %x", first[:headLen], second[:headLen])
	}
	if bytes.Equal(salt(first), salt(other)) || !bytes.Equal(first[:keyNameLen], other[:keyNameLen]) {
		t.Errorf("tickets of two rings: %x and %x", first[:headLen], other[:headLen])
	}
	rings[0].SetKeys([][32]byte{{1}})
	if again := mustSeal(t, rings[0], small13()); bytes.Equal(salt(first), salt(again)) || !opens(t, rings[0], first) {
		t.Error("a key that is set again seals with the salt that it had, or does not open what it sealed")
	}
}

// TestCiphersOfOtherRings: they are kept once they have opened something, up to
// a number, and gone with the key.
func TestCiphersOfOtherRings(t *testing.T) {
	rings := ringsWithOneKey(maxOthers + 4)
	key := rings[0].keys.Load().seal
	for i, r := range rings[1:] {
		ticket := mustSeal(t, r, small13())
		bad := bytes.Clone(ticket)
		bad[keyNameLen] ^= 1
		if opens(t, rings[0], bad) || len(key.others) != min(i, maxOthers) {
			t.Fatalf("ring %d: %d ciphers after a ticket that is not authentic", i, len(key.others))
		}
		for range 2 {
			if !opens(t, rings[0], ticket) {
				t.Fatalf("ring %d: does not open", i)
			}
		}
		if n := len(key.others); n != min(i+1, maxOthers) || key.others[n-1].salt != [saltLen]byte(ticket[keyNameLen:]) {
			t.Fatalf("ring %d: %d ciphers", i, n)
		}
	}
	ticket := mustSeal(t, rings[1], small13())
	wantAllocs(t, "Open of a ring whose cipher is not kept, besides the cipher, which is three objects in a list,", 2+4, func() {
		key.others = nil
		opens(t, rings[0], ticket)
	})
	mustSeal(t, rings[0], small13())
	rings[0].SetKeys([][32]byte{{2}})
	if key.sealer.Load() != nil || key.others != nil || !key.gone {
		t.Error("a wiped key keeps ciphers")
	}
	if c, _ := key.opening([saltLen]byte{}); c != nil || key.sealing([saltLen]byte{}) != nil {
		t.Error("a wiped key makes ciphers")
	}
	key.keep(&ticketCipher{})
	if key.others != nil {
		t.Error("a wiped key takes a cipher")
	}
}

// TestCiphersConcurrently is for the race detector: rings open each other's
// tickets while keys come and go.
func TestCiphersConcurrently(t *testing.T) {
	rings := ringsWithOneKey(3)
	var wg sync.WaitGroup
	for i, r := range rings {
		wg.Go(func() {
			for n := range 100 {
				ticket, err := r.Seal(small13())
				if err != nil {
					t.Errorf("Seal: %v", err)
				}
				if _, err := rings[(i+1)%len(rings)].Open(ticket); err != nil {
					t.Errorf("Open: %v", err)
				}
				if n%10 == 9 {
					r.SetKeys([][32]byte{{byte(n / 10 % 2)}, {byte(1 - n/10%2)}})
				}
			}
		})
	}
	wg.Wait()
}
