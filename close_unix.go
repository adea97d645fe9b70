//go:build unix

package tls

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnread bounds what is taken off a socket before it is closed.
const maxUnread = 16 * recordBufferLen

// discardUnread takes off a socket what nobody will read, a session ticket for
// one, without waiting for more: closing it with bytes unread resets the
// connection, and what we have written is lost on its way.
func discardUnread(conn net.Conn) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	buf := getBuffer(recordBufferLen)
	defer buf.put()
	// Control, unlike Read, does not wait for somebody else's Read.
	_ = raw.Control(func(fd uintptr) {
		for taken := 0; taken < maxUnread; {
			n, err := unix.Read(int(fd), buf.b)
			if n <= 0 || err != nil {
				return
			}
			taken += n
		}
	})
}
