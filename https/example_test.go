package https_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/https"
)

// newCertificate makes a throw-away certificate for localhost, and what trusts
// it.
func newCertificate() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func hello(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "hello by %s, %s", r.Proto, tls.VersionName(r.TLS.Version))
}

func ExampleServe() {
	cert, roots := newCertificate()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(hello), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error)
	go func() { done <- https.Serve(srv, ln, &tls.Config{Certificates: []tls.Certificate{cert}}) }()

	client := &http.Client{Transport: https.NewTransport(&tls.Config{RootCAs: roots}, nil)}
	resp, err := client.Get("https://" + ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", body)

	client.CloseIdleConnections()
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-done)
	// Output:
	// hello by HTTP/2.0, TLS 1.3
	// http: Server closed
}

// A Transport behaves as the http.Transport that it is given: here, it speaks
// HTTP/1.1 only.
func ExampleNewTransport() {
	server := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	base := &http.Transport{Protocols: new(http.Protocols), IdleConnTimeout: time.Minute}
	base.Protocols.SetHTTP1(true)
	client := &http.Client{Transport: https.NewTransport(&tls.Config{RootCAs: roots}, base)}
	defer client.CloseIdleConnections()
	resp, err := client.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, verified: %v\n", body, len(resp.TLS.VerifiedChains) > 0)
	// Output: hello by HTTP/1.1, TLS 1.3, verified: true
}

// The listener of a test server is replaced before it starts.
func ExampleNewListener() {
	cert, roots := newCertificate()
	server := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	server.Listener = https.NewListener(server.Config, server.Listener, &tls.Config{Certificates: []tls.Certificate{cert}})
	server.Start()
	defer server.Close()

	client := &http.Client{Transport: https.NewTransport(&tls.Config{RootCAs: roots}, nil)}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + server.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Proto, resp.Status)
	// Output: HTTP/2.0 200 OK
}

// Where a connection's records are protected, for each request.
func ExampleConn() {
	type connKey struct{}
	srv := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, https.Conn(c))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn := r.Context().Value(connKey{}).(*tls.Conn)
			fmt.Fprintln(w, conn.Offload().TX.Where)
		}),
	}
	_ = srv // to be served by https.Serve
}
