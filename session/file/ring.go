package file

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// ringNonceLen is how many random bytes a file begins with, so that no
	// version comes back with the same keys.
	ringNonceLen = 16
	// maxSize is far more than any ring's keys need, so that a wrong path does
	// not fill the memory.
	maxSize = ringNonceLen + 64<<10
)

// Ring keeps the keys of rings in a file. It implements [session.RingSource].
//
// The file belongs to the user of the process, and nobody else may read or
// write it; otherwise it is refused. It is replaced as a whole, by a new file
// that is on disk before it takes the name, so that a crash leaves the old
// content or the new. A lock on a second file, named path.lock, orders those
// who replace it; a crash releases it. During a replacement there is a third,
// path.tmp. Whoever may write the directory can take the keys away, but not
// read or forge them: they are sealed.
//
// It works on Linux, the BSDs and macOS. Elsewhere all its methods fail with
// [errors.ErrUnsupported].
type Ring struct{ path string }

// NewRing returns the Ring in the file of that path, which need not exist yet.
// Its directory must.
func NewRing(path string) *Ring { return &Ring{path: path} }

// String returns "file:" and the path.
func (r *Ring) String() string { return "file:" + r.path }

// Load implements [session.RingSource]. The version is a hash of the file.
func (r *Ring) Load(ctx context.Context) (b []byte, version string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	b, err = readPrivate(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", nil
	case err != nil:
		return nil, "", err
	case len(b) <= ringNonceLen:
		return nil, "", fmt.Errorf("session/file: %s is too short", r.path)
	}
	return b[ringNonceLen:], versionOf(b), nil
}

// Replace implements [session.RingSource]. It fails if the lock is not free
// before ctx ends.
func (r *Ring) Replace(ctx context.Context, old string, b []byte) (version string, ok bool, err error) {
	lock, err := openLock(ctx, r.path+".lock")
	if err != nil {
		return "", false, fmt.Errorf("session/file: lock of %s: %w", r.path, err)
	}
	defer lock.Close()
	_, current, err := r.Load(ctx)
	if err != nil || current != old {
		return "", false, err
	}
	content := make([]byte, ringNonceLen, ringNonceLen+len(b))
	_, _ = rand.Read(content) // never fails
	content = append(content, b...)
	if err := r.write(content); err != nil {
		return "", false, err
	}
	return versionOf(content), true, nil
}

// write replaces the file. The lock is held: what has the temporary name is of
// somebody who crashed.
func (r *Ring) write(b []byte) error {
	tmp := r.path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(tmp, b); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, r.path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(r.path))
}

// writeNew writes a file that does not exist, down to the disk.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a rename durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// readPrivate reads a file that nobody else can read.
func readPrivate(path string) ([]byte, error) {
	f, err := openPrivate(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSize {
		return nil, fmt.Errorf("session/file: %s is longer than %d bytes", path, maxSize)
	}
	return b, nil
}

// openLock locks a private file, which it makes if need be, until it is closed.
func openLock(ctx context.Context, path string) (*os.File, error) {
	f, err := openPrivate(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := lockFile(ctx, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func versionOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
