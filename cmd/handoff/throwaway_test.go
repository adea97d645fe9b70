package main

import (
	"testing"
)

// The certificate is good for all names of the server, and for no other.
func TestThrowAwayNames(t *testing.T) {
	for host, good := range map[string]string{
		"": "localhost", "localhost": "127.0.0.1", "127.0.0.1": "::1", "0.0.0.0": "localhost", "::": "localhost",
		"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "server.example": "server.example",
	} {
		cert, err := throwAwayCertificate(host)
		if err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		for _, name := range []string{good, "localhost", "127.0.0.1", "::1"} {
			if err := cert.Leaf.VerifyHostname(name); err != nil {
				t.Errorf("%q: %v", host, err)
			}
		}
		for _, name := range []string{"other.example", "192.0.2.2", "0.0.0.0"} {
			if cert.Leaf.VerifyHostname(name) == nil {
				t.Errorf("%q: it is good for %s", host, name)
			}
		}
	}
}
