package https

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// needKernel skips a test where the kernel has no TLS, and says so. In the lab
// it must have it.
func needKernel(t *testing.T) {
	t.Helper()
	switch r := kernel.Probe(); {
	case r.Available:
	case os.Getenv("HANDOFF_LAB") != "":
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED HERE: %s (make lab boots kernels that have it)", r.Reason)
	}
}

// patternFile makes a directory with one file, and returns the file's checksum.
func patternFile(t *testing.T, size int64) (dir, sum string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return dir, checksum(t, io.TeeReader(&pattern{end: size}, f))
}

// fileServer serves a directory, and says of each request where its response was
// protected.
func fileServer(t *testing.T, dir string, policy kernel.Policy) (s *server, places chan tls.DirectionOffload) {
	t.Helper()
	type connKey struct{}
	places = make(chan tls.DirectionOffload, 1)
	files := http.FileServer(http.Dir(dir))
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		files.ServeHTTP(w, r)
		places <- r.Context().Value(connKey{}).(*tls.Conn).Offload().TX
	}, func(srv *http.Server, c *tls.Config) {
		c.Kernel = policy
		srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, Conn(c))
		}
	}), places
}

// curlSum fetches by curl and returns the checksum of what came, and by which
// version of HTTP.
func curlSum(t *testing.T, args ...string) (sum, version string) {
	t.Helper()
	h := sha256.New()
	version = curlTo(t, h, append(args, "-w", "%{stderr}%{http_version}")...)
	return hex.EncodeToString(h.Sum(nil)), version
}

// TestKernelFileServer has curl fetch a large file. On HTTP/1.1 the connection
// moves to the kernel because a file is sent; on HTTP/2, if it is told to.
func TestKernelFileServer(t *testing.T) {
	needKernel(t)
	dir, want := patternFile(t, 256<<20)
	for _, test := range []struct {
		flag, version string
		policy        kernel.Policy
		tlsVersions   []string
	}{
		{"--http1.1", "1.1", kernel.Policy{}, []string{"1.3", "1.2"}},
		{"--http2", "2", kernel.Policy{TX: kernel.Require, MoveTX: kernel.AtOnce}, []string{"1.3"}},
	} {
		s, places := fileServer(t, dir, test.policy)
		for _, tlsVersion := range test.tlsVersions {
			sum, version := curlSum(t, test.flag, "--tlsv"+tlsVersion, "--tls-max", tlsVersion, s.url("/file"))
			if version != test.version || sum != want {
				t.Errorf("%s, TLS %s: the wrong file, by HTTP/%s", test.flag, tlsVersion, version)
			}
			if p := wait(t, places); p.Where != tls.KernelSoftware {
				t.Errorf("%s, TLS %s: sent by %v", test.flag, tlsVersion, p)
			}
		}
	}
}

// moved is a system call that moved bytes, and the file or socket that it names
// first.
var moved = regexp.MustCompile(`^(\w+)\(\d+<(.*?)>.* = (\d+)$`)

// TestKernelSendfile looks at the system calls: the file goes out by sendfile,
// and its bytes never come to user space.
func TestKernelSendfile(t *testing.T) {
	needKernel(t)
	const size = 32 << 20
	dir, _ := patternFile(t, size)
	s, places := fileServer(t, dir, kernel.Policy{})
	traces := filepath.Join(t.TempDir(), "trace")
	stop := strace(t, traces)
	curl(t, "--http1.1", "-o", os.DevNull, s.url("/file"))
	wait(t, places)
	stop()
	files, err := filepath.Glob(traces + ".*")
	if err != nil {
		t.Fatal(err)
	}
	sent, read := map[string]int{}, 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			m := moved.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			n, err := strconv.Atoi(m[3])
			if err != nil {
				t.Fatal(err)
			}
			switch socket := strings.HasPrefix(m[2], "TCP:") || strings.HasPrefix(m[2], "socket:"); {
			case socket && m[1] != "read" && m[1] != "recvfrom":
				sent[m[1]] += n
			case strings.HasSuffix(m[2], "/file"):
				read += n
			}
		}
	}
	t.Logf("sent %v, read %d", sent, read)
	if sent["sendfile"] < size-1<<16 || sent["write"]+sent["sendto"]+sent["sendmsg"] > 1<<16 || read > 1<<16 {
		t.Errorf("sent %v, read %d of the file", sent, read)
	}
}

// strace writes the system calls of this process's threads, and those of what it
// starts, to files of this name, until stop.
func strace(t *testing.T, name string) (stop func()) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is missing: apt-get install strace")
	}
	cmd := exec.Command("strace", "-ff", "-yy", "-o", name, "-e", "trace=sendfile,write,sendto,sendmsg,read,pread64,recvfrom", "-p", strconv.Itoa(os.Getpid()))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stderr.Read(make([]byte, 1)); err != nil { // it says that it is attached
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
	return func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it dies of the signal
	}
}
