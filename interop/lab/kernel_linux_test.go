package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Linux's <linux/tls.h>.
const (
	solTLS       = 282
	tlsTX        = 1
	tlsRX        = 2
	version13    = 0x0304
	aesGCM128    = 51
	aesGCM128Len = 40
)

// TestKernelTLS shows that the kernel that the lab has booted does what the
// lab is for, by nothing but system calls: if this fails, so does the lab.
func TestKernelTLS(t *testing.T) {
	if os.Getenv("HANDOFF_LAB") == "" {
		t.Skip("NOT RUN: this test is for the kernels of the lab (make lab)")
	}
	sender, receiver := loopbackPair(t)
	info := cryptoInfo()
	for _, conn := range []*net.TCPConn{sender, receiver} {
		if err := control(conn, func(fd int) error { return unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP, "tls") }); err != nil {
			t.Fatalf("TCP_ULP: %v", err)
		}
	}
	if err := setKeys(sender, tlsTX, info); err != nil {
		t.Fatalf("TLS_TX: %v", err)
	}
	if err := setKeys(receiver, tlsRX, info); err != nil {
		t.Fatalf("TLS_RX: %v", err)
	}
	const message = "through the kernel"
	if _, err := io.WriteString(sender, message); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(message))
	if _, err := io.ReadFull(receiver, got); err != nil || string(got) != message {
		t.Errorf("read %q, %v", got, err)
	}
	if err, want := setKeys(sender, tlsTX, info), rekeyError(t); !errors.Is(err, want) {
		t.Errorf("second TLS_TX: %v, want %v", err, want)
	}
}

// rekeyError is what this kernel says when keys are changed: Linux can since
// version 6.14.
func rekeyError(t *testing.T) error {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	if major > 6 || major == 6 && minor >= 14 {
		return nil
	}
	return unix.EBUSY
}

// cryptoInfo returns a struct tls12_crypto_info_aes_gcm_128 with some key.
func cryptoInfo() []byte {
	info := make([]byte, aesGCM128Len)
	binary.NativeEndian.PutUint16(info, version13)
	binary.NativeEndian.PutUint16(info[2:], aesGCM128)
	copy(info[4:], "initvectsixteen byte keysalt")
	return info
}

func setKeys(conn *net.TCPConn, direction int, info []byte) error {
	return control(conn, func(fd int) error { return unix.SetsockoptString(fd, solTLS, direction, string(info)) })
}

func control(conn *net.TCPConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}

// loopbackPair returns the two ends of a TCP connection.
func loopbackPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	b, err = l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, conn := range []*net.TCPConn{a, b} {
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}
