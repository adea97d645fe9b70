package tls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
)

// serve echoes on a loopback address until the test ends, and returns it.
func serve(t testing.TB, config *Config) string {
	t.Helper()
	l, err := Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// roundTrip sends and reads back a message.
func roundTrip(t testing.TB, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	if _, err := io.WriteString(conn, "message"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 7)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "message" {
		t.Fatalf("got %q, %v", buf, err)
	}
}

func TestDialAndListen(t *testing.T) {
	addr := serve(t, serverConfig("P256"))
	config := clientConfig()
	conn, err := Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, conn)
	if conn, err = DialWithDialer(&net.Dialer{Timeout: time.Minute, Deadline: time.Now().Add(time.Minute)}, "tcp", addr, config); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, conn)
	for _, d := range []*Dialer{{Config: config}, {Config: config, NetDialer: new(net.Dialer)}} {
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := conn.(*Conn); !ok {
			t.Errorf("Dial returns a %T", conn)
		}
		roundTrip(t, conn)
	}
	// The name comes from the address, and the certificate has that address.
	if conn, err = Dial("tcp", addr, &Config{RootCAs: newAuthority().pool}); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, conn)
}

func TestDialErrors(t *testing.T) {
	addr := serve(t, serverConfig("P256"))
	if _, err := Dial("tcp", addr, nil); err == nil {
		t.Error("Dial trusts a stranger")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if conn, err := (&Dialer{Config: clientConfig()}).DialContext(ctx, "tcp", addr); err == nil || conn != nil {
		t.Errorf("DialContext with an ended context: %v, %v", conn, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Dial("tcp", l.Addr().String(), nil); err == nil {
		t.Error("Dial to nobody succeeds")
	}
}

func TestWithServerName(t *testing.T) {
	for addr, want := range map[string]string{"host:1": "host", "[::1]:1": "[::1]", "host": "host"} {
		if got := (*Config)(nil).withServerName(addr).ServerName; got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	mine := &Config{ServerName: "mine"}
	if mine.withServerName("host:1") != mine {
		t.Error("a Config with a name is not used as it is")
	}
}

func TestListenErrors(t *testing.T) {
	ce := (*ConfigError)(nil)
	for _, config := range []*Config{nil, {}} {
		if _, err := Listen("tcp", "127.0.0.1:0", config); !errors.As(err, &ce) {
			t.Errorf("Listen without certificates: %v", err)
		}
	}
	if _, err := Listen("tcp", "no address", serverConfig("P256")); err == nil {
		t.Error("Listen on no address succeeds")
	}
}

// TestHostilePeers sends to both roles what does not begin as TLS does.
func TestHostilePeers(t *testing.T) {
	ssl2 := []byte{0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80}
	tests := []struct {
		name  string
		input []byte
		conn  bool   // the error has the connection, and no alert was sent
		alert []byte // otherwise
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), true, nil},
		{"HTTP answer", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), true, nil},
		{"SSLv2", ssl2, false, []byte{2, byte(alert.ProtocolVersion)}},
		{"zeros", make([]byte, 100), true, nil},
		{"garbage", bytes.Repeat([]byte{0x77, 0x3a, 0x05}, 50), true, nil},
		{"version", []byte{22, 0x99, 1, 0, 5, 1, 2, 3, 4, 5}, true, nil},
		{"data first", []byte{23, 3, 3, 0, 1, 1}, true, nil},
	}
	for _, test := range tests {
		for _, r := range []role{roleClient, roleServer} {
			a, b := sockets(t)
			config := serverConfig("P256")
			config.ServerName = testName
			conn := newConn(a, config, r)
			if _, err := b.Write(test.input); err != nil {
				t.Fatal(err)
			}
			err := conn.Handshake()
			e, ok := err.(RecordHeaderError) // as net/http looks for it
			if !ok || !bytes.Equal(e.RecordHeader[:], test.input[:5]) || (e.Conn == a) != test.conn {
				t.Errorf("%s, role %v: %#v", test.name, r, err)
			}
			if err := conn.Handshake(); err == nil {
				t.Errorf("%s, role %v: the second Handshake succeeds", test.name, r)
			}
			conn.Close()
			got, err := io.ReadAll(b)
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
			if r == roleServer && !bytes.HasSuffix(got, test.alert) || r == roleServer && test.alert == nil && len(got) > 0 {
				t.Errorf("%s: the peer got %x", test.name, got)
			}
			b.Close()
		}
	}
}

// TestBadHandshakes sends to a server what begins as TLS does and goes on
// otherwise.
func TestBadHandshakes(t *testing.T) {
	record := func(typ byte, content ...byte) []byte {
		return append([]byte{typ, 3, 1, byte(len(content) >> 8), byte(len(content))}, content...)
	}
	tests := []struct {
		name  string
		input []byte
		want  alert.Description
	}{
		{"ServerHello", record(22, 2, 0, 0, 0), alert.UnexpectedMessage},
		{"endless message", record(22, 1, 0xff, 0xff, 0xff), alert.IllegalParameter},
		{"empty record", record(22), alert.UnexpectedMessage},
		{"damaged hello", record(22, 1, 0, 0, 1, 3), alert.DecodeError},
		{"too long a record", []byte{22, 3, 1, 0xff, 0xff}, alert.RecordOverflow},
		{"data", append(record(22, 1), record(23, 1)...), alert.UnexpectedMessage},
		{"warnings", bytes.Repeat(record(21, 1, 90), maxWarnings+1), alert.UnexpectedMessage},
		{"unknown type", append(record(22, 1), record(99, 1)...), alert.UnexpectedMessage},
		{"lost framing", append(record(22, 1), "HTTP/1.1 200"...), alert.UnexpectedMessage},
	}
	for _, test := range tests {
		a, b := sockets(t)
		conn := Server(a, serverConfig("P256"))
		if _, err := b.Write(test.input); err != nil {
			t.Fatal(err)
		}
		ae := AlertError(0)
		if err := conn.Handshake(); !errors.As(err, &ae) || alert.Description(ae) != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		got := make([]byte, 7)
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got[5:], []byte{2, byte(test.want)}) {
			t.Errorf("%s: the peer got %x (%v)", test.name, got, err)
		}
		conn.Close()
		b.Close()
	}
}

// TestSilence checks that peers that say nothing, or stop in the middle, end
// with the deadline or with the connection.
func TestSilence(t *testing.T) {
	for _, input := range []string{"", "\x16", "\x16\x03\x01\x10\x00abc"} {
		for _, closes := range []bool{false, true} {
			a, b := sockets(t)
			conn := Server(a, serverConfig("P256"))
			if _, err := io.WriteString(b, input); err != nil {
				t.Fatal(err)
			}
			want := os.ErrDeadlineExceeded
			if closes {
				b.Close()
				want = io.ErrUnexpectedEOF
				if input == "" {
					want = io.EOF // nothing was truncated
				}
			} else if err := conn.SetDeadline(past); err != nil {
				t.Fatal(err)
			}
			if err := conn.Handshake(); !errors.Is(err, want) {
				t.Errorf("%q, closes %v: %v, want %v", input, closes, err, want)
			}
			conn.Close()
			b.Close()
		}
	}
}

// TestHandshakeSizeCap checks that a handshake cannot go on for ever.
func TestHandshakeSizeCap(t *testing.T) {
	client := clientConfig()
	c, s := pair(t, sockets, client, serverConfig("P256"))
	c.(*Conn).in.handshakeBytes = maxHandshakeBytes - 200 // less than a certificate
	ae := AlertError(0)
	if err, _ := handshakes(c, s); !errors.As(err, &ae) || alert.Description(ae) != alert.UnexpectedMessage {
		t.Errorf("Handshake: %v", err)
	}
}
