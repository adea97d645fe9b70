package session

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"
)

func named(s *State, name string) *State {
	s.ServerName = name
	return s
}

func takenName(c *ClientCache, key string) string {
	if s := c.Take(key); s != nil {
		return s.ServerName
	}
	return "none"
}

func newTestClientCache(capacity int) (*ClientCache, *clock) {
	c, clk := NewClientCache(capacity), newClock()
	c.Time = clk.now
	return c, clk
}

func TestClientCacheSingleUse(t *testing.T) {
	c, _ := newTestClientCache(10)
	for i := range 6 {
		c.Put("a", named(small13(), fmt.Sprint(i)))
	}
	for _, want := range []string{"5", "4", "3", "2", "none"} {
		if got := takenName(c, "a"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if c.Len() != 0 || len(c.servers) != 0 || c.order.Len() != 0 {
		t.Errorf("%d states, %d and %d servers left", c.Len(), len(c.servers), c.order.Len())
	}
}

func TestClientCacheTLS12Stays(t *testing.T) {
	c, _ := newTestClientCache(10)
	c.Put("a", named(small12(), "old"))
	c.Put("a", named(small12(), "new"))
	for range 3 {
		if got := takenName(c, "a"); got != "new" {
			t.Errorf("got %s", got)
		}
	}
	if c.Len() != 1 {
		t.Errorf("%d states, want the newest alone", c.Len())
	}
	c.Put("a", named(small13(), "1.3"))
	for _, want := range []string{"1.3", "new", "new"} {
		if got := takenName(c, "a"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestClientCacheExpiry(t *testing.T) {
	c, clk := newTestClientCache(10)
	long := named(small13(), "long")
	long.Lifetime = 2 * time.Hour
	c.Put("a", long)
	c.Put("a", named(small13(), "short"))
	c.Put("b", named(small12(), "other"))
	clk.add(time.Hour + time.Millisecond)
	if got := takenName(c, "a"); got != "long" {
		t.Errorf("got %s", got)
	}
	if got := takenName(c, "b"); got != "none" {
		t.Errorf("got %s", got)
	}
	if c.Len() != 0 {
		t.Errorf("%d states left", c.Len())
	}
}

func TestClientCacheCapacity(t *testing.T) {
	c, _ := newTestClientCache(3)
	c.Put("a", named(small12(), "a"))
	c.Put("b", named(small12(), "b0"))
	c.Put("b", named(small13(), "b1"))
	takenName(c, "a") // b is now the least recently used
	c.Put("c", named(small12(), "c"))
	if c.Len() != 3 {
		t.Errorf("%d states", c.Len())
	}
	for _, tt := range [][2]string{{"b", "b1"}, {"b", "none"}, {"a", "a"}, {"c", "c"}} {
		if got := takenName(c, tt[0]); got != tt[1] {
			t.Errorf("%s: got %s, want %s", tt[0], got, tt[1])
		}
	}
	one, _ := newTestClientCache(1)
	one.Put("a", small13())
	one.Put("b", named(small13(), "b"))
	if takenName(one, "a") != "none" || takenName(one, "b") != "b" {
		t.Error("a cache for one session does not keep the newest")
	}
}

func TestClientCacheDefaultCapacity(t *testing.T) {
	c, _ := newTestClientCache(0)
	for i := range 100 {
		c.Put(fmt.Sprint(i), small13())
	}
	if c.Len() != defaultClientCapacity {
		t.Errorf("%d states", c.Len())
	}
}

// TestClientCachePutNil: crypto/tls's cache interface forgets this way.
func TestClientCachePutNil(t *testing.T) {
	c, _ := newTestClientCache(10)
	c.Put("a", nil)
	c.Put("a", small13())
	c.Put("a", small12())
	c.Put("a", nil)
	if c.Take("a") != nil || c.Len() != 0 {
		t.Error("sessions are still there")
	}
}

func TestCachesOwnCopies(t *testing.T) {
	ctx := context.Background()
	client, clk := newTestClientCache(10)
	server := NewServerCache(10, time.Hour)
	server.Time = clk.now
	s := full13()
	client.Put("a", s)
	if err := server.Put(ctx, []byte("a"), s); err != nil {
		t.Fatal(err)
	}
	s.Wipe()
	if got := client.Take("a"); !reflect.DeepEqual(got, full13()) {
		t.Errorf("client: %+v", got)
	}
	for range 2 { // wiping what came out does not touch what is in there
		got, err := server.Get(ctx, []byte("a"))
		if err != nil || !reflect.DeepEqual(got, full13()) {
			t.Errorf("server: %+v, %v", got, err)
		}
		got.Wipe()
	}
}

// TestCachesWipe: whatever leaves a cache without being handed out is wiped.
func TestCachesWipe(t *testing.T) {
	ctx := context.Background()
	inClient := func(c *ClientCache) *State { return c.servers["a"].Value.(*clientServer).states[0] }
	for name, leave := range map[string]func(*ClientCache, *clock){
		"evicted":  func(c *ClientCache, _ *clock) { c.Put("b", small13()) },
		"expired":  func(c *ClientCache, clk *clock) { clk.add(24 * time.Hour); c.Take("a") },
		"replaced": func(c *ClientCache, _ *clock) { c.Put("a", small12()) },
		"dropped":  func(c *ClientCache, _ *clock) { c.Put("a", nil) },
	} {
		c, clk := newTestClientCache(1)
		c.Put("a", small12())
		s := inClient(c)
		leave(c, clk)
		if s.Secret.Len() != 0 {
			t.Errorf("client, %s: not wiped", name)
		}
	}
	for name, leave := range map[string]func(*ServerCache, *clock){
		"evicted":  func(c *ServerCache, _ *clock) { _ = c.Put(ctx, []byte("b"), small12()) },
		"expired":  func(c *ServerCache, clk *clock) { clk.add(24 * time.Hour); _, _ = c.Get(ctx, []byte("a")) },
		"replaced": func(c *ServerCache, _ *clock) { _ = c.Put(ctx, []byte("a"), small12()) },
		"deleted":  func(c *ServerCache, _ *clock) { c.Delete(ctx, []byte("a")) },
	} {
		c, clk := NewServerCache(1, time.Hour), newClock()
		c.Time = clk.now
		_ = c.Put(ctx, []byte("a"), small12())
		s := c.sessions["a"].Value.(*serverSession).state
		leave(c, clk)
		if s.Secret.Len() != 0 {
			t.Errorf("server, %s: not wiped", name)
		}
	}
}

func TestServerCache(t *testing.T) {
	ctx := context.Background()
	clk := newClock()
	c := NewServerCache(2, 30*time.Minute)
	c.Time = clk.now
	get := func(id string) string {
		t.Helper()
		s, err := c.Get(ctx, []byte(id))
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			return "none"
		}
		return s.ServerName
	}
	put := func(id, name string) {
		t.Helper()
		if err := c.Put(ctx, []byte(id), named(small12(), name)); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "a0")
	put("a", "a")
	put("b", "b")
	if get("a") != "a" || get("b") != "b" || get("x") != "none" {
		t.Error("a session is lost or made up")
	}
	get("a")
	put("c", "c")
	if get("a") != "a" || get("b") != "none" || get("c") != "c" {
		t.Error("not the least recently used session was evicted")
	}
	c.Delete(ctx, []byte("c"))
	c.Delete(ctx, []byte("c"))
	if get("c") != "none" || c.Len() != 1 {
		t.Error("a deleted session is still there")
	}
	clk.add(30*time.Minute - time.Millisecond)
	if get("a") != "a" {
		t.Error("a session was dropped before its time")
	}
	clk.add(time.Millisecond)
	if get("a") != "none" || c.Len() != 0 {
		t.Error("a session outlives the cache's lifetime")
	}
}

func TestServerCacheDefaults(t *testing.T) {
	ctx := context.Background()
	clk := newClock()
	c := NewServerCache(0, 0)
	c.Time = clk.now
	s := small12()
	s.Lifetime = 7 * 24 * time.Hour
	for _, id := range []string{"a", "b"} {
		if err := c.Put(ctx, []byte(id), s); err != nil {
			t.Fatal(err)
		}
	}
	clk.add(unspecifiedLifetime - time.Millisecond)
	if got, _ := c.Get(ctx, []byte("a")); got == nil {
		t.Error("dropped too early")
	}
	clk.add(time.Millisecond)
	if got, _ := c.Get(ctx, []byte("b")); got != nil {
		t.Error("dropped too late")
	}
	if c.capacity != defaultServerCapacity {
		t.Errorf("capacity %d", c.capacity)
	}
}

// TestServerCacheSessionLifetime: a session's own lifetime counts too.
func TestServerCacheSessionLifetime(t *testing.T) {
	ctx := context.Background()
	clk := newClock()
	c := NewServerCache(10, 24*time.Hour)
	c.Time = clk.now
	if err := c.Put(ctx, []byte("a"), small12()); err != nil {
		t.Fatal(err)
	}
	clk.add(time.Hour + time.Millisecond)
	if got, err := c.Get(ctx, []byte("a")); got != nil || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestCachesUseTheRealClock: a Time of nil is the time of day.
func TestCachesUseTheRealClock(t *testing.T) {
	ctx := context.Background()
	client, server := NewClientCache(1), NewServerCache(1, time.Hour)
	for name, created := range map[string]time.Time{"new": time.Now(), "old": time.Now().Add(-48 * time.Hour)} {
		s := small12()
		s.CreatedAt = created
		client.Put("a", s)
		_ = server.Put(ctx, []byte("a"), s)
		got, _ := server.Get(ctx, []byte("a"))
		if (client.Take("a") != nil) != (name == "new") || (got != nil) != (name == "new") {
			t.Errorf("%s session: wrong answer", name)
		}
	}
}

func TestCachesConcurrently(t *testing.T) {
	ctx := context.Background()
	client, server := NewClientCache(8), NewServerCache(8, time.Hour)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 300 {
				key := fmt.Sprint((g + i) % 12)
				client.Put(key, small13())
				client.Put(key, small12())
				client.Take(key)
				_ = server.Put(ctx, []byte(key), small12())
				if s, _ := server.Get(ctx, []byte(key)); s != nil {
					s.Wipe()
				}
				server.Delete(ctx, []byte(key))
			}
		})
	}
	wg.Wait()
	if client.Len() > 8 || server.Len() > 8 {
		t.Errorf("%d and %d sessions in caches for 8", client.Len(), server.Len())
	}
}
