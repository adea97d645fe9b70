package etcd

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// recorder is a source of randomness that remembers.
type recorder struct {
	mu  sync.Mutex
	all [][]byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := rand.Read(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, bytes.Clone(b))
	return n, err
}

// everything returns all that etcd keeps and has kept, and what it has on disk.
func everything(t testing.TB, client *clientv3.Client, dir string) (b []byte) {
	t.Helper()
	now, err := client.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for revision := int64(2); revision <= now.Header.Revision; revision++ {
		resp, err := client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithRev(revision))
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range resp.Kvs {
			b = append(append(b, kv.Key...), kv.Value...)
		}
	}
	disk := os.DirFS(dir)
	err = fs.WalkDir(disk, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := fs.ReadFile(disk, path)
		b = append(b, bytes.TrimRight(file, "\x00")...) // most of a log is yet to be written
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSealedAtRest: of the random bytes that a ring makes, etcd has the salts and
// no others, and neither has it the KEK.
func TestSealedAtRest(t *testing.T) {
	t.Parallel()
	const saltFrom, saltTo = 10, 42 // in what a ring gives to its source
	s := sessiontest.StartServer(t, etcdServer)
	source := open(t, s.Addr)
	ring := keyRing(source)
	_, _ = rand.Read(ring.KEK[:])
	random := new(recorder)
	ring.Rand = random
	salts := make(map[string]bool)
	refresh(t, ring)
	for range 6 {
		b, _ := load(t, source)
		salts[b[saltFrom:saltTo]] = true
		if err := ring.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := load(t, source)
	salts[b[saltFrom:saltTo]] = true
	all := everything(t, source.client, dataDir(s.Dir))
	secrets := [][]byte{ring.KEK[:]}
	for _, made := range random.all {
		if !salts[string(made)] {
			secrets = append(secrets, made)
		} else if !bytes.Contains(all, made) {
			t.Error("a salt is not found: the test does not look where the keys are")
		}
	}
	if want := 1 + 2*(2+6); len(secrets) != want { // the KEK, and names and keys
		t.Errorf("%d secrets, want %d", len(secrets), want)
	}
	for _, secret := range secrets {
		for i := 0; i+8 <= len(secret); i++ {
			if bytes.Contains(all, secret[i:i+8]) {
				t.Fatal("etcd has a part of a secret")
			}
		}
	}
}

// TestHostile: whatever is put under the key, a ring that has keys goes on with
// them and says so, a new one makes its own, and neither overwrites it.
func TestHostile(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	client, _ := dial(t, s.Addr)
	source := open(t, s.Addr)
	source.MaxAge = -1
	ring := keyRing(source)
	refresh(t, ring)
	ticket := seal(t, ring)
	good, version := load(t, source)

	var foreign session.MemoryRing
	stranger := keyRing(&foreign)
	stranger.KEK[0]++
	refresh(t, stranger)
	theirs, _ := load(t, &foreign)
	forged := seal(t, stranger)

	garbage := make([]byte, len(good))
	_, _ = rand.Read(garbage)
	tampered := []byte(good)
	tampered[len(tampered)-1] ^= 1
	for name, value := range map[string]string{
		"garbage": string(garbage), "empty": "", "short": good[:5], "half": good[:len(good)/2], "longer": good + "x",
		"tampered": string(tampered), "another KEK": theirs,
		"long": string(make([]byte, maxSize)), "too long": string(make([]byte, maxSize+1)), "a megabyte": string(make([]byte, 1<<20)),
	} {
		if _, err := client.Put(t.Context(), testKey, value); err != nil {
			t.Fatal(err)
		}
		fresh := keyRing(source)
		for who, r := range map[string]*session.KeyRing{"the ring": ring, "a new ring": fresh} {
			if err := r.Refresh(t.Context()); err == nil || r.Status().Err == nil {
				t.Errorf("%s: %s does not notice", name, who)
			}
			if !opens(t, r, seal(t, r)) || opens(t, r, forged) {
				t.Errorf("%s: %s opens what it must not, or not what it must", name, who)
			}
			if err := r.Rotate(t.Context()); err == nil {
				t.Errorf("%s: %s rotates", name, who)
			}
		}
		if !opens(t, ring, ticket) || opens(t, fresh, ticket) {
			t.Errorf("%s: the ring has lost its keys, or a new one has them", name)
		}
		if _, ok, err := source.Replace(t.Context(), version, []byte("b")); ok {
			t.Errorf("%s: it is replaced: %v", name, err)
		}
		if got, err := client.Get(t.Context(), testKey); err != nil || string(got.Kvs[0].Value) != value {
			t.Errorf("%s: it is overwritten, %v", name, err)
		}
	}
	if _, err := client.Put(t.Context(), testKey, good); err != nil {
		t.Fatal(err)
	}
	refresh(t, ring)
	if err := ring.Rotate(t.Context()); err != nil || ring.Status().Err != nil {
		t.Errorf("mended: %v, %v", err, ring.Status().Err)
	}
}

// TestRolledBack: what was there once, and comes back, does not bring back keys
// that were rotated out.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	client, _ := dial(t, s.Addr)
	source := open(t, s.Addr)
	ring := keyRing(source)
	refresh(t, ring)
	old, _ := load(t, source)
	for range 4 {
		if err := ring.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	latest, _ := load(t, source)
	if _, err := client.Put(t.Context(), testKey, old); err != nil {
		t.Fatal(err)
	}
	await(t, "the ring that notices", func() bool {
		refresh(t, ring)
		got, err := client.Get(t.Context(), testKey)
		return err == nil && string(got.Kvs[0].Value) == latest
	})
	if leaseOf(t, client) == clientv3.NoLease {
		t.Error("what is put back has no lease")
	}
}

// rotations notes when each key was first seen in a ring, and first sealed.
type rotations struct {
	mu              sync.Mutex
	announced, used map[string]time.Time
}

// TestFleet: twenty rings with connections of their own rotate every 1.2 seconds.
// All of them know every key before the first one seals with it.
func TestFleet(t *testing.T) {
	const (
		size     = 20
		interval = 1200 * time.Millisecond
		lasts    = 5 * interval
	)
	s := sessiontest.StartServer(t, etcdServer)
	rings := make([]*session.KeyRing, size)
	for i := range rings {
		r := open(t, s.Addr)
		r.MaxAge = interval / 8
		rings[i] = keyRing(r)
		rings[i].Interval, rings[i].Poll = interval, interval/50
		refresh(t, rings[i])
	}
	seen := &rotations{announced: make(map[string]time.Time), used: make(map[string]time.Time)}
	first := rings[0].Status().Keys[1] // which was announced to nobody
	seen.announced[first.Name] = first.Made.Add(-interval)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Duration(5+mathrand.IntN(10)) * time.Millisecond) {
				seen.act(t, rings, rings[i])
			}
		})
	}
	wg.Wait()
	if len(seen.used) < 4 {
		t.Errorf("only %d keys sealed", len(seen.used))
	}
	for _, r := range rings {
		refresh(t, r)
	}
	for _, r := range rings {
		refresh(t, r)
		if got, want := r.Status().Keys[0].Name, rings[0].Status().Keys[0].Name; got != want || r.Status().Err != nil {
			t.Errorf("in the end the next key is %s for one and %s for another, %v", got, want, r.Status().Err)
		}
	}
}

// act has a ring seal a ticket. Its key was announced before, and every other ring
// must have it, unless it was not able to look at the source since then.
func (s *rotations) act(t *testing.T, rings []*session.KeyRing, ring *session.KeyRing) {
	ticket, err := ring.Seal(newState())
	if err != nil || ticket == nil {
		t.Errorf("Seal: %d bytes, %v", len(ticket), err)
		return
	}
	name := hex.EncodeToString(ticket[:4])
	announced, early := s.note(ring, name)
	if early < ring.Interval/2 {
		t.Errorf("a key seals %v after it was announced", early)
	}
	for i, other := range rings {
		status := other.Status()
		knows := slices.ContainsFunc(status.Keys, func(k session.KeyStatus) bool { return k.Name == name })
		if !knows && status.Loaded.Sub(announced) > ring.Interval/4 {
			t.Errorf("ring %d was not told of a key that is used", i)
		}
	}
}

// note notes the keys of a ring, and the one that it has used. It returns when that
// was announced, and how long before its first use.
func (s *rotations) note(ring *session.KeyRing, used string) (announced time.Time, early time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, k := range ring.Status().Keys {
		if s.announced[k.Name].IsZero() {
			s.announced[k.Name] = now
		}
	}
	announced = s.announced[used]
	if s.used[used].IsZero() {
		s.used[used] = now
	}
	return announced, s.used[used].Sub(announced)
}
