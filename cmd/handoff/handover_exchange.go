//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/go-handoff/tls"
)

// exchange is a connection and what is being done on it: all that another
// process must know to go on with it.
type exchange struct {
	conn *tls.Conn

	head  []byte    // what has come of the next request
	begun time.Time // when its first byte came

	request      string   // the one that is answered, for the log
	file         *os.File // what is being sent; nil for nothing
	offset, left int64    // of file
	last         bool     // the connection ends with this response

	here    int64 // bytes of file that were sent from this process
	staying bool  // it could not move
}

// baggage is an exchange on its way to another process, but for its
// descriptors: those of the connection and of the file, if there is one.
type baggage struct {
	Blob         []byte // see tls.Conn.Detach
	Head         []byte
	Request      string
	Offset, Left int64
	Last         bool
}

// pack makes the message that x travels in, and says what travels with it.
func (x *exchange) pack(blob []byte, conn *os.File) (message []byte, with []syscall.Conn, err error) {
	message, err = json.Marshal(baggage{Blob: blob, Head: x.head, Request: x.request, Offset: x.offset, Left: x.left, Last: x.last})
	with = []syscall.Conn{conn}
	if x.file != nil {
		with = append(with, x.file)
	}
	return message, with, err
}

// unpack makes an exchange of a message and its descriptors. Those that are not
// in the result are the caller's still.
func unpack(message []byte, files []*os.File, key *tls.HandoverKey, config *tls.Config) (*exchange, error) {
	var b baggage
	if err := json.Unmarshal(message, &b); err != nil {
		return nil, err
	}
	wanted := 1
	if b.Left > 0 {
		wanted = 2
	}
	if len(files) != wanted || b.Left < 0 || b.Offset < 0 {
		return nil, fmt.Errorf("a connection with %d descriptors and %d bytes to be sent", len(files), b.Left)
	}
	conn, err := tls.Adopt(files[0], b.Blob, key, config)
	if err != nil {
		return nil, err
	}
	x := &exchange{conn: conn, head: b.Head, request: b.Request, offset: b.Offset, left: b.Left, last: b.Last}
	if b.Left > 0 {
		x.file = files[1]
	}
	if len(x.head) > 0 {
		x.begun = time.Now()
	}
	return x, nil
}

// moveChunk is how much is sent before the connection can move again. A client
// that is slow must be able to take it within the server's patience.
const moveChunk = 64 << 10

// send sends some more of the file.
func (x *exchange) send() (int64, error) {
	if _, err := x.file.Seek(x.offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := x.conn.ReadFrom(&io.LimitedReader{R: x.file, N: min(x.left, moveChunk)})
	x.offset += n
	x.left -= n
	x.here += n
	if n == 0 && err == nil {
		err = errors.New("the file has become shorter")
	}
	return n, err
}

// begin notes the answer to a request.
func (x *exchange) begin(r *http.Request, a *reply) {
	x.request = fmt.Sprintf("%s %q %d", r.Method, r.URL.Path, a.status)
	x.file, x.offset, x.left, x.here = a.file, a.offset, a.left, 0
	// Nobody reads the body of a request, so what follows one is not understood.
	x.last = r.Close || r.ProtoMinor == 0 || r.ContentLength != 0
}

// end is what a complete response means for the connection.
func (x *exchange) end() error {
	if x.last {
		return io.EOF
	}
	return nil
}

// part returns what was sent from here.
func (x *exchange) part(tx tls.DirectionOffload) part {
	return part{
		PID: os.Getpid(), Peer: x.conn.RemoteAddr().String(), Request: x.request,
		From: x.offset - x.here, To: x.offset, Left: x.left, TX: placed(tx),
	}
}

// Bounds of what clients may do.
const (
	idleTimeout = 2 * time.Minute // between requests
	headTimeout = 30 * time.Second
	maxHead     = 64 << 10
	readSize    = 4 << 10
)

const endOfHead = "\r\n\r\n"

// patience returns until when the client may take with its request.
func (x *exchange) patience() time.Time {
	if x.begun.IsZero() {
		return time.Now().Add(idleTimeout)
	}
	return x.begun.Add(headTimeout)
}

// complete reports whether a request is there, or is not going to be.
func (x *exchange) complete() bool {
	return bytes.Contains(x.head, []byte(endOfHead)) || len(x.head) > maxHead
}

// receive reads more of a request.
func (x *exchange) receive() error {
	b := make([]byte, readSize)
	n, err := x.conn.Read(b)
	if n > 0 && x.begun.IsZero() {
		x.begun = time.Now()
	}
	x.head = append(x.head, b[:n]...)
	return err
}

// next takes the request that is complete, or says why it is refused, by a
// status of HTTP.
func (x *exchange) next() (r *http.Request, refused int) {
	i := bytes.Index(x.head, []byte(endOfHead)) + len(endOfHead)
	if i < len(endOfHead) || i > maxHead {
		return nil, http.StatusRequestHeaderFieldsTooLarge
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(x.head[:i])))
	x.head, x.begun = bytes.Clone(x.head[i:]), time.Time{}
	if len(x.head) > 0 {
		x.begun = time.Now()
	}
	switch {
	case err != nil:
		return nil, http.StatusBadRequest
	case r.ProtoMajor != 1:
		return nil, http.StatusHTTPVersionNotSupported
	case r.ProtoMinor > 0 && r.Host == "":
		return nil, http.StatusBadRequest // RFC 9110, section 7.2
	}
	r.RemoteAddr = x.conn.RemoteAddr().String()
	return r, 0
}
