package tls

import (
	"io"
	"os"

	"github.com/go-handoff/tls/record"
)

// Whole files and streams: ReadFrom and WriteTo. Where the kernel has the keys
// it moves them by sendfile and splice, a chunk at a time, so that KeyUpdates,
// alerts, deadlines and other writers come in between.

const (
	// transferChunk is how much is sent while other writers wait.
	transferChunk = 1 << 20
	// minTransfer is the least that a direction moves to the kernel for: less
	// does not pay for the system calls.
	minTransfer = record.MaxPlaintext
)

// ReadFrom writes all that r has. It is how io.Copy writes to a Conn, and with
// net/http how files are served. Files are sent without passing through user space where
// the kernel has the sending side, which by default it takes here
// (Config.Kernel).
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	if err := c.enterWrite(); err != nil {
		return 0, err
	}
	defer c.leaveWrite()
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	switch src, err := c.sourceOf(r); {
	case err != nil:
		return 0, err
	case src != nil:
		return c.sendFile(src)
	}
	return c.copyFrom(r)
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

// sourceOf returns what of r the kernel can send by itself: nil if it cannot,
// or has not taken the sending side.
func (c *Conn) sourceOf(r io.Reader) (*io.LimitedReader, error) {
	src, ok := r.(*io.LimitedReader)
	if !ok {
		src = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	file, ok := src.R.(*os.File)
	if !ok {
		return nil, nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	moved, err := c.moveFor(min(src.N, info.Size()))
	if !moved || err != nil {
		return nil, err
	}
	return src, nil
}

// moveFor moves the sending side for a transfer of size bytes, if that is what
// was planned, and reports whether the kernel has it.
func (c *Conn) moveFor(size int64) (bool, error) {
	c.out.Lock()
	defer c.unlockOut()
	if !c.out.plan.settled && (c.out.moveDue() || planTX(&c.config.Kernel).atTransfer() && size >= minTransfer) {
		if err := c.moveTX(); err != nil {
			return false, err
		}
	}
	if c.out.kernel == nil {
		return false, nil
	}
	_, ok := c.conn.(io.ReaderFrom)
	return ok, nil
}

// sendFile sends src, whose reader is a file, by sendfile.
func (c *Conn) sendFile(src *io.LimitedReader) (n int64, err error) {
	chunk := &io.LimitedReader{R: src.R}
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

// sendChunk sends at most limit bytes.
func (c *Conn) sendChunk(chunk *io.LimitedReader, limit int64) (int64, error) {
	c.out.Lock()
	defer c.unlockOut()
	room, err := c.kernelRoom()
	if err != nil {
		return 0, err
	}
	chunk.N = min(limit, transferChunk, int64(min(room, transferChunk))*record.MaxPlaintext)
	n, err := c.conn.(io.ReaderFrom).ReadFrom(chunk)
	c.out.written += n
	c.out.recount(n)
	return n, c.kernelError(err)
}

// WriteTo writes all that arrives to w, from the buffer it was decrypted in,
// until the connection ends. Until it returns, Read waits.
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
	for {
		for len(c.in.plain) == 0 {
			switch _, err := c.advance(nil); {
			case err == io.EOF:
				return n, nil
			case err != nil:
				return n, err
			}
		}
		m, err := w.Write(c.in.plain)
		n += int64(m)
		if m < len(c.in.plain) && err == nil {
			err = io.ErrShortWrite
		}
		c.in.plain = c.in.plain[m:]
		if err != nil {
			return n, err
		}
	}
}
