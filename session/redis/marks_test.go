//go:build unix

package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// wantAdd checks what Add says of a mark.
func wantAdd(t *testing.T, what string, s *Store, key string, want bool, wantErr error) {
	t.Helper()
	added, err := s.Add(t.Context(), key, time.Hour)
	if added != want || !errors.Is(err, wantErr) {
		t.Errorf("%s: Add says %v, %v, want %v, %v", what, added, err, want, wantErr)
	}
}

// TestMarksAtFirst: a store that has never been used cannot tell what was marked
// until a time to live has passed, and marks meanwhile.
func TestMarksAtFirst(t *testing.T) {
	s := NewStore(newClient(t, start(t)), "")
	const ttl = 300 * time.Millisecond
	for range 2 {
		if added, err := s.Add(t.Context(), "short", ttl); added || !errors.Is(err, session.ErrMarksLost) {
			t.Errorf("at first: %v, %v", added, err)
		}
	}
	wantAdd(t, "at first", s, "long", false, session.ErrMarksLost)
	time.Sleep(2 * ttl)
	if added, err := s.Add(t.Context(), "short", ttl); !added || err != nil {
		t.Errorf("after a time to live: %v, %v", added, err)
	}
	wantAdd(t, "after a short time to live", s, "long", false, session.ErrMarksLost)
	age(t, s)
	wantAdd(t, "what was refused", s, "long", false, nil)
	wantAdd(t, "what was not", s, "long too", true, nil)
}

// TestMarksLost has servers lose marks, in all ways that there are: never is
// something marked a second time, and until time has passed nothing is at all.
func TestMarksLost(t *testing.T) {
	aof := []string{"--appendonly", "yes", "--appendfsync"}
	save := func(t *testing.T, _ *sessiontest.Server, c *goredis.Client) { do(t, c, "SAVE") }
	restart := func(_ *testing.T, s *sessiontest.Server, _ *goredis.Client) { s.Restart() }
	command := func(args ...any) func(*testing.T, *sessiontest.Server, *goredis.Client) {
		return func(t *testing.T, _ *sessiontest.Server, c *goredis.Client) { do(t, c, args...) }
	}
	for _, test := range []struct {
		name   string
		args   []string
		before func(*testing.T, *sessiontest.Server, *goredis.Client) // the mark that counts
		lose   func(*testing.T, *sessiontest.Server, *goredis.Client)
	}{
		{"KilledWithoutDisk", nil, nil, restart},
		{"KilledWithEarlierDump", nil, save, restart},
		{"KilledWithDump", nil, nil, func(t *testing.T, s *sessiontest.Server, c *goredis.Client) {
			save(t, s, c)
			s.Restart()
		}},
		{"KilledWithLog", append(aof, "everysec"), nil, restart},
		{"KilledWithSyncedLog", append(aof, "always"), nil, restart},
		{"ShutDown", nil, nil, func(t *testing.T, s *sessiontest.Server, c *goredis.Client) {
			_ = c.Do(t.Context(), "SHUTDOWN", "SAVE") // it closes the connection
			s.Restart()
		}},
		{"FlushAll", nil, nil, command("FLUSHALL")},
		{"FlushDB", nil, nil, command("FLUSHDB", "ASYNC")},
		{"EvictedAll", []string{"--maxmemory-policy", "allkeys-random"}, nil, evict},
		{"EvictedVolatile", []string{"--maxmemory-policy", "volatile-ttl"}, nil, evict},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := start(t, test.args...)
			client := newClient(t, server)
			s := aged(t, client, "")
			if test.before != nil {
				test.before(t, server, client)
			}
			wantAdd(t, "at first", s, "k", true, nil)
			wantAdd(t, "at first", s, "k", false, nil)
			test.lose(t, server, client)
			for _, key := range []string{"k", "k", "other"} {
				wantAdd(t, "afterwards", s, key, false, session.ErrMarksLost)
			}
			age(t, s)
			wantAdd(t, "much later", s, "k", false, nil)
			wantAdd(t, "much later", s, "new", true, nil)
		})
	}
}

// evict fills the memory until marks have to go, and gives some back.
func evict(t *testing.T, _ *sessiontest.Server, c *goredis.Client) {
	do(t, c, "CONFIG", "SET", "maxmemory", "8mb")
	for i := 0; evicted(t, c) < 100; i++ {
		do(t, c, "SET", fmt.Sprint("filler", i), strings.Repeat("filler", 20000), "PX", 3600000)
		if i > 10000 {
			t.Fatal("nothing is evicted")
		}
	}
	do(t, c, "CONFIG", "SET", "maxmemory", "0")
}

func evicted(t *testing.T, c *goredis.Client) (n int) {
	t.Helper()
	_, after, _ := strings.Cut(do(t, c, "INFO", "stats").(string), "evicted_keys:")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMarksFull: a server that must not evict and has no memory left makes no
// mark, and says why.
func TestMarksFull(t *testing.T) {
	server := start(t, "--maxmemory-policy", "noeviction")
	client := newClient(t, server)
	s := aged(t, client, "")
	wantAdd(t, "at first", s, "k", true, nil)
	do(t, client, "CONFIG", "SET", "maxmemory", "1")
	wantAdd(t, "without memory", s, "k", false, session.ErrFull)
	wantAdd(t, "without memory", s, "new", false, session.ErrFull)
	if err := s.Put(t.Context(), "k", []byte("v"), time.Hour); !errors.Is(err, session.ErrFull) {
		t.Errorf("Put without memory: %v", err)
	}
	do(t, client, "CONFIG", "SET", "maxmemory", "0")
	wantAdd(t, "with memory again", s, "k", false, nil)
	wantAdd(t, "with memory again", s, "new", true, nil)
}

// awaitReplica waits until the replica has what its master has.
func awaitReplica(t *testing.T, master, replica *goredis.Client) {
	t.Helper()
	for {
		do(t, master, "SET", "sign", "there", "PX", 100)
		if v, err := replica.Get(t.Context(), "sign").Result(); v == "there" && err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// follow makes one server the replica of another.
func follow(t *testing.T, replica *goredis.Client, master *sessiontest.Server) {
	t.Helper()
	host, port, _ := strings.Cut(master.Addr, ":")
	do(t, replica, "REPLICAOF", host, port)
}

// TestMarksFailover: a replica that takes over has not all marks, and so has a
// master that was replaced and is the master again, even if nobody has made a
// mark meanwhile.
func TestMarksFailover(t *testing.T) {
	for _, meanwhile := range []bool{true, false} {
		t.Run(fmt.Sprint("MarksMeanwhile=", meanwhile), func(t *testing.T) {
			servers := []*sessiontest.Server{start(t, "--repl-diskless-sync-delay", "0"), start(t, "--repl-diskless-sync-delay", "0")}
			clients := []*goredis.Client{newClient(t, servers[0]), newClient(t, servers[1])}
			stores := []*Store{NewStore(clients[0], ""), NewStore(clients[1], "")}
			follow(t, clients[1], servers[0])
			age(t, stores[0])
			awaitReplica(t, clients[0], clients[1])
			if added, err := stores[1].Add(t.Context(), "k", time.Hour); added || err == nil {
				t.Errorf("on a replica: %v, %v", added, err)
			}
			servers[1].Pause() // so that it has not heard of the mark
			wantAdd(t, "at first", stores[0], "k", true, nil)
			servers[0].Pause()
			servers[1].Continue()
			do(t, clients[1], "REPLICAOF", "NO", "ONE")
			if meanwhile {
				wantAdd(t, "on the new master", stores[1], "k", false, session.ErrMarksLost)
				age(t, stores[1])
				wantAdd(t, "on the new master, later", stores[1], "other", true, nil)
			}
			servers[0].Continue()
			follow(t, clients[0], servers[1])
			awaitReplica(t, clients[1], clients[0])
			do(t, clients[0], "REPLICAOF", "NO", "ONE")
			wantAdd(t, "on the first master again", stores[0], "k", false, session.ErrMarksLost)
			age(t, stores[0])
			wantAdd(t, "on the first master again, later", stores[0], "new", true, nil)
		})
	}
}

// TestMarksEpoch spoils what is known of a shard.
func TestMarksEpoch(t *testing.T) {
	client := newClient(t, start(t))
	s := aged(t, client, "")
	wantAdd(t, "at first", s, "k", true, nil)
	epoch, mark := s.markKeys("k")
	whole := do(t, client, "GET", epoch).(string)
	began, server, _ := strings.Cut(whole, " ")
	for _, bad := range []string{"", "x", "0", began, " " + server, "x " + server, began + " " + server + "0", "99999999999999 " + server, "-1 " + server, "nan " + server, whole + "\x00"} {
		do(t, client, "SET", epoch, bad)
		wantAdd(t, fmt.Sprintf("epoch %q", bad), s, "k", false, session.ErrMarksLost)
		if do(t, client, "GET", epoch) == bad {
			t.Errorf("epoch %q stays", bad)
		}
	}
	do(t, client, "SET", epoch, whole)
	wantAdd(t, "whole again", s, "k", false, nil)
	do(t, client, "DEL", epoch)
	wantAdd(t, "without an epoch", s, "k", false, session.ErrMarksLost)
	for _, key := range []string{epoch, mark} {
		do(t, client, "SET", epoch, whole)
		do(t, client, "DEL", key)
		do(t, client, "LPUSH", key, "a", "list")
		if added, err := s.Add(t.Context(), "k", time.Hour); added {
			t.Errorf("%s is a list: %v, %v", key, added, err)
		}
		do(t, client, "DEL", key)
	}
}

// TestMarksRing: a client that goes to another server when one is away would
// not find the marks that it has made.
func TestMarksRing(t *testing.T) {
	server := start(t)
	client := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"one": server.Addr}})
	defer client.Close()
	wantAdd(t, "at first", NewStore(client, ""), "k", false, errServers)
}
