//go:build unix

package main

import (
	"bufio"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// startMovable starts a server in this process.
func startMovable(t *testing.T, h *handoverServer) *movable {
	t.Helper()
	files, err := openDir(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.root.Close() })
	s := &movable{
		config:   &tls.Config{Certificates: []tls.Certificate{h.pki.server}},
		handler:  readOnly(http.FileServer(files)),
		logger:   log.New(io.Discard, "", 0),
		alarm:    log.New(io.Discard, "", 0),
		patience: timeout,
		path:     h.socket,
	}
	if err := s.open(t.Context(), "127.0.0.1:0", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cut()
		_ = s.listener.Close()
		_ = s.door.Close()
		s.all.Wait()
	})
	go s.awaitHeir()
	return s
}

// download begins to fetch the large file; the result is called for the rest.
func (h *handoverServer) download(t *testing.T, s *movable) (rest func() error) {
	t.Helper()
	v := h.connect(t, &background{addr: s.listener.Addr().String()}, "1.3")
	v.write(t, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(v.responses, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		body, err := io.ReadAll(r.Body)
		if err == nil && checksum(string(body)) != h.sum {
			err = errors.New("another file")
		}
		return err
	}
}

// heirOf becomes the process that follows, but for serving.
func heirOf(t *testing.T, path string) *inheritance {
	t.Helper()
	i, err := inherit(path)
	if err != nil || i == nil {
		t.Fatalf("%v, %v", i, err)
	}
	t.Cleanup(func() {
		i.link.close()
		i.listener.Close()
	})
	return i
}

// A process that does not come up changes nothing, however often.
func TestHeirVanishes(t *testing.T) {
	h := newHandoverServer(t)
	s := startMovable(t, h)
	rest := h.download(t, s)
	for range 3 {
		heirOf(t, h.socket).link.close()
	}
	if err := rest(); err != nil {
		t.Error(err)
	}
	if err := h.download(t, s)(); err != nil { // on a new connection
		t.Error(err)
	}
}

// What the next process does not take is finished by this one.
func TestHeirRefuses(t *testing.T) {
	h := newHandoverServer(t)
	s := startMovable(t, h)
	first, second := h.download(t, s), h.download(t, s)
	i := heirOf(t, h.socket)
	if err := i.link.send(nil); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 2)
	go func() { errs <- first() }()
	go func() { errs <- second() }()
	for range 2 {
		_, files, err := i.link.receive()
		if err != nil || len(files) != 2 {
			t.Fatalf("%d descriptors, %v", len(files), err)
		}
		closeAll(files)
		if err := i.link.send([]byte("no room")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(<-errs, <-errs, <-s.done); err != nil {
		t.Error(err)
	}
	if s.heir.moved != 0 {
		t.Errorf("%d moved", s.heir.moved)
	}
}

// A connection of which nobody knows whether the next process has it is lost,
// as two that go on with it would be worse. Others go on here.
func TestHeirDies(t *testing.T) {
	h := newHandoverServer(t)
	s := startMovable(t, h)
	downloads := []func() error{h.download(t, s), h.download(t, s), h.download(t, s)}
	i := heirOf(t, h.socket)
	if err := i.link.send(nil); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, len(downloads))
	for _, rest := range downloads {
		go func() { errs <- rest() }()
	}
	_, files, err := i.link.receive()
	closeAll(files)
	if i.link.close(); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for range downloads {
		if err := <-errs; err != nil {
			lost++
		}
	}
	if err := <-s.done; err != nil || lost != 1 {
		t.Errorf("%d downloads were lost, %v", lost, err)
	}
}

// What comes from the process before is not trusted to make sense.
func TestInheritNonsense(t *testing.T) {
	h := newHandoverServer(t)
	door, err := listenPrivate(h.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	key := tls.GenerateHandoverKey().Bytes()
	for want, say := range map[string]func(l *link) error{
		"EOF":                     func(*link) error { return nil },
		"want 32":                 func(l *link) error { return l.send(key[1:], null) },
		"0 listening sockets":     func(l *link) error { return l.send(key) },
		"2 listening sockets":     func(l *link) error { return l.send(key, null, null) },
		"non-socket":              func(l *link) error { return l.send(key, null) },
		"it listens on":           func(l *link) error { return l.send(key, door) },
		"unexpected EOF":          func(l *link) error { _, err := l.conn.Write([]byte("\x00\x00\x00\x05body")); return err },
		"a message of 4294967295": func(l *link) error { _, err := l.conn.Write([]byte("\xff\xff\xff\xffbody")); return err },
	} {
		said := make(chan error, 1)
		go func() {
			conn, err := door.AcceptUnix()
			if err == nil {
				l := &link{conn}
				err = errors.Join(say(l), l.close())
			}
			said <- err
		}()
		_, err := inherit(h.socket)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if err := <-said; err != nil {
			t.Error(err)
		}
	}
}

// A connection that is not whole is refused, and so is a second copy of one, and
// any that comes to a process that is stopping.
func TestAdoptNonsense(t *testing.T) {
	h := newHandoverServer(t)
	s := startMovable(t, h)
	key := tls.GenerateHandoverKey()
	descriptor, blob, client := detached(t, h, key)
	x := &exchange{head: []byte("GET /small HTTP/1.1\r\nHost: x\r\n\r\n")}
	message, _, err := x.pack(blob, descriptor)
	if err != nil {
		t.Fatal(err)
	}
	forged, _, err := x.pack(append([]byte{blob[0], blob[1], ^blob[2]}, blob[3:]...), descriptor)
	if err != nil {
		t.Fatal(err)
	}
	adopt := func(want string, message []byte, descriptors int) {
		t.Helper()
		var files []*os.File
		for range descriptors {
			f, err := duplicate(descriptor)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if refused := s.adopt(message, files, key); want == "" && refused != "" || !strings.Contains(refused, want) {
			t.Errorf("%q, want %q", refused, want)
		}
	}
	adopt("invalid character", []byte("nonsense"), 1)
	adopt("0 descriptors", message, 0)
	adopt("2 descriptors", message, 2)
	adopt("-1 bytes to be sent", []byte(`{"Left":-1}`), 1)
	adopt(tls.ErrHandoverForged.Error(), forged, 1)
	adopt("", message, 1)
	adopt(tls.ErrHandoverReplayed.Error(), message, 1)
	if err := <-client; err != nil {
		t.Error(err)
	}
	s.leave(stopping, nil)
	adopt("stopping", message, 1)
}

// detached returns a connection on its way, whose client expects the small file,
// and what comes of that.
func detached(t *testing.T, h *handoverServer, key *tls.HandoverKey) (descriptor *os.File, blob []byte, result <-chan error) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{h.pki.server}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client := make(chan error, 1)
	go func() {
		conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: h.pki.pool})
		if err != nil {
			client <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(timeout))
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && r.ContentLength != int64(len("a few bytes\n")) {
			err = errors.New("another file")
		}
		client <- err
		<-t.Context().Done() // until then the socket is connected
	}()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	descriptor, blob, err = conn.(*tls.Conn).Detach(key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { descriptor.Close() })
	return descriptor, blob, client
}

// Processes of other users are turned away, even if they can reach the socket.
func TestLinkOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED HERE: only root can be another user")
	}
	dir, err := os.MkdirTemp("/tmp", "handoff-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")
	door, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o777)); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	for uid, want := range map[uint32]string{nobody: "the other process is user 65534's", 0: ""} {
		cmd := tool(t, "curl", "curl", "-s", "--unix-socket", path, "http://localhost/")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = door.SetDeadline(time.Now().Add(timeout))
		conn, err := door.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLink(conn)
		if (want == "") != (err == nil) || err != nil && err.Error() != want {
			t.Errorf("user %d: %v", uid, err)
		}
		if err == nil {
			l.close()
		}
		_ = cmd.Wait() // nobody answers it
	}
}

func TestListenPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	path := filepath.Join(dir, "socket")
	if l, err := dialPrivate(path); l != nil || err != nil {
		t.Errorf("nobody is there: %v, %v", l, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	first, err := listenPrivate(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := listenPrivate(path) // in its place
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	l, err := dialPrivate(path)
	if l == nil || err != nil {
		t.Fatalf("%v, %v", l, err)
	}
	l.close()
	second.Close()
	if l, err := dialPrivate(path); l != nil || err != nil {
		t.Errorf("nobody is there any more: %v, %v", l, err)
	}
}
