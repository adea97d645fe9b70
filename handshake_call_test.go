package tls

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
)

// TestApart checks that what ends a handshake ends its caller, too.
func TestApart(t *testing.T) {
	apart := func(f func() error) error {
		return (&handshakeCall{handshake: func(context.Context) error { return f() }}).wait()
	}
	want := errors.New("an error")
	if err := apart(func() error { return want }); err != want {
		t.Errorf("returned %v", err)
	}
	if err := apart(func() error { return nil }); err != nil {
		t.Errorf("returned %v", err)
	}
	for _, want := range []any{"a panic", errors.New("one more")} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panicked with %v, want %v", got, want)
				}
			}()
			t.Errorf("returned %v", apart(func() error { panic(want) }))
		}()
	}
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- returned }()
		_ = apart(func() error { runtime.Goexit(); return nil })
		returned = true
	}()
	if <-ended {
		t.Error("returned after Goexit")
	}
}

// TestPanicInCallback checks that a server survives a callback that panics, as
// one on net/http does, and that the handshake does not go on after it.
func TestPanicInCallback(t *testing.T) {
	for name, handshake := range map[string]func(*Conn) error{
		"Handshake":     (*Conn).Handshake,
		"ReadEarlyData": func(c *Conn) error { _, err := c.ReadEarlyData(make([]byte, 1)); return err },
	} {
		t.Run(name, func(t *testing.T) { testPanicInCallback(t, handshake) })
	}
}

func testPanicInCallback(t *testing.T, handshake func(*Conn) error) {
	server := serverConfig("P256")
	server.GetCertificate = func(*ClientHelloInfo) (*Certificate, error) { panic("no certificate") }
	tc, ts := pair(t, sockets, clientConfig(), server)
	c, s := tc.(*Conn), ts.(*Conn)
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		_ = handshake(s)
	}()
	go func() { _ = c.Handshake() }()
	if got := <-done; got != "no certificate" {
		t.Errorf("recovered %v", got)
	}
	if err := s.Handshake(); err != errBrokenOff {
		t.Errorf("Handshake after it: %v", err)
	}
	// What it had locked is free again.
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	c.Close()
}

// TestHandshakeStack checks that a handshake leaves its caller's stack alone.
func TestHandshakeStack(t *testing.T) {
	var stack []byte
	client, server := clientConfig(), serverConfig("P256")
	cert := &server.Certificates[0]
	server.GetCertificate = func(*ClientHelloInfo) (*Certificate, error) {
		stack = make([]byte, 1<<14)
		stack = stack[:runtime.Stack(stack, false)]
		return cert, nil
	}
	tc, ts := pair(t, sockets, client, server)
	c, s := tc.(*Conn), ts.(*Conn)
	done := make(chan error)
	go func() { done <- c.Handshake() }()
	if err := s.Handshake(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(stack) == 0 || bytes.Contains(stack, []byte("TestHandshakeStack(")) {
		t.Errorf("the callback has the stack of the one who calls Handshake:\n%s", stack)
	}
}
