package tls

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"reflect"
	"syscall"

	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

// Whole files and streams: ReadFrom and WriteTo. Where the kernel has the keys
// it moves them by sendfile and splice, a chunk at a time, so that KeyUpdates,
// alerts, deadlines and other writers come in between.

const (
	// transferChunk is how much the kernel is given before anything else that is
	// to be sent gets its turn.
	transferChunk = 1 << 20
	// minTransfer is the least that a direction moves to the kernel for, and
	// breakEven what the connection must have sent by then, the transfer included.
	// Moving costs about what a sendfile saves of this many bytes
	// (bench/kernelmode/RESULTS.md); who has sent as much may well send as much again.
	minTransfer = record.MaxPlaintext
	breakEven   = 1 << 17
)

// ReadFrom writes all that r has. It is how io.Copy writes to a Conn, and with
// net/http how files are served. Files are sent without passing through user space where
// the kernel has the sending side, which by default it takes here
// (Config.Kernel).
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	// Only what writes is counted as writing, not what waits for r, so that Close
	// meanwhile ends the stream as it should.
	if c.closed() {
		return 0, net.ErrClosed
	}
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	src, ok := r.(*io.LimitedReader)
	if !ok {
		src = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	source := unwrap(src.R)
	size := c.transferSize(source, src.N)
	moved, err := c.moveFor(size)
	switch {
	case err != nil:
		return 0, err
	case !moved || size == 0:
		return c.copyFrom(src)
	}
	if conn, ok := source.(*net.TCPConn); ok {
		return c.spliceFrom(src, conn)
	}
	return c.sendFile(src, source)
}

// unwrap returns what r really is. os.File and net.TCPConn have a WriteTo, which
// io.Copy calls, and which passes them on within a type that hides it.
func unwrap(r io.Reader) io.Reader {
	v := reflect.ValueOf(r)
	if v.Kind() != reflect.Struct {
		return r
	}
	var field string
	switch t := v.Type(); {
	case t.PkgPath() == "os" && t.Name() == "fileWithoutWriteTo":
		field = "File"
	case t.PkgPath() == "net" && t.Name() == "tcpConnWithoutWriteTo":
		field = "TCPConn"
	default:
		return r
	}
	if f := v.FieldByName(field); f.IsValid() && f.CanInterface() {
		if inner, ok := f.Interface().(io.Reader); ok {
			return inner
		}
	}
	return r
}

// copyFrom is ReadFrom through a buffer of ours.
func (c *Conn) copyFrom(r io.Reader) (n int64, err error) {
	buf := getBuffer(burstBufferLen)
	defer buf.put()
	room := buf.b[:burstRecords*record.MaxPlaintext]
	for {
		m, readErr := r.Read(room)
		if m > 0 {
			written, err := c.Write(room[:m])
			n += int64(written)
			if err != nil {
				return n, err
			}
		}
		if readErr == io.EOF {
			return n, nil
		}
		if readErr != nil {
			return n, readErr
		}
	}
}

// transferSize returns how much of n bytes of source the kernel could send by
// itself, at least what makes that worthwhile if it cannot be known: 0 for
// nothing.
func (c *Conn) transferSize(source io.Reader, n int64) int64 {
	switch r := source.(type) {
	case *net.TCPConn:
		if _, ok := c.conn.(*net.TCPConn); ok {
			return min(n, breakEven)
		}
	case *os.File:
		_, ok := c.conn.(io.ReaderFrom)
		if info, err := r.Stat(); ok && err == nil && info.Mode().IsRegular() {
			return min(n, info.Size())
		}
	}
	return 0
}

// moveFor moves the sending side for a transfer of size bytes, if that is what
// was planned, and reports whether the kernel has it.
func (c *Conn) moveFor(size int64) (bool, error) {
	if err := c.enterWrite(); err != nil {
		return false, err
	}
	defer c.leaveWrite()
	c.out.Lock()
	defer c.unlockOut()
	c.planTX()
	if !c.out.plan.settled && (c.out.moveDue() || c.out.pays(size)) {
		if err := c.moveTX(); err != nil {
			return false, err
		}
	}
	return c.out.kernel != nil, nil
}

// pays reports whether a transfer of size bytes is what the direction waits for.
func (o *outbound) pays(size int64) bool {
	return o.plan.atTransfer() && size >= minTransfer && o.written+size >= breakEven
}

// sendFile sends src, whose reader is file, by sendfile.
func (c *Conn) sendFile(src *io.LimitedReader, file io.Reader) (n int64, err error) {
	chunk := &io.LimitedReader{R: file}
	for src.N > 0 {
		m, err := c.sendChunk(chunk, src.N)
		n += m
		src.N -= m
		if err != nil || m == 0 {
			return n, err
		}
	}
	return n, nil
}

// sendChunk sends at most limit bytes. Its error may be that of the file, which
// is no reason to end the sending side; if it is the socket's, whoever writes next
// meets it too.
func (c *Conn) sendChunk(chunk *io.LimitedReader, limit int64) (int64, error) {
	if err := c.enterWrite(); err != nil {
		return 0, err
	}
	defer c.leaveWrite()
	c.out.Lock()
	defer c.unlockOut()
	room, err := c.kernelRoom()
	if err != nil {
		return 0, err
	}
	chunk.N = min(limit, int64(transferBytes(room)))
	n, err := c.conn.(io.ReaderFrom).ReadFrom(chunk)
	c.out.written += n
	c.out.recount(n)
	return n, err
}

// spliceFrom sends what arrives on conn through a pipe.
func (c *Conn) spliceFrom(src *io.LimitedReader, conn *net.TCPConn) (n int64, err error) {
	pipe, err := kernel.NewPipe()
	if err != nil {
		return c.copyFrom(src)
	}
	defer pipe.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	for src.N > 0 {
		m, err := pipe.Fill(raw, int(min(src.N, transferChunk)))
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		src.N -= int64(m)
		sent, err := c.drain(pipe)
		n += sent
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// drain sends all that is in pipe.
func (c *Conn) drain(pipe *kernel.Pipe) (n int64, err error) {
	if err := c.enterWrite(); err != nil {
		return 0, err
	}
	defer c.leaveWrite()
	raw, err := c.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	for pipe.Len() > 0 {
		m, err := c.drainSome(pipe, raw)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (c *Conn) drainSome(pipe *kernel.Pipe, raw syscall.RawConn) (int64, error) {
	c.out.Lock()
	defer c.unlockOut()
	room, err := c.kernelRoom()
	if err != nil {
		return 0, err
	}
	n, err := pipe.SpliceTo(raw, min(pipe.Len(), transferBytes(room)))
	c.out.written += int64(n)
	c.out.recount(int64(n))
	return int64(n), c.kernelError(c.opError("splice", err))
}

// WriteTo writes all that arrives to w, from the buffer it was decrypted in,
// until the connection ends. If w is a TCP connection, or a Conn whose sending
// side the kernel has, and the kernel has our receiving side, nothing passes through
// user space. Until WriteTo returns, Read waits.
func (c *Conn) WriteTo(w io.Writer) (n int64, err error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.in.Lock()
	defer c.unlockIn()
	defer c.in.release()
	if planRX(&c.config.Kernel).atTransfer() {
		c.in.plan.after = 0 // the transfer is here
	}
	f := &forwarder{conn: c, w: w}
	defer f.close()
	for {
		m, err := f.forward()
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// forwarder moves what arrives on conn to w: by splice once that is possible.
type forwarder struct {
	conn *Conn
	w    io.Writer
	pipe *kernel.Pipe
	sink func(*kernel.Pipe) (int64, error) // moves all that is in pipe to w
	done bool                              // it is known whether there is one
}

func (f *forwarder) close() {
	if f.pipe != nil {
		f.pipe.Close()
	}
}

// forward moves something.
func (f *forwarder) forward() (int64, error) {
	c := f.conn
	if len(c.in.plain) > 0 {
		n, err := f.w.Write(c.in.plain)
		if n < len(c.in.plain) && err == nil {
			err = io.ErrShortWrite
		}
		c.in.plain = c.in.plain[n:]
		return int64(n), err
	}
	// Within a handshake message data is an error, and advance says so.
	if c.in.kernel != nil && c.in.err == nil && c.engine.ReadAligned() && f.canSplice() {
		c.in.release() // who waits should hold no buffer
		if n, err := f.splice(); !errors.Is(err, kernel.ErrControlRecord) {
			return n, err
		}
	}
	_, err := c.advance(nil)
	return 0, err
}

// canSplice finds out once whether and how to splice.
func (f *forwarder) canSplice() bool {
	if !f.done {
		f.done = true
		f.sink = f.findSink()
	}
	return f.sink != nil
}

func (f *forwarder) findSink() func(*kernel.Pipe) (int64, error) {
	if _, ok := f.conn.conn.(*net.TCPConn); !ok || !f.conn.in.kernel.Report().SpliceRX.OK {
		return nil
	}
	sink := sinkOf(f.w)
	if sink == nil {
		return nil
	}
	pipe, err := kernel.NewPipe()
	if err != nil {
		return nil
	}
	f.pipe = pipe
	return sink
}

// sinkOf returns how to move a pipe's content to w.
func sinkOf(w io.Writer) func(*kernel.Pipe) (int64, error) {
	switch w := w.(type) {
	case *net.TCPConn:
		raw, err := w.SyscallConn()
		if err != nil {
			return nil
		}
		return func(p *kernel.Pipe) (int64, error) {
			n, err := p.SpliceTo(raw, p.Len())
			return int64(n), err
		}
	case *Conn:
		if w.Handshake() != nil {
			return nil // Write says why
		}
		if _, ok := w.conn.(*net.TCPConn); !ok {
			return nil
		}
		if moved, err := w.moveFor(breakEven); err == nil && moved {
			return w.drain
		}
	}
	return nil
}

// splice moves what is next to w, if it is application data.
func (f *forwarder) splice() (int64, error) {
	c := f.conn
	n, err := c.in.kernel.SpliceTo(f.pipe, transferChunk)
	switch {
	case errors.Is(err, kernel.ErrControlRecord):
		return 0, err
	case err != nil:
		return 0, c.kernelReadError(err)
	case n == 0:
		_, err := c.takeData(nil, nil)
		return 0, err
	}
	c.progress(n)
	return f.sink(f.pipe)
}
