package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/kernel"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asCommand makes the test binary be the command, so that tests run it as users
// do, and with the race detector if they have that.
const asCommand = "HANDOFF_TEST_AS_COMMAND"

// timeout is for what hangs; nothing here takes nearly as long.
const timeout = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		// A child must not outlive a test binary that crashed.
		time.AfterFunc(2*timeout, func() { os.Exit(99) })
		main()
	}
	os.Exit(m.Run())
}

// command returns the command to be started, with environment settings first.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	// The race detector would sleep for a second at each end.
	env := append(os.Environ(), asCommand+"=1", "SSLKEYLOGFILE=", "GORACE=atexit_sleep_ms=0")
	for len(args) > 0 && strings.Contains(args[0], "=") {
		env, args = append(env, args[0]), args[1:]
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = env
	return cmd
}

// result is what came of a command.
type result struct {
	stdout, stderr string
	status         int
}

// handoff runs the command to its end.
func handoff(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	return runCommand(t, command(t, args...), stdin)
}

func runCommand(t *testing.T, cmd *exec.Cmd, stdin io.Reader) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want checks the exit status, and that an error is one line.
func (r result) want(t *testing.T, status int, errText string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, want %d\nstdout: %.500s\nstderr: %s", r.status, status, r.stdout, r.stderr)
	}
	var complaints []string
	for line := range strings.Lines(r.stderr) {
		if strings.HasPrefix(line, "handoff: ") {
			complaints = append(complaints, line)
		}
	}
	if status == exitOK {
		if len(complaints) > 0 {
			t.Errorf("complains: %q", complaints)
		}
		return
	}
	if len(complaints) != 1 || !strings.Contains(complaints[0], errText) {
		t.Errorf("complains: %q, want one line with %q", complaints, errText)
	}
}

// tool returns a command that some tests compare with.
func tool(t *testing.T, name, debianPackage string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	if err != nil {
		t.Fatalf("%s is needed for this test: install the Debian package %s", name, debianPackage)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

func curl(t *testing.T, args ...string) result {
	t.Helper()
	return runCommand(t, tool(t, "curl", "curl", append([]string{"-sS"}, args...)...), nil)
}

func openssl(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	return runCommand(t, tool(t, "openssl", "openssl", args...), stdin)
}

// background is a process that serves until the test ends.
type background struct {
	cmd  *exec.Cmd
	addr string

	errors safeBuffer // its standard error
	end    sync.Once
}

// safeBuffer is a buffer that is written and read at the same time.
type safeBuffer struct {
	mutex sync.Mutex
	buf   bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.String()
}

// start starts a server and waits until it prints its address, which ready
// finds in a line of standard output.
func start(t *testing.T, cmd *exec.Cmd, ready *regexp.Regexp) *background {
	t.Helper()
	b := &background{cmd: cmd}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &b.errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		b.wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if m := ready.FindStringSubmatch(lines.Text()); m != nil {
			b.addr = m[1]
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return b
		}
	}
	b.wait()
	t.Fatalf("%s ended before it was ready: %s", cmd, b.stderr())
	return nil
}

func (b *background) stderr() string { return b.errors.String() }

// await waits until the process has printed something to standard error, which
// is not read in step with standard output, and returns its groups.
func (b *background) await(t *testing.T, pattern *regexp.Regexp) []string {
	t.Helper()
	for end := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		if m := pattern.FindStringSubmatch(b.stderr()); m != nil {
			return m
		}
		if time.Now().After(end) {
			t.Fatalf("there is no %s in %q", pattern, b.stderr())
		}
	}
}

// needKernel skips a test where the kernel has no TLS, and says so. In the lab
// it must have it.
func needKernel(t *testing.T) {
	t.Helper()
	switch r := kernel.Probe(); {
	case r.Available:
	case os.Getenv("HANDOFF_LAB") != "":
		t.Fatalf("no kernel TLS in the lab: %s", r.Reason)
	default:
		t.Skipf("NOT TESTED HERE: %s (make lab boots kernels that have it)", r.Reason)
	}
}

// wait waits for the process to end and returns its exit status.
func (b *background) wait() int {
	b.end.Do(func() { _ = b.cmd.Wait() })
	return b.cmd.ProcessState.ExitCode()
}

// stop asks the process to end and returns its exit status.
func (b *background) stop(t *testing.T, s os.Signal) int {
	t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	return b.wait()
}

func (b *background) port() string {
	_, port, _ := net.SplitHostPort(b.addr)
	return port
}

func (b *background) url(path string) string { return "https://localhost:" + b.port() + path }

// serve starts "handoff serve" on any port.
func serve(t *testing.T, args ...string) *background {
	t.Helper()
	i := 0
	for strings.Contains(args[i], "=") {
		i++
	}
	args = append(args[:i:i], append([]string{"serve", "--addr", "127.0.0.1:0"}, args[i:]...)...)
	return start(t, command(t, args...), regexp.MustCompile(`^listening on (127\.0\.0\.1:\d+)$`))
}

// opensslServer starts "openssl s_server" on any port, in a directory.
func opensslServer(t *testing.T, dir string, args ...string) *background {
	t.Helper()
	cmd := tool(t, "openssl", "openssl", append([]string{"s_server", "-accept", "127.0.0.1:0"}, args...)...)
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe() // it ends with its input
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	return start(t, cmd, regexp.MustCompile(`^ACCEPT (\S+:\d+)$`))
}

// goServer serves crypto/tls connections one after the other.
func goServer(t *testing.T, config *stdtls.Config, handle func(*stdtls.Conn)) *background {
	t.Helper()
	return rawServer(t, func(c net.Conn) {
		conn := stdtls.Server(c, config)
		if conn.Handshake() == nil {
			handle(conn)
		}
	})
}

// rawServer serves TCP connections one after the other.
func rawServer(t *testing.T, handle func(net.Conn)) *background {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(timeout))
			handle(c)
			c.Close()
		}
	}()
	return &background{addr: l.Addr().String()}
}

// pki is an authority and what it signed, as files.
type pki struct {
	dir                   string
	ca, cert, key         string // for a server on this machine
	clientCert, clientKey string
	pool                  *x509.CertPool
	server                stdtls.Certificate
	authority             *x509.Certificate
	authorityKey          *ecdsa.PrivateKey
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir(), pool: x509.NewCertPool()}
	p.ca, _ = p.issue(t, "ca", &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign})
	p.pool.AddCert(p.authority)
	p.cert, p.key = p.issue(t, "server", &x509.Certificate{
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	p.clientCert, p.clientKey = p.issue(t, "client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	var err error
	if p.server, err = stdtls.LoadX509KeyPair(p.cert, p.key); err != nil {
		t.Fatal(err)
	}
	return p
}

// issue makes a certificate and returns the names of its files. The first one
// becomes the authority.
func (p *pki) issue(t *testing.T, name string, template *x509.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "handoff test " + name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.BasicConstraintsValid = true
	parent, signer := p.authority, p.authorityKey
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if p.authority == nil {
		p.authorityKey = key
		if p.authority, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(p.dir, name+".pem"), filepath.Join(p.dir, name+".key")
	writeFile(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return certFile, keyFile
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// largeSize is more than sockets buffer.
const largeSize = 24 << 20

// directory makes a directory with a large and a small file. It returns the
// large one's SHA-256.
func directory(t *testing.T) (dir, sum string) {
	t.Helper()
	dir = t.TempDir()
	data := make([]byte, largeSize)
	_, _ = rand.Read(data)
	writeFile(t, filepath.Join(dir, "large"), data)
	writeFile(t, filepath.Join(dir, "small"), []byte("a few bytes\n"))
	return dir, checksum(string(data))
}

func checksum(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

// golden compares text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(readFile(t, file)); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}
