package resumption

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	handoff "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// peer is a server that our client is tested with.
type peer struct {
	name string
	// keeps says that ticket keys can be given to it; otherwise they end with
	// the process.
	keeps bool
	// lax says that it overlooks what follows a ticket.
	lax    bool
	cannot func(form, *revisit) string
	start  func(testing.TB, options) running
}

// options say how a server is started.
type options struct {
	form      form
	who       *identity
	protocols string        // separated by commas
	demand    bool          // a client certificate
	keys      string        // of tickets, one letter each: the first one seals, all open
	late      time.Duration // how far its clock is ahead
}

// running is a server that runs until the test ends.
type running interface {
	addr() string
	// exchange moves data in both directions on our connection to it, and tells
	// whether it says that the connection was resumed.
	exchange(conn *handoff.Conn, n int) (resumed bool)
}

// servers are all peers that our client is tested with.
func servers() (list []*peer) {
	for _, r := range releases {
		list = append(list, &peer{name: r.openssl, cannot: processCannot, start: r.startOpenSSL})
	}
	for _, r := range releases {
		list = append(list, &peer{name: r.gnutls, lax: true, cannot: gnutlsServerCannot, start: r.startGnuTLS})
	}
	return append(list, &peer{name: "crypto/tls", keeps: true, cannot: stdServerCannot, start: startStd})
}

func processCannot(_ form, s *revisit) string {
	switch {
	case s.keeps:
		return "the server's ticket keys end with its process"
	case s.name == "expired there":
		return "the server's clock is the machine's"
	}
	return ""
}

// opensslServer is openssl s_server.
type opensslServer struct {
	t       testing.TB
	p       *process.Process
	at      string
	resumed int // so many connections so far
}

var opensslListens = regexp.MustCompile(`(?m)^ACCEPT (127\.0\.0\.1:\d+)$`)

func (r *release) startOpenSSL(t testing.TB, o options) running {
	args := []string{"s_server", "-accept", "127.0.0.1:0", "-cert", o.who.file, "-alpn", o.protocols, o.form.flag()}
	if o.form.kind != sealed {
		args = append(args, "-no_ticket")
	}
	if o.demand {
		args = append(args, "-Verify", "1", "-CAfile", roots, "-verify_return_error")
	}
	p := process.Start(t, func(ctx context.Context) *exec.Cmd { return r.Command(ctx, "openssl", args...) })
	return &opensslServer{t: t, p: p, at: p.Match(opensslListens)[1]}
}

func (s *opensslServer) addr() string { return s.at }

func (s *opensslServer) exchange(conn *handoff.Conn, n int) bool {
	talk(s.t, conn, s.p, n)
	return s.counts("Reused session-id")
}

// counts reports whether a resumed connection was added to those before.
func (s *opensslServer) counts(mark string) bool {
	before := s.resumed
	s.resumed = strings.Count(s.p.Output(), mark)
	return s.resumed > before
}

// gnutlsServer is gnutls-serv, which sends back what it gets.
type gnutlsServer struct{ opensslServer }

var gnutlsListens = regexp.MustCompile(`(?m)bound to port (\d+)\ndone$`)

func gnutlsServerCannot(f form, s *revisit) string {
	if f == handle13 {
		return "GnuTLS keeps no sessions of TLS 1.3"
	}
	return processCannot(f, s)
}

func (r *release) startGnuTLS(t testing.TB, o options) running {
	priority := o.form.priority()
	if o.form.byID() {
		priority += ":%NO_TICKETS"
	}
	args := []string{"--echo", "-p", "0", "--priority", priority, "--x509certfile", o.who.file, "--x509keyfile", o.who.file}
	for p := range strings.SplitSeq(o.protocols, ",") {
		args = append(args, "--alpn", p)
	}
	if o.demand {
		args = append(args, "--require-client-cert", "--verify-client-cert", "--x509cafile", roots)
	} else {
		args = append(args, "--disable-client-cert")
	}
	p := process.Start(t, func(ctx context.Context) *exec.Cmd {
		cmd := r.Command(ctx, "gnutls-serv", args...)
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+loopback)
		return cmd
	})
	return &gnutlsServer{opensslServer{t: t, p: p, at: "127.0.0.1:" + p.Match(gnutlsListens)[1]}}
}

func (s *gnutlsServer) exchange(conn *handoff.Conn, n int) bool {
	line := fmt.Sprintf("line-%d\n", n)
	send(s.t, conn, line)
	receive(s.t, conn, line)
	s.p.Expect("received cmd: " + line)
	return s.counts("*** This is a resumed session")
}

// buildLoopback makes a library that keeps gnutls-serv off other interfaces.
func buildLoopback(dir string) (string, error) {
	library := filepath.Join(dir, "loopback.so")
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, "testdata/loopback.c").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gcc, of the Debian packages gcc and libc6-dev: %w\n%s", err, out)
	}
	return library, nil
}

// stdServer is a server of crypto/tls, which sends back what it gets.
type stdServer struct {
	t       testing.TB
	l       net.Listener
	resumed atomic.Bool // the last connection
}

func stdServerCannot(f form, _ *revisit) string {
	if f.kind != sealed {
		return "crypto/tls keeps no sessions on servers"
	}
	return ""
}

func startStd(t testing.TB, o options) running {
	cfg := &tls.Config{
		Certificates: []tls.Certificate{o.who.cert}, NextProtos: strings.Split(o.protocols, ","),
		MinVersion: o.form.version, MaxVersion: o.form.version,
		Time: func() time.Time { return time.Now().Add(o.late) },
	}
	if o.demand {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
	}
	var keys [][32]byte
	for _, letter := range []byte(o.keys) {
		keys = append(keys, [32]byte{letter})
	}
	cfg.SetSessionTicketKeys(keys)
	s := &stdServer{t: t, l: listen(t)}
	go s.serve(cfg)
	return s
}

func (s *stdServer) serve(cfg *tls.Config) {
	for {
		raw, err := s.l.Accept()
		if err != nil {
			return // the test has ended
		}
		conn := tls.Server(raw, cfg)
		if err := conn.Handshake(); err == nil { // the client's side tells
			s.resumed.Store(conn.ConnectionState().DidResume)
			_, _ = io.Copy(conn, conn)
		}
		conn.Close()
	}
}

func (s *stdServer) addr() string { return s.l.Addr().String() }

func (s *stdServer) exchange(conn *handoff.Conn, n int) bool {
	line := fmt.Sprintf("line-%d\n", n)
	send(s.t, conn, line)
	receive(s.t, conn, line)
	return s.resumed.Load()
}
