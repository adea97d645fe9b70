//go:build !unix

package tls

import "net"

// discardUnread does nothing: see close_unix.go.
func discardUnread(net.Conn) {}
