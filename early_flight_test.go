package tls

import (
	"bytes"
	"net"
	"slices"
	"testing"
)

// flight keeps what is written.
type flight struct {
	net.Conn
	b []byte
}

func (f *flight) Write(b []byte) (int, error) {
	f.b = append(f.b, b...)
	return f.Conn.Write(b)
}

// TestEarlyFlight looks at the records of a client's first flight: a ClientHello,
// the ChangeCipherSpec of RFC 9846, appendix E.4, and early data. Only the first
// may have another version than 0x0303 (section 5.1).
func TestEarlyFlight(t *testing.T) {
	client, server := cachingClient(), serverConfig("P256")
	server.MaxEarlyData = 1000
	resumes(t, client, server)
	a, b := sockets(t)
	defer a.Close()
	defer b.Close()
	f := &flight{Conn: a}
	c := Client(f, client)
	if n, err := c.WriteEarlyData([]byte("early")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	var heads [][]byte
	for rest := f.b; len(rest) >= 5; {
		heads = append(heads, rest[:3])
		rest = rest[5+int(rest[3])<<8+int(rest[4]):]
	}
	want := [][]byte{{22, 3, 1}, {20, 3, 3}, {23, 3, 3}}
	if !slices.EqualFunc(heads, want, bytes.Equal) {
		t.Errorf("records %x, want %x", heads, want)
	}
}
