package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/https"
)

// These tests are what README's section on migration tells programs that use
// net/http to do: its types demand crypto/tls's Config, and know its Conn only.
// Package https's own tests go into detail.

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

// writeFiles writes a certificate and its key in PEM.
func writeFiles(t *testing.T, cert stdtls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func say(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %x %v %d", r.Proto, r.TLS.Version, r.TLS.HandshakeComplete, len(r.TLS.PeerCertificates))
}

func fetch(t *testing.T, client *http.Client, addr net.Addr) (body string, resp *http.Response) {
	t.Helper()
	defer client.CloseIdleConnections()
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = client.Get("https://localhost:" + port); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), resp
}

func stockClient(config *stdtls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

// TestServer serves by a stock http.Server what its crypto/tls Config says, to
// a stock client, and ends in an orderly way.
func TestServer(t *testing.T) {
	cert, pool := identity(t)
	certFile, keyFile := writeFiles(t, cert)
	server := &http.Server{
		Handler:   http.HandlerFunc(say),
		TLSConfig: &stdtls.Config{ClientAuth: stdtls.RequireAndVerifyClientCert, ClientCAs: pool},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- https.ServeTLS(server, ln, certFile, keyFile) }()
	client := stockClient(&stdtls.Config{RootCAs: pool, Certificates: []stdtls.Certificate{cert}})
	if got, _ := fetch(t, client, ln.Addr()); got != "HTTP/2.0 304 true 1" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-done; err != http.ErrServerClosed {
		t.Errorf("ServeTLS: %v", err)
	}
}

// TestListenAndServe is the example: what cannot be served is an error.
func TestListenAndServe(t *testing.T) {
	server := &http.Server{Addr: "127.0.0.1:0"}
	if err := https.ListenAndServeTLS(server, "cert.pem", "key.pem"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without files: %v", err)
	}
}

// TestTestServer replaces a test server's listener, and asks for the connection
// behind a request.
func TestTestServer(t *testing.T) {
	cert, pool := identity(t)
	type connKey struct{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %v", r.Proto, r.Context().Value(connKey{}).(*tls.Conn).Details().PeerSignatureScheme)
	}))
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, https.Conn(c))
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
	server.Listener = https.NewListener(server.Config, server.Listener, config)
	server.Start()
	defer server.Close()
	client := stockClient(&stdtls.Config{RootCAs: pool, Certificates: []stdtls.Certificate{cert}})
	if got, _ := fetch(t, client, server.Listener.Addr()); got != "HTTP/2.0 ECDSAWithP256AndSHA256" {
		t.Errorf("got %q", got)
	}
}

// TestPlainListener shows why package https is needed: with a listener of package
// tls the handler sees the state from before the handshake.
func TestPlainListener(t *testing.T) {
	cert, pool := identity(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(say))
	server.Listener = tls.NewListener(server.Listener, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	server.Start()
	defer server.Close()
	client := stockClient(&stdtls.Config{RootCAs: pool})
	if got, _ := fetch(t, client, server.Listener.Addr()); got != "HTTP/1.1 0 false 0" {
		t.Errorf("got %q", got)
	}
}

// TestTransport fetches over our connections, as a stock http.Transport would,
// from stock servers with and without HTTP/2.
func TestTransport(t *testing.T) {
	cert, pool := identity(t)
	config, err := tls.FromStd(&stdtls.Config{RootCAs: pool, Certificates: []stdtls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: https.NewTransport(config, &http.Transport{ResponseHeaderTimeout: 20 * time.Second})}
	for http2, want := range map[bool]string{true: "HTTP/2.0 304 true 1", false: "HTTP/1.1 304 true 1"} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(say))
		server.TLS = &stdtls.Config{Certificates: []stdtls.Certificate{cert}, ClientAuth: stdtls.RequireAnyClientCert}
		server.EnableHTTP2 = http2
		server.StartTLS()
		defer server.Close()
		got, resp := fetch(t, client, server.Listener.Addr())
		if got != want || resp.TLS == nil || len(resp.TLS.VerifiedChains) != 1 {
			t.Errorf("got %q, want %q; state %+v", got, want, resp.TLS)
		}
	}
}
