//go:build unix

package file

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []os.FileMode{0o755, 0o710, 0o701, 0o777} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(dir, 0); !errors.Is(err, errNotPrivate) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(file, 0); err == nil {
		t.Error("a file is opened")
	}
	if _, err := OpenStore(filepath.Join(dir, "absent", "absent"), 0); err == nil {
		t.Error("more than one directory is made")
	}
	s, made, _ := fresh(t, 0)
	if err := s.Put(t.Context(), "k", []byte("v"), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, made) {
		if info, err := os.Stat(filepath.Join(made, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: mode %v, %v", info.Mode(), err)
	}
}

// TestPipe checks that nobody waits for the other end of a pipe.
func TestPipe(t *testing.T) {
	s, dir, _ := fresh(t, 0)
	if err := syscall.Mkfifo(filepath.Join(dir, fileName(valuePrefix, "k")), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "k"); got != nil || err != nil {
		t.Errorf("Get: %q, %v", got, err)
	}
	if got, err := s.TakeOnce(t.Context(), "k"); got != nil || err != nil {
		t.Errorf("TakeOnce: %q, %v", got, err)
	}
}
