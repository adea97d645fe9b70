//go:build unix

package redis

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/session/sessiontest"
)

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	goredis.SetLogger(silent{}) // it says much about servers that are killed
	os.Exit(m.Run())
}

// redisServer is a server that keeps nothing on disk, unless more says so.
func redisServer(more ...string) sessiontest.ServerCommand {
	return sessiontest.ServerCommand{
		Name: "redis-server", Package: "redis-server", Ports: 2,
		Args: func(dir string, ports []int) []string {
			port := strconv.Itoa(ports[0])
			cluster := strconv.Itoa(ports[1])
			return append([]string{
				"--bind", "127.0.0.1", "--port", port, "--cluster-port", cluster, "--dir", dir,
				"--save", "", "--appendonly", "no",
			}, more...)
		},
		Ready: ping,
	}
}

// ping asks a server whether it works, which it does not while it loads.
func ping(ctx context.Context, addr string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "+PONG\r\n" && !strings.HasPrefix(line, "-NOAUTH ") {
		err = fmt.Errorf("PING is answered with %q", line)
	}
	return err
}

func start(t testing.TB, more ...string) *sessiontest.Server {
	t.Helper()
	return sessiontest.StartServer(t, redisServer(more...))
}

// forEachServer runs a test with Redis, and with Valkey where it is installed.
func forEachServer(t *testing.T, f func(t *testing.T, s *sessiontest.Server)) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		command := redisServer()
		if _, err := exec.LookPath(name); err != nil && name != command.Name {
			continue
		}
		command.Name = name
		t.Run(name, func(t *testing.T) { f(t, sessiontest.StartServer(t, command)) })
	}
}

func newClient(t testing.TB, s *sessiontest.Server) *goredis.Client {
	t.Helper()
	c, err := NewClient("redis://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t testing.TB, c goredis.UniversalClient, args ...any) any {
	t.Helper()
	v, err := c.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// age makes the epochs of a store begin, and has them begin two hours ago.
func age(t testing.TB, s *Store) {
	t.Helper()
	ctx := t.Context()
	for shard := range uint32(shards) {
		epoch := s.epochKey(shard)
		mark := strings.Replace(epoch, "epoch", "mark", 1) + "age"
		if err := addScript.Run(ctx, s.client, []string{epoch, mark}, 1).Err(); err != nil {
			t.Fatal(err)
		}
		began, server, _ := strings.Cut(s.client.Get(ctx, epoch).Val(), " ")
		ms, err := strconv.ParseInt(began, 10, 64)
		if err != nil {
			t.Fatalf("epoch that began at %q", began)
		}
		if err := s.client.Set(ctx, epoch, fmt.Sprint(ms-2*time.Hour.Milliseconds(), " ", server), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// aged returns a store that is in use for long.
func aged(t testing.TB, client goredis.UniversalClient, prefix string) *Store {
	t.Helper()
	s := NewStore(client, prefix)
	age(t, s)
	return s
}

const passing = 750 * time.Millisecond

func TestStore(t *testing.T) {
	forEachServer(t, func(t *testing.T, s *sessiontest.Server) {
		a, b := newClient(t, s), newClient(t, s)
		sessiontest.TestStore(t, func(t *testing.T) sessiontest.Fleet {
			prefix := t.Name() + ":"
			age(t, NewStore(a, prefix))
			return sessiontest.Fleet{
				A: NewStore(a, prefix), B: NewStore(b, prefix),
				TTL: passing, Pass: func() { time.Sleep(passing + passing/10) },
			}
		})
	})
}

func TestRingSource(t *testing.T) {
	forEachServer(t, func(t *testing.T, s *sessiontest.Server) {
		a, b := newClient(t, s), newClient(t, s)
		sessiontest.TestRingSource(t, func(t *testing.T) sessiontest.RingSources {
			return sessiontest.RingSources{A: NewRing(a, t.Name()), B: NewRing(b, t.Name())}
		})
	})
}
