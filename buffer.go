package tls

import (
	"sync"

	"github.com/go-handoff/tls/record"
)

// Buffers come in two sizes: for one record of any kind, and for as many as are
// written, or best read, at once; and there are small ones, for who waits for a
// record that the kernel gives. They belong to a connection only while it has
// bytes in them.
const (
	recordBufferLen = record.HeaderLen + record.MaxCiphertext12
	burstRecords    = 4
	burstBufferLen  = burstRecords*(record.HeaderLen+record.MaxCiphertext13) + 2048
)

// buffer is a pointer so that a pool can hold it without allocating.
type buffer struct{ b []byte }

var (
	smallBuffers  = sync.Pool{New: func() any { return &buffer{make([]byte, minDirect)} }}
	recordBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, recordBufferLen)} }}
	burstBuffers  = sync.Pool{New: func() any { return &buffer{make([]byte, burstBufferLen)} }}
)

// getBuffer returns a buffer of at least n bytes, of one of the two sizes if
// that is enough.
func getBuffer(n int) *buffer {
	switch {
	case n <= recordBufferLen:
		return recordBuffers.Get().(*buffer)
	case n <= burstBufferLen:
		return burstBuffers.Get().(*buffer)
	}
	return &buffer{make([]byte, n)}
}

// getBufferOf returns a buffer of exactly n bytes: one of the sizes here.
func getBufferOf(n int) *buffer {
	if n == minDirect {
		return smallBuffers.Get().(*buffer)
	}
	return getBuffer(n)
}

// put gives the buffer back. Those of odd sizes are left to the garbage
// collector.
func (buf *buffer) put() {
	switch cap(buf.b) {
	case minDirect:
		smallBuffers.Put(buf)
	case recordBufferLen:
		buf.b = buf.b[:recordBufferLen]
		recordBuffers.Put(buf)
	case burstBufferLen:
		buf.b = buf.b[:burstBufferLen]
		burstBuffers.Put(buf)
	}
}
