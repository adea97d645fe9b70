//go:build linux || freebsd || darwin || netbsd || openbsd || dragonfly

package file

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openPrivate opens a regular file of this user that nobody else can read or
// write. It follows no symbolic link, and waits for nobody at the other end of
// a pipe.
func openPrivate(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := checkPrivateFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func checkPrivateFile(f *os.File) error {
	var st unix.Stat_t
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if controlErr := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); controlErr != nil {
		return controlErr
	}
	switch {
	case err != nil:
		return &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("session/file: %s is not a regular file", f.Name())
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("session/file: %s belongs to user %d", f.Name(), st.Uid)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("session/file: %s has mode %#o: others must not read or write it", f.Name(), st.Mode&0o777)
	}
	return nil
}
