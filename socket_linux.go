package tls

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketCookie returns the number that Linux gave a socket, which no other
// socket gets while the system runs, and which stays the same whichever process
// has it. It returns 0 where there is none.
func socketCookie(conn net.Conn) (cookie uint64) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	})
	if err != nil {
		return 0
	}
	return cookie
}
