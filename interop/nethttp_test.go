package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// These tests are what README's section on migration tells programs that use
// net/http to do: its types demand crypto/tls's Config, and know its Conn only.

// stateConn gives net/http the state of a complete handshake: the server asks
// for it, in the connection's own goroutine, before it reads.
type stateConn struct{ *tls.Conn }

func (c stateConn) ConnectionState() tls.ConnectionState {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil { // then so does the first Read
		log.Printf("TLS handshake error from %v: %v", c.RemoteAddr(), err)
	}
	return c.Conn.ConnectionState()
}

type stateListener struct {
	net.Listener
	config *tls.Config
}

func (l stateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stateConn{tls.Server(c, l.config)}, nil
}

// identity makes a certificate for localhost that signs itself.
func identity(t *testing.T) (stdtls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "me"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func say(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil {
		fmt.Fprint(w, "cleartext")
		return
	}
	fmt.Fprintf(w, "%x %v %d", r.TLS.Version, r.TLS.HandshakeComplete, len(r.TLS.PeerCertificates))
}

func fetch(t *testing.T, client *http.Client, addr net.Addr) string {
	t.Helper()
	defer client.CloseIdleConnections()
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get("https://localhost:" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestServer serves by a stock http.Server what its crypto/tls Config says, to
// a stock client.
func TestServer(t *testing.T) {
	cert, pool := identity(t)
	std := &stdtls.Config{Certificates: []stdtls.Certificate{cert}, ClientAuth: stdtls.RequireAndVerifyClientCert, ClientCAs: pool}
	config, err := tls.FromStd(std)
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"http/1.1"}
	server := httptest.NewUnstartedServer(http.HandlerFunc(say))
	server.Listener = stateListener{server.Listener, config}
	server.Start()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &stdtls.Config{RootCAs: pool, Certificates: []stdtls.Certificate{cert}}}}
	if got, want := fetch(t, client, server.Listener.Addr()), "304 true 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPlainListener shows why the listener above is needed: with a plain one the
// handler sees the state from before the handshake.
func TestPlainListener(t *testing.T) {
	cert, pool := identity(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(say))
	server.Listener = tls.NewListener(server.Listener, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	server.Start()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &stdtls.Config{RootCAs: pool}}}
	if got, want := fetch(t, client, server.Listener.Addr()), "0 false 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTransport fetches by a stock http.Transport over our connections, from a
// stock server.
func TestTransport(t *testing.T) {
	cert, pool := identity(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(say))
	server.TLS = &stdtls.Config{Certificates: []stdtls.Certificate{cert}, ClientAuth: stdtls.RequireAnyClientCert}
	server.EnableHTTP2 = true // which we do not offer
	server.StartTLS()
	defer server.Close()
	config, err := tls.FromStd(&stdtls.Config{RootCAs: pool, Certificates: []stdtls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	dialer := &tls.Dialer{Config: config}
	client := &http.Client{Transport: &http.Transport{DialTLSContext: dialer.DialContext}}
	if got, want := fetch(t, client, server.Listener.Addr()), "304 true 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestShutdown checks that a stock server's orderly end works over our
// connections, idle ones included.
func TestShutdown(t *testing.T) {
	cert, pool := identity(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(say), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	transport := &http.Transport{TLSClientConfig: &stdtls.Config{RootCAs: pool, ServerName: "localhost"}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close() // the connection is kept
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-done; err != http.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
}
