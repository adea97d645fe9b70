//go:build unix

package redis

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

const slots = 16384

// startCluster returns clients of the two masters of a cluster, and where they are.
func startCluster(t *testing.T) (addrs []string, nodes []*goredis.Client) {
	t.Helper()
	args := []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}
	for i := range 2 {
		s := start(t, args...)
		node := newClient(t, s)
		do(t, node, "CLUSTER", "ADDSLOTSRANGE", i*slots/2, (i+1)*slots/2-1)
		do(t, node, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		addrs, nodes = append(addrs, s.Addr), append(nodes, node)
	}
	host, port, _ := strings.Cut(addrs[1], ":")
	bus := configured(t, nodes[1], "cluster-port")
	do(t, nodes[0], "CLUSTER", "MEET", host, port, bus)
	for _, node := range nodes {
		for range 1000 {
			if strings.Contains(do(t, node, "CLUSTER", "INFO").(string), "cluster_state:ok") {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return addrs, nodes
}

// configured returns one setting of a server.
func configured(t *testing.T, c *goredis.Client, name string) string {
	t.Helper()
	m, err := c.ConfigGet(t.Context(), name).Result()
	if err != nil {
		t.Fatal(err)
	}
	return m[name]
}

// TestCluster checks that no script needs keys of two slots, and that both
// masters get their share.
func TestCluster(t *testing.T) {
	addrs, nodes := startCluster(t)
	var clients [2]goredis.UniversalClient
	for i := range clients {
		c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
		t.Cleanup(func() { c.Close() })
		clients[i] = c
	}
	t.Run("Store", func(t *testing.T) {
		sessiontest.TestStore(t, func(t *testing.T) sessiontest.Fleet {
			prefix := t.Name() + ":"
			age(t, NewStore(clients[0], prefix))
			return sessiontest.Fleet{
				A: NewStore(clients[0], prefix), B: NewStore(clients[1], prefix),
				TTL: passing, Pass: func() { time.Sleep(passing + passing/10) },
			}
		})
	})
	t.Run("Ring", func(t *testing.T) {
		sessiontest.TestRingSource(t, func(t *testing.T) sessiontest.RingSources {
			return sessiontest.RingSources{A: NewRing(clients[0], t.Name()), B: NewRing(clients[1], t.Name())}
		})
	})
	t.Run("Moved", func(t *testing.T) { testMovedSlot(t, clients[0], nodes) })
	for i, node := range nodes {
		if n := node.DBSize(t.Context()).Val(); n < shards/4 {
			t.Errorf("master %d has %d keys only", i, n)
		}
	}
}

// testMovedSlot moves the slot of a shard to the other master.
func testMovedSlot(t *testing.T, client goredis.UniversalClient, nodes []*goredis.Client) {
	s := aged(t, client, "moved:")
	wantAdd(t, "at first", s, "k", true, nil)
	epoch, _ := s.markKeys("k")
	slot := do(t, nodes[0], "CLUSTER", "KEYSLOT", epoch).(int64)
	from, to := nodes[slot/(slots/2)], nodes[1-slot/(slots/2)]
	fromID, toID := do(t, from, "CLUSTER", "MYID"), do(t, to, "CLUSTER", "MYID")
	do(t, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	do(t, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	host, port, _ := strings.Cut(to.Options().Addr, ":")
	for _, key := range do(t, from, "CLUSTER", "GETKEYSINSLOT", slot, 1000).([]any) {
		do(t, from, "MIGRATE", host, port, key, 0, 5000)
	}
	for _, node := range []*goredis.Client{to, from} {
		do(t, node, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
	wantAdd(t, "on the other master", s, "k", false, session.ErrMarksLost)
	age(t, s)
	wantAdd(t, "on the other master, later", s, "k", false, nil)
	wantAdd(t, "on the other master, later", s, "new", true, nil)
}
