package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/https"
)

// serveCmd serves a directory.
type serveCmd struct {
	Dir  string `arg:"" help:"The directory to serve."`
	Addr string `default:"127.0.0.1:8443" placeholder:"HOST:PORT" help:"Address to listen on; port 0 means any (default: ${default})."`
	identityFlags
	CertOut  string `placeholder:"FILE" help:"Write the certificate here, in PEM, for clients to trust."`
	ClientCA string `name:"client-ca" placeholder:"FILE" help:"Demand client certificates that these authorities, in PEM, signed."`
	versionFlags
	httpFlags
	Verbose bool `short:"v" help:"Log each request and failed handshake."`
}

// Help is printed below the flags.
func (serveCmd) Help() string {
	return `Without --cert, a throw-away certificate is made for localhost and the address, and its fingerprint printed. When the server is ready, "listening on ADDRESS" is printed.

Everybody who can connect can fetch all files below the directory, except those whose name, or whose directory's name, begins with a dot. Links that lead out of it are not followed. Requests other than GET and HEAD are refused. HTTP/2 is spoken with those who can, unless --http1.1 is given: files then go out faster where the kernel encrypts.

Ctrl-C (SIGINT) and SIGTERM stop the server when the transfers in progress are done, or after 10 seconds; the exit status is 1 if that cut some off. A second signal stops it at once.

Examples:

  handoff serve .

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
	s := newServer(inner, config, c.protocols(), readOnly(http.FileServer(files)), p.logger(c.Verbose))
	if err := c.announce(p, config.Certificates[0], inner.Addr()); err != nil {
		return errors.Join(err, s.shutdown(p))
	}
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		return s.shutdown(p)
	}
}

// announce says which certificate clients will see, how to fetch something, and
// that they can come.
func (c *serveCmd) announce(p *process, cert tls.Certificate, addr net.Addr) error {
	if c.CertOut != "" {
		if err := os.WriteFile(c.CertOut, encodePEM(cert), 0o644); err != nil {
			return err
		}
	}
	sum := fingerprint(cert.Certificate[0])
	fmt.Fprintf(p.stderr, "certificate SHA-256 %s\nfetch with: handoff get --fingerprint %s%s https://%s/\n",
		sum, sum, c.demanded(), reachable(addr))
	_, err := fmt.Fprintf(p.stdout, "listening on %s\n", addr)
	return err
}

// demanded returns the flags that clients need to be let in.
func (c *serveCmd) demanded() string {
	if c.ClientCA == "" {
		return ""
	}
	return " --cert FILE --key FILE"
}

// reachable returns an address that a client on this machine can use.
func reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	return addr.String()
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

// serverConfig returns what the servers of this command have in common.
func serverConfig(p *process, certificates []tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: certificates,
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
	http      http.Server
	done      chan error // what Serve returned
	transfers transfers
	patience  time.Duration // with transfers in progress, at the end
}

func newServer(inner net.Listener, config *tls.Config, protocols *http.Protocols, handler http.Handler, logger *log.Logger) *server {
	s := &server{
		http: http.Server{
			ReadHeaderTimeout: 30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			ErrorLog:          logger,
			Protocols:         protocols,
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, connKey{}, https.Conn(c))
			},
		},
		done:     make(chan error, 1),
		patience: shutdownTimeout,
	}
	s.http.Handler = s.transfers.watch(handler, logger)
	go func() { s.done <- https.Serve(&s.http, inner, config) }()
	return s
}

// connKey is where a request's context has its connection.
type connKey struct{}

// connOf returns the connection that a request came on.
func connOf(r *http.Request) *tls.Conn {
	c, _ := r.Context().Value(connKey{}).(*tls.Conn)
	return c
}

// shutdown ends the server when the transfers in progress are done. It says so,
// because that may take a while.
func (s *server) shutdown(p *process) error {
	if n := s.transfers.running(); n > 0 {
		fmt.Fprintf(p.stderr, "stopping: waiting up to %v for %s; press Ctrl-C again to stop at once\n", s.patience, count(n, "transfer"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	n := s.transfers.running()
	if err := s.http.Close(); err != nil || n == 0 {
		return err
	}
	s.transfers.wait() // so that they are logged
	return fmt.Errorf("stopped, and cut off %s", count(n, "transfer"))
}
