//go:build !unix

package filestore

import (
	"io/fs"
	"os"
)

const (
	readFlags = os.O_RDONLY
	dirsSync  = false // a directory cannot be synchronised
)

// checkPrivate looks at nothing: the mode does not say who may use a directory.
func checkPrivate(fs.FileInfo) error { return nil }
