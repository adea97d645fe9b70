package tls

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/go-handoff/tls/session"
)

// earlyServer returns a server's Config that allows early data.
func earlyServer(change ...func(*Config)) *Config {
	server := serverConfig("P256")
	server.MaxEarlyData = 1 << 16
	for _, f := range change {
		f(server)
	}
	return server
}

// ticketFor makes a connection from which the client gets a session.
func ticketFor(t testing.TB, client, server *Config) {
	t.Helper()
	resumes(t, client, server)
}

// earlyPair returns both ends of a connection whose client has a session.
func earlyPair(t testing.TB, nw network, client, server *Config) (c, s *Conn) {
	t.Helper()
	ticketFor(t, client, server)
	a, b := pair(t, nw, client, server)
	return a.(*Conn), b.(*Conn)
}

// readEarly reads early data to its end.
func readEarly(s *Conn) (string, error) {
	b, err := io.ReadAll(earlyReader{s})
	return string(b), err
}

// earlyReader reads early data.
type earlyReader struct{ conn *Conn }

func (r earlyReader) Read(b []byte) (int, error) { return r.conn.ReadEarlyData(b) }

// do runs f, and returns a function that waits for its error.
func do(f func() error) func() error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() error { return <-done }
}

func mustWriteEarly(t testing.TB, c *Conn, data string) {
	t.Helper()
	if n, err := c.WriteEarlyData([]byte(data)); n != len(data) || err != nil {
		t.Fatalf("WriteEarlyData: %d, %v", n, err)
	}
}

// TestEarlyData sends early data and an answer to it, and goes on.
func TestEarlyData(t *testing.T) {
	for name, nw := range map[string]network{"TCP": sockets, "pipe": pipes} {
		t.Run(name, func(t *testing.T) {
			client, server := cachingClient(), earlyServer()
			c, s := earlyPair(t, nw, client, server)
			served := do(func() error {
				got, err := readSome(s, 5)
				if got != "early" || err != nil {
					return errors.Join(errors.New("read early "+got), err)
				}
				if st := s.ConnectionState(); st.HandshakeComplete || !st.DidResume {
					return errors.New("the handshake is complete")
				}
				// A pipe takes no byte before it is read, and both ends write now.
				answered := do(func() error {
					_, err := s.WriteEarlyData([]byte("answer"))
					return err
				})
				if got, err := readEarly(s); got != "" || err != nil {
					return errors.Join(errors.New("more early data: "+got), err)
				}
				return errors.Join(s.Handshake(), answered())
			})
			mustWriteEarly(t, c, "early")
			answer := make([]byte, 6)
			if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "answer" {
				t.Fatalf("answer %q, %v", answer, err)
			}
			if err := served(); err != nil {
				t.Fatal(err)
			}
			echo(t, c, s)
			for _, conn := range []*Conn{c, s} {
				if e := conn.EarlyData(); e != (EarlyDataState{Offered: true, Accepted: true, Bytes: 5, Limit: 1 << 16}) {
					t.Errorf("%+v", e)
				}
			}
			if _, err := c.WriteEarlyData([]byte("late")); !errors.Is(err, ErrEarlyDataOver) {
				t.Errorf("late early data: %v", err)
			}
			if n, err := s.ReadEarlyData(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("ReadEarlyData after the handshake: %d, %v", n, err)
			}
		})
	}
}

// readSome reads n bytes of early data.
func readSome(s *Conn, n int) (string, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(earlyReader{s}, b)
	return string(b), err
}

// TestEarlyDataOneWrite demands that ClientHello and early data leave together.
func TestEarlyDataOneWrite(t *testing.T) {
	client, server := cachingClient(), earlyServer()
	ticketFor(t, client, server)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	w := &countingConn{Conn: a}
	go io.Copy(io.Discard, b)
	c := Client(w, client)
	mustWriteEarly(t, c, "early")
	if w.writes != 1 {
		t.Errorf("%d writes", w.writes)
	}
}

type countingConn struct {
	net.Conn
	writes int
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes++
	return c.Conn.Write(b)
}

// newMemoryAntiReplay returns one for servers of this process.
func newMemoryAntiReplay() *session.AntiReplay {
	return &session.AntiReplay{Store: session.NewMemoryStore(0)}
}
