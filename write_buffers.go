package tls

import (
	"net"

	"github.com/go-handoff/tls/record"
)

// maxBuffers is how many buffers are given to the kernel at once. The net package
// cuts what is longer in pieces, and the end of each ends a record.
const maxBuffers = 1024

// WriteBuffers writes the contents of b and takes off b what was written, like
// [net.Buffers.WriteTo], which cannot know how to write to a Conn at once. Many
// small buffers become few large records: by writev where the kernel has the
// sending side, by a copy in user space. Otherwise it is as [Conn.Write].
func (c *Conn) WriteBuffers(b *net.Buffers) (n int64, err error) {
	if err := c.enterWrite(); err != nil {
		return 0, err
	}
	defer c.leaveWrite()
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.out.Lock()
	defer c.unlockOut()
	for {
		if consume(b, 0); len(*b) == 0 {
			return n, c.out.err
		}
		m, err := c.writeSomeBuffers(*b)
		consume(b, m)
		if n += int64(m); err != nil {
			return n, err
		}
	}
}

// writeSomeBuffers writes some of b and leaves b as it is. out is held.
func (c *Conn) writeSomeBuffers(b net.Buffers) (int, error) {
	tcp, ok := c.conn.(*net.TCPConn)
	if c.out.kernel == nil || !ok {
		return c.gather(b)
	}
	room, err := c.kernelRoom()
	if err != nil {
		return 0, err
	}
	part := firstBytes(b, transferBytes(room))
	n, err := part.WriteTo(tcp)
	c.out.count(int(n+record.MaxPlaintext-1) / record.MaxPlaintext)
	c.out.written += n
	return int(n), c.kernelError(err)
}

// gather writes the beginning of b through a buffer of ours.
func (c *Conn) gather(b net.Buffers) (int, error) {
	buf := getBuffer(burstBufferLen)
	defer buf.put()
	data := buf.b[:0]
	for _, part := range b {
		room := burstRecords*record.MaxPlaintext - len(data)
		data = append(data, part[:min(len(part), room)]...)
	}
	return c.writeSome(data)
}

// firstBytes returns the first n bytes of b, or fewer if they are in very many
// buffers.
func firstBytes(b net.Buffers, n int) (first net.Buffers) {
	for _, part := range b[:min(len(b), maxBuffers)] {
		if len(part) >= n {
			return append(first, part[:n])
		}
		first = append(first, part)
		n -= len(part)
	}
	return first
}

// consume takes n bytes off the front of b, and what is empty then.
func consume(b *net.Buffers, n int) {
	for len(*b) > 0 && n >= len((*b)[0]) {
		n -= len((*b)[0])
		(*b)[0] = nil
		*b = (*b)[1:]
	}
	if n > 0 {
		(*b)[0] = (*b)[0][n:]
	}
}
