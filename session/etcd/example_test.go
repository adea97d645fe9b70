package etcd_test

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/etcd"
)

// Servers on several machines share their ticket keys in etcd: a client that
// was at one of them can resume at any other.
func ExampleOpenRing() {
	source, err := etcd.OpenRing("etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/shop/ticket-keys")
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()

	keys := &session.KeyRing{Source: source, Poll: time.Second}
	kek, err := os.ReadFile("/run/secrets/ticket-kek") // the same 32 random bytes on all machines
	if err != nil || copy(keys.KEK[:], kek) != len(keys.KEK) {
		log.Fatal("no key-encryption key: ", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := keys.Refresh(ctx); err != nil {
		log.Print(err) // the server goes on with keys of its own, and tries again
	}
	config := &tls.Config{TicketKeys: keys} // and certificates
	_ = config
}
