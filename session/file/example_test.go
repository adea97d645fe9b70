package file_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/file"
)

// Servers on one machine share their ticket keys in a file, and have them still
// after a restart.
func ExampleRing() {
	dir, err := os.MkdirTemp("", "tickets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var kek [32]byte // in earnest, from where the servers have their other secrets
	if _, err := rand.Read(kek[:]); err != nil {
		log.Fatal(err)
	}

	keys := &session.KeyRing{Source: file.NewRing(filepath.Join(dir, "keys")), KEK: kek}
	if err := keys.Refresh(context.Background()); err != nil {
		log.Print(err) // the ring goes on with keys of its own, and tries again
	}
	// The ring goes into tls.Config.TicketKeys.
	fmt.Println("shared:", keys.Status().Shared)
	fmt.Println("keys:", len(keys.Status().Keys))
	// Output:
	// shared: true
	// keys: 2
}
