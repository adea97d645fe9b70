package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/go-handoff/tls"
)

// connectCmd shows what a server negotiates.
type connectCmd struct {
	Addr       address  `arg:"" name:"host:port" help:"The server. The port is 443 if there is none."`
	ServerName string   `name:"servername" placeholder:"NAME" help:"Ask for, and verify, this name instead of HOST."`
	ALPN       []string `name:"alpn" placeholder:"PROTO,..." help:"Offer these application protocols, such as h2,http/1.1."`
	Resume     bool     `xor:"again" help:"Connect twice, the second time with the session of the first. Data goes over the second connection."`
	Reconnect  int      `xor:"again" placeholder:"N" help:"Connect again so many times, each with the session of the one before. Data goes over the last connection."`
	EarlyData  string   `name:"early-data" placeholder:"FILE" help:"On the last connection, send this file as early data (0-RTT), or after the handshake if the server does not accept it."`
	Brief      bool     `help:"Do not print the certificate chain."`
	clientFlags
}

// Help is printed below the flags.
func (connectCmd) Help() string {
	return `What was negotiated goes to standard error. Then standard input is sent and what the server sends goes to standard output. At the end of standard input the server is told so (close_notify), and the command ends when the server closes.

What is sent by --early-data arrives a round trip earlier, but whoever has recorded it can send it once more: take something that is harmless when it comes twice. It needs a session whose server allows it, so a connection is made before.

Examples:

  handoff connect example.com </dev/null

  printf 'HEAD / HTTP/1.0\r\n\r\n' | handoff connect localhost:8443 --cacert cert.pem --brief

  handoff connect example.com --alpn http/1.1 --early-data request.txt </dev/null

  handoff connect example.com --alpn h2,http/1.1 --max 1.2 --reconnect 3 </dev/null`
}

// Validate refuses flags that make no sense. It is called by the parser.
func (c *connectCmd) Validate() error {
	if c.Reconnect < 0 {
		return fmt.Errorf("--reconnect %d is no number of connections", c.Reconnect)
	}
	return c.versionFlags.Validate()
}

// maxEarlyFile is more than any server accepts.
const maxEarlyFile = 1 << 20

// earlyData reads the file of --early-data.
func (c *connectCmd) earlyData() ([]byte, error) {
	if c.EarlyData == "" {
		return nil, nil
	}
	f, err := os.Open(c.EarlyData)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEarlyFile+1))
	if err == nil && len(b) > maxEarlyFile {
		err = fmt.Errorf("%s is longer than %d bytes, and no early data", c.EarlyData, maxEarlyFile)
	}
	return b, err
}

// address is HOST or HOST:PORT.
type address string

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *address) UnmarshalText(text []byte) error {
	*a = address(text)
	return checkAddr(string(text))
}

// checkAddr refuses what is not HOST or HOST:PORT.
func checkAddr(addr string) error {
	if strings.ContainsAny(addr, "/?#@") {
		return fmt.Errorf("%q is not HOST:PORT, such as example.com:443", addr)
	}
	host, port, err := net.SplitHostPort(withPort(addr))
	switch {
	case err != nil:
		return fmt.Errorf("%q is not HOST:PORT; an IPv6 address with a port needs brackets, such as [::1]:443", addr)
	case host == "":
		return fmt.Errorf("%q names no host", addr)
	case port == "":
		return fmt.Errorf("%q has no port after the colon", addr)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q: %s is no port", addr, port)
	}
	return nil
}

// Run implements the command.
func (c *connectCmd) Run(ctx context.Context, p *process) error {
	config, err := c.config(p)
	if err != nil {
		return err
	}
	config.ServerName, config.NextProtos = c.ServerName, c.ALPN
	early, err := c.earlyData()
	if err != nil {
		return err
	}
	if c.again() > 0 {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	for range c.again() {
		if err := c.obtainSession(ctx, p, config); err != nil {
			return err
		}
	}
	d, err := c.connect(ctx, p, config, early)
	if err != nil {
		return err
	}
	return p.pipe(ctx, d)
}

// again is how often to connect again.
func (c *connectCmd) again() int {
	if c.Resume || c.EarlyData != "" && c.Reconnect == 0 {
		return 1
	}
	return c.Reconnect
}

// connect connects and prints what came of it.
func (c *connectCmd) connect(ctx context.Context, p *process, config *tls.Config, early []byte) (*dialed, error) {
	d, err := dial(ctx, withPort(string(c.Addr)), config, early)
	if bad := (*tls.CertificateVerificationError)(nil); errors.As(err, &bad) {
		return nil, errors.Join(c.reportChain(p.stderr, bad.UnverifiedCertificates), err)
	}
	if err != nil {
		return nil, err
	}
	if err := c.report(p.stderr, d, config); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// report prints all about a connection.
func (c *connectCmd) report(w io.Writer, d *dialed, config *tls.Config) error {
	fmt.Fprintf(w, "connected to %s\n", d.RemoteAddr())
	if err := reportNegotiated(w, d.Conn); err != nil {
		return err
	}
	if d.early != "" {
		fmt.Fprintf(w, "  early data: %s\n", d.early)
	}
	chain := d.ConnectionState().PeerCertificates
	if err := c.reportChain(w, chain); err != nil {
		return err
	}
	fmt.Fprintf(w, "verification: %s\n", printable(c.verification(d.Conn, config)))
	_, err := fmt.Fprintf(w, "timing\n  TCP connect  %v\n  handshake    %v\n", round(d.connect), round(d.handshake))
	return err
}

// reportChain prints the server's chain, unless that is not wanted.
func (c *connectCmd) reportChain(w io.Writer, chain []*x509.Certificate) error {
	if c.Brief {
		return nil
	}
	fmt.Fprintln(w, "certificate chain")
	return reportChain(w, chain)
}

// verification says why the server's certificate was accepted. Without
// --insecure it is good, or there would be no connection.
func (c *connectCmd) verification(conn *tls.Conn, config *tls.Config) string {
	state := conn.ConnectionState()
	if c.Fingerprint != nil {
		return "ok, it is the certificate of --fingerprint"
	}
	if !c.Insecure {
		chain := state.VerifiedChains[0]
		return "ok, trusted by " + chain[len(chain)-1].Subject.String()
	}
	name := config.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(withPort(string(c.Addr))) // dial has done the same
	}
	opts := x509.VerifyOptions{DNSName: name, Intermediates: x509.NewCertPool()}
	for _, cert := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return "ignored (--insecure), would have FAILED, " + err.Error()
	}
	return "ignored (--insecure), would have been ok"
}

// withPort adds the port of HTTPS to an address without one.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	if _, err := netip.ParseAddr(addr); err == nil {
		return net.JoinHostPort(addr, "443")
	}
	return addr + ":443"
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// sessionTimeout bounds how long a server may take to send a session ticket.
const sessionTimeout = 3 * time.Second

// sessionCache knows when it was given a session.
type sessionCache struct {
	tls.ClientSessionCache
	stored context.Context
	store  context.CancelFunc
}

func newSessionCache(cache tls.ClientSessionCache) *sessionCache {
	c := &sessionCache{ClientSessionCache: cache}
	c.stored, c.store = context.WithCancel(context.Background())
	return c
}

// Put implements tls.ClientSessionCache.
func (c *sessionCache) Put(key string, cs *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, cs)
	if cs != nil {
		c.store()
	}
}

// obtainSession connects and leaves the session in the config's cache.
func (c *connectCmd) obtainSession(ctx context.Context, p *process, config *tls.Config) error {
	cache := newSessionCache(config.ClientSessionCache)
	config = config.Clone()
	config.ClientSessionCache = cache
	d, err := c.connect(ctx, p, config, nil)
	if err != nil {
		return err
	}
	defer d.Close()
	defer context.AfterFunc(ctx, func() { d.Close() })()
	_ = d.SetReadDeadline(time.Now().Add(sessionTimeout))
	// In TLS 1.3 tickets come after the handshake, to whoever reads.
	defer context.AfterFunc(cache.stored, func() { _ = d.SetReadDeadline(time.Unix(1, 0)) })()
	_, _ = io.Copy(io.Discard, d.Conn) // it ends by deadline, if not by the server
	if ctx.Err() != nil {
		return ctx.Err()
	}
	what := "received a session"
	if cache.stored.Err() == nil {
		what = "received no session"
	}
	_, err = fmt.Fprintf(p.stderr, "%s; connecting again\n\n", what)
	return err
}

// pipe sends standard input and prints what the server sends, until the server
// closes.
func (p *process) pipe(ctx context.Context, d *dialed) error {
	defer d.Close()
	defer context.AfterFunc(ctx, func() { d.Close() })()
	sent := make(chan error, 1)
	go func() { sent <- sendAll(d.Conn, p.stdin) }()
	_, err := io.Copy(&firstByte{Writer: p.stdout, then: func() {
		fmt.Fprintf(p.stderr, "  first byte   %v after the handshake\n", round(time.Since(d.ready)))
	}}, d.Conn)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the server ended the connection without close_notify: data may be missing")
	case err != nil:
		return err
	}
	select {
	case err := <-sent:
		return err
	default:
		return nil // the server has heard enough
	}
}

// sendAll sends all that r has, and says that there is no more.
func sendAll(conn *tls.Conn, r io.Reader) error {
	if _, err := io.Copy(conn, r); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return conn.CloseWrite()
}

// firstByte calls then before the first Write.
type firstByte struct {
	io.Writer
	then func()
}

func (f *firstByte) Write(b []byte) (int, error) {
	if f.then != nil {
		f.then()
		f.then = nil
	}
	return f.Writer.Write(b)
}
