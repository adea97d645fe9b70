//go:build unix

package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// reply is what a handler of net/http answers, recorded instead of sent: a head
// and either a small body or a part of a file. So the long part of a response is
// no running code, but three values that another process can go on with. It is
// an http.ResponseWriter.
type reply struct {
	header       http.Header
	status       int
	body         bytes.Buffer
	file         *os.File // a descriptor of its own; nil for none
	offset, left int64
}

// record asks handler.
func record(handler http.Handler, r *http.Request) *reply {
	a := &reply{header: http.Header{}}
	if strings.Contains(r.Header.Get("Range"), ",") {
		// Several ranges would come as a body with boundaries, all of it in memory.
		// A server may ignore ranges (RFC 9110, section 14.2).
		r.Header.Del("Range")
	}
	handler.ServeHTTP(a, r)
	a.WriteHeader(http.StatusOK)
	return a
}

// Header implements http.ResponseWriter.
func (a *reply) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *reply) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *reply) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// ReadFrom notes which part of a file is to be sent.
func (a *reply) ReadFrom(r io.Reader) (int64, error) {
	part, ok := r.(*io.LimitedReader)
	if !ok || a.file != nil {
		return a.body.ReadFrom(r)
	}
	file, ok := part.R.(*os.File)
	if !ok || part.N <= 0 {
		return a.body.ReadFrom(r)
	}
	offset, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	// The handler is going to close its own.
	if a.file, err = duplicate(file); err != nil {
		return 0, err
	}
	a.offset, a.left = offset, part.N
	return part.N, nil
}

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var d int
	var dupErr error
	if err := raw.Control(func(fd uintptr) { d, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, os.NewSyscallError("fcntl", dupErr)
	}
	return os.NewFile(uintptr(d), f.Name()), nil
}

// length is that of the body, as the client is told.
func (a *reply) length() int64 {
	if n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64); err == nil {
		return n
	}
	return int64(a.body.Len()) + a.left
}

// bytes returns the response up to the part of a file. last announces that the
// connection is closed after it.
func (a *reply) bytes(method string, last bool) []byte {
	a.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head := http.Response{
		StatusCode:    a.status,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        a.header,
		ContentLength: a.length(),
		Close:         last,
		Request:       &http.Request{Method: http.MethodHead}, // the head alone
	}
	var b bytes.Buffer
	_ = head.Write(&b) // a buffer takes everything
	if method != http.MethodHead {
		b.Write(a.body.Bytes())
	}
	return b.Bytes()
}
