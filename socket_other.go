//go:build !linux

package tls

import "net"

// socketCookie returns 0: this system does not number its sockets.
func socketCookie(net.Conn) uint64 { return 0 }
