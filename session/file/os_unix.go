//go:build unix

package file

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	// readFlags do not wait for the other end of a pipe.
	readFlags = os.O_RDONLY | syscall.O_NONBLOCK
	dirsSync  = true
)

var errNotPrivate = errors.New("directory is open to others than its owner, or not ours")

func checkPrivateDir(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Perm()&0o077 != 0 || int(stat.Uid) != os.Geteuid() {
		return errNotPrivate
	}
	return nil
}
