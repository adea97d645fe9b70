//go:build unix

package tls

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/go-handoff/tls/kernel"
)

// oddSource is something to send that is not just a file with content.
type oddSource struct {
	name string
	open func(t *testing.T) io.Reader
	want int  // bytes
	fail bool // and then an error
}

func oddSources() []oddSource {
	errBroken := errors.New("broken")
	file := func(n int, flag int) func(t *testing.T) *os.File {
		return func(t *testing.T) *os.File {
			name := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(name, stream()[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(name, flag, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}
	}
	at := func(offset int64) func(t *testing.T) io.Reader {
		return func(t *testing.T) io.Reader {
			f := file(100000, os.O_RDONLY)(t)
			if _, err := f.Seek(offset, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	limited := func(n int64) func(t *testing.T) io.Reader {
		return func(t *testing.T) io.Reader { return io.LimitReader(file(100000, os.O_RDONLY)(t), n) }
	}
	named := func(name string, n int64) func(t *testing.T) io.Reader {
		return func(t *testing.T) io.Reader {
			f, err := os.Open(name)
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { f.Close() })
			return io.LimitReader(f, n)
		}
	}
	return []oddSource{
		{"file at its end", at(100000), 0, false},
		{"file behind its end", at(1 << 40), 0, false},
		{"file near its end", at(99990), 10, false},
		{"empty file", func(t *testing.T) io.Reader { return file(0, os.O_RDONLY)(t) }, 0, false},
		{"file that cannot be read", func(t *testing.T) io.Reader { return file(100000, os.O_WRONLY)(t) }, 0, true},
		{"closed file", func(t *testing.T) io.Reader {
			f := file(100000, os.O_RDONLY)(t)
			f.Close()
			return f
		}, 0, true},
		{"none of a file", limited(0), 0, false},
		{"less than none of a file", limited(-5), 0, false},
		{"less than none of a file, and much", limited(math.MinInt64), 0, false},
		{"a byte of a file", limited(1), 1, false},
		{"more than there is of a file", limited(math.MaxInt64), 100000, false},
		{"limit of a limit", func(t *testing.T) io.Reader { return io.LimitReader(limited(50000)(t), 60000) }, 50000, false},
		{"directory", func(t *testing.T) io.Reader { return named(t.TempDir(), math.MaxInt64)(t) }, 0, true},
		{"device", named("/dev/zero", 70000), 70000, false},
		{"nil device", named("/dev/null", 70000), 0, false},
		{"file of the kernel", named("/proc/self/stat", 10), 10, false},
		{"pipe", func(t *testing.T) io.Reader {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			go func() {
				_, _ = w.Write(stream()[:70000])
				w.Close()
			}()
			return r
		}, 70000, false},
		{"reader that fails", func(*testing.T) io.Reader {
			return io.MultiReader(bytes.NewReader(stream()[:50000]), iotest.ErrReader(errBroken))
		}, 50000, true},
		{"connection that ends", func(t *testing.T) io.Reader {
			from, to := sockets(t)
			t.Cleanup(func() { to.Close() })
			go func() {
				_, _ = from.Write(stream()[:70000])
				from.Close()
			}()
			return to
		}, 70000, false},
		{"closed connection", func(t *testing.T) io.Reader {
			from, to := sockets(t)
			from.Close()
			to.Close()
			return to
		}, 0, true},
		{"none of a connection", func(t *testing.T) io.Reader {
			from, to := sockets(t)
			t.Cleanup(func() { from.Close(); to.Close() })
			return io.LimitReader(to, -1)
		}, 0, false},
	}
}

// TestKernelOddSources sends what there is to send of odd sources, and goes on:
// that a source fails is not the connection's fault.
func TestKernelOddSources(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, mode := range []kernel.Mode{kernel.Off, kernel.Auto, kernel.Require} {
			client, server := kernelConfigs(v, kernel.Policy{TX: mode})
			c, s := connect(t, g.network, client, server)
			for _, source := range oddSources() {
				t.Run(source.name, func(t *testing.T) {
					got := make(chan int, 1)
					go func() {
						n, _ := io.ReadFull(s, make([]byte, source.want))
						got <- n
					}()
					n, err := c.(*Conn).ReadFrom(source.open(t))
					if n != int64(source.want) || (err != nil) != source.fail {
						t.Errorf("mode %d: %d bytes, %v; want %d", mode, n, err, source.want)
					}
					if n := <-got; n != source.want {
						t.Errorf("mode %d: %d bytes arrive, want %d", mode, n, source.want)
					}
				})
				echo(t, c, s)
			}
			closeBoth(t, c, s)
		}
	})
}
