package tls

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// TestAlertsOfAnyLevel: in TLS 1.3 an alert is an error by what it says, whatever
// level it bears, and so is one that nobody knows (RFC 9846, section 6).
func TestAlertsOfAnyLevel(t *testing.T) {
	for _, level := range []byte{alertLevelWarning, alertLevelFatal} {
		for _, d := range []alert.Description{alert.HandshakeFailure, alert.NoRenegotiation, alert.UnrecognizedName, 231} {
			c, peer := connectRawVersion(t, VersionTLS13)
			peer.send(peer.seal(record.Alert, []byte{level, byte(d)}), peer.seal(record.ApplicationData, []byte("more")))
			n, err := io.ReadAll(c)
			ae := AlertError(0)
			if len(n) > 0 || !errors.As(err, &ae) || alert.Description(ae) != d {
				t.Errorf("level %d, %v: Read: %q, %v", level, d, n, err)
			}
			if _, err := c.Write([]byte("x")); err == nil {
				t.Errorf("level %d, %v: Write goes on", level, d)
			}
		}
	}
}

// TestNothingAfterCloseNotify: what comes after the peer's close_notify is
// ignored, and ours is a warning (RFC 9846, section 6.1).
func TestNothingAfterCloseNotify(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		c, peer := connectRawVersion(t, v)
		peer.send(
			peer.seal(record.ApplicationData, []byte("last")),
			peer.seal(record.Alert, []byte{alertLevelWarning, byte(alert.CloseNotify)}),
			peer.seal(record.ApplicationData, []byte("more")),
		)
		for range 2 {
			got, err := io.ReadAll(c)
			if err != nil || string(got) != "last" && len(got) > 0 {
				t.Errorf("Read: %q, %v", got, err)
			}
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if typ, content := peer.receive(); typ != record.Alert || !bytes.Equal(content, []byte{alertLevelWarning, byte(alert.CloseNotify)}) {
			t.Errorf("peer got %v %v", typ, content)
		}
	})
}

// TestRecordVersions: no record but that of the first ClientHello has a version
// other than 0x0303 (RFC 9846, section 5.1).
func TestRecordVersions(t *testing.T) {
	a, b := sockets(t)
	defer a.Close()
	defer b.Close()
	client := clientConfig()
	client.KeyShares = []CurveID{} // so that there is a second ClientHello
	cw, sw := &flight{Conn: a}, &flight{Conn: b}
	c, s := Client(cw, client), Server(sw, serverConfig("P256"))
	if cerr, serr := handshakes(c, s); cerr != nil || serr != nil || !c.ConnectionState().HelloRetryRequest {
		t.Fatalf("client %v, server %v, HelloRetryRequest %v", cerr, serr, c.ConnectionState().HelloRetryRequest)
	}
	for sent, first := range map[*flight]uint16{cw: helloVersion, sw: 0x0303} {
		hellos, want := 0, first
		for b := sent.b; len(b) > 0; want = 0x0303 {
			h, err := record.ParseHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			if h.Version != want {
				t.Errorf("a record of type %d has version %#x, want %#x", h.Type, h.Version, want)
			}
			if h.Type == record.Handshake {
				hellos++
			}
			b = b[record.HeaderLen+h.Length:]
		}
		if hellos != 2 {
			t.Errorf("%d hellos, want 2", hellos)
		}
	}
}
