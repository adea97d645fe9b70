package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/https"
)

// demoCmd shows both sides at work.
type demoCmd struct{}

// Help is printed below the flags.
func (demoCmd) Help() string {
	return `A file with 8 MiB of random bytes is served on the loopback interface and fetched with TLS 1.3 and TLS 1.2, each with a full handshake and with a resumed session. Each time its SHA-256 is checked. Where the kernel has TLS, it encrypts the file, which the server gives it as a whole (sendfile); otherwise the reason is shown.

Example:

  handoff demo`
}

const (
	demoSize = 8 << 20
	demoFile = "random.bin"
)

// demo is what runs.
type demo struct {
	server  *server
	url     string
	sum     [sha256.Size]byte
	roots   *x509.CertPool
	offload chan tls.Offload // of the server's connection, for each request
}

// transfer is one fetch and what is known of it afterwards.
type transfer struct {
	state          tls.ConnectionState
	bytes          int64
	client, server tls.Offload
}

// Run implements the command.
func (demoCmd) Run(ctx context.Context, p *process) error {
	dir, err := os.MkdirTemp("", "handoff-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := startDemo(ctx, p, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "Serving %d bytes at %s and fetching them.\n\n", demoSize, d.url)
	transfers, err := d.fetchAll(ctx, p)
	if err := errors.Join(err, d.server.shutdown(p)); err != nil {
		return err
	}
	return report(p.stdout, transfers)
}

// startDemo makes the file and serves it.
func startDemo(ctx context.Context, p *process, name string) (*demo, error) {
	d := &demo{roots: x509.NewCertPool(), offload: make(chan tls.Offload, 1)}
	data := make([]byte, demoSize)
	_, _ = rand.Read(data) // it never fails
	d.sum = sha256.Sum256(data)
	if err := os.WriteFile(filepath.Join(name, demoFile), data, 0o600); err != nil {
		return nil, err
	}
	cert, err := throwAwayCertificate("")
	if err != nil {
		return nil, err
	}
	d.roots.AddCert(cert.Leaf)
	inner, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d.url = fmt.Sprintf("https://%s/%s", inner.Addr(), demoFile)
	files := http.FileServer(http.Dir(name))
	d.server = newServer(http1(), d.watch(files), logger(p.stderr, false))
	d.server.start(inner, serverConfig(p, []tls.Certificate{cert}))
	return d, nil
}

// http1 is for what is shown here: on HTTP/2 no whole files reach the connection.
func http1() *http.Protocols { return httpFlags{HTTP1: true}.protocols() }

// watch notes after each request what the server's connection did with it.
func (d *demo) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		d.offload <- connOf(r).Offload()
	})
}

// fetchAll fetches the file with both versions, twice each: the second time the
// session of the first one is there.
func (d *demo) fetchAll(ctx context.Context, p *process) ([]transfer, error) {
	var all []transfer
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		config := &tls.Config{
			RootCAs:            d.roots,
			MinVersion:         version,
			MaxVersion:         version,
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
			KeyLogWriter:       p.keyLog,
		}
		for _, resumed := range []bool{false, true} {
			t, err := d.fetch(ctx, config)
			if err != nil {
				return nil, err
			}
			if t.state.Version != version || t.state.DidResume != resumed {
				return nil, fmt.Errorf("%s: expected resumption: %v, got %s, resumption: %v",
					tls.VersionName(version), resumed, tls.VersionName(t.state.Version), t.state.DidResume)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// fetch fetches the file once, on a connection of its own.
func (d *demo) fetch(ctx context.Context, config *tls.Config) (t transfer, err error) {
	var conn *tls.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conn = https.Conn(info.Conn) },
	})
	client := newHTTPClient(config, http1())
	defer client.CloseIdleConnections()
	response, err := fetch(ctx, client, d.url)
	if err != nil {
		return t, err
	}
	defer response.Body.Close()
	hash := sha256.New()
	if t.bytes, err = save(hash, response); err != nil {
		return t, err
	}
	if [sha256.Size]byte(hash.Sum(nil)) != d.sum {
		return t, errors.New("the file that arrived is not the one that was served")
	}
	t.state, t.client = conn.ConnectionState(), conn.Offload()
	select {
	case t.server = <-d.offload:
		return t, nil
	case <-ctx.Done():
		return t, ctx.Err()
	}
}

// report prints the tables.
func report(w io.Writer, transfers []transfer) error {
	fmt.Fprintln(w, "What was negotiated")
	t := newTable(w)
	fmt.Fprintln(t, "  #\tversion\thandshake\tcipher suite\tgroup\tALPN")
	for i, tr := range transfers {
		s := tr.state
		fmt.Fprintf(t, "  %d\t%s\t%s\t%s\t%s\t%s\n", i+1, tls.VersionName(s.Version), handshakeKind(s.DidResume),
			tls.CipherSuiteName(s.CipherSuite), groupName(s.CurveID), s.NegotiatedProtocol)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nWhat arrived, and where records were protected")
	t = newTable(w)
	fmt.Fprintln(t, "  #\tbytes\tSHA-256\tserver sends\tclient receives\tclient sends\tserver receives")
	for i, tr := range transfers {
		fmt.Fprintf(t, "  %d\t%d\tmatches\t%s\t%s\t%s\t%s\n", i+1, tr.bytes,
			placed(tr.server.TX), placed(tr.client.RX), placed(tr.client.TX), placed(tr.server.RX))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return reportReasons(w, transfers)
}

// reportReasons prints why records were not protected by the kernel, each reason
// once.
func reportReasons(w io.Writer, transfers []transfer) error {
	fmt.Fprintln(w)
	seen := map[string]bool{}
	for _, t := range transfers {
		for _, o := range []tls.DirectionOffload{t.server.TX, t.client.RX, t.client.TX, t.server.RX} {
			if o.Where != tls.UserSpace || seen[o.Reason] {
				continue
			}
			seen[o.Reason] = true
			if _, err := fmt.Fprintf(w, "  %s: %s\n", o.Where, o.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}

func handshakeKind(resumed bool) string {
	if resumed {
		return "resumed"
	}
	return "full"
}
