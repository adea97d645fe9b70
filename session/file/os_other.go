//go:build !unix

package file

import (
	"io/fs"
	"os"
)

const (
	readFlags = os.O_RDONLY
	dirsSync  = false // a directory cannot be synchronised
)

// checkPrivateDir looks at nothing: the mode does not say who may use a directory.
func checkPrivateDir(fs.FileInfo) error { return nil }
