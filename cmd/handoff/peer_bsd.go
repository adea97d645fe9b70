//go:build darwin || freebsd

package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// solLocal is the level of a Unix socket's options, SOL_LOCAL.
const solLocal = 0

// peerUID returns the user that the process at the other end had when it
// connected or began to listen.
func peerUID(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Xucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) { cred, sockErr = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED) }); err != nil {
		return 0, err
	}
	if sockErr != nil {
		return 0, sockErr
	}
	return int(cred.Uid), nil
}
