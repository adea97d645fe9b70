package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// clock is a time that tests move, from now on.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time      { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) add(d time.Duration) { c.offset.Add(int64(d)) }

func open(t testing.TB, dir string, capacity int, c *clock) *Store {
	t.Helper()
	s, err := OpenStore(dir, capacity)
	if err != nil {
		t.Fatal(err)
	}
	s.Time = c.now
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fresh(t testing.TB, capacity int) (*Store, string, *clock) {
	t.Helper()
	dir, c := filepath.Join(t.TempDir(), "store"), new(clock)
	return open(t, dir, capacity, c), dir, c
}

func TestStore(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable %v", durable), func(t *testing.T) {
			sessiontest.TestStore(t, func(t *testing.T) sessiontest.Fleet {
				a, dir, c := fresh(t, 1000)
				b := open(t, dir, 1000, c)
				a.Durable, b.Durable = durable, durable
				return sessiontest.Fleet{A: a, B: b, TTL: 10 * time.Minute, Pass: func() { c.add(11 * time.Minute) }}
			})
		})
	}
}

func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func withPrefix(names []string, prefix string) (n int) {
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// TestBound floods the store with values and marks.
func TestBound(t *testing.T) {
	const capacity = 40
	s, dir, c := fresh(t, capacity)
	for i := range 10 * capacity {
		if err := s.Put(t.Context(), fmt.Sprint(i), []byte("v"), time.Hour+time.Duration(i)*time.Second); err != nil {
			t.Fatal(err)
		}
		if n := withPrefix(files(t, dir), valuePrefix); n > capacity {
			t.Fatalf("%d values", n)
		}
	}
	if got, err := s.Get(t.Context(), fmt.Sprint(10*capacity-1)); got == nil || err != nil {
		t.Errorf("the newest value: %q, %v", got, err)
	}
	for i := range capacity {
		if added, err := s.Add(t.Context(), fmt.Sprint(i), time.Minute); !added || err != nil {
			t.Fatalf("mark %d: %v, %v", i, added, err)
		}
	}
	for range 3 {
		if added, err := s.Add(t.Context(), "one more", time.Minute); added || !errors.Is(err, session.ErrFull) {
			t.Errorf("a mark too many: %v, %v", added, err)
		}
		c.add(2 * sweepPause)
	}
	c.add(2 * time.Minute)
	if added, err := s.Add(t.Context(), "one more", time.Minute); !added || err != nil {
		t.Errorf("after the others expired: %v, %v", added, err)
	}
	if n := withPrefix(files(t, dir), markPrefix); n != 1 {
		t.Errorf("%d marks are left", n)
	}
}

func TestSweep(t *testing.T) {
	s, dir, c := fresh(t, 0)
	for i := range 10 {
		if err := s.Put(t.Context(), fmt.Sprint(i), []byte("v"), time.Duration(i+1)*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * tempAge)
	for name, mtime := range map[string]time.Time{
		"tmp-left": old, "tmp-inuse": time.Now(), "v-forever": time.Now().Add(10 * maxTTL), "m-forever": time.Now().Add(10 * maxTTL), "foreign": old,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
	c.add(5*time.Hour + time.Minute)
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := files(t, dir)
	if n := withPrefix(names, valuePrefix); n != 5 {
		t.Errorf("%d values are left, want 5", n)
	}
	if n := withPrefix(names, tempPrefix) + withPrefix(names, markPrefix); n != 1 {
		t.Errorf("left: %q", names)
	}
	if withPrefix(names, "foreign") != 1 {
		t.Error("a file of somebody else is removed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Sweep: %v", err)
	}
}

// TestDamaged changes, cuts and replaces the file of a value.
func TestDamaged(t *testing.T) {
	s, dir, c := fresh(t, 0)
	name := fileName(valuePrefix, "k")
	path, whole := filepath.Join(dir, name), encode(name, []byte("value"))
	until := c.now().Add(time.Hour)
	check := func(what string) {
		t.Helper()
		if info, err := os.Lstat(path); err != nil {
			t.Fatal(err)
		} else if info.Mode().IsRegular() {
			if err := os.Chtimes(path, until, until); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Get(t.Context(), "k"); got != nil || err != nil {
			t.Errorf("%s: Get: %q, %v", what, got, err)
		}
		if got, err := s.TakeOnce(t.Context(), "k"); got != nil || err != nil {
			t.Errorf("%s: TakeOnce: %q, %v", what, got, err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s: still there", what)
		}
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x40
		write(bad)
		check(fmt.Sprintf("byte %d changed", i))
		write(whole[:i])
		check(fmt.Sprintf("cut to %d bytes", i))
	}
	write(encode(fileName(valuePrefix, "other"), []byte("value")))
	check("the value of another key")
	write(bytes.Repeat([]byte{1}, headLen+maxValue+1))
	check("a file that is too large")
	for what, make := range map[string]func() error{
		"a directory":         func() error { return os.MkdirAll(filepath.Join(path, "in", "it"), 0o700) },
		"a link to itself":    func() error { return os.Symlink(name, path) },
		"a link to elsewhere": func() error { return os.Symlink("/etc/passwd", path) },
		"a link to nothing":   func() error { return os.Symlink("absent", path) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		check(what)
	}
	if err := s.Put(t.Context(), "large", make([]byte, maxValue+1), time.Hour); err == nil {
		t.Error("a value that is too large is kept")
	}
	write(whole)
	if err := os.Chtimes(path, until, until); err != nil {
		t.Fatal(err)
	}
	if got, err := s.TakeOnce(t.Context(), "k"); string(got) != "value" || err != nil {
		t.Errorf("whole: %q, %v", got, err)
	}
}

// TestLockHeld checks that Add honours its context while another process has
// the lock, and that a mark which nobody may remove counts as one.
func TestLockHeld(t *testing.T) {
	s, _, c := fresh(t, 0)
	if added, err := s.Add(t.Context(), "k", time.Minute); !added || err != nil {
		t.Fatal(added, err)
	}
	c.add(2 * time.Minute)
	s.swept.Store(c.now().UnixMilli())
	unlock, err := s.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if added, err := s.Add(ctx, "k", time.Minute); added || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the lock is held: %v, %v", added, err)
	}
	unlock()
	if added, err := s.Add(t.Context(), "k", time.Minute); !added || err != nil {
		t.Errorf("afterwards: %v, %v", added, err)
	}
}

// TestProcesses has several processes take and mark the same keys, and kills
// one that writes all the time.
func TestProcesses(t *testing.T) {
	const keys, workers = 60, 3
	s, dir, _ := fresh(t, 0)
	for i := range keys {
		if err := s.Put(t.Context(), fmt.Sprint(i), []byte("v"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	victim := child(t, dir, "write")
	var outs [workers]bytes.Buffer
	var cmds [workers]*exec.Cmd
	for i := range cmds {
		cmds[i] = child(t, dir, "take")
		cmds[i].Stdout = &outs[i]
	}
	for _, cmd := range append(cmds[:], victim) {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	counts := make(map[string]int)
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
		for _, line := range strings.Fields(outs[i].String()) {
			counts[line]++
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // killed
	for i := range keys {
		for _, what := range []string{"took", "added"} {
			if n := counts[fmt.Sprint(what, i)]; n != 1 {
				t.Errorf("%s %d: %d times", what, i, n)
			}
		}
	}
	for i := range 100 { // what the killed one has written is whole, or not there
		got, err := s.Get(t.Context(), fmt.Sprint("victim", i))
		if err != nil || got != nil && !bytes.Equal(got, victimValue) {
			t.Errorf("value %d of the killed process: %d bytes, %v", i, len(got), err)
		}
	}
}

const childVariable = "FILESTORE_TEST_CHILD"

var victimValue = bytes.Repeat([]byte("victim"), 10000)

func child(t *testing.T, dir, job string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), childVariable+"="+job+":"+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestChild is the other processes of TestProcesses.
func TestChild(t *testing.T) {
	job, dir, ok := strings.Cut(os.Getenv(childVariable), ":")
	if !ok {
		return // nothing to do in the parent
	}
	s, err := OpenStore(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; job == "write"; i++ {
		if err := s.Put(t.Context(), fmt.Sprint("victim", i%100), victimValue, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
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

// TestGone checks what becomes of a store whose directory was removed.
func TestGone(t *testing.T) {
	s, dir, _ := fresh(t, 0)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "k", []byte("v"), time.Hour); err == nil {
		t.Error("Put succeeds without a directory")
	}
	if added, err := s.Add(t.Context(), "k", time.Hour); added || err == nil {
		t.Errorf("Add without a directory: %v, %v", added, err)
	}
	if got, err := s.Get(t.Context(), "k"); got != nil || err != nil {
		t.Errorf("Get without a directory: %q, %v", got, err)
	}
}

// FuzzFile reads any content as the file of a value: what comes out is whole.
func FuzzFile(f *testing.F) {
	name := fileName(valuePrefix, "k")
	f.Add(encode(name, []byte("value")), int64(3600))
	f.Add([]byte{}, int64(0))
	f.Add([]byte("handoff\x01"), int64(1<<40))
	s, dir, c := fresh(f, 0)
	f.Fuzz(func(t *testing.T, b []byte, seconds int64) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		until := c.now().Add(time.Duration(seconds%(1<<30)) * time.Second)
		if err := os.Chtimes(path, until, until); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if got != nil && !bytes.Equal(encode(name, got), b) {
			t.Errorf("value %q in file %q", got, b)
		}
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSince: a directory that was removed and made again remembers nothing from
// before, which one that was only opened again does.
func TestSince(t *testing.T) {
	s, dir, _ := fresh(t, 0)
	first := s.Since()
	if again := open(t, dir, 0, new(clock)); !again.Since().Equal(first) {
		t.Errorf("opened again: since %v, and not %v", again.Since(), first)
	}
	time.Sleep(20 * time.Millisecond) // file systems may count time in ticks
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if anew := open(t, dir, 0, new(clock)); !anew.Since().After(first) {
		t.Errorf("made anew: since %v, and before since %v", anew.Since(), first)
	}
}
