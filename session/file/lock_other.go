//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package file

import (
	"errors"
	"fmt"
	"os"
)

// tryLock fails: without locks of files no process can rely on a mark.
func tryLock(*os.File) (bool, error) {
	return false, fmt.Errorf("session/file: %w", errors.ErrUnsupported)
}
