//go:build unix

package tls

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls/record"
)

// fileOf duplicates the descriptor of a connection.
func fileOf(t *testing.T, c tlsConn) *os.File {
	t.Helper()
	f, err := c.(*Conn).NetConn().(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestCloseLeavesNewOwnerAlone closes a connection whose keys were exported,
// while the new owner of the socket has yet to read what has arrived.
func TestCloseLeavesNewOwnerAlone(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		c, s := connect(t, sockets, clientConfig(), server)
		keys, err := s.(*Conn).ExportKeys()
		if err != nil {
			t.Fatal(err)
		}
		owner, err := net.FileConn(fileOf(t, s))
		if err != nil {
			t.Fatal(err)
		}
		defer owner.Close()
		if err := owner.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("for the new owner")); err != nil {
			t.Fatal(err)
		}
		awaitData(t, owner.(*net.TCPConn))
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		peer := &rawPeer{owner, t, record.NewSealer(keys.Write), record.NewOpener(keys.Read)}
		if typ, got := peer.receive(); typ != record.ApplicationData || string(got) != "for the new owner" {
			t.Errorf("the new owner reads %v %q", typ, got)
		}
		go peer.send(peer.seal(record.ApplicationData, []byte("back")))
		buf := make([]byte, 10)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "back" {
			t.Errorf("from the new owner: %q, %v", buf[:n], err)
		}
	})
}

// awaitData waits until there is something to read, and leaves it there.
func awaitData(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n > 0 || err != unix.EAGAIN
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCloseOfBlockingDescriptor closes a connection whose descriptor waits for
// data by itself, since a duplicate of it was made to.
func TestCloseOfBlockingDescriptor(t *testing.T) {
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	f := fileOf(t, c)
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Close: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Close waits for data")
		s.Close() // which ends the wait
		<-done
	}
}
