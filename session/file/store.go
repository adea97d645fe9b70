package file

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls/session"
)

// Store is a [session.Store] in a directory: one file for each value and each
// mark, named by a hash of its key. All processes that open the directory share
// it; each bounds it to the capacity that it was told, by dropping the values
// that expire soonest. On network file systems it is as atomic as their rename
// and link are.
//
// The process may be killed at any time: a file has its whole content or does
// not exist. What a loss of power may undo says Durable. A value that is damaged
// counts as one that is not there.
//
// System calls on files take no context: it is looked at between them.
type Store struct {
	// Time returns the current time; nil means [time.Now]. It must not change
	// once the store is used.
	Time func() time.Time
	// Durable makes changes survive a loss of power, for the price of waiting for
	// the disk at each of them. Without it the last seconds' changes may be
	// undone: a session may be lost, or one that was taken may be back.
	Durable bool

	root     *os.Root
	since    time.Time
	capacity int
	values   atomic.Int64 // files, or more: those made since the last sweep that are gone count
	marks    atomic.Int64
	swept    atomic.Int64 // when the last sweep was, in milliseconds; 0 means never
	sweeping chan struct{}
}

const (
	defaultCapacity = 20000
	// maxValue bounds what is read of a file.
	maxValue = 1 << 20
	// maxTTL is longer than any session lives. A file that claims to live longer
	// is not one of ours.
	maxTTL = 31 * 24 * time.Hour

	valuePrefix, markPrefix, tempPrefix = "v-", "m-", "tmp-"
	lockName, bornName                  = "lock", "born"
)

// OpenStore returns the store in dir, which it makes if only its last element does
// not exist. A directory that others than its owner, who must be this user, can
// use is refused; on Windows that is not looked at. A capacity of less than one
// means 20000 values and as many marks.
func OpenStore(dir string, capacity int) (*Store, error) {
	if capacity < 1 {
		capacity = defaultCapacity
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("session/file: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("session/file: %w", err)
	}
	info, err := root.Stat(".")
	if err == nil {
		err = checkPrivateDir(info)
	}
	var since time.Time
	if err == nil {
		since, err = bornAt(root)
	}
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("session/file: %s: %w", dir, err)
	}
	return &Store{root: root, since: since, capacity: capacity, sweeping: make(chan struct{}, 1)}, nil
}

// bornAt returns when the directory was first used: the time of a file in it that
// is made then and never changed.
func bornAt(root *os.Root) (time.Time, error) {
	f, err := root.OpenFile(bornName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Since returns when the directory was first used: the store remembers nothing
// from before, for which somebody may have removed the one that was there.
func (s *Store) Since() time.Time { return s.since }

// Close closes the directory. The files stay.
func (s *Store) Close() error { return s.root.Close() }

// Get implements [session.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := fileName(valuePrefix, key)
	return s.read(name, name)
}

// Put implements [session.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if len(value) > maxValue {
		return fmt.Errorf("session/file: value of %d bytes is too large", len(value))
	}
	if err := s.reserve(ctx, &s.values, ttl); err != nil {
		return err
	}
	name := fileName(valuePrefix, key)
	temp, err := s.writeTemp(encode(name, value), ttl)
	if err != nil {
		return err
	}
	if err := s.root.Rename(temp, name); err != nil {
		_ = s.root.Remove(temp)
		return err
	}
	return s.syncDir()
}

// TakeOnce implements [session.Store]. One caller only can rename the file.
func (s *Store) TakeOnce(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, temp := fileName(valuePrefix, key), tempName()
	if err := s.root.Rename(name, temp); err != nil {
		return nil, unlessGone(err)
	}
	value, err := s.read(temp, name)
	if err := unlessGone(s.root.RemoveAll(temp)); err != nil {
		return nil, err
	}
	if err := s.syncDir(); err != nil {
		return nil, err
	}
	return value, err
}

// Add implements [session.Store]. A mark is an empty file, whose modification
// time says when it expires, and one caller only can make a link of its name.
func (s *Store) Add(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if err := s.reserve(ctx, &s.marks, ttl); err != nil {
		return false, err
	}
	temp, err := s.writeTemp(nil, ttl)
	if err != nil {
		return false, err
	}
	added, err := s.link(ctx, temp, fileName(markPrefix, key))
	if removeErr := s.root.Remove(temp); err == nil {
		err = unlessGone(removeErr)
	}
	if err == nil && added {
		err = s.syncDir()
	}
	return added && err == nil, err
}

// link makes temp the mark of this name, unless there is one already.
func (s *Store) link(ctx context.Context, temp, name string) (bool, error) {
	for {
		err := s.root.Link(temp, name)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		if gone, err := s.removeExpiredMarks(ctx, name); len(gone) == 0 || err != nil {
			return false, err
		}
	}
}

// removeExpiredMarks removes those of these marks that have expired, and returns
// which these are and which are gone already. Marks are removed under a lock
// only: or else one process could remove what another has just put in the place
// of the mark that both saw expire.
func (s *Store) removeExpiredMarks(ctx context.Context, names ...string) (gone []string, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now := s.now()
	for _, name := range names {
		info, err := s.root.Lstat(name)
		if err == nil {
			if now.Before(info.ModTime()) && !tooFar(now, info.ModTime()) {
				continue
			}
			err = s.root.RemoveAll(name)
		}
		if unlessGone(err) != nil {
			return gone, err
		}
		gone = append(gone, name)
	}
	return gone, ctx.Err()
}

// Delete implements [session.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.root.RemoveAll(fileName(valuePrefix, key)); err != nil {
		return err
	}
	if err := s.deleteMark(ctx, fileName(markPrefix, key)); err != nil {
		return err
	}
	return s.syncDir()
}

func (s *Store) deleteMark(ctx context.Context, name string) error {
	if _, err := s.root.Lstat(name); err != nil {
		return unlessGone(err)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return s.root.RemoveAll(name)
}

func (s *Store) now() time.Time {
	if s.Time != nil {
		return s.Time()
	}
	return time.Now()
}

func fileName(prefix, key string) string {
	sum := sha256.Sum256([]byte(key))
	return prefix + hex.EncodeToString(sum[:])
}

func tempName() string { return tempPrefix + rand.Text() }

// tooFar reports whether a time to live that ends then is none of ours.
func tooFar(now, until time.Time) bool { return until.Sub(now) > maxTTL }

// unlessGone drops the error of a file that does not exist.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

var _ session.Store = (*Store)(nil)
