//go:build !(linux || freebsd || darwin || netbsd || openbsd || dragonfly)

package file

import (
	"errors"
	"os"
)

// openPrivate fails: a file's mode does not say here who can read it.
func openPrivate(path string, _ int) (*os.File, error) {
	return nil, &os.PathError{Op: "open", Path: path, Err: errors.ErrUnsupported}
}
