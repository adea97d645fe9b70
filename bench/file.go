package bench

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-handoff/tls/https"
)

// fileSize is how large the file is that is served: sparse, so that it needs no
// room on the disk, and comes from the page cache as others do.
var fileSize int64 = 1 << 30

// Files are the cases of a file through an HTTPS server, as programs write them:
// http.FileServer under http.Server, by ServeTLS of net/http and by package https.
// The client is in another process and drops what it gets.
//
// System calls are the process's own count of reads and writes, sendfile among
// them. The copies of each byte between buffers of user space, and into and out of
// it, besides its encryption, are known by reading the code, not measured:
//
//	std     read(2) into io.Copy's 32 KiB, memmove into the record's buffer,
//	        encryption in place, write(2) of a record: 3
//	ours    read(2) into 64 KiB, memmove into the buffer of four records,
//	        encryption in place, write(2) of four: 3
//	kernel  sendfile(2): none in user space
var Files = []Case{
	{
		Name: "FileServe/http1", Unit: "cpu-ns/MB", Target: 1.15, Also: []Goal{{"syscalls/MB", 2}}, More: []Stack{Kernel},
		Open: func(s Stack) (*Player, error) { return openFileServer(s, false) },
	},
	{
		Name: "FileServe/http2", Unit: "cpu-ns/MB", Also: []Goal{{Unit: "syscalls/MB"}},
		Open: func(s Stack) (*Player, error) { return openFileServer(s, true) },
	},
}

// fileServer serves a directory to a child.
type fileServer struct {
	*child
	http  *http.Server
	dir   string
	order order
}

func openFileServer(s Stack, http2 bool) (*Player, error) {
	f := &fileServer{order: order{Do: "get", Version: v13, Size: int(fileSize), N: 1}}
	if http2 {
		f.order.Parallel = 1
	}
	err := f.start(s, http2)
	if err != nil {
		f.close()
		return nil, err
	}
	return &Player{Close: f.close, Play: f.play}, nil
}

func (f *fileServer) start(s Stack, http2 bool) (err error) {
	if f.dir, err = os.MkdirTemp("", "bench-*"); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(f.dir, "file"))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(fileSize); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.order.Addr = "https://" + ln.Addr().String() + "/file"
	f.http = &http.Server{
		Handler: http.FileServer(http.Dir(f.dir)), ReadHeaderTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols),
	}
	f.http.Protocols.SetHTTP1(!http2)
	f.http.Protocols.SetHTTP2(http2)
	if err := f.serve(s, ln); err != nil {
		ln.Close()
		return err
	}
	f.child, err = startChild()
	return err
}

// serve serves by a stack until the server is closed.
func (f *fileServer) serve(s Stack, ln net.Listener) error {
	k := kind{version: v13, group: tls.X25519}
	_, config := k.configs()
	if s == Std {
		f.http.TLSConfig = config
		go func() { _ = f.http.ServeTLS(ln, "", "") }()
		return nil
	}
	ours, err := k.ours(s, config)
	if err != nil {
		return err
	}
	go func() { _ = https.Serve(f.http, ln, ours) }()
	return nil
}

// play has the child fetch the file n times.
func (f *fileServer) play(n int) (Figures, error) {
	o := f.order
	o.N = n
	megabytes := float64(n) * float64(fileSize) / 1e6
	all := Figures{}
	m := startMeter()
	if _, err := f.ask(o); err != nil {
		return nil, err
	}
	m.stop(all, n)
	perMB := float64(n) / megabytes
	result := Figures{"cpu-ns/MB": all["cpu-ns/op"] * perMB}
	if m.counts {
		result["syscalls/MB"] = (all["sys-reads/op"] + all["sys-writes/op"]) * perMB
	}
	return result, nil
}

func (f *fileServer) close() {
	if f.http != nil {
		_ = f.http.Close()
	}
	if f.child != nil {
		f.child.close()
	}
	_ = os.RemoveAll(f.dir)
}
