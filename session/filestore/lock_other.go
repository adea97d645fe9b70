//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package filestore

import (
	"errors"
	"fmt"
	"os"
)

// tryLock fails: without locks of files no process can rely on a mark.
func tryLock(*os.File) (bool, error) {
	return false, fmt.Errorf("filestore: %w", errors.ErrUnsupported)
}
