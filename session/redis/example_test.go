package redis_test

import (
	"context"
	"log"
	"os"

	tls "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/redis"
)

// Servers of a fleet resume each other's sessions: the keys that seal them are
// in Redis, sealed themselves, and so are the sessions.
func Example() {
	client, err := redis.NewClient(os.Getenv("REDIS_URL")) // such as rediss://user:password@redis.example.org
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	kek, err := os.ReadFile("/etc/fleet/kek") // 32 random bytes, the same on all servers
	if err != nil || len(kek) != 32 {
		log.Fatal("no key-encryption key: ", err)
	}

	keys := &session.KeyRing{Source: redis.NewRing(client, "fleet:ticket-keys"), KEK: [32]byte(kek)}
	if err := keys.Refresh(context.Background()); err != nil {
		log.Print(err) // the ring goes on with keys of its own, and tries again
	}
	config := &tls.Config{
		TicketKeys: keys,
		// Without it clients get tickets that hold their session, and Redis is
		// not asked in handshakes.
		ServerSessions: &session.Stateful{
			Store:   redis.NewStore(client, "fleet:"),
			OnError: func(err error) { log.Print(err) },
		},
	}
	listener, err := tls.Listen("tcp", ":443", config)
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
}
