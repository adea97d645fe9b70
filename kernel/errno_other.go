//go:build !linux && !plan9

package kernel

import "syscall"

// ErrKeyExpired is the errno EKEYEXPIRED of Linux, with which it refuses to
// read past a KeyUpdate before the keys are replaced.
var ErrKeyExpired error = syscall.Errno(127)
