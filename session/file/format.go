package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"time"
)

// magic is how the file of a value begins: a format and its version. What
// follows is the SHA-256 of the file's name and the value, and the value. The
// file's modification time says when it expires: a copy that loses it has
// expired.
var magic = []byte("handoff\x01")

const headLen = 8 + sha256.Size

func encode(name string, value []byte) []byte {
	b := make([]byte, 0, headLen+len(value))
	sum := checksum(name, value)
	return append(append(append(b, magic...), sum[:]...), value...)
}

// decode returns the value in the content of the file of this name, or nil if
// it is damaged. It shares memory with b.
func decode(name string, b []byte) []byte {
	if len(b) < headLen || !bytes.Equal(b[:len(magic)], magic) {
		return nil
	}
	value := b[headLen:]
	if sum := checksum(name, value); !bytes.Equal(sum[:], b[len(magic):headLen]) {
		return nil
	}
	return value
}

// checksum tells a value that a crash or somebody's mistake has damaged, or
// moved, from a whole one. Against an attacker values are sealed.
func checksum(name string, value []byte) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(name+"\x00"), value...))
}

// read returns the value in a file that was made for name. It returns nil if
// there is none, or none that is whole and has not expired.
func (s *Store) read(file, name string) ([]byte, error) {
	f, err := s.root.OpenFile(file, readFlags, 0)
	if err != nil {
		if info, statErr := s.root.Lstat(file); statErr == nil && !info.Mode().IsRegular() {
			return nil, nil
		}
		return nil, unlessGone(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	now := s.now()
	if !info.Mode().IsRegular() || !now.Before(info.ModTime()) || tooFar(now, info.ModTime()) {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, headLen+maxValue+1))
	if err != nil || len(b) > headLen+maxValue {
		return nil, err
	}
	return decode(name, b), nil
}

// writeTemp makes a file that expires in ttl under a name of its own.
func (s *Store) writeTemp(content []byte, ttl time.Duration) (name string, err error) {
	name = tempName()
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if until := s.now().Add(min(ttl, maxTTL)); err == nil {
		err = s.root.Chtimes(name, until, until)
	}
	if err == nil {
		err = s.syncFile(name)
	}
	if err != nil {
		_ = s.root.Remove(name)
		return "", err
	}
	return name, nil
}

// syncFile waits until the disk has a file, with the time that it expires at.
func (s *Store) syncFile(name string) error {
	if !s.Durable {
		return nil
	}
	f, err := s.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncDir waits until the disk has the names of the files.
func (s *Store) syncDir() error {
	if !s.Durable || !dirsSync {
		return nil
	}
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// lock gets the lock of the directory, for all processes.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	f, err := s.root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(ctx, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
