package resumption

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	handoff "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// clients are all peers that our servers are tested with.
func clients() (list []*client) {
	for _, r := range releases {
		list = append(list, &client{name: r.openssl, edits: true, cannot: opensslCannot, visitor: r.newOpenSSL})
	}
	for _, r := range releases {
		list = append(list, &client{name: r.gnutls, cannot: gnutlsCannot, visitor: r.newGnuTLS})
	}
	for _, r := range releases {
		list = append(list, &client{name: r.curl, cannot: curlCannot, visitor: r.newCurl})
	}
	return append(list, &client{name: "crypto/tls", edits: true, cannot: stdCannot, visitor: newStd})
}

// opensslClient is openssl s_client, which keeps its session in a file.
type opensslClient struct {
	t testing.TB
	*release
	l    *listener
	form form
	file string
}

func (r *release) newOpenSSL(t testing.TB, l *listener, f form) visitor {
	return &opensslClient{t, r, l, f, filepath.Join(t.TempDir(), "session")}
}

func opensslCannot(form, *situation) string { return "" }

var opensslSays = regexp.MustCompile(`(?m)^(New|Reused), TLSv1\.[23], Cipher is`)

func (c *opensslClient) visit(v visit) (handoff.ConnectionState, bool) {
	args := []string{
		"s_client", "-connect", c.l.Addr().String(), "-servername", v.name, "-CAfile", roots, "-verify_return_error",
		"-alpn", protocol, "-cert", person.file, c.form.flag(), "-sess_out", c.file,
	}
	if c.form.byID() {
		args = append(args, "-no_ticket")
	}
	if v.n > 0 {
		args = append(args, "-sess_in", c.file)
	}
	if v.damage != nil {
		if err := editOpenSSL(c.file, c.form, *v.damage); err != nil {
			c.t.Fatal(err)
		}
	}
	p := process.Start(c.t, func(ctx context.Context) *exec.Cmd { return c.Command(ctx, "openssl", args...) })
	conn := c.l.accept(v.server)
	says := p.Match(opensslSays)[1]
	talk(c.t, conn, p, v.n)
	c.l.release(conn)
	p.End() // it waits for our goodbye
	return conn.ConnectionState(), says == "Reused"
}

// talk exchanges data between a connection and a process that types and prints.
func talk(t testing.TB, conn net.Conn, p *process.Process, n int) {
	t.Helper()
	p.Say(fmt.Sprintf("from-%d", n))
	receive(t, conn, fmt.Sprintf("from-%d\n", n))
	send(t, conn, fmt.Sprintf("to-%d\n", n))
	p.Expect(fmt.Sprintf("to-%d\n", n))
}

// Where things are in OpenSSL's encoding of a session (ssl/ssl_asn1.c).
const (
	sessionIDAt = 3  // the fourth element
	ticketTag   = 10 // of an octet string
)

// editOpenSSL damages the session in a file of OpenSSL.
func editOpenSSL(file string, f form, d damage) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return fmt.Errorf("%s is not PEM", file)
	}
	var elements []asn1.RawValue
	if _, err := asn1.Unmarshal(block.Bytes, &elements); err != nil {
		return err
	}
	edited := 0
	for i := range elements {
		e := &elements[i]
		e.FullBytes = nil
		switch {
		case f.byID() && i == sessionIDAt:
			e.Bytes = d.apply(e.Bytes)
			edited++
		case !f.byID() && e.Class == asn1.ClassContextSpecific && e.Tag == ticketTag:
			var ticket []byte
			if _, err := asn1.Unmarshal(e.Bytes, &ticket); err != nil {
				return err
			}
			if e.Bytes, err = asn1.Marshal(d.apply(ticket)); err != nil {
				return err
			}
			edited++
		}
	}
	if edited != 1 {
		return fmt.Errorf("%s has %d tickets or IDs", file, edited)
	}
	if block.Bytes, err = asn1.Marshal(elements); err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
}

// gnutlsClient is gnutls-cli, which stays and connects a second time when it is
// told to.
type gnutlsClient struct {
	t testing.TB
	*release
	l    *listener
	form form
	p    *process.Process
}

func (r *release) newGnuTLS(t testing.TB, l *listener, f form) visitor {
	return &gnutlsClient{t: t, release: r, l: l, form: f}
}

func gnutlsCannot(_ form, s *situation) string {
	if s.other {
		return "gnutls-cli comes back under the same name"
	}
	return ""
}

func (c *gnutlsClient) visit(v visit) (handoff.ConnectionState, bool) {
	if c.p == nil {
		c.p = c.start(v.name)
	} else {
		c.p.Say("^resume^")
	}
	conn := c.l.accept(v.server)
	talk(c.t, conn, c.p, v.n)
	// It says goodbye when it is told to come back, and waits for the answer.
	c.l.release(conn)
	if v.n > 0 {
		says := strings.Contains(c.p.End(), "*** This is a resumed session")
		return conn.ConnectionState(), says
	}
	return conn.ConnectionState(), false
}

func (c *gnutlsClient) start(name string) *process.Process {
	args := []string{
		"--inline-commands", "--x509cafile", roots, "--sni-hostname", name, "--verify-hostname", name, "--alpn", protocol,
		"--x509certfile", person.file, "--x509keyfile", person.file, "-p", c.l.port(), "127.0.0.1",
	}
	priority := c.form.priority()
	if c.form.byID() {
		priority += ":%NO_TICKETS"
	}
	args = append([]string{"--priority", priority}, args...)
	return process.Start(c.t, func(ctx context.Context) *exec.Cmd { return c.Command(ctx, "gnutls-cli", args...) })
}

// curlClient is curl, which gets two things one after another, each with a
// connection of its own.
type curlClient struct {
	t testing.TB
	*release
	l    *listener
	form form
	p    *process.Process
}

func (r *release) newCurl(t testing.TB, l *listener, f form) visitor {
	return &curlClient{t: t, release: r, l: l, form: f}
}

func curlCannot(f form, s *situation) string {
	switch {
	case f.version == tls.VersionTLS12 && !f.byID():
		return "curl takes no tickets of TLS 1.2"
	case s.other:
		return "curl keeps sessions by name: it does not offer one under another"
	}
	return ""
}

func (c *curlClient) visit(v visit) (handoff.ConnectionState, bool) {
	if c.p == nil {
		c.p = c.start(v.name)
	}
	conn := c.l.accept(v.server)
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil || req.URL.Path != fmt.Sprintf("/from-%d", v.n) {
		c.t.Fatalf("curl's request: %v, %v", req, err)
	}
	body := fmt.Sprintf("to-%d\n", v.n)
	send(c.t, conn, fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	conn.Close()
	out := c.p.Expect(body)
	full := strings.Count(out, "(IN), TLS handshake, Certificate (11)")
	return conn.ConnectionState(), full == v.n
}

func (c *curlClient) start(name string) *process.Process {
	version := map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[c.form.version]
	args := []string{
		"-svN", "--disable", "--http1.1", "--cacert", roots, "--cert", person.file, "--tlsv" + version, "--tls-max", version,
		"--noproxy", "*", "--resolve", name + ":" + c.l.port() + ":127.0.0.1",
	}
	for n := range 2 {
		args = append(args, fmt.Sprintf("https://%s:%s/from-%d", name, c.l.port(), n))
	}
	return process.Start(c.t, func(ctx context.Context) *exec.Cmd { return c.Command(ctx, "curl", args...) })
}

// stdClient is a client of crypto/tls. It is a cache of one session, whatever
// the server's name.
type stdClient struct {
	t       testing.TB
	l       *listener
	form    form
	session *tls.ClientSessionState
}

func (c *stdClient) Get(string) (*tls.ClientSessionState, bool) { return c.session, c.session != nil }
func (c *stdClient) Put(_ string, cs *tls.ClientSessionState)   { c.session = cs }

func newStd(t testing.TB, l *listener, f form) visitor { return &stdClient{t: t, l: l, form: f} }

func stdCannot(f form, s *situation) string {
	switch {
	case f.byID():
		return "crypto/tls has no session IDs"
	case s.name == "emptied" && f.version == tls.VersionTLS13:
		return "crypto/tls then sends an empty identity, which is an error (RFC 9846, section 4.3.11)"
	}
	return ""
}

func (c *stdClient) visit(v visit) (handoff.ConnectionState, bool) {
	if v.damage != nil {
		ticket, state, err := c.session.ResumptionState()
		if err == nil {
			c.session, err = tls.NewResumptionState(v.damage.apply(append([]byte(nil), ticket...)), state)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	cfg := &tls.Config{
		RootCAs: authority.Pool(), ServerName: v.name, NextProtos: []string{protocol}, Certificates: []tls.Certificate{person.cert},
		MinVersion: c.form.version, MaxVersion: c.form.version, ClientSessionCache: c,
	}
	raw, err := net.Dial("tcp", c.l.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	conn := tls.Client(raw, cfg)
	done := make(chan error, 1)
	go func() { done <- conn.Handshake() }()
	ours := c.l.accept(v.server)
	if err := <-done; err != nil {
		c.t.Fatal(err)
	}
	send(c.t, conn, "from\n")
	receive(c.t, ours, "from\n")
	send(c.t, ours, "to\n")
	receive(c.t, conn, "to\n")
	conn.Close()
	ours.Close()
	return ours.ConnectionState(), conn.ConnectionState().DidResume
}
