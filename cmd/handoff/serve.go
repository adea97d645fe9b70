package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/go-handoff/tls"
)

// serveCmd serves a directory.
type serveCmd struct {
	Dir  string `arg:"" help:"The directory to serve. Links that lead out of it are not followed."`
	Addr string `default:"127.0.0.1:8443" placeholder:"HOST:PORT" help:"Address to listen on; port 0 means any (default: ${default})."`
	identityFlags
	CertOut  string `placeholder:"FILE" help:"Write the certificate here, in PEM, for clients to trust."`
	ClientCA string `name:"client-ca" placeholder:"FILE" help:"Demand client certificates that these authorities, in PEM, signed."`
	versionFlags
	Verbose bool `short:"v" help:"Log each request and failed handshake."`
}

// Help is printed below the flags.
func (serveCmd) Help() string {
	return `Without --cert, a throw-away certificate is made for localhost and the address, and its fingerprint printed. When the server is ready, "listening on ADDRESS" is printed. SIGINT and SIGTERM stop it when the transfers in progress are done, or after 10 seconds.

Examples:

  handoff serve . --cert-out cert.pem

  curl --cacert cert.pem https://localhost:8443/README.md

  handoff serve /srv --addr :443 --cert chain.pem --key key.pem --min 1.3`
}

// shutdownTimeout bounds how long transfers in progress are waited for.
const shutdownTimeout = 10 * time.Second

// Run implements the command.
func (c *serveCmd) Run(ctx context.Context, p *process) error {
	config, err := c.config(p)
	if err != nil {
		return err
	}
	files, err := openDir(c.Dir)
	if err != nil {
		return err
	}
	defer files.root.Close()
	inner, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return err
	}
	s := newServer(inner, config, http.FileServer(files), p.logger(c.Verbose))
	if err := c.announce(p, config.Certificates[0], inner.Addr()); err != nil {
		return errors.Join(err, s.shutdown())
	}
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		return s.shutdown()
	}
}

// announce says which certificate clients will see, and that they can come.
func (c *serveCmd) announce(p *process, cert tls.Certificate, addr net.Addr) error {
	if c.CertOut != "" {
		if err := os.WriteFile(c.CertOut, encodePEM(cert), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.stderr, "certificate SHA-256 %s\n", fingerprint(cert.Certificate[0]))
	_, err := fmt.Fprintf(p.stdout, "listening on %s\n", addr)
	return err
}

// config returns the server's Config.
func (c *serveCmd) config(p *process) (*tls.Config, error) {
	certificates, err := c.chain()
	if err != nil {
		return nil, err
	}
	config := serverConfig(p, certificates)
	config.MinVersion, config.MaxVersion = versions[c.Min], versions[c.Max]
	if c.ClientCA != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs, err = loadPool(c.ClientCA)
	}
	return config, err
}

// chain returns the certificate of the flags, or else a throw-away one.
func (c *serveCmd) chain() ([]tls.Certificate, error) {
	given, err := c.certificates()
	if given != nil || err != nil {
		return given, err
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, err
	}
	cert, err := throwAwayCertificate(host)
	return []tls.Certificate{cert}, err
}

// serverConfig returns what the servers of this command have in common. HTTP/2
// is not offered: net/http cannot take it up on a connection that is not
// crypto/tls's.
func serverConfig(p *process, certificates []tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: certificates,
		NextProtos:   []string{"http/1.1"},
		KeyLogWriter: p.keyLog,
	}
}

// logger returns where a server's log goes.
func (p *process) logger(verbose bool) *log.Logger {
	if !verbose {
		return log.New(io.Discard, "", 0)
	}
	return log.New(p.stderr, "", log.LstdFlags)
}

// server is net/http's over our connections.
type server struct {
	http http.Server
	done chan error // what Serve returned
}

func newServer(inner net.Listener, config *tls.Config, handler http.Handler, logger *log.Logger) *server {
	s := &server{
		http: http.Server{
			Handler:           logRequests(handler, logger),
			ReadHeaderTimeout: 30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          logger,
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, connKey{}, c)
			},
		},
		done: make(chan error, 1),
	}
	l := newListener(inner, config, logger.Printf)
	go func() { s.done <- s.http.Serve(l) }()
	return s
}

// connKey is where a request's context has its connection.
type connKey struct{}

// connOf returns the connection that a request came on.
func connOf(r *http.Request) *tls.Conn {
	c, _ := r.Context().Value(connKey{}).(*tls.Conn)
	return c
}

// shutdown ends the server when the requests in progress are done.
func (s *server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	return err
}

// dir is a directory whose files are all below it, whatever links say. They are
// real files, so that net/http can give them to the connection as a whole.
type dir struct{ root *os.Root }

func openDir(name string) (dir, error) {
	root, err := os.OpenRoot(name)
	return dir{root}, err
}

// Open implements http.FileSystem.
func (d dir) Open(name string) (http.File, error) {
	local, err := filepath.Localize(path.Join(".", path.Clean("/" + name)[1:]))
	if err != nil {
		return nil, fs.ErrNotExist
	}
	info, err := d.root.Stat(local)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil || !info.Mode().IsRegular() && !info.IsDir():
		return nil, fs.ErrNotExist // links out of the directory, devices and pipes too
	}
	f, err := d.root.Open(local)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// logRequests writes a line for each request when it is done.
func logRequests(next http.Handler, logger *log.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cw := &countingWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(cw, r)
		logger.Printf("%s %s %q %d %d bytes, %s", r.RemoteAddr, r.Method, r.URL.Path, cw.status, cw.bytes, summary(connOf(r)))
	})
}

// countingWriter remembers what was answered.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom lets whole files reach the connection, which knows best what to do
// with them.
func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

// Unwrap lets net/http's ResponseController through.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
