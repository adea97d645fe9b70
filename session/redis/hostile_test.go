//go:build unix

package redis

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

var kek = [32]byte([]byte("the key-encryption key of a test"))

func newState(secret []byte) *session.State {
	return &session.State{
		Version:     keyschedule.VersionTLS13,
		CipherSuite: keyschedule.TLS_AES_128_GCM_SHA256,
		CreatedAt:   time.Now(),
		Secret:      keyschedule.NewSecret(secret),
		Lifetime:    time.Hour,
	}
}

// sharedKeys returns a ring whose keys are in client.
func sharedKeys(t *testing.T, client goredis.UniversalClient, key string) *session.KeyRing {
	t.Helper()
	r := &session.KeyRing{Source: NewRing(client, key), KEK: kek}
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// hostileContents puts something under a key that does not belong there.
var hostileContents = map[string]func(t *testing.T, c *goredis.Client, key string){
	"nothing": func(t *testing.T, c *goredis.Client, key string) { do(t, c, "DEL", key) },
	"empty":   func(t *testing.T, c *goredis.Client, key string) { do(t, c, "SET", key, "") },
	"short":   func(t *testing.T, c *goredis.Client, key string) { do(t, c, "SET", key, "x") },
	"garbage": func(t *testing.T, c *goredis.Client, key string) {
		do(t, c, "SET", key, bytes.Repeat([]byte("\x00\xffgarbage"), 50))
	},
	"huge": func(t *testing.T, c *goredis.Client, key string) { do(t, c, "SETRANGE", key, 50<<20, "x") },
	"cut": func(t *testing.T, c *goredis.Client, key string) {
		do(t, c, "SET", key, c.GetRange(t.Context(), key, 0, -2).Val())
	},
	"longer": func(t *testing.T, c *goredis.Client, key string) { do(t, c, "APPEND", key, "x") },
	"changed": func(t *testing.T, c *goredis.Client, key string) {
		b := []byte(do(t, c, "GET", key).(string))
		b[len(b)-1] ^= 1
		do(t, c, "SET", key, b)
	},
	"list": func(t *testing.T, c *goredis.Client, key string) {
		do(t, c, "DEL", key)
		do(t, c, "RPUSH", key, "a", "b")
	},
	"hash": func(t *testing.T, c *goredis.Client, key string) {
		do(t, c, "DEL", key)
		do(t, c, "HSET", key, "a", "b")
	},
	"stream": func(t *testing.T, c *goredis.Client, key string) {
		do(t, c, "DEL", key)
		do(t, c, "XADD", key, "*", "a", "b")
	},
}

// onlyValue returns the key of the one value that a store has.
func onlyValue(t *testing.T, c *goredis.Client) string {
	t.Helper()
	keys := c.Keys(t.Context(), "*value:*").Val()
	if len(keys) != 1 {
		t.Fatalf("values: %q", keys)
	}
	return keys[0]
}

// TestHostileValues: whatever is under the key of a session, it is none, and who
// asks learns of it without a crash.
func TestHostileValues(t *testing.T) {
	client := newClient(t, start(t))
	keys := sharedKeys(t, client, "ring")
	open := func(t *testing.T, want bool, spoil func(*testing.T, *goredis.Client, string)) {
		t.Helper()
		client.Del(t.Context(), append(client.Keys(t.Context(), "*value:*").Val(), "none")...)
		s := &session.Stateful{Store: NewStore(client, ""), Budget: 10 * time.Second}
		handle, err := s.Conn(keys).Seal(t.Context(), newState(bytes.Repeat([]byte{1}, 32)))
		if handle == nil || err != nil {
			t.Fatalf("Seal: %x, %v", handle, err)
		}
		spoil(t, client, onlyValue(t, client))
		if state := s.Conn(keys).Open(t.Context(), keyschedule.VersionTLS13, handle); (state != nil) != want {
			t.Errorf("there is a session: %v, want %v", state != nil, want)
		}
	}
	t.Run("whole", func(t *testing.T) { open(t, true, func(*testing.T, *goredis.Client, string) {}) })
	for name, spoil := range hostileContents {
		t.Run(name, func(t *testing.T) { open(t, false, spoil) })
	}
	t.Run("another session", func(t *testing.T) {
		open(t, false, func(t *testing.T, c *goredis.Client, key string) {
			s := &session.Stateful{Store: NewStore(client, "other:"), Budget: 10 * time.Second}
			if _, err := s.Conn(keys).Seal(t.Context(), newState(bytes.Repeat([]byte{2}, 32))); err != nil {
				t.Fatal(err)
			}
			for _, other := range c.Keys(t.Context(), "other:value:*").Val() {
				do(t, c, "RENAME", other, key)
			}
		})
	})
	t.Run("another fleet", func(t *testing.T) {
		open(t, false, func(t *testing.T, c *goredis.Client, key string) {
			s := &session.Stateful{Store: NewStore(client, "other:"), Budget: 10 * time.Second}
			if _, err := s.Conn(new(session.KeyRing)).Seal(t.Context(), newState(bytes.Repeat([]byte{2}, 32))); err != nil {
				t.Fatal(err)
			}
			for _, other := range c.Keys(t.Context(), "other:value:*").Val() {
				do(t, c, "RENAME", other, key)
			}
		})
	})
}

// TestHostileRing: whatever is under the key of a ring, its keys stay in use, and
// it is not overwritten unless it is nothing.
func TestHostileRing(t *testing.T) {
	client := newClient(t, start(t))
	for name, spoil := range hostileContents {
		t.Run(name, func(t *testing.T) {
			r := sharedKeys(t, client, name)
			ticket, err := r.Seal(newState(bytes.Repeat([]byte{1}, 32)))
			if ticket == nil || err != nil {
				t.Fatalf("Seal: %v", err)
			}
			spoil(t, client, name)
			before := client.Dump(t.Context(), name).Val()
			gone := name == "nothing" || name == "empty"
			if err := r.Refresh(t.Context()); (err == nil) != gone || (r.Status().Err == nil) != gone {
				t.Errorf("Refresh: %v, status %v", err, r.Status().Err)
			}
			if same := client.Dump(t.Context(), name).Val() == before; same == gone {
				t.Errorf("it was overwritten: %v", !same)
			}
			if s, err := r.Open(ticket); s == nil || err != nil {
				t.Errorf("the keys in use are lost: %v", err)
			}
			late := &session.KeyRing{Source: NewRing(client, name), KEK: kek}
			if err := late.Refresh(t.Context()); (err == nil) != gone {
				t.Errorf("a ring that is started now: %v", err)
			}
			if ticket, err := late.Seal(newState(bytes.Repeat([]byte{1}, 32))); ticket == nil || err != nil {
				t.Errorf("a ring that is started now has no keys: %v", err)
			}
			do(t, client, "DEL", name) // as whoever runs it is told to
			if err := r.Refresh(t.Context()); err != nil || r.Status().Err != nil {
				t.Errorf("once it is removed: %v", err)
			}
			if err := late.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			if s, err := late.Open(ticket); s == nil || err != nil {
				t.Errorf("the ring that was started later does not open: %v", err)
			}
		})
	}
}

// TestWrongKEK: a ring with another KEK says so, and leaves the others alone.
func TestWrongKEK(t *testing.T) {
	client := newClient(t, start(t))
	r := sharedKeys(t, client, "ring")
	before := do(t, client, "GET", "ring")
	stranger := &session.KeyRing{Source: NewRing(client, "ring"), KEK: [32]byte{9}}
	if err := stranger.Refresh(t.Context()); err == nil || stranger.Status().Err == nil || stranger.Status().Shared {
		t.Errorf("Refresh: %v", err)
	}
	ticket, err := r.Seal(newState(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := stranger.Open(ticket); s != nil || err != nil {
		t.Errorf("it opens a ticket: %v", err)
	}
	if do(t, client, "GET", "ring") != before {
		t.Error("it has overwritten the keys")
	}
	if got := stranger.Status().Source; got != "redis:ring" {
		t.Errorf("name %q", got)
	}
}

// TestStaleRing: when Redis comes back with the keys of before, or without any,
// those that the rings have are put back.
func TestStaleRing(t *testing.T) {
	client := newClient(t, start(t))
	r := sharedKeys(t, client, "ring")
	old := do(t, client, "GET", "ring")
	if err := r.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ticket, err := r.Seal(newState(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	for _, lose := range [][]any{{"SET", "ring", old}, {"DEL", "ring"}} {
		do(t, client, lose...)
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, err := sharedKeys(t, client, "ring").Open(ticket); s == nil || err != nil {
			t.Errorf("after %v: the keys are not back: %v", lose[0], err)
		}
		if left := client.PTTL(t.Context(), "ring").Val(); left < defaultRingTTL-time.Hour || left > defaultRingTTL {
			t.Errorf("it expires in %v", left)
		}
	}
	short := &Ring{TTL: time.Hour, client: client, key: "short", calls: newCalls()}
	if _, ok, err := short.Replace(t.Context(), "", []byte("b")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if left := client.PTTL(t.Context(), "short").Val(); left < time.Minute || left > time.Hour {
		t.Errorf("with a TTL of an hour it expires in %v", left)
	}
}

// recorder is a source of randomness that remembers what it gave.
type recorder struct {
	mu    sync.Mutex
	given [][]byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := rand.Read(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.given = append(r.given, bytes.Clone(b[:n]))
	return n, err
}

// ticketKeys returns what was given after a key's name: the key.
func (r *recorder) ticketKeys() (keys [][]byte) {
	const nameLen, keyLen = 16, 32
	for i := 1; i < len(r.given); i++ {
		if len(r.given[i-1]) == nameLen && len(r.given[i]) == keyLen {
			keys = append(keys, r.given[i])
		}
	}
	return keys
}

// TestNoSecrets looks for secrets in all that Redis has.
func TestNoSecrets(t *testing.T) {
	client := newClient(t, start(t))
	secret := []byte("the resumption secret of a test!")
	rings, handles := new(recorder), new(recorder)
	keys := &session.KeyRing{Source: NewRing(client, "ring"), KEK: kek, Rand: rings}
	if err := errors.Join(keys.Refresh(t.Context()), keys.Rotate(t.Context())); err != nil {
		t.Fatal(err)
	}
	s := &session.Stateful{Store: NewStore(client, ""), Budget: 10 * time.Second, Rand: handles}
	for _, version := range []uint16{keyschedule.VersionTLS12, keyschedule.VersionTLS13} {
		state := newState(secret)
		if state.Version = version; version == keyschedule.VersionTLS12 {
			state.CipherSuite = keyschedule.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
			state.Secret = keyschedule.NewSecret(append(secret, secret[:16]...))
		}
		if handle, err := s.Conn(keys).Seal(t.Context(), state); handle == nil || err != nil {
			t.Fatalf("Seal: %x, %v", handle, err)
		}
	}
	ticketKeys := rings.ticketKeys()
	if len(ticketKeys) != 3 || len(handles.given) != 2 {
		t.Fatalf("%d ticket keys, %d handles", len(ticketKeys), len(handles.given))
	}
	dump := dumpAll(t, client)
	if strings.Count(dump, "value:") != 2 || !strings.Contains(dump, "ring") {
		t.Fatalf("dump of %d bytes: %.200q", len(dump), dump)
	}
	for what, secrets := range map[string][][]byte{"secret": {secret}, "KEK": {kek[:]}, "ticket key": ticketKeys, "handle": handles.given} {
		for _, b := range secrets {
			for _, form := range []string{string(b), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b)} {
				if strings.Contains(dump, form) {
					t.Errorf("the %s is in Redis: %q", what, form)
				}
			}
		}
	}
}

// dumpAll returns all keys and values.
func dumpAll(t *testing.T, c *goredis.Client) string {
	t.Helper()
	var b strings.Builder
	for _, key := range c.Keys(t.Context(), "*").Val() {
		fmt.Fprintln(&b, key, c.Get(t.Context(), key).Val())
	}
	return b.String()
}
