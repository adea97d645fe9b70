package kernel

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Numbers of linux/inet_diag.h, linux/sock_diag.h and linux/tls.h.
const (
	sockDiagByFamily = 20
	diagRequestLen   = 56
	diagMessageLen   = 72
	diagExtInfo      = 1 << 1 // ask for TCP's information, to which TLS's belongs
	attrULPInfo      = 19
	attrULPInfoTLS   = 2
	attrTXConf       = 3
	attrRXConf       = 4
	confHW           = 3
	attrTypeMask     = 0x3fff
)

// Device implements [System].
func (s *linuxSocket) Device() (tx, rx bool) {
	txConf, rxConf := s.confs()
	return txConf == confHW, rxConf == confHW
}

// confs returns who protects the two directions, one of TLS_CONF_*, or zeros if
// that cannot be told. It asks sock_diag, as the command ss does.
func (s *linuxSocket) confs() (tx, rx uint16) {
	var req []byte
	err := s.control(func(fd int) (err error) {
		req, err = diagRequest(fd)
		return err
	})
	if err != nil {
		return 0, 0
	}
	answer, err := askDiag(req)
	if err != nil || len(answer) < unix.NLMSG_HDRLEN+diagMessageLen {
		return 0, 0
	}
	info := attr(attr(answer[unix.NLMSG_HDRLEN+diagMessageLen:], attrULPInfo), attrULPInfoTLS)
	return uint16Of(attr(info, attrTXConf)), uint16Of(attr(info, attrRXConf))
}

func uint16Of(b []byte) uint16 {
	if len(b) != 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(b)
}

// diagRequest returns a netlink message that asks for the socket of fd: a
// header, and a struct inet_diag_req_v2 with both addresses.
func diagRequest(fd int) ([]byte, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, unix.NLMSG_HDRLEN+diagRequestLen)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[unix.NLMSG_HDRLEN:]
	r[1], r[2] = unix.IPPROTO_TCP, diagExtInfo
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // in any state
	r[0] = putAddress(r[8:], r[12:], r[44:], local)
	putAddress(r[10:], r[28:], r[44:], remote)
	for i := range r[48:56] { // no cookie
		r[48+i] = 0xff
	}
	return b, nil
}

// putAddress writes an address in its parts, and returns its family.
func putAddress(port, ip, zone []byte, sa unix.Sockaddr) byte {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		binary.BigEndian.PutUint16(port, uint16(sa.Port))
		copy(ip, sa.Addr[:])
		return unix.AF_INET
	case *unix.SockaddrInet6:
		binary.BigEndian.PutUint16(port, uint16(sa.Port))
		copy(ip, sa.Addr[:])
		binary.NativeEndian.PutUint32(zone, sa.ZoneId)
		return unix.AF_INET6
	}
	return unix.AF_UNSPEC
}

// askDiag sends a request to the kernel and returns its answer.
func askDiag(req []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	timeout := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, err
	}
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	return answer[:max(n, 0)], err
}

// attr returns the value of the first netlink attribute of the given type.
func attr(b []byte, typ uint16) []byte {
	for len(b) >= unix.SizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&attrTypeMask == typ {
			return b[unix.SizeofNlAttr:n]
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}
