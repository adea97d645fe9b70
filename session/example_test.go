package session_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"time"

	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// newState returns a session as a handshake makes it.
func newState() *session.State {
	return &session.State{
		Version:     keyschedule.VersionTLS13,
		CipherSuite: keyschedule.TLS_AES_128_GCM_SHA256,
		CreatedAt:   time.Now(),
		Secret:      keyschedule.NewSecret(bytes.Repeat([]byte{1}, 32)),
		ServerName:  "example.com",
		Lifetime:    time.Hour,
	}
}

// A server that keeps nothing seals its sessions into tickets. Servers whose
// rings have the same keys open each other's.
func ExampleKeyRing() {
	keys := [][32]byte{{1, 2, 3}} // in earnest, random and shared by the servers
	var here, there, stranger session.KeyRing
	here.SetKeys(keys)
	there.SetKeys(keys)

	ticket, err := here.Seal(newState())
	if err != nil {
		log.Fatal(err)
	}
	state, err := there.Open(ticket)
	if err != nil {
		log.Fatal(err)
	}
	defer state.Wipe()
	fmt.Println("opened a session with", state.ServerName)

	unknown, err := stranger.Open(ticket)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("unknown elsewhere:", unknown == nil)
	// Output:
	// opened a session with example.com
	// unknown elsewhere: true
}

// A session of TLS 1.3 is taken once only, so that nobody can link connections
// by their tickets.
func ExampleClientCache() {
	cache := session.NewClientCache(100)
	cache.Put("example.com:443", newState())

	state := cache.Take("example.com:443")
	defer state.Wipe()
	fmt.Println("first:", state.ServerName)
	fmt.Println("again:", cache.Take("example.com:443") == nil)
	fmt.Println("left:", cache.Len())
	// Output:
	// first: example.com
	// again: true
	// left: 0
}

// Rings with one source have the same keys, which rotate by themselves. For
// servers in several processes there are other sources than MemoryRing.
func ExampleKeyRing_source() {
	source := new(session.MemoryRing)
	kek := [32]byte{1, 2, 3} // in earnest, random and the same in all servers
	here := session.KeyRing{Source: source, KEK: kek}
	there := session.KeyRing{Source: source, KEK: kek}
	ctx := context.Background()
	for _, ring := range []*session.KeyRing{&here, &there} {
		if err := ring.Refresh(ctx); err != nil {
			log.Print(err) // the ring goes on with keys of its own, and tries again
		}
	}

	ticket, err := here.Seal(newState())
	if err != nil {
		log.Fatal(err)
	}
	if err := here.Rotate(ctx); err != nil { // need not be called
		log.Fatal(err)
	}
	state, err := there.Open(ticket)
	if err != nil {
		log.Fatal(err)
	}
	defer state.Wipe()
	fmt.Println("opened a session with", state.ServerName)
	fmt.Println("keys after the rotation:", len(here.Status().Keys))
	// Output:
	// opened a session with example.com
	// keys after the rotation: 3
}
