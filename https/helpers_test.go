package https

import (
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
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// patience bounds waits that end at once unless something is broken.
const patience = 20 * time.Second

// identity is a certificate for this machine, which clients use too, and what
// trusts it.
type identity struct {
	cert            tls.Certificate
	pool            *x509.CertPool
	certPEM, keyPEM []byte
}

var newIdentity = sync.OnceValue(func() *identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "me"}, DNSNames: []string{"localhost", "xn--bcher-kva.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	id := &identity{
		pool:    x509.NewCertPool(),
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	if id.cert, err = tls.X509KeyPair(id.certPEM, id.keyPEM); err != nil {
		panic(err)
	}
	id.pool.AppendCertsFromPEM(id.certPEM)
	return id
})

func serverConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{newIdentity().cert}}
}

func clientConfig() *tls.Config { return &tls.Config{RootCAs: newIdentity().pool} }

// logBuffer is where a server's log goes.
type logBuffer struct {
	mutex sync.Mutex
	buf   bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buf.String()
}

// server is ours under test.
type server struct {
	*http.Server
	addr string
	log  logBuffer
	done chan error // what Serve returned
}

func (s *server) url(path string) string { return "https://" + s.addr + path }

func listenLoopback(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve starts a server. Those that configure it may change both.
func serve(t testing.TB, h http.HandlerFunc, configure ...func(*http.Server, *tls.Config)) *server {
	t.Helper()
	ln := listenLoopback(t)
	s := &server{Server: &http.Server{Handler: h}, addr: ln.Addr().String(), done: make(chan error, 1)}
	s.ErrorLog = logTo(&s.log)
	config := serverConfig()
	for _, f := range configure {
		f(s.Server, config)
	}
	go func() { s.done <- Serve(s.Server, ln, config) }()
	t.Cleanup(func() {
		s.Close()
		if err := wait(t, s.done); err != http.ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s
}

// wait returns what comes from ch, or fails the test.
func wait[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		stacks := make([]byte, 1<<20)
		t.Fatalf("nothing happens\n%s", stacks[:runtime.Stack(stacks, true)])
	}
	return v
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// versions are those of HTTP.
var versions = []struct {
	proto     string
	protocols *http.Protocols
}{{"HTTP/1.1", only((*http.Protocols).SetHTTP1)}, {"HTTP/2.0", only((*http.Protocols).SetHTTP2)}}

func only(set func(*http.Protocols, bool)) *http.Protocols {
	p := new(http.Protocols)
	set(p, true)
	return p
}

// stockClient is net/http's over crypto/tls.
func stockClient(t testing.TB, p *http.Protocols) *http.Client {
	return newClient(t, &http.Transport{
		TLSClientConfig: &stdtls.Config{RootCAs: newIdentity().pool, Certificates: []tls.Certificate{newIdentity().cert}},
		Protocols:       p,
	})
}

// ourClient is net/http's over ours.
func ourClient(t testing.TB, p *http.Protocols) *http.Client {
	config := clientConfig()
	config.Certificates = []tls.Certificate{newIdentity().cert}
	return newClient(t, NewTransport(config, &http.Transport{Protocols: p}))
}

func newClient(t testing.TB, rt http.RoundTripper) *http.Client {
	c := &http.Client{Transport: rt, Timeout: 3 * patience}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// get fetches a URL and returns the response, whose body was read.
func get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp, readBody(t, resp)
}

func readBody(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// pair is one of the combinations under test.
type pair struct {
	name   string
	proto  string
	server *server
	client *http.Client
}

// pairs runs a test with a server of ours and each kind of client, by each
// version of HTTP.
func pairs(t *testing.T, h http.HandlerFunc, f func(t *testing.T, p pair)) {
	for name, client := range map[string]func(testing.TB, *http.Protocols) *http.Client{"stock": stockClient, "ours": ourClient} {
		for _, v := range versions {
			t.Run(name+" "+v.proto, func(t *testing.T) {
				f(t, pair{name, v.proto, serve(t, h), client(t, v.protocols)})
			})
		}
	}
}

// pattern is a stream of end bytes. Its period is a prime, so that what is
// lost, doubled or moved shows.
type pattern struct{ n, end int64 }

var period = sync.OnceValue(func() []byte {
	b := make([]byte, 1<<20+7)
	_, _ = rand.Read(b) // it never fails
	return b
})

func (p *pattern) Read(b []byte) (int, error) {
	if p.n == p.end {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.end-p.n)]
	n := copy(b, period()[p.n%int64(len(period())):])
	p.n += int64(n)
	return n, nil
}

func checksum(t testing.TB, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Error(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// leaks fails the test if goroutines are left behind.
func leaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines, there were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

func withTimeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func contains(t testing.TB, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("there is no %q in %q", want, text)
	}
}

func logTo(w io.Writer) *log.Logger { return log.New(w, "", 0) }
