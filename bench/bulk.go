package bench

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// protection is a version and a cipher.
type protection struct {
	name string
	kind
}

var protections = []protection{
	{"13-aes128", kind{version: v13, group: tls.X25519}},
	{"13-chacha20", kind{version: v13, group: tls.X25519, chacha: true}},
	{"12-aes128", kind{version: v12, group: tls.X25519}},
}

// aead returns the AEAD of a protection, for Raw.
func (p protection) aead() cipher.AEAD {
	if p.chacha {
		a, err := chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
		must(err)
		return a
	}
	block, err := aes.NewCipher(make([]byte, 16))
	must(err)
	a, err := cipher.NewGCM(block)
	must(err)
	return a
}

// overhead returns how many bytes of a record are encrypted besides data, and
// how many are authenticated only.
func (p protection) overhead() (inner, additional int) {
	if p.version == v13 {
		return 1, 5
	}
	return 0, 13
}

// Bulk are the cases of application data without sockets, once the handshake is
// over. An operation is one message: it is written to a connection that discards
// it, or read from one that holds a megabyte of what a peer has written.
var Bulk = bulkCases()

func bulkCases() (cases []Case) {
	for _, p := range protections {
		for _, m := range []struct {
			name        string
			size        int
			read, ofRaw float64
		}{
			{name: "100B", size: 100},
			{name: "1K", size: 1 << 10},
			{name: "16K", size: 1 << 14, read: 1.30, ofRaw: 0.96},
		} {
			cases = append(cases,
				Case{
					Name: fmt.Sprintf("BulkWrite%s/%s", m.name, p.name), Unit: "cpu-ns/op", OfRaw: m.ofRaw, Most: noAllocs, More: []Stack{Raw},
					Open: func(s Stack) (*Player, error) { return openBulkWrite(p, s, m.size) },
				},
				Case{
					Name: fmt.Sprintf("BulkRead%s/%s", m.name, p.name), Unit: "cpu-ns/op", Target: m.read, Most: noAllocs, More: []Stack{Raw},
					Open: func(s Stack) (*Player, error) { return openBulkRead(p, s, m.size) },
				})
		}
	}
	return cases
}

// openBulkWrite makes a server that writes messages of one size. The client is
// this module's, as crypto/tls's cannot choose the cipher, and does nothing.
func openBulkWrite(p protection, s Stack, size int) (*Player, error) {
	message := make([]byte, size)
	_, _ = rand.Read(message)
	if s == Raw {
		return openRawSeal(p, message), nil
	}
	ends, err := p.between(Ours, s)
	if err != nil {
		return nil, err
	}
	conns, wire, err := established(ends)
	if err != nil {
		return nil, err
	}
	wire[server].sink = true
	write := func() error {
		_, err := conns[server].Write(message)
		return err
	}
	return &Player{Play: func(n int) (Figures, error) {
		f, err := measureLoop(n, write)
		if err != nil {
			return nil, err
		}
		before := wire[server].calls[1]
		err = write()
		f["writes/op"] = float64(wire[server].calls[1] - before)
		return f, err
	}}, nil
}

// openRawSeal is the bound of openBulkWrite.
func openRawSeal(p protection, message []byte) *Player {
	aead := p.aead()
	inner, additional := p.overhead()
	plain := append(message, make([]byte, inner)...)
	sealed := make([]byte, 0, len(plain)+aead.Overhead())
	header, nonce := make([]byte, additional), make([]byte, aead.NonceSize())
	return &Player{Play: func(n int) (Figures, error) {
		return measureLoop(n, func() error {
			aead.Seal(sealed, nonce, plain, header)
			return nil
		})
	}}
}

// countedOps is how many operations are done beside the measured ones to count
// what they allocate.
const countedOps = 64

// measureLoop measures the CPU time of n calls of f, and counts what some more
// of them allocate.
func measureLoop(n int, f func() error) (Figures, error) {
	start := cpuTime()
	for range n {
		if err := f(); err != nil {
			return nil, err
		}
	}
	took := cpuTime() - start
	allocs, bytes, err := countAllocs(func() error {
		for range countedOps {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	})
	return Figures{"cpu-ns/op": float64(took) / float64(n), "allocs/op": allocs / countedOps, "B/op": bytes / countedOps}, err
}

func countAllocs(f func() error) (allocs, bytes float64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = f()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc), err
}

// batchBytes is how much a peer writes before it is read: so much that asking
// for the time does not count, and so little that it stays in the caches.
const batchBytes = 1 << 20

// openBulkRead makes a server that reads messages of one size into a buffer of
// 16 KiB. They are written by the client before, in batches, which is not
// measured: so no sequence number comes twice, and there is only one handshake.
func openBulkRead(p protection, s Stack, size int) (*Player, error) {
	message := make([]byte, size)
	_, _ = rand.Read(message)
	if s == Raw {
		return openRawOpen(p, message), nil
	}
	ends, err := p.between(Ours, s)
	if err != nil {
		return nil, err
	}
	conns, wire, err := established(ends)
	if err != nil {
		return nil, err
	}
	b := &batchReader{reader: conns[server], writer: conns[client], message: message, buffer: make([]byte, 1<<14)}
	return &Player{Play: func(n int) (Figures, error) {
		took, err := b.read(n)
		if err != nil {
			return nil, err
		}
		if err := b.write(countedOps); err != nil {
			return nil, err
		}
		before := wire[server].calls[0]
		allocs, bytes, err := countAllocs(func() error { return b.drain(countedOps) })
		return Figures{
			"cpu-ns/op": float64(took) / float64(n), "allocs/op": allocs / countedOps, "B/op": bytes / countedOps,
			"reads/op": float64(wire[server].calls[0]-before) / countedOps,
		}, err
	}}, nil
}

// batchReader reads messages that it has written before.
type batchReader struct {
	reader, writer  conn
	message, buffer []byte
}

// read reads n messages, and returns the CPU time of reading.
func (b *batchReader) read(n int) (took time.Duration, err error) {
	for n > 0 {
		batch := min(n, max(1, batchBytes/(len(b.message)+bareRecord)))
		if err := b.write(batch); err != nil {
			return 0, err
		}
		start := cpuTime()
		if err := b.drain(batch); err != nil {
			return 0, err
		}
		took += cpuTime() - start
		n -= batch
	}
	return took, nil
}

// bareRecord is about the length of a record without data.
const bareRecord = 5 + 1 + 16

func (b *batchReader) write(n int) error {
	for range n {
		if _, err := b.writer.Write(b.message); err != nil {
			return err
		}
	}
	return nil
}

func (b *batchReader) drain(n int) error {
	for left := n * len(b.message); left > 0; {
		m, err := b.reader.Read(b.buffer)
		if err != nil {
			return err
		}
		left -= m
		if left < 0 {
			return io.ErrNoProgress
		}
	}
	return nil
}

// openRawOpen is the bound of openBulkRead. Every message is another one, as
// many as a batch has, so that the caches are used alike.
func openRawOpen(p protection, message []byte) *Player {
	aead := p.aead()
	inner, additional := p.overhead()
	header, nonce := make([]byte, additional), make([]byte, aead.NonceSize())
	sealed := make([][]byte, max(1, batchBytes/(len(message)+bareRecord)))
	for i := range sealed {
		sealed[i] = aead.Seal(nil, nonce, append(message[:len(message):len(message)], make([]byte, inner)...), header)
	}
	plain := make([]byte, 0, len(message)+inner)
	next := 0
	return &Player{Play: func(n int) (Figures, error) {
		return measureLoop(n, func() error {
			next = (next + 1) % len(sealed)
			_, err := aead.Open(plain, nonce, sealed[next], header)
			return err
		})
	}}
}
