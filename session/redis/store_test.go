//go:build unix

package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// TestPrefixes: stores under two prefixes do not see each other, and what is
// kept expires.
func TestPrefixes(t *testing.T) {
	ctx, client := t.Context(), newClient(t, start(t))
	a, b := aged(t, client, ""), aged(t, client, "other:")
	for i, s := range []*Store{a, b} {
		if err := s.Put(ctx, "k", []byte{byte(i)}, time.Hour); err != nil {
			t.Fatal(err)
		}
		wantAdd(t, "in its own prefix", s, "m", true, nil)
	}
	for i, s := range []*Store{a, b} {
		if got, err := s.Get(ctx, "k"); !bytes.Equal(got, []byte{byte(i)}) || err != nil {
			t.Errorf("store %d: %x, %v", i, got, err)
		}
	}
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		ours := strings.HasPrefix(key, "handoff:") || strings.HasPrefix(key, "other:")
		expires := client.PTTL(ctx, key).Val() != -1
		if epoch := strings.Contains(key, "epoch:"); !ours || expires == epoch {
			t.Errorf("key %s expires: %v", key, expires)
		}
	}
}

// TestBounds: what is too large is not kept, and counts as nothing if somebody
// else has kept it.
func TestBounds(t *testing.T) {
	ctx, client := t.Context(), newClient(t, start(t))
	s, r := NewStore(client, ""), NewRing(client, "ring")
	most := bytes.Repeat([]byte("v"), maxValue)
	if err := s.Put(ctx, "k", most, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, "k"); !bytes.Equal(got, most) || err != nil {
		t.Errorf("the largest value: %d bytes, %v", len(got), err)
	}
	if err := s.Put(ctx, "k", append(most, 'v'), time.Hour); err == nil {
		t.Error("a value that is too large is kept")
	}
	do(t, client, "SET", s.valueKey("k"), append(most, 'v'))
	if got, err := s.Get(ctx, "k"); got != nil || err != nil {
		t.Errorf("a value that is too large: Get returns %d bytes, %v", len(got), err)
	}
	if got, err := s.TakeOnce(ctx, "k"); got != nil || err != nil {
		t.Errorf("a value that is too large: TakeOnce returns %d bytes, %v", len(got), err)
	}
	if n := client.Exists(ctx, s.valueKey("k")).Val(); n != 0 {
		t.Error("a value that is too large stays")
	}
	if _, ok, err := r.Replace(ctx, "", most[:maxRing+1]); ok || err == nil {
		t.Errorf("keys of a ring that are too large: %v, %v", ok, err)
	}
	if err := s.Put(ctx, "k", []byte("v"), time.Nanosecond); err != nil {
		t.Errorf("the shortest time to live: %v", err)
	}
}

// TestCallsGoOn: a call that was given up is finished beside it, on a connection
// that the next call has, while a call that hangs ends with its context; and not
// more of them hang than may.
func TestCallsGoOn(t *testing.T) {
	server := start(t)
	client := newClient(t, server)
	s := NewStore(client, "")
	if err := s.Put(t.Context(), "before", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	var wg sync.WaitGroup
	errs := make(chan error, 2*maxCalls)
	start := time.Now()
	for i := range 2 * maxCalls {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			errs <- s.Put(ctx, fmt.Sprint(i), []byte("v"), time.Hour)
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("calls of 50ms take %v", took)
	}
	close(errs)
	busy := 0
	for err := range errs {
		switch {
		case errors.Is(err, session.ErrStoreBusy):
			busy++
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("a call that hangs: %v", err)
		}
	}
	if busy < maxCalls {
		t.Errorf("%d of %d calls were refused, %d should be", busy, 2*maxCalls, maxCalls)
	}
	server.Continue()
	awaitStore(t, s)
	if got, err := s.Get(t.Context(), "before"); string(got) != "v" || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

// awaitStore waits until a store works again, by itself.
func awaitStore(t *testing.T, s session.Store) {
	t.Helper()
	var err error
	for range 500 {
		if err = s.Put(t.Context(), "works", []byte("v"), time.Hour); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the store does not work again: %v", err)
}

// TestSlowConnection: a connection that takes longer to make than any call has,
// is there for a later call.
func TestSlowConnection(t *testing.T) {
	server := start(t)
	client := newClient(t, server)
	slow := *client.Options()
	slow.OnConnect = func(ctx context.Context, _ *goredis.Conn) error {
		select {
		case <-time.After(100 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c := goredis.NewClient(&slow)
	defer c.Close()
	s := NewStore(c, "")
	for attempts := 0; ; attempts++ {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := s.Put(ctx, "k", []byte("v"), time.Hour)
		cancel()
		if err == nil {
			break
		}
		if attempts > 1000 {
			t.Fatalf("never a connection: %v", err)
		}
	}
}

// TestErrors: an error says what is wrong, and shows no value and no password.
func TestErrors(t *testing.T) {
	const secret = "s3cr3t/value"
	server := start(t, "--rename-command", "SET", "", "--rename-command", "EVALSHA", "", "--requirepass", "right")
	check := func(what string, err error, says string) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr, Password: "right"})
	defer client.Close()
	check("no SET", NewStore(client, "").Put(t.Context(), "k", []byte(secret), time.Hour), "unknown command")
	_, _, err := NewRing(client, "k").Replace(t.Context(), "", []byte(secret))
	check("no EVALSHA", err, "unknown command")
	wrong := goredis.NewClient(&goredis.Options{Addr: server.Addr, Password: secret})
	defer wrong.Close()
	_, err = NewStore(wrong, "").Get(t.Context(), "k")
	check("wrong password", err, "WRONGPASS")
	for _, url := range []string{
		"", "redis", "http://" + secret + "@host", "redis://:" + secret + "@host", "redis://user:" + secret + "@host:port/0",
		"redis://host/" + secret, "redis://host?" + secret + "=1", "redis://host?pool_size=" + secret, "redis://host?pool_size=-1",
		"redis://host?pool_size=99999999999", "redis://host?max_concurrent_dials=-1", "rediss://[" + secret, secret + "://host", "\x00",
	} {
		c, err := NewClient(url)
		check(url, err, "session/redis")
		if c != nil {
			c.Close()
		}
	}
}

// TestCommands: a user who may do what the package says can do all of it.
func TestCommands(t *testing.T) {
	server := start(t)
	admin := newClient(t, server)
	do(t, admin, "ACL", "SETUSER", "fleet", "on", ">pw", "~fleet:*", "-@all", "+get", "+getrange", "+set", "+strlen", "+del", "+time", "+info", "+eval", "+evalsha")
	age(t, NewStore(admin, "fleet:"))
	client, err := NewClient("redis://fleet:pw@" + server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, r := NewStore(client, "fleet:"), NewRing(client, "fleet:ring")
	wantAdd(t, "allowed", s, "k", true, nil)
	_, replaced, replaceErr := r.Replace(t.Context(), "", []byte("b"))
	_, version, loadErr := r.Load(t.Context())
	_, getErr := s.Get(t.Context(), "k")
	_, takeErr := s.TakeOnce(t.Context(), "k")
	for i, err := range []error{replaceErr, loadErr, getErr, takeErr, s.Put(t.Context(), "k", nil, time.Hour), s.Delete(t.Context(), "k")} {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if !replaced || version == "" {
		t.Errorf("replaced %v, version %q", replaced, version)
	}
	if err := NewStore(client, "other:").Put(t.Context(), "k", nil, time.Hour); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("another prefix: %v", err)
	}
}

// TestRepeatedReplace makes the same call twice, as a client does that has lost
// the answer.
func TestRepeatedReplace(t *testing.T) {
	client := newClient(t, start(t))
	for _, test := range []struct {
		old, version string
		want         bool
	}{{"", "version 1", true}, {"", "version 1", true}, {"version 1", "version 2", true}, {"version 1", "version 2", true}, {"", "version 1", false}} {
		ok, err := replaceScript.Run(t.Context(), client, []string{"k"}, test.old, test.version, test.version+"b", 1000).Bool()
		if ok != test.want || err != nil {
			t.Errorf("%q after %q: %v, %v", test.version, test.old, ok, err)
		}
	}
}

func TestNewClient(t *testing.T) {
	for _, test := range []struct {
		url, addr, user, password string
		db, pool                  int
		tls                       bool
	}{
		{"redis://host", "host:6379", "", "", 0, 0, false},
		{"valkey://user:p%2Fw@host:1/2?pool_size=3", "host:1", "user", "p/w", 2, 3, false},
		{"REDISS://host", "host:6379", "", "", 0, 0, true},
		{"valkeys://:pw@[::1]:7", "[::1]:7", "", "pw", 0, 0, true},
		{"unix:///run/redis.sock?db=1", "/run/redis.sock", "", "", 1, 0, false},
	} {
		c, err := NewClient(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		o := c.Options()
		c.Close()
		if o.Addr != test.addr || o.Username != test.user || o.Password != test.password || o.DB != test.db || (o.TLSConfig != nil) != test.tls {
			t.Errorf("%s: %s, %q, %q, database %d, TLS %v", test.url, o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil)
		}
		if test.pool != 0 && o.PoolSize != test.pool {
			t.Errorf("%s: %d connections", test.url, o.PoolSize)
		}
		if !o.ContextTimeoutEnabled || o.ReadTimeout != clientTimeout || o.DialTimeout != clientTimeout {
			t.Errorf("%s: timeouts %v and %v, of the context %v", test.url, o.ReadTimeout, o.DialTimeout, o.ContextTimeoutEnabled)
		}
	}
	c, err := NewClient("redis://host?read_timeout=3s&max_retries=-1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if o := c.Options(); o.ReadTimeout != 3*time.Second || o.MaxRetries != 0 {
		t.Errorf("of the URL: timeout %v, %d retries", o.ReadTimeout, o.MaxRetries)
	}
}

const childVariable = "REDIS_TEST_CHILD"

// TestProcesses has several processes take and mark the same keys at once.
func TestProcesses(t *testing.T) {
	const keys, workers = 100, 3
	if addr := os.Getenv(childVariable); addr != "" {
		takeAll(t, addr, keys)
		return
	}
	server := start(t)
	s := aged(t, newClient(t, server), "")
	for i := range keys {
		if err := s.Put(t.Context(), fmt.Sprint(i), []byte("v"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	var outs [workers]bytes.Buffer
	var wg sync.WaitGroup
	for i := range outs {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcesses$")
			cmd.Env = append(os.Environ(), childVariable+"="+server.Addr)
			cmd.Stdout, cmd.Stderr = &outs[i], os.Stderr
			if err := cmd.Run(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	counts := make(map[string]int)
	for i := range outs {
		for _, word := range strings.Fields(outs[i].String()) {
			counts[word]++
		}
	}
	for i := range keys {
		for _, what := range []string{"took", "added"} {
			if n := counts[fmt.Sprint(what, i)]; n != 1 {
				t.Errorf("%s %d: %d times", what, i, n)
			}
		}
	}
}

// takeAll is one of the processes.
func takeAll(t *testing.T, addr string, keys int) {
	s := NewStore(newClient(t, &sessiontest.Server{Addr: addr}), "")
	for i := range keys {
		got, err := s.TakeOnce(t.Context(), fmt.Sprint(i))
		added, addErr := s.Add(t.Context(), fmt.Sprint("mark", i), time.Hour)
		if err != nil || addErr != nil {
			t.Fatal(err, addErr)
		}
		if got != nil {
			fmt.Printf("took%d\n", i)
		}
		if added {
			fmt.Printf("added%d\n", i)
		}
	}
}
