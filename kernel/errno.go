//go:build !plan9

package kernel

import "syscall"

// The errors of kernels that mean something to a [Socket].
const (
	errBadMessage  = syscall.EBADMSG
	errMessageSize = syscall.EMSGSIZE
	errInvalid     = syscall.EINVAL
	errBusy        = syscall.EBUSY
	errAlready     = syscall.EALREADY
	errNotConn     = syscall.ENOTCONN
)
