package openssl

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// limit bounds every test of a connection: what hangs fails, and says where.
const limit = 20 * time.Second

// how changes the way a process is started.
type how = func(*exec.Cmd)

// stdoutTo sends standard output to w instead of the transcript.
func stdoutTo(w io.Writer) how { return func(cmd *exec.Cmd) { cmd.Stdout = w } }

// in starts the process in a directory.
func in(dir string) how { return func(cmd *exec.Cmd) { cmd.Dir = dir } }

// start runs openssl with a pipe to its standard input, until the test ends.
func start(t testing.TB, args []string, hows ...how) *process.Process {
	t.Helper()
	return process.Start(t, func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, command, args...) }, hows...)
}

// server is openssl s_server.
type server struct {
	*process.Process
	addr string
}

// startServer starts openssl s_server on a port of its choice and waits until
// it listens.
func startServer(t testing.TB, args []string, hows ...how) *server {
	t.Helper()
	p := start(t, append([]string{"s_server", "-accept", "127.0.0.1:0"}, args...), hows...)
	m := p.Match(listening)
	return &server{p, "127.0.0.1:" + m[1]}
}

// listening is what s_server prints once it accepts connections.
var listening = regexp.MustCompile(`(?m)^ACCEPT 127\.0\.0\.1:(\d+)$`)

// dial connects to the server and handshakes.
func (s *server) dial(t testing.TB, cfg *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := s.try(t, cfg)
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return conn
}

// try is dial for handshakes that may fail.
func (s *server) try(t testing.TB, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return bounded(t, tls.Client(raw, cfg))
}

// bounded puts a limit on all that happens on conn, and handshakes.
func bounded(t testing.TB, conn *tls.Conn) (*tls.Conn, error) {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return conn, conn.Handshake()
}

// listener is a server of ours.
type listener struct {
	t testing.TB
	net.Listener
	cfg *tls.Config
}

func listen(t testing.TB, cfg *tls.Config) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &listener{t, l, cfg}
}

// client starts openssl s_client against the listener.
func (l *listener) client(args []string, hows ...how) *process.Process {
	l.t.Helper()
	return start(l.t, append([]string{"s_client", "-connect", l.Addr().String(), "-CAfile", pem.root}, args...), hows...)
}

// accept takes the next connection and handshakes.
func (l *listener) accept() *tls.Conn {
	l.t.Helper()
	conn, err := l.try()
	if err != nil {
		l.t.Fatalf("handshake: %v", err)
	}
	return conn
}

// try is accept for handshakes that should fail.
func (l *listener) try() (*tls.Conn, error) {
	l.t.Helper()
	if err := l.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(limit)); err != nil {
		l.t.Fatal(err)
	}
	raw, err := l.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	return bounded(l.t, tls.Server(raw, l.cfg))
}

// send writes text to a connection.
func send(t testing.TB, conn io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("sending %q: %v", text, err)
	}
}

// receive reads text from a connection.
func receive(t testing.TB, conn io.Reader, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	if n, err := io.ReadFull(conn, buf); err != nil {
		t.Fatalf("received %q instead of %q: %v", buf[:n], text, err)
	}
	if string(buf) != text {
		t.Fatalf("received %q instead of %q", buf, text)
	}
}

// reversed exchanges data with s_server -rev, which sends lines back in reverse.
func reversed(t testing.TB, conn io.ReadWriter) {
	t.Helper()
	send(t, conn, "stressed\n")
	receive(t, conn, "desserts\n")
}

// talk exchanges data between a connection and a process at its other end.
func talk(t testing.TB, conn io.ReadWriter, p *process.Process, word string) {
	t.Helper()
	send(t, conn, "to-"+word+"\n")
	p.Expect("to-" + word + "\n")
	p.Say("from-" + word)
	receive(t, conn, "from-"+word+"\n")
}

// What all tests share.
var (
	command   string         // openssl
	authority *pki.Authority // signs all certificates but the stranger's
	stranger  *pki.Authority
	pem       files
)

const serverName = "server.example"

// files are the PEM files that openssl reads.
type files struct {
	dir      string
	root     string // the authority's certificate
	identity map[pki.Kind]string
	strange  string // the stranger's certificate, with its key
	other    string // for other.example, with its key
}

// certs are the certificates in pem.identity.
var certs = map[pki.Kind]tls.Certificate{}

func writeFiles(dir string) (err error) {
	pem = files{dir: dir, root: filepath.Join(dir, "root.pem"), identity: map[pki.Kind]string{}}
	if authority, err = pki.New("Test Authority"); err != nil {
		return err
	}
	if stranger, err = pki.New("Stranger"); err != nil {
		return err
	}
	for _, kind := range pki.Kinds() {
		if certs[kind], err = authority.Issue(kind, serverName); err != nil {
			return err
		}
		if pem.identity[kind], err = writeIdentity(dir, string(kind), certs[kind]); err != nil {
			return err
		}
	}
	strange, err := stranger.Issue(pki.P256, "stranger", serverName)
	if err != nil {
		return err
	}
	if pem.strange, err = writeIdentity(dir, "stranger", strange); err != nil {
		return err
	}
	other, err := authority.Issue(pki.P256, "other.example")
	if err != nil {
		return err
	}
	if pem.other, err = writeIdentity(dir, "other", other); err != nil {
		return err
	}
	return os.WriteFile(pem.root, authority.PEM(), 0o600)
}

// writeIdentity writes a certificate and its key to one file.
func writeIdentity(dir, name string, cert tls.Certificate) (string, error) {
	chain, key, err := pki.PEM(cert)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".pem")
	return path, os.WriteFile(path, append(chain, key...), 0o600)
}

// identity is the arguments that give openssl a certificate.
func identity(kind pki.Kind) []string { return []string{"-cert", pem.identity[kind]} }

// Configs that fit what openssl is given.
func clientConfig() *tls.Config {
	return &tls.Config{RootCAs: authority.Pool(), ServerName: serverName}
}

func serverConfig(kind pki.Kind) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certs[kind]}}
}

// version is a protocol version in three dialects.
type version struct {
	id     uint16
	name   string // in the names of tests
	flag   string // of openssl
	banner string // what openssl calls it
}

var (
	tls12    = version{tls.VersionTLS12, "1.2", "-tls1_2", "TLSv1.2"}
	tls13    = version{tls.VersionTLS13, "1.3", "-tls1_3", "TLSv1.3"}
	versions = []version{tls12, tls13}
)

// pin restricts a Config to the version.
func (v version) pin(cfg *tls.Config) *tls.Config {
	cfg.MinVersion, cfg.MaxVersion = v.id, v.id
	return cfg
}

// results counts rows by test, for the summary.
var results = struct {
	sync.Mutex
	passed, failed map[string]int
}{passed: map[string]int{}, failed: map[string]int{}}

// row runs one row of a table beside others, and counts it.
func row(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		count(t)
		f(t)
	})
}

// count counts a test when it has ended.
func count(t *testing.T) {
	t.Cleanup(func() {
		results.Lock()
		defer results.Unlock()
		test, _, _ := strings.Cut(t.Name(), "/")
		if t.Failed() {
			results.failed[test]++
		} else {
			results.passed[test]++
		}
	})
}

// eachVersion runs a row per version.
func eachVersion(t *testing.T, f func(t *testing.T, v version)) {
	for _, v := range versions {
		row(t, v.name, func(t *testing.T) { f(t, v) })
	}
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if command, err = exec.LookPath("openssl"); err != nil {
		fmt.Println("these tests need the command openssl: install the Debian package openssl")
		return 1
	}
	dir, err := os.MkdirTemp("", "conformance-openssl")
	if err == nil {
		defer os.RemoveAll(dir)
		err = writeFiles(dir)
	}
	if err == nil {
		err = probe()
	}
	if err != nil {
		fmt.Println("preparing the tests:", err)
		return 1
	}
	code := m.Run()
	summary(os.Stdout)
	return code
}
