package kernel

import "syscall"

// ErrKeyExpired is the errno EKEYEXPIRED, with which Linux refuses to read past
// a KeyUpdate before the keys are replaced. It is here for the models, which
// need it on systems that do not have it too.
var ErrKeyExpired error = syscall.EKEYEXPIRED
