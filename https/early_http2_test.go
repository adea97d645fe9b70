package https

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// h2request is a HEADERS frame with a request that has no body (RFC 9113, section
// 6.2); the method is an index of HPACK's static table.
func h2request(stream uint32, method byte) []byte {
	block := []byte{0x80 | method, 0x87, 0x84, 0x41, 1, 'a'} // https, /, :authority
	return append(h2head(len(block), 1, 0x5, stream), block...)
}

const h2get, h2post = 2, 3

func h2head(n int, typ, flags byte, stream uint32) []byte {
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), typ, flags}
	return binary.BigEndian.AppendUint32(b, stream)
}

// h2bodies reads the bodies of so many streams.
func h2bodies(t *testing.T, c net.Conn, n int) map[uint32]string {
	t.Helper()
	bodies, ended := make(map[uint32]string), 0
	for ended < n {
		head := make([]byte, 9)
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, body); err != nil {
			t.Fatal(err)
		}
		stream := binary.BigEndian.Uint32(head[5:])
		if head[3] == 0 {
			bodies[stream] += string(body)
		}
		if head[3] <= 1 && head[4]&1 != 0 {
			ended++
		}
	}
	return bodies
}

// TestEarlyHTTP2 sends two requests early: that which is safe is answered before
// the handshake is complete, and the other one not.
func TestEarlyHTTP2(t *testing.T) {
	addr := earlyServer(t, nil, nil)
	config := clientConfig()
	config.ServerName, config.NextProtos = "127.0.0.1", []string{protoHTTP2}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	hello := append([]byte(preface), h2head(0, 4, 0, 0)...)

	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	first := tls.Client(raw, config)
	_ = first.SetDeadline(time.Now().Add(patience))
	if _, err := first.Write(append(hello, h2request(1, h2post)...)); err != nil {
		t.Fatal(err)
	}
	if got := h2bodies(t, first, 1)[1]; got != "POST / early= body= complete=true" {
		t.Errorf("without early data: %q", got)
	}
	first.Close()

	if raw, err = net.Dial("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, config)
	_ = c.SetDeadline(time.Now().Add(patience))
	data := append(append(hello, h2request(1, h2post)...), h2request(3, h2get)...)
	if _, err := c.WriteEarlyData(data); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // for the POST to be handled, if it is
	if err := c.Handshake(); err != nil || !c.EarlyData().Accepted {
		t.Fatal(err, c.EarlyData())
	}
	got := h2bodies(t, c, 2)
	if want := "GET / early=1 body= complete=false"; got[3] != want {
		t.Errorf("the safe request: %q, want %q", got[3], want)
	}
	if want := "POST / early= body= complete=true"; got[1] != want {
		t.Errorf("the other one: %q, want %q", got[1], want)
	}
	// And those after it are as any others.
	if _, err := c.Write(h2request(5, h2get)); err != nil {
		t.Fatal(err)
	}
	if got, want := h2bodies(t, c, 1)[5], "GET / early= body= complete=true"; got != want {
		t.Errorf("afterwards: %q, want %q", got, want)
	}
}
