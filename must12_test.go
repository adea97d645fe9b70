package tls

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// TestFailedConnectionForgets: a connection that has failed keeps no keys, and a
// session with which a handshake has failed is not offered again (RFC 5246,
// section 7.2.2).
func TestFailedConnectionForgets(t *testing.T) {
	client, server := cachingClient(), serverConfig("P256")
	client.MaxVersion = VersionTLS12
	c, peer := connectRaw(t, sockets, client, server, roleClient)
	damaged := peer.seal(record.ApplicationData, []byte("data"))
	damaged[len(damaged)-1] ^= 1
	peer.send(damaged)
	ae := AlertError(0)
	if _, err := io.ReadAll(c); !errors.As(err, &ae) || alert.Description(ae) != alert.BadRecordMAC {
		t.Fatalf("Read: %v", err)
	}
	if typ, content := peer.receive(); typ != record.Alert || !bytes.Equal(content, []byte{alertLevelFatal, byte(alert.BadRecordMAC)}) {
		t.Errorf("peer got %v %v", typ, content)
	}
	if _, _, err := c.in.opener.Open(nil, damaged); err != record.ErrReleased {
		t.Errorf("receiving keys: %v", err)
	}
	if _, err := c.out.sealer.Seal(nil, record.ApplicationData, []byte("x")); err != record.ErrReleased {
		t.Errorf("sending keys: %v", err)
	}

	refusing := server.Clone()
	refusing.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return nil, AlertError(alert.AccessDenied) }
	if _, ok := client.ClientSessionCache.Get(testName); !ok {
		t.Fatal("no session")
	}
	a, b := pair(t, sockets, client, refusing)
	if err, _ := handshakes(a, b); !errors.As(err, &ae) || alert.Description(ae) != alert.AccessDenied {
		t.Errorf("Handshake: %v", err)
	}
	if _, ok := client.ClientSessionCache.Get(testName); ok {
		t.Error("the session of a failed handshake is kept")
	}
}
