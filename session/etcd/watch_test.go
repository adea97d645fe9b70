package etcd

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-handoff/tls/session/sessiontest"
)

// cable is a way to a server that tests cut.
type cable struct {
	addr string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newCable(t testing.TB, server string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{addr: l.Addr().String(), conns: make(map[net.Conn]bool)}
	t.Cleanup(func() {
		l.Close()
		c.setCut(true)
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(in, server)
		}
	}()
	return c
}

func (c *cable) carry(in net.Conn, server string) {
	defer in.Close()
	out, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer out.Close()
	if !c.add(in) {
		return
	}
	go func() {
		defer in.Close()
		_, _ = io.Copy(in, out)
	}()
	_, _ = io.Copy(out, in)
}

func (c *cable) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[conn] = true
	return !c.cut
}

func (c *cable) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut = cut; cut {
		for conn := range c.conns {
			conn.Close()
		}
	}
}

// fails checks that Load fails when its context ends, once what is known is too
// old to be believed.
func fails(t *testing.T, r *Ring) {
	t.Helper()
	await(t, "Load that fails", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		b, _, err := r.Load(ctx)
		if took := time.Since(start); took > patience/2 {
			t.Fatalf("Load took %v", took)
		}
		return b == nil && err != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, ok, err := r.Replace(ctx, "other", []byte("b")); ok || err == nil || time.Since(start) > patience/2 {
		t.Errorf("Replace after %v: %v, %v", time.Since(start), ok, err)
	}
}

// TestCompaction: a Ring that was cut off, and whose place in the history is gone,
// begins anew.
func TestCompaction(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	a := open(t, s.Addr)
	way := newCable(t, s.Addr)
	client, n := dial(t, way.addr)
	b := NewRing(client, testKey)
	b.MaxAge = time.Hour
	defer closeRing(t, b)
	version := replace(t, a, "", "first")
	answersAlone(t, b)
	way.setCut(true)
	fails(t, b)
	for _, value := range []string{"second", "third", "fourth"} {
		version = replace(t, a, version, value)
	}
	k, _ := a.current()
	if _, err := a.client.Compact(t.Context(), k.modified, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	way.setCut(false)
	await(t, "what was changed meanwhile", func() bool {
		got, v := load(t, b)
		return got == "fourth" && v == version
	})
	await(t, "a change that is known without a question", func() bool {
		answersAlone(t, b)
		before := n.Load()
		version = replace(t, a, version, "fifth")
		await(t, "the change", func() bool {
			_, v := load(t, b)
			return v == version
		})
		return n.Load() == before
	})
}

// TestFaults: an etcd that hangs or is gone makes Load fail, and the Ring goes on
// by itself when it is there again.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	a, b := open(t, s.Addr), open(t, s.Addr)
	a.MaxAge, b.MaxAge = 200*time.Millisecond, 200*time.Millisecond
	version := replace(t, a, "", "first")
	for _, fault := range []struct {
		name       string
		begin, end func()
	}{
		{"paused", s.Pause, s.Continue},
		{"killed", s.Kill, s.Restart},
		{"paused again", s.Pause, s.Continue},
	} {
		answersAlone(t, b)
		fault.begin()
		fails(t, a)
		fails(t, b)
		fault.end()
		version = replace(t, a, version, fault.name)
		if got, v := load(t, a); got != fault.name || v != version {
			t.Errorf("%s: the Ring has %q", fault.name, got)
		}
		await(t, "the change", func() bool {
			got, v := load(t, b)
			return got == fault.name && v == version
		})
	}
}

// TestRestored: the cluster is restored from a backup, and its revisions come back
// with other contents.
func TestRestored(t *testing.T) {
	t.Parallel()
	s := sessiontest.StartServer(t, etcdServer)
	r := open(t, s.Addr)
	r.MaxAge = 200 * time.Millisecond
	first := replace(t, r, "", "first")
	s.Kill()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(dataDir(s.Dir))); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	second := replace(t, r, first, "second")
	knew, _ := r.current()
	lost := replace(t, r, second, "third, which will be lost")
	s.Kill()
	if err := os.RemoveAll(dataDir(s.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dataDir(s.Dir), os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	await(t, "what was in the backup", func() bool {
		got, v := load(t, r)
		return got == "first" && v == first
	})
	other := open(t, s.Addr)
	again := replace(t, other, first, "another second")
	if !sameRevision(again, second) {
		t.Fatalf("versions %s and %s have different revisions: the test shows nothing", again, second)
	}
	if _, ok, err := r.swap(t.Context(), knew, []byte("b")); ok || err != nil {
		t.Errorf("what is lost is replaced, as another value has its revision: %v", err)
	}
	for _, old := range []string{first, second, lost} {
		if _, ok, err := r.Replace(t.Context(), old, []byte("b")); ok || err != nil {
			t.Errorf("version %s, which is lost, is replaced: %v", old, err)
		}
	}
	r.MaxAge = time.Hour
	answersAlone(t, r)
	latest := replace(t, other, again, "another third")
	await(t, "the watch that brings the change", func() bool {
		_, v := load(t, r)
		return v == latest
	})
}

func sameRevision(a, b string) bool {
	a, _, _ = strings.Cut(a, "-")
	b, _, _ = strings.Cut(b, "-")
	return a == b
}

// TestCloseWhilePaused: a Ring can be closed whatever etcd does, and leaves no
// goroutine.
func TestCloseWhilePaused(t *testing.T) {
	s := sessiontest.StartServer(t, etcdServer)
	warm := open(t, s.Addr)
	answersAlone(t, warm)
	closeRing(t, warm)
	before := 0
	await(t, "steady number of goroutines", func() bool {
		n := runtime.NumGoroutine()
		time.Sleep(50 * time.Millisecond)
		before = runtime.NumGoroutine()
		return n == before
	})
	for name, fault := range map[string]func(){"works": func() {}, "paused": s.Pause, "killed": s.Kill} {
		s.Restart()
		r, early := open(t, s.Addr), open(t, s.Addr)
		answersAlone(t, r)
		fault()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, _ = early.Load(ctx) // whose watch never begins
		cancel()
		start := time.Now()
		closeRing(t, r)
		closeRing(t, early)
		if took := time.Since(start); took > patience/2 {
			t.Errorf("%s: Close took %v", name, took)
		}
	}
	await(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}
