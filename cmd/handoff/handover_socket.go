//go:build unix

package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The way between two processes that serve one after the other: a Unix socket
// that nobody else can reach, over which descriptors pass.

// checkPrivate makes sure that dir is a directory that only we can enter; one
// that is not there is made.
func checkPrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm()&0o077 != 0 || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s must be a directory of ours that nobody else may enter (chmod 0700)", dir)
	}
	return nil
}

// listenPrivate listens at path, in the place of whoever did so before: no
// moment passes in which there is nobody.
func listenPrivate(path string) (*net.UnixListener, error) {
	if err := checkPrivate(filepath.Dir(path)); err != nil {
		return nil, err
	}
	made := path + "." + rand.Text()[:4]
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // a successor's would go
	if err := os.Rename(made, path); err != nil {
		return nil, errors.Join(err, ln.Close(), os.Remove(made))
	}
	return ln, nil
}

// dialPrivate connects to who listens at path. There is nobody if the link is
// nil.
func dialPrivate(path string) (*link, error) {
	if err := checkPrivate(filepath.Dir(path)); err != nil {
		return nil, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return newLink(conn)
}

// link is a connection between two processes of one user. It carries messages
// with descriptors:
//
//	uint32 length;      the descriptors travel with it
//	opaque body[length];
type link struct{ conn *net.UnixConn }

const (
	linkTimeout = 10 * time.Second
	// maxMessage is more than a connection needs: its blob has at most the
	// buffers of both directions.
	maxMessage     = 1 << 20
	maxDescriptors = 4
)

// newLink refuses processes of other users.
func newLink(conn *net.UnixConn) (*link, error) {
	uid, err := peerUID(conn)
	if err == nil && uid != os.Geteuid() {
		err = fmt.Errorf("the other process is user %d's", uid)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &link{conn}, nil
}

func (l *link) close() error { return l.conn.Close() }

// send sends a message with the descriptors of some files or sockets, which stay
// open here.
func (l *link) send(body []byte, with ...syscall.Conn) error {
	_ = l.conn.SetWriteDeadline(time.Now().Add(linkTimeout))
	length := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	err := withDescriptors(with, nil, func(descriptors []int) error {
		var rights []byte
		if len(descriptors) > 0 {
			rights = unix.UnixRights(descriptors...)
		}
		n, _, err := l.conn.WriteMsgUnix(length, rights, nil)
		if err == nil && n < len(length) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return nil // the other process may be gone already
	}
	_, err = l.conn.Write(body)
	return err
}

// withDescriptors calls f with more descriptors. Unlike os.File.Fd, this changes
// nothing about them.
func withDescriptors(more []syscall.Conn, descriptors []int, f func([]int) error) error {
	if len(more) == 0 {
		return f(descriptors)
	}
	raw, err := more[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = withDescriptors(more[1:], append(descriptors, int(fd)), f) })
	return errors.Join(err, inner)
}

// receive receives a message and its descriptors, once the other process sends
// one.
func (l *link) receive() (body []byte, files []*os.File, err error) {
	_ = l.conn.SetReadDeadline(time.Time{})
	return l.receiveMessage()
}

// answer receives a message that is due.
func (l *link) answer() (body []byte, files []*os.File, err error) {
	_ = l.conn.SetReadDeadline(time.Now().Add(linkTimeout))
	return l.receiveMessage()
}

func (l *link) receiveMessage() (body []byte, files []*os.File, err error) {
	length, rights := make([]byte, 4), make([]byte, unix.CmsgSpace(maxDescriptors*4))
	n, m, _, _, err := l.conn.ReadMsgUnix(length, rights)
	if err != nil {
		return nil, nil, err
	}
	if files, err = descriptorsIn(rights[:m]); err != nil {
		return nil, nil, err
	}
	if body, err = l.receiveBody(length, n); err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return body, files, nil
}

// receiveBody receives the rest of a message, of whose length there are n bytes.
func (l *link) receiveBody(length []byte, n int) ([]byte, error) {
	_ = l.conn.SetReadDeadline(time.Now().Add(linkTimeout))
	if _, err := io.ReadFull(l.conn, length[n:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length)
	if size > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(l.conn, body)
	return body, err
}

func descriptorsIn(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		descriptors, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			closeAll(files)
			return nil, err
		}
		for _, d := range descriptors {
			files = append(files, os.NewFile(uintptr(d), "inherited"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
