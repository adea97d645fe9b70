package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// handoverCmd shows a server that is replaced under an open download.
type handoverCmd struct {
	Times  int    `default:"5" placeholder:"N" help:"Replace the server N times (default: ${default})."`
	Size   int64  `default:"64" placeholder:"MIB" help:"Download a file of so many MiB (default: ${default})."`
	Kernel string `enum:"auto,off,require" default:"auto" help:"Where records are protected: off, in user space; require, in the kernel; auto, first there and then here, if this kernel has TLS (default: ${default})."`
}

// Help is printed below the flags.
func (handoverCmd) Help() string {
	return `A file with random bytes is downloaded over one TLS connection from "handoff serve --handover", and meanwhile that server is replaced again and again by a new process of the same program. Each old process passes the connection in the middle of the file to the new one, and ends: the socket and the open file as descriptors over a private Unix socket; what was negotiated, keys and record numbers as a blob that is sealed for the new process; and how much of the file is still to be sent. The client, which knows nothing of all this, gets the file without a second handshake, and its SHA-256 is checked.

The table shows which process has sent which bytes, and where the records were protected. In user space the keys travel in the blob. In the kernel they stay with the socket.

Examples:

  handoff handover

  handoff handover --times 20 --size 256 --kernel off`
}

// The bounds of the flags: the client must not be done before the last process
// gets to send something.
const (
	maxTimes       = 100
	maxDemoMiB     = 4 << 10
	mibPerProcess  = 8
	demoReadBuffer = 256 << 10 // of the client's socket, so that the server is not far ahead
)

// Validate refuses what would show nothing. It is called by the parser.
func (c *handoverCmd) Validate() error {
	switch {
	case c.Times < 1 || c.Times > maxTimes:
		return fmt.Errorf("--times %d is not between 1 and %d", c.Times, maxTimes)
	case c.Size < mibPerProcess*int64(c.Times+1) || c.Size > maxDemoMiB:
		return fmt.Errorf("--size %d is not between %d and %d: each process shall send %d MiB at least", c.Size, mibPerProcess*(c.Times+1), maxDemoMiB, mibPerProcess)
	}
	return nil
}

// placeToShow is where records are to be protected, and what makes a server do
// that.
type placeToShow struct {
	title string
	flags []string
	need  kernel.Mode
}

var (
	showUserSpace = placeToShow{"Records in user space", []string{"--kernel=off", "--kernel-rx=off"}, kernel.Off}
	showKernel    = placeToShow{"Records in the kernel", []string{"--kernel=require", "--kernel-rx=require"}, kernel.Require}
)

func (c *handoverCmd) places() []placeToShow {
	switch c.Kernel {
	case kernelOff:
		return []placeToShow{showUserSpace}
	case kernelRequire:
		return []placeToShow{showKernel}
	}
	return []placeToShow{showUserSpace, showKernel}
}

// Run implements the command.
func (c *handoverCmd) Run(ctx context.Context, p *process) error {
	report := kernel.Probe()
	if c.Kernel == kernelRequire && !report.Available {
		return noKernel(report)
	}
	dir, err := os.MkdirTemp("", "handoff-handover-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r, err := newRelay(dir, c.Size<<20, c.Times, p.keyLog)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "A file of %d bytes is downloaded over one connection, while the server is replaced %s.\n", r.size, count(int64(r.times), "time"))
	for _, place := range c.places() {
		fmt.Fprintf(p.stdout, "\n%s\n", place.title)
		if place.need == kernel.Require && !report.Available {
			fmt.Fprintf(p.stdout, "  not here: %s\n", report.Reason)
			continue
		}
		if err := r.show(ctx, p.stdout, place.flags); err != nil {
			return err
		}
	}
	return nil
}

// relay is a download from several processes, one after the other.
type relay struct {
	dir    string // with all files
	size   int64
	sum    [sha256.Size]byte
	roots  *x509.CertPool
	keyLog io.Writer
	times  int // the server is replaced
}

// The files of a relay. The directory, and so the socket, is its owner's alone.
const (
	relayFiles  = "files"
	relayCert   = "cert.pem"
	relayKey    = "key.pem"
	relaySocket = "socket"
)

// newRelay makes the files.
func newRelay(dir string, size int64, times int, keyLog io.Writer) (*relay, error) {
	r := &relay{dir: dir, size: size, roots: x509.NewCertPool(), keyLog: keyLog, times: times}
	cert, err := throwAwayCertificate("")
	if err != nil {
		return nil, err
	}
	r.roots.AddCert(cert.Leaf)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return r, errors.Join(
		os.WriteFile(filepath.Join(dir, relayCert), encodePEM(cert), 0o600),
		os.WriteFile(filepath.Join(dir, relayKey), keyPEM, 0o600),
		os.Mkdir(filepath.Join(dir, relayFiles), 0o700),
		r.writeFile(),
	)
}

// writeFile makes the file to be downloaded.
func (r *relay) writeFile() error {
	f, err := os.Create(filepath.Join(r.dir, relayFiles, demoFile))
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.Reader, r.size)
	r.sum = [sha256.Size]byte(h.Sum(nil))
	return errors.Join(err, f.Close())
}

// show runs one download and prints who has sent what.
func (r *relay) show(ctx context.Context, w io.Writer, flags []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	team := &team{relay: r, flags: flags}
	start := time.Now()
	err := team.start(ctx)
	if err == nil {
		err = errors.Join(r.download(ctx, team), team.stop())
	}
	if err != nil {
		cancel()
		team.wait()
		return err
	}
	took := time.Since(start)
	parts := team.parts()
	if err := r.check(parts); err != nil {
		return err
	}
	t := newTable(w)
	fmt.Fprintln(t, "  #\tprocess\tbytes sent\tfrom\tTX")
	for i, p := range parts {
		fmt.Fprintf(t, "  %d\t%d\t%d\t%d\t%s\n", i+1, p.PID, p.To-p.From, p.From, p.TX)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "  %d bytes arrived, SHA-256 matches: 1 connection, 1 handshake, %d processes, %v\n", r.size, len(parts), took.Round(10*time.Millisecond))
	return err
}

// check makes sure that each process has sent a part of the file.
func (r *relay) check(parts []part) error {
	next, seen := int64(0), map[int]bool{}
	for _, p := range parts {
		if p.From != next || seen[p.PID] {
			return fmt.Errorf("process %d sent from byte %d on, which is not its part", p.PID, p.From)
		}
		next, seen[p.PID] = p.To, true
	}
	if next != r.size || len(parts) != r.times+1 {
		return fmt.Errorf("%d processes sent %d bytes, not %d and %d", len(parts), next, r.times+1, r.size)
	}
	return nil
}

// download downloads the file, has the server replaced meanwhile, and checks
// what has arrived.
func (r *relay) download(ctx context.Context, team *team) error {
	d, err := dial(ctx, team.addr, &tls.Config{RootCAs: r.roots, KeyLogWriter: r.keyLog}, nil)
	if err != nil {
		return err
	}
	defer d.Close()
	defer context.AfterFunc(ctx, func() { _ = d.NetConn().Close() })()
	if tcp, ok := d.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(demoReadBuffer) // it only makes the demonstration better
	}
	body, err := r.request(d.Conn)
	if err != nil {
		return err
	}
	h := sha256.New()
	for range r.times {
		if _, err := io.CopyN(h, body, r.share()/2); err != nil {
			return explainDownload(ctx, err)
		}
		last, err := team.replace(ctx)
		if err != nil {
			return err
		}
		if err := r.readMeanwhile(h, body, last.ended); err != nil {
			return explainDownload(ctx, err)
		}
		if last.err != nil {
			return last.err
		}
	}
	if _, err := io.Copy(h, body); err != nil {
		return explainDownload(ctx, err)
	}
	if [sha256.Size]byte(h.Sum(nil)) != r.sum {
		return errors.New("the file that arrived is not the one that was served")
	}
	return nil
}

func explainDownload(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return errors.New("the download was over before the server was replaced: a larger --size is needed")
	}
	return fmt.Errorf("the download: %w", err)
}

// request asks for the file and returns its bytes.
func (r *relay) request(conn *tls.Conn) (io.Reader, error) {
	request, err := http.NewRequest(http.MethodGet, "https://localhost/"+demoFile, nil)
	if err != nil {
		return nil, err
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || response.ContentLength != r.size {
		return nil, fmt.Errorf("the server answered %s, with %d bytes", response.Status, response.ContentLength)
	}
	return response.Body, nil
}

// While the old process hands over, the client reads little, so that the file is
// not over too soon: less and less, and less than half of a process's share.
const (
	pauseMeanwhile = 10 * time.Millisecond
	mostMeanwhile  = 32 << 10
	leastMeanwhile = 256
)

// readMeanwhile reads on until something is done.
func (r *relay) readMeanwhile(h hash.Hash, body io.Reader, done <-chan struct{}) error {
	budget := r.share() / 4
	for {
		select {
		case <-done:
			return nil
		case <-time.After(pauseMeanwhile):
		}
		n, err := io.CopyN(h, body, max(leastMeanwhile, min(budget/16, mostMeanwhile)))
		if budget -= n; err != nil {
			return err
		}
	}
}

// share is what each process sends, about.
func (r *relay) share() int64 { return r.size / int64(r.times+1) }
