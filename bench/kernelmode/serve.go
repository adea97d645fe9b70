//go:build linux

package main

import (
	stdtls "crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	tls "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// A measured process is a server: it takes connections one after the other and
// on each does what its way says. The process that started it is the client.

// way is one way to carry bytes.
type way struct {
	name  string
	stack stack
	tx    bool // the kernel sends, from the second write on
	rx    bool // the kernel receives, from the start
	carry func(c conn, t *task) error
	// source has the bytes come from another TCP connection instead of a file.
	source bool
}

// stack is what protects a connection.
type stack int

const (
	plain stack = iota
	ours
	std
)

// conn is a connection of any stack.
type conn interface {
	net.Conn
	io.ReaderFrom
}

// readerFrom gives crypto/tls's Conn what it has not.
type readerFrom struct{ *stdtls.Conn }

func (c readerFrom) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// task is what a server process is told, as JSON.
type task struct {
	Way     string
	Size    int64 // bytes to carry on each connection
	Buffer  int   // of programs that read and write
	Conns   int
	Closing bool // Close is measured too

	file   *os.File
	source net.Conn
}

// sample is what a server process says of a connection.
type sample struct {
	CPU time.Duration // of the whole process
}

const receiving = "receiving: "

// ways are all, in the order of the results.
var ways = []way{
	{name: "plain TCP, sendfile", stack: plain, carry: sendFile},
	{name: "plain TCP, read and write", stack: plain, carry: readAndWrite},
	{name: "plain TCP, splice", stack: plain, carry: sendSource, source: true},
	{name: "kernel TLS, ReadFrom (sendfile)", stack: ours, tx: true, carry: sendFile},
	{name: "kernel TLS, read and Write", stack: ours, tx: true, carry: readAndWrite},
	{name: "kernel TLS, ReadFrom (splice)", stack: ours, tx: true, carry: sendSource, source: true},
	{name: "user space, ReadFrom", stack: ours, carry: sendFile},
	{name: "user space, read and Write", stack: ours, carry: readAndWrite},
	{name: "crypto/tls, io.Copy", stack: std, carry: sendFile},
	{name: "crypto/tls, read and Write", stack: std, carry: readAndWrite},
	{name: receiving + "plain TCP", stack: plain, carry: receive},
	{name: receiving + "kernel TLS", stack: ours, rx: true, carry: receive},
	{name: receiving + "user space", stack: ours, carry: receive},
	{name: receiving + "crypto/tls", stack: std, carry: receive},
}

// receives reports whether the server receives, and does not send.
func (w way) receives() bool { return strings.HasPrefix(w.name, receiving) }

func wayOf(name string) (way, error) {
	for _, w := range ways {
		if w.name == name {
			return w, nil
		}
	}
	return way{}, fmt.Errorf("there is no way %q", name)
}

func sendFile(c conn, t *task) error {
	n, err := c.ReadFrom(io.LimitReader(t.file, t.Size))
	return complete(n, t.Size, err)
}

func sendSource(c conn, t *task) error {
	n, err := c.ReadFrom(io.LimitReader(t.source, t.Size))
	return complete(n, t.Size, err)
}

func readAndWrite(c conn, t *task) error {
	b := make([]byte, t.Buffer)
	for left := t.Size; left > 0; {
		n, err := t.file.Read(b[:min(left, int64(len(b)))])
		if err != nil {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

func receive(c conn, t *task) error {
	b := make([]byte, t.Buffer)
	var n int64
	for n < t.Size {
		m, err := c.Read(b)
		n += int64(m)
		if err != nil {
			return err
		}
	}
	return nil
}

func complete(n, want int64, err error) error {
	if err == nil && n != want {
		err = fmt.Errorf("%d bytes, want %d", n, want)
	}
	return err
}

// serve is the measured process. Its first line of output is its address, then
// there is one for each connection.
func serve(arg string) error {
	t := new(task)
	if err := json.Unmarshal([]byte(arg), t); err != nil {
		return err
	}
	w, err := wayOf(t.Way)
	if err != nil {
		return err
	}
	kernel.Probe() // which is done once
	if t.file, err = makeFile(t.Size); err != nil {
		return err
	}
	defer t.file.Close()
	wrap, err := serverOf(w)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	fmt.Println(ln.Addr())
	out := json.NewEncoder(os.Stdout)
	for range t.Conns {
		s, err := serveOne(ln, wrap, w, t)
		if err != nil {
			return err
		}
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// makeFile returns a file of n bytes, which is in memory.
func makeFile(n int64) (*os.File, error) {
	f, err := os.CreateTemp("/dev/shm", "kernelmode-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	block := make([]byte, 1<<16)
	for i := range block {
		block[i] = byte(i)
	}
	for left := n; left > 0; left -= int64(len(block)) {
		if _, err := f.Write(block[:min(left, int64(len(block)))]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// serverOf returns what makes the server's end of a connection.
func serverOf(w way) (func(net.Conn) conn, error) {
	id, err := newIdentity()
	if err != nil {
		return nil, err
	}
	switch w.stack {
	case plain:
		return func(c net.Conn) conn { return c.(*net.TCPConn) }, nil
	case std:
		config := &stdtls.Config{Certificates: []stdtls.Certificate{id.certificate}, MinVersion: stdtls.VersionTLS13}
		return func(c net.Conn) conn { return readerFrom{stdtls.Server(c, config)} }, nil
	}
	p := policy(false, w.rx)
	if w.tx {
		p.TX, p.MoveTX = kernel.Require, kernel.AfterBytes(1)
	}
	_, config := id.configs(p)
	return func(c net.Conn) conn { return tls.Server(c, config) }, nil
}

// serveOne carries what the way carries on one connection. Measured is what
// comes after both sides have said that they are ready.
func serveOne(ln net.Listener, wrap func(net.Conn) conn, w way, t *task) (s sample, err error) {
	tcp, err := ln.Accept()
	if err != nil {
		return s, err
	}
	defer tcp.Close()
	if w.source {
		if t.source, err = ln.Accept(); err != nil {
			return s, err
		}
		defer t.source.Close()
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return s, err
	}
	c := wrap(tcp)
	ready := make([]byte, 1)
	if _, err := c.Write(ready); err != nil {
		return s, err
	}
	if _, err := c.Read(ready); err != nil {
		return s, err
	}
	mark(markBegin)
	start := cpuTime()
	err = w.carry(c, t)
	if err == nil && t.Closing {
		err = c.Close()
	}
	s.CPU = cpuTime() - start
	mark(markEnd)
	if !t.Closing {
		_ = c.Close()
	}
	return s, err
}

// The marks are paths that a process asks for, so that whoever traces it sees
// where what is measured begins and ends.
const (
	markBegin = "/kernelmode-begin"
	markEnd   = "/kernelmode-end"
)

func mark(path string) { _ = unix.Access(path, unix.F_OK) }

func cpuTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic("kernelmode: clock_gettime: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

var errSilent = errors.New("the server process ended without a word")
