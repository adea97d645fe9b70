package kernel

import (
	"encoding/binary"
	"net"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deviceFeatures are what a network device that protects records has on.
var deviceFeatures = []string{"tls-hw-tx-offload", "tls-hw-rx-offload"}

// deviceOffload says whether any network device of the machine has one of them.
func deviceOffload() Support {
	no := Support{Reason: "no network device has tls-hw-tx-offload or tls-hw-rx-offload on (ethtool -k)"}
	interfaces, err := net.Interfaces()
	if err != nil {
		return no
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return no
	}
	defer func() { _ = unix.Close(fd) }()
	for _, i := range interfaces {
		for _, f := range activeFeatures(fd, i.Name) {
			if slices.Contains(deviceFeatures, f) {
				return Support{OK: true}
			}
		}
	}
	return no
}

// Of linux/ethtool.h: the set of strings that are names of features, how long
// a name is, and how many bits a block of features has.
const (
	stringSetFeatures = 4
	featureNameLen    = 32
	featureBlockBits  = 32
	featureBlockLen   = 16 // available, requested, active, never changed
	featureActive     = 8  // where active begins
)

// activeFeatures returns the names of what a network device has on.
func activeFeatures(fd int, device string) (names []string) {
	count := make([]byte, 20) // struct ethtool_sset_info
	binary.NativeEndian.PutUint64(count[8:], 1<<stringSetFeatures)
	if !ethtool(fd, device, unix.ETHTOOL_GSSET_INFO, count) {
		return nil
	}
	n := int(binary.NativeEndian.Uint32(count[16:]))
	strings := make([]byte, 12+n*featureNameLen) // struct ethtool_gstrings
	binary.NativeEndian.PutUint32(strings[4:], stringSetFeatures)
	binary.NativeEndian.PutUint32(strings[8:], uint32(n))
	blocks := (n + featureBlockBits - 1) / featureBlockBits
	bits := make([]byte, 8+blocks*featureBlockLen) // struct ethtool_gfeatures
	binary.NativeEndian.PutUint32(bits[4:], uint32(blocks))
	if !ethtool(fd, device, unix.ETHTOOL_GSTRINGS, strings) || !ethtool(fd, device, unix.ETHTOOL_GFEATURES, bits) {
		return nil
	}
	for i := range n {
		active := binary.NativeEndian.Uint32(bits[8+i/featureBlockBits*featureBlockLen+featureActive:])
		if active>>(i%featureBlockBits)&1 == 1 {
			names = append(names, unix.ByteSliceToString(strings[12+i*featureNameLen:][:featureNameLen]))
		}
	}
	return names
}

// ethtool makes a request about a device: b is its struct, which begins with
// the command.
func ethtool(fd int, device string, command uint32, b []byte) bool {
	binary.NativeEndian.PutUint32(b, command)
	var req struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], device)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&b[0])
	req.data = unsafe.Pointer(&b[0])
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	return errno == 0
}
