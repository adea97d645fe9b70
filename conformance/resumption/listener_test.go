package resumption

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// listener is where our servers are met, one after another.
type listener struct {
	t testing.TB
	*net.TCPListener
	hello *tapped // the last connection
}

func listen(t testing.TB) *listener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &listener{t: t, TCPListener: l}
}

// port is the listener's, in decimal.
func (l *listener) port() string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// accept takes the next connection and handshakes.
func (l *listener) accept(cfg *tls.Config) *tls.Conn {
	l.t.Helper()
	if err := l.SetDeadline(time.Now().Add(limit)); err != nil {
		l.t.Fatal(err)
	}
	raw, err := l.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	l.hello = &tapped{Conn: raw}
	return handshake(l.t, tls.Server(l.hello, cfg))
}

// release waits in the background until the peer closes, and closes then.
func (l *listener) release(conn *tls.Conn) {
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}()
}

// secure is what connections of ours and of crypto/tls have in common.
type secure interface {
	net.Conn
	Handshake() error
}

// handshake bounds all that happens on conn, and handshakes.
func handshake[C secure](t testing.TB, conn C) C {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return conn
}

// send writes text to a connection.
func send(t testing.TB, conn io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("sending %q: %v", text, err)
	}
}

// receive reads text from a connection.
func receive(t testing.TB, conn io.Reader, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	if n, err := io.ReadFull(conn, buf); err != nil {
		t.Fatalf("received %q instead of %q: %v", buf[:n], text, err)
	}
	if string(buf) != text {
		t.Fatalf("received %q instead of %q", buf, text)
	}
}
