package tls

import (
	"errors"
	"testing"
)

// TestDetach moves a server.
func TestDetach(t *testing.T) {
	key := GenerateHandoverKey()
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	f, blob, err := s.(*Conn).Detach(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, ErrDetached) {
		t.Errorf("Write: %v", err)
	}
	s2, err := Adopt(f, blob, key, serverConfig("P256"))
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c, s2)
}
