//go:build unix

package tls

import (
	"net"

	"golang.org/x/sys/unix"
)

// maxUnread bounds what is taken off a socket before it is closed.
const maxUnread = 16 * recordBufferLen

// discardUnread takes off a socket what nobody will read, a session ticket for
// one, without waiting for more: closing it with bytes unread resets the
// connection, and what we have written is lost on its way.
func discardUnread(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	buf := getBuffer(recordBufferLen)
	defer buf.put()
	// Where the kernel has the keys, it gives away no record but data unless
	// there is room for its type.
	var oob [64]byte
	// Control, unlike Read, does not wait for somebody else's Read.
	_ = raw.Control(func(fd uintptr) {
		for taken := 0; taken < maxUnread; {
			// Somebody may have made the descriptor blocking, as os.File.Fd does with a copy.
			n, _, _, _, err := unix.Recvmsg(int(fd), buf.b, oob[:], unix.MSG_DONTWAIT)
			if n <= 0 || err != nil {
				return
			}
			taken += n
		}
	})
}
