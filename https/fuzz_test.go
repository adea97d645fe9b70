package https

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
)

// FuzzEarlyRequest compares what is let in early with what net/http makes of
// it: one request, whole, safe and without a body, that bears our header field
// and no field of that name of the client's in front of it.
func FuzzEarlyRequest(f *testing.F) {
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /x HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\nPOST / HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\nearly-data: 0\r\n\r\n",
		"TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := &earlyConn{held: bytes.Clone(sent)} // all that ever comes
		if err := c.admit(); err != nil {
			t.Fatal(err)
		}
		if len(c.ready) == 0 {
			if !bytes.Equal(c.held, sent) {
				t.Fatalf("%q is kept of %q", c.held, sent)
			}
			return
		}
		end := len(sent) - len(c.held)
		if without := bytes.Replace(c.ready, []byte(earlyHeader+": 1\r\n"), nil, 1); !bytes.Equal(without, sent[:end]) || !bytes.HasSuffix(sent, c.held) {
			t.Fatalf("%q and %q are made of %q", c.ready, c.held, sent)
		}
		checkAdmitted(t, c.ready)
	})
}

func checkAdmitted(t *testing.T, head []byte) {
	t.Helper()
	r := bufio.NewReaderSize(bytes.NewReader(head), len(head)+16)
	request, err := http.ReadRequest(r)
	if err != nil {
		return // and net/http answers 400
	}
	if !safe(request.Method) || request.ContentLength != 0 || len(request.TransferEncoding) > 0 {
		t.Fatalf("%q is let in: %s with a body of %d", head, request.Method, request.ContentLength)
	}
	if request.Header.Values(earlyHeader)[0] != "1" {
		t.Fatalf("%q is let in with %q", head, request.Header)
	}
	if r.Buffered() > 0 {
		t.Fatalf("%q is more than one request", head)
	}
}
