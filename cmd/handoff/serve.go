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
	"github.com/go-handoff/tls/kernel"
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
	kernelFlags
	ticketFlags
	Handover string `placeholder:"SOCKET" help:"Take over from the server whose --handover names the same socket, if there is one, and later hand over to the next."`
	Parts    bool   `hidden:"" help:"Print each part of a file that was sent from here, as JSON, on standard output."`
	Status   *bool  `negatable:"" help:"Show a line of what runs where, on standard error; the default on a terminal."`
	Verbose  bool   `short:"v" help:"Log each request and failed handshake."`
}

// Help is printed below the flags.
func (serveCmd) Help() string {
	return `Without --cert, a throw-away certificate is made for localhost and the address, and its fingerprint printed. When the server is ready, "listening on ADDRESS" is printed.

Everybody who can connect can fetch all files below the directory, except those whose name, or whose directory's name, begins with a dot. Links that lead out of it are not followed. Requests other than GET and HEAD are refused. HTTP/2 is spoken with those who can, unless --http1.1 is given: files then go out faster where the kernel encrypts.

Where the kernel has TLS, it encrypts what is sent from the first large file on; what becomes of that here is printed at the start, and "handoff probe" has the details. On a terminal, a line shows how many connections are open, in how many of them the kernel sends (TX) and receives (RX), what was sent, and how often the kernel was given new keys.

Ctrl-C (SIGINT) and SIGTERM stop the server when the transfers in progress are done, or after 10 seconds; the exit status is 1 if that cut some off. A second signal stops it at once.

With --handover, a server is replaced by starting the next one with the same SOCKET, a Unix socket in a directory that only its owner may enter (it is made if it is not there). The new server gets the listening socket, whose address is the old one's, and then the connections one by one: between two requests, or in the middle of a file, which it goes on to send. Clients notice nothing. The old server ends when all have moved; connections that do not come to a point where they can within 10 seconds are cut off. If the new server does not come up, the old one goes on. HTTP/1.1 is spoken. Give both the same --cert, as a throw-away certificate is another one each time.

By default a server makes the keys of its session tickets itself, and forgets them when it ends. With --tickets, servers share them: a client that comes back resumes its session with any of them, and after a restart. They are sealed under --tickets-key, which all servers need; "handoff tickets" makes one, and shows the state of the ticket keys. A server that cannot reach them at the start makes its own until it can. Sessions are bound to the certificate, so give --cert too.

With --early-data, a client that comes back may send its first request together with its hello, and the answer begins a round trip earlier. Somebody who has recorded it can send it again: of all servers that share --tickets only one accepts it, and once, but no server can know it all. What a GET does here is harmless when it is done twice. Servers that share keys share what they have seen as well: in a directory beside the file of --tickets, or in Redis.

Examples:

  handoff serve .

  handoff serve /srv --cert chain.pem --key key.pem --handover ~/.handoff/srv.sock

  handoff serve . --cert-out cert.pem

  curl --cacert cert.pem https://localhost:8443/README.md

  handoff serve /srv --addr :443 --cert chain.pem --key key.pem --min 1.3`
}

// Validate refuses flags that contradict each other. It is called by the parser.
func (c *serveCmd) Validate() error {
	if c.Handover != "" && c.HTTP2 {
		return errors.New("--handover and --http2 can't be used together: connections that move speak HTTP/1.1")
	}
	if c.Handover != "" && c.EarlyData > 0 {
		return errors.New("--handover and --early-data can't be used together: what serves connections that move takes none")
	}
	return errors.Join(c.versionFlags.Validate(), c.ticketFlags.Validate())
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
	if err := c.check(); err != nil {
		return err
	}
	keys, err := c.use(ctx, config, p.stderr)
	if err != nil {
		return err
	}
	defer keys.Close()
	handler := readOnly(http.FileServer(files))
	if c.Handover != "" {
		return c.runMovable(ctx, p, config, handler)
	}
	return c.run(ctx, p, config, handler)
}

// run is Run on net/http.
func (c *serveCmd) run(ctx context.Context, p *process, config *tls.Config, handler http.Handler) error {
	inner, err := listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	status := p.newStatusLine()
	s := newServer(c.protocols(), handler, logger(status, c.Verbose))
	s.transfers.told = c.surprises(status)
	s.start(inner, config)
	if err := c.announce(p, config.Certificates[0], inner.Addr()); err != nil {
		return errors.Join(err, s.shutdown(p))
	}
	stop := c.showStatus(status, &s.transfers.live)
	select {
	case err = <-s.done:
		stop()
		return err
	case <-ctx.Done():
		stop()
		return s.shutdown(p)
	}
}

// listen listens for TCP and not for Multipath TCP, on which kernels have no
// TLS.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", addr)
}

// surprises returns who tells that something went otherwise than announce says.
func (c *serveCmd) surprises(w io.Writer) *surprises {
	if c.Kernel == kernelOff || !kernel.Probe().Available {
		return nil
	}
	return &surprises{w: w, told: map[string]bool{}}
}

// showStatus shows what a server does, if that is wanted, until stop.
func (c *serveCmd) showStatus(line *statusLine, l *live) (stop func()) {
	if c.Status == nil && !line.terminal || c.Status != nil && !*c.Status {
		return func() {}
	}
	return line.watch(l)
}

// announce says which certificate clients will see, how to fetch something,
// what the kernel does, and that clients can come.
func (c *serveCmd) announce(p *process, cert tls.Certificate, addr net.Addr) error {
	if c.CertOut != "" {
		if err := os.WriteFile(c.CertOut, encodePEM(cert), 0o644); err != nil {
			return err
		}
	}
	sum := fingerprint(cert.Certificate[0])
	fmt.Fprintf(p.stderr, "kernel TLS: %s\ncertificate SHA-256 %s\nfetch with: handoff get --fingerprint %s%s https://%s/\n",
		c.describe(kernel.Probe()), sum, sum, c.demanded(), reachable(addr))
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
	config.Kernel = c.policy()
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

// logger returns a server's log, which goes to w or nowhere.
func logger(w io.Writer, verbose bool) *log.Logger {
	if !verbose {
		w = io.Discard
	}
	return log.New(w, "", log.LstdFlags)
}

// server is net/http's over our connections.
type server struct {
	http      http.Server
	done      chan error // what Serve returned
	transfers transfers
	patience  time.Duration // with transfers in progress, at the end
}

func newServer(protocols *http.Protocols, handler http.Handler, logger *log.Logger) *server {
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
	s.http.ConnState = s.track
	s.http.Handler = s.transfers.watch(handler, logger)
	return s
}

func (s *server) start(inner net.Listener, config *tls.Config) {
	go func() { s.done <- https.Serve(&s.http, inner, config) }()
}

// track keeps account of the open connections.
func (s *server) track(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.transfers.live.add(https.Conn(c))
	case http.StateClosed, http.StateHijacked:
		s.transfers.live.remove(https.Conn(c))
	case http.StateActive, http.StateIdle:
	}
}

// connKey is where a request's context has its connection.
type connKey struct{}

// connOf returns the connection that a request came on.
func connOf(r *http.Request) *tls.Conn {
	c, _ := r.Context().Value(connKey{}).(*tls.Conn)
	return c
}

// waitFor says that the transfers in progress are waited for, because that may
// take a while.
func (p *process) waitFor(t *transfers, patience time.Duration) {
	if n := t.running(); n > 0 {
		fmt.Fprintf(p.stderr, "stopping: waiting up to %v for %s; press Ctrl-C again to stop at once\n", patience, count(n, "transfer"))
	}
}

// shutdown ends the server when the transfers in progress are done.
func (s *server) shutdown(p *process) error {
	p.waitFor(&s.transfers, s.patience)
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
