package openssl

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// transferred is how much each transfer moves.
const transferred = 100 << 20

// data returns a stream of that many bytes, a new one for each seed.
func data(seed byte) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), transferred)
}

// sumOf returns the checksum of data(seed).
func sumOf(t *testing.T, seed byte) [sha256.Size]byte {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, data(seed)); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// sink takes the checksum of what comes after a mark, of so many bytes.
type sink struct {
	mu    sync.Mutex
	mark  []byte // empty once it was found
	early []byte // what came before
	sum   hash.Hash
	left  int
	full  chan struct{} // closed when all has come
}

func newSink(mark string) *sink {
	return &sink{mark: []byte(mark), sum: sha256.New(), left: transferred, full: make(chan struct{})}
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(b)
	if len(s.mark) > 0 {
		s.early = append(s.early, b...)
		_, after, found := bytes.Cut(s.early, s.mark)
		if !found {
			return n, nil
		}
		s.mark, b = nil, after
	}
	b = b[:min(len(b), s.left)]
	if len(b) > 0 {
		s.sum.Write(b)
		if s.left -= len(b); s.left == 0 {
			close(s.full)
		}
	}
	return n, nil
}

// alsoTo is stdoutTo for a process of which only the beginning is a transcript.
func alsoTo(s *sink) how {
	return func(cmd *exec.Cmd) { cmd.Stdout = &beginning{cmd.Stdout, s} }
}

type beginning struct {
	transcript io.Writer
	sink       *sink
}

func (b *beginning) Write(p []byte) (int, error) {
	if len(b.sink.mark) > 0 {
		if n, err := b.transcript.Write(p); err != nil {
			return n, err
		}
	}
	return b.sink.Write(p)
}

// check waits for all of data(seed).
func (s *sink) check(t *testing.T, p *process.Process, seed byte) {
	t.Helper()
	select {
	case <-s.full:
	case <-p.Done():
	}
	<-p.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left > 0 {
		t.Fatalf("openssl has not received the last %d bytes (%v)", s.left, p.Err())
	}
	if got := [sha256.Size]byte(s.sum.Sum(nil)); got != sumOf(t, seed) {
		t.Errorf("openssl received something else than was sent")
	}
}

// checkStream reads all of data(seed) and then end from r.
func checkStream(t *testing.T, r io.Reader, seed byte, end error) {
	t.Helper()
	h := sha256.New()
	if n, err := io.Copy(h, io.LimitReader(r, transferred)); err != nil || n != transferred {
		t.Fatalf("received %d bytes: %v", n, err)
	}
	if got := [sha256.Size]byte(h.Sum(nil)); got != sumOf(t, seed) {
		t.Error("received something else than openssl sent")
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, end) {
		t.Errorf("the stream ends with %d bytes and %v, want %v", n, err, end)
	}
}

// bulk are the connections that carry much: every cipher of each version.
func bulk() (list []cell) {
	x25519 := group{tls.X25519, "X25519"}
	rsa := signer{name: "rsa-2048", kind: pki.RSA}
	for _, s := range suites13 {
		list = append(list, cell{tls13, s, x25519, rsa})
	}
	for _, s := range suites12 {
		if s.rsa {
			list = append(list, cell{tls12, s, x25519, rsa})
		}
	}
	return list
}

// pinned restricts one of our Configs to the cell.
func (c cell) pinned(cfg *tls.Config) *tls.Config {
	cfg.CipherSuites = []uint16{c.suite.id}
	return c.version.pin(cfg)
}

// TestTransfer moves 100 MiB each way, in each role, with each cipher.
func TestTransfer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, data(1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range bulk() {
		name := fmt.Sprintf("%s/%s", c.version.name, c.suite)
		row(t, name+"/from-s_server", func(t *testing.T) {
			// It answers though our end of the stream comes with the request.
			s := startServer(t, append(identity(c.kind), "-WWW", "-cipher", "ALL"), in(filepath.Dir(file)))
			conn := s.dial(t, c.pinned(clientConfig()))
			send(t, conn, "GET /file HTTP/1.0\r\n\r\n")
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			receive(t, conn, "HTTP/1.0 200 ok\r\nContent-type: text/plain\r\n\r\n")
			checkStream(t, conn, 1, io.EOF)
		})
		row(t, name+"/from-s_client", func(t *testing.T) {
			l := listen(t, c.pinned(serverConfig(c.kind)))
			p := l.client([]string{"-brief", "-nocommands", "-cipher", "ALL"})
			conn := l.accept()
			fed := make(chan error, 1)
			go func() {
				_, err := io.Copy(p.Stdin, data(2))
				fed <- errors.Join(err, p.Stdin.Close())
			}()
			checkStream(t, conn, 2, io.EOF)
			if err := <-fed; err != nil {
				t.Error(err)
			}
		})
		row(t, name+"/to-s_server", func(t *testing.T) {
			got := newSink("\nHERE\n")
			s := startServer(t, append(identity(c.kind), "-naccept", "1", "-cipher", "ALL"), alsoTo(got))
			conn := s.dial(t, c.pinned(clientConfig()))
			send(t, conn, "\nHERE\n")
			if _, err := io.Copy(conn, data(3)); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got.check(t, s.Process, 3)
		})
		row(t, name+"/to-s_client", func(t *testing.T) {
			l := listen(t, c.pinned(serverConfig(c.kind)))
			got := newSink("")
			p := l.client([]string{"-quiet", "-cipher", "ALL"}, stdoutTo(got))
			conn := l.accept()
			if _, err := io.Copy(conn, data(4)); err != nil {
				t.Fatal(err)
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got.check(t, p, 4)
		})
	}
}
