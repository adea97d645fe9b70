//go:build linux || freebsd || darwin || netbsd || openbsd || dragonfly

package file

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

var kek = [32]byte{1, 2, 3}

func newState() *session.State {
	return &session.State{
		Version:     keyschedule.VersionTLS13,
		CipherSuite: keyschedule.TLS_AES_128_GCM_SHA256,
		CreatedAt:   time.Now(),
		Secret:      keyschedule.NewSecret(bytes.Repeat([]byte{1}, 32)),
		Lifetime:    time.Hour,
	}
}

func tempRing(t *testing.T) *Ring { return NewRing(filepath.Join(t.TempDir(), "tickets")) }

func swap(t *testing.T, r *Ring, old string, b []byte) string {
	t.Helper()
	version, ok, err := r.Replace(context.Background(), old, b)
	if !ok || err != nil {
		t.Fatalf("Replace: %v, %v", ok, err)
	}
	return version
}

func TestRingSource(t *testing.T) {
	sessiontest.TestRingSource(t, func(t *testing.T) sessiontest.RingSources {
		path := filepath.Join(t.TempDir(), "tickets")
		return sessiontest.RingSources{A: NewRing(path), B: NewRing(path)}
	})
}

func TestReplace(t *testing.T) {
	ctx := context.Background()
	r := tempRing(t)
	if b, version, err := r.Load(ctx); b != nil || version != "" || err != nil {
		t.Errorf("no file: %x, %q, %v", b, version, err)
	}
	first := swap(t, r, "", []byte("one"))
	if _, ok, err := r.Replace(ctx, "", []byte("other")); ok || err != nil {
		t.Errorf("begins twice: %v", err)
	}
	second := swap(t, r, first, []byte("two"))
	if _, ok, err := r.Replace(ctx, first, []byte("other")); ok || err != nil {
		t.Errorf("replaces an old version: %v", err)
	}
	if b, version, err := r.Load(ctx); string(b) != "two" || version != second || err != nil {
		t.Errorf("%q, %q, %v", b, version, err)
	}
	info, err := os.Stat(r.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if r.String() != "file:"+r.path {
		t.Errorf("name %s", r)
	}
}

// TestRefused: files that are not private, or no files.
func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"group can read":   func(path string) error { return os.Chmod(path, 0o640) },
		"others can write": func(path string) error { return os.Chmod(path, 0o602) },
		"empty":            func(path string) error { return os.Truncate(path, 0) },
		"too long":         func(path string) error { return os.Truncate(path, maxSize+1) },
		"directory":        func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"link": func(path string) error {
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := tempRing(t)
			version := swap(t, r, "", []byte("keys"))
			if err := spoil(r.path); err != nil {
				t.Fatal(err)
			}
			if b, _, err := r.Load(context.Background()); err == nil {
				t.Errorf("loads %d bytes", len(b))
			}
			if _, ok, err := r.Replace(context.Background(), version, []byte("new")); ok || err == nil {
				t.Errorf("replaced: %v, %v", ok, err)
			}
		})
	}
}

// TestCrash: what a process that was killed leaves behind is in nobody's way.
func TestCrash(t *testing.T) {
	r := tempRing(t)
	version := swap(t, r, "", []byte("keys"))
	if err := os.WriteFile(r.path+".tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, _, err := r.Load(context.Background()); string(b) != "keys" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	swap(t, r, version, []byte("new keys"))
	if _, err := os.Stat(r.path + ".tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is left: %v", err)
	}
}

func TestLockHonoursContext(t *testing.T) {
	r := tempRing(t)
	lock, err := openLock(context.Background(), r.path+".lock")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, ok, err := r.Replace(ctx, "", []byte("keys")); ok || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind a lock: %v, %v", ok, err)
	}
	lock.Close()
	swap(t, r, "", []byte("keys"))
	if _, _, err := r.Load(ctx); err == nil {
		t.Error("Load ignores its context")
	}
}

func TestNoDirectory(t *testing.T) {
	r := NewRing(filepath.Join(t.TempDir(), "missing", "tickets"))
	if _, ok, err := r.Replace(context.Background(), "", []byte("keys")); ok || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestSwapAtOnce: each version is replaced once only.
func TestSwapAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tickets")
	version := swap(t, NewRing(path), "", []byte("0"))
	for round := range 5 {
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, ok, err := NewRing(path).Replace(context.Background(), version, []byte{byte(round + 1), byte(i)})
				if err != nil {
					t.Error(err)
				}
				if ok {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of 8 replaced the same version", won.Load())
		}
		_, version, _ = NewRing(path).Load(context.Background())
	}
}

// TestKeyRings: rings with one file open each other's tickets, one that is
// started later included; damage to the file changes nothing for them.
func TestKeyRings(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "tickets")
	ring := func() *session.KeyRing {
		r := &session.KeyRing{Source: NewRing(path), KEK: kek}
		if err := r.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		return r
	}
	here, there := ring(), ring()
	ticket, err := here.Seal(newState())
	if err != nil || ticket == nil {
		t.Fatalf("Seal: %v", err)
	}
	if s, err := there.Open(ticket); s == nil || err != nil {
		t.Errorf("the other ring: %v, %v", s, err)
	}
	if err := there.Rotate(ctx); err != nil {
		t.Fatal(err)
	}
	if s, err := ring().Open(ticket); s == nil || err != nil {
		t.Errorf("after a rotation and a restart: %v, %v", s, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"torn": b[:len(b)/2], "tampered": append(bytes.Clone(b[:len(b)-1]), b[len(b)-1]^1), "empty": {}} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := here.Refresh(ctx); err == nil || here.Status().Err == nil {
			t.Errorf("%s: not noticed", name)
		}
		if s, err := here.Open(ticket); s == nil || err != nil {
			t.Errorf("%s: the keys in use are lost: %v", name, err)
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := here.Refresh(ctx); err != nil {
		t.Errorf("restored: %v", err)
	}
}

const processEnv = "SESSION_FILE_RING"

// TestRingProcesses lets several processes rotate one file at the same time: the
// generations that they count must come out right.
func TestRingProcesses(t *testing.T) {
	if path := os.Getenv(processEnv); path != "" {
		count(t, NewRing(path))
		return
	}
	r := tempRing(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestRingProcesses$")
			cmd.Env = append(os.Environ(), processEnv+"="+r.path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	b, _, err := r.Load(context.Background())
	if n, _ := strconv.Atoi(strings.TrimSpace(string(b))); n != 3*counts || err != nil {
		t.Errorf("counted to %q, want %d (%v)", b, 3*counts, err)
	}
}

const counts = 20

// count adds to the number in the file, by compare-and-swap.
func count(t *testing.T, r *Ring) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for done := 0; done < counts; {
		b, version, err := r.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(string(b))
		_, ok, err := r.Replace(ctx, version, strconv.AppendInt(nil, int64(n+1), 10))
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			done++
		}
	}
}
