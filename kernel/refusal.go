//go:build !plan9

package kernel

import (
	"errors"
	"os"
	"syscall"
)

// refuse returns err as a Refusal of op. An [os.SyscallError] in it names the
// socket option that failed, which says more than the number alone.
func refuse(rules Rules, op string, err error) *Refusal {
	r := &Refusal{Op: op, Reason: err.Error(), Err: err}
	var call *os.SyscallError
	if !errors.As(err, &call) {
		return r
	}
	for _, row := range reasons {
		if row.rules == rules && row.option == optionOf[call.Syscall] && errors.Is(call.Err, row.errno) {
			r.Reason = row.reason
			break
		}
	}
	return r
}

// option is a step of giving keys to a kernel.
type option uint8

const (
	ulp option = iota + 1
	set
	verify
)

// The names of the steps in an [os.SyscallError].
const (
	nameULP      = "setsockopt TCP_ULP"
	nameSetTX    = "setsockopt TLS_TX"
	nameSetRX    = "setsockopt TLS_RX"
	nameVerifyTX = "getsockopt TLS_TX"
	nameVerifyRX = "getsockopt TLS_RX"
	nameEnableTX = "setsockopt TCP_TXTLS_ENABLE"
	nameEnableRX = "setsockopt TCP_RXTLS_ENABLE"
	nameTXMode   = "getsockopt TCP_TXTLS_MODE"
	nameRXMode   = "getsockopt TCP_RXTLS_MODE"
)

var optionOf = map[string]option{
	nameULP:   ulp,
	nameSetTX: set, nameSetRX: set, nameEnableTX: set, nameEnableRX: set,
	nameVerifyTX: verify, nameVerifyRX: verify, nameTXMode: verify, nameRXMode: verify,
}

// reasons says in words what an errno means at a step. The first row that fits
// counts.
var reasons = []struct {
	rules  Rules
	option option
	errno  syscall.Errno
	reason string
}{
	{RulesLinux, ulp, syscall.ENOENT, "the kernel has no module tls, or has not loaded it: try modprobe tls, and name it in /etc/modules-load.d (it is loaded on demand only for processes with CAP_NET_ADMIN)"},
	{RulesLinux, ulp, syscall.ENOTCONN, "the connection is not established, or the peer has closed it"},
	{RulesLinux, ulp, syscall.EEXIST, "the socket has another upper layer protocol"},
	{RulesLinux, ulp, syscall.EOPNOTSUPP, "the socket takes no TLS, as one of Multipath TCP does not: turn that off with net.ListenConfig.SetMultipathTCP(false)"},
	{RulesLinux, ulp, syscall.EINVAL, "the socket takes no TLS, as one of Multipath TCP does not: turn that off with net.ListenConfig.SetMultipathTCP(false)"},
	{RulesLinux, ulp, syscall.ENOPROTOOPT, "the kernel, or a sandbox that stands in for one, has no upper layer protocols on TCP"},
	{RulesLinux, ulp, syscall.EPERM, "not permitted, by a system call filter or a container's policy"},
	{RulesLinux, ulp, syscall.EACCES, "not permitted, by a security policy"},
	{RulesLinux, set, syscall.EINVAL, "the kernel does not have this cipher in this protocol version, the other direction uses another one, or the socket is in a sockmap"},
	{RulesLinux, set, syscall.ENOENT, "the kernel has no such cipher, or has not loaded its module (gcm, chacha20poly1305)"},
	{RulesLinux, set, syscall.EBUSY, "the direction has keys, and this kernel cannot replace them: it can for TLS 1.3 from Linux 6.14 on"},
	{RulesLinux, set, syscall.ENOPROTOOPT, "the kernel is too old to have this direction"},
	{RulesLinux, set, syscall.ENOMEM, "the kernel is short of memory"},
	{RulesLinux, verify, syscall.EBUSY, "the kernel does not have keys for this direction"},
	{RulesLinux, verify, syscall.ENOPROTOOPT, "the kernel does not have keys for this direction"},
	{RulesLinux, verify, syscall.EINVAL, "the kernel has keys of another protocol version or cipher"},

	{RulesFreeBSD, set, syscall.EOPNOTSUPP, "kernel TLS is turned off: sysctl kern.ipc.tls.enable=1"},
	{RulesFreeBSD, set, syscall.ENXIO, "the kernel has no unmapped buffers, or no threads for TLS: sysctl kern.ipc.mb_use_ext_pgs=1"},
	{RulesFreeBSD, set, syscall.EINVAL, "the kernel does not have this cipher, or the socket is not connected"},
	{RulesFreeBSD, set, syscall.EPROTONOSUPPORT, "the kernel does not have this protocol version in this direction: receiving TLS 1.3 needs FreeBSD 14"},
	{RulesFreeBSD, set, syscall.EALREADY, "the direction has keys, and FreeBSD does not replace them"},
	{RulesFreeBSD, set, syscall.ENOPROTOOPT, "the kernel was built without option KERN_TLS"},
	{RulesFreeBSD, set, syscall.ENOTCONN, "the connection is not established, or the peer has closed it"},
	{RulesFreeBSD, set, syscall.ECONNRESET, "the connection was reset"},
	{RulesFreeBSD, verify, syscall.EINVAL, "the kernel does not have keys for this direction"},
}
