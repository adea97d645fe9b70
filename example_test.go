package tls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
	"github.com/go-handoff/tls/session"
)

// newCertificate makes a throw-away certificate for localhost, and what trusts
// it.
func newCertificate() (tls.Certificate, *x509.CertPool) {
	certPEM, keyPEM, pool := newCertificatePEM()
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		log.Fatal(err)
	}
	return cert, pool
}

func newCertificatePEM() (certPEM, keyPEM []byte, pool *x509.CertPool) {
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
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		log.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certPEM, keyPEM, pool
}

// greet serves one connection after the other: it says hello to whoever says
// a name.
func greet(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		name := make([]byte, 5)
		if _, err := io.ReadFull(conn, name); err == nil {
			fmt.Fprintf(conn, "hello, %s", name)
		}
		conn.Close()
	}
}

func ExampleDial() {
	cert, roots := newCertificate()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go greet(l)

	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "Alice"); err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	fmt.Printf("%s, by %s\n", answer, tls.VersionName(conn.ConnectionState().Version))
	fmt.Println(err)
	// Output:
	// hello, Alice, by TLS 1.3
	// <nil>
}

func ExampleListen() {
	cert, roots := newCertificate()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(conn, "some data")
		conn.Close()
	}()
	conn, err := l.Accept()
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	data, err := io.ReadAll(conn)
	fmt.Printf("%s, %v\n", data, err)
	// Output: some data, <nil>
}

func ExampleDialer() {
	cert, roots := newCertificate()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"greeting"}})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go greet(l)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: []string{"greeting"}}}
	conn, err := d.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(conn.(*tls.Conn).ConnectionState().NegotiatedProtocol)
	// Output: greeting
}

// pair returns both ends of a connection in this process.
func pair(client, server *tls.Config) (*tls.Conn, *tls.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		log.Fatal(err)
	}
	c, s := tls.Client(a, client), tls.Server(b, server)
	go s.Handshake()
	if err := c.Handshake(); err != nil {
		log.Fatal(err)
	}
	if err := s.Handshake(); err != nil {
		log.Fatal(err)
	}
	return c, s
}

func ExampleServer() {
	cert, roots := newCertificate()
	a, b := net.Pipe()
	server := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}})
	go func() {
		defer server.Close()
		fmt.Fprint(server, "over any net.Conn")
	}()
	client := tls.Client(a, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	data, err := io.ReadAll(client)
	fmt.Printf("%s, %v\n", data, err)
	// Output: over any net.Conn, <nil>
}

func ExampleClient() {
	cert, _ := newCertificate()
	a, b := net.Pipe()
	go tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
	client := tls.Client(a, &tls.Config{ServerName: "localhost"}) // trusts the system's roots
	fmt.Println(client.Handshake())
	// Output: tls: failed to verify certificate: x509: certificate signed by unknown authority
}

func ExampleX509KeyPair() {
	certPEM, keyPEM, _ := newCertificatePEM()
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	fmt.Println(cert.Leaf.DNSNames, err)
	// Output: [localhost] <nil>
}

func ExampleConfig_Clone() {
	base := &tls.Config{NextProtos: []string{"h2"}}
	other := base.Clone()
	other.ServerName = "example.com"
	fmt.Printf("%q %q\n", base.ServerName, other.NextProtos)
	// Output: "" ["h2"]
}

func ExampleConfig_SetSessionTicketKeys() {
	cert, roots := newCertificate()
	var newKey, oldKey [32]byte
	copy(newKey[:], "from where all the servers get it") // in fact: random
	copy(oldKey[:], "what the servers had before that one")
	before := &tls.Config{Certificates: []tls.Certificate{cert}}
	before.SetSessionTicketKeys([][32]byte{oldKey})
	after := &tls.Config{Certificates: []tls.Certificate{cert}}
	after.SetSessionTicketKeys([][32]byte{newKey, oldKey})

	client := &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	for _, server := range []*tls.Config{before, after} {
		c, s := pair(client, server)
		fmt.Println("resumed:", c.ConnectionState().DidResume)
		s.Close()
		io.ReadAll(c) // the ticket comes with what is read
		c.Close()
	}
	// Output:
	// resumed: false
	// resumed: true
}

func ExampleConfig_EncryptTicket() {
	cert, roots := newCertificate()
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	// Tickets carry something of the application's along.
	server.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, []byte("example: visited"))
		return server.EncryptTicket(cs, ss)
	}
	server.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := server.DecryptTicket(ticket, cs)
		if ss != nil {
			fmt.Printf("%q\n", ss.Extra)
		}
		return ss, err
	}
	client := &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	for range 2 {
		c, s := pair(client, server)
		s.Close()
		io.ReadAll(c)
		c.Close()
	}
	// Output: ["example: visited"]
}

func ExampleConfig_externalPSK() {
	key := tls.ExternalPSK{
		Identity: []byte("device 7"),
		Secret:   []byte("32 bytes that both sides agree on"),
		Import:   true,
	}
	server := &tls.Config{GetExternalPSK: func(_ context.Context, identity []byte) (*tls.ExternalPSK, error) {
		if string(identity) == "device 7" {
			return &key, nil
		}
		return nil, nil
	}}
	client := &tls.Config{ExternalPSKs: []tls.ExternalPSK{key}, ExternalPSKOnly: true}
	c, _ := pair(client, server)
	fmt.Println("certificates:", len(c.ConnectionState().PeerCertificates))
	// Output: certificates: 0
}

func ExampleConfig_serverSessionCache() {
	cert, _ := newCertificate()
	config := &tls.Config{
		Certificates:       []tls.Certificate{cert},
		ServerSessionCache: session.NewServerCache(1000, time.Hour),
	}
	fmt.Println(config) // a Config does not print
	// Output: redacted
}

func ExampleConfig_recordPadding() {
	cert, roots := newCertificate()
	client := &tls.Config{
		RootCAs: roots, ServerName: "localhost",
		// The length of a message says only in which kilobyte it is.
		RecordPadding: func(n int) int { return (1024 - n%1024) % 1024 },
	}
	c, s := pair(client, &tls.Config{Certificates: []tls.Certificate{cert}})
	fmt.Fprint(c, "short")
	buf := make([]byte, 100)
	n, err := s.Read(buf)
	fmt.Printf("%s, %v\n", buf[:n], err)
	// Output: short, <nil>
}

func ExampleConfig_keyLogWriter() {
	cert, roots := newCertificate()
	var keys strings.Builder
	pair(&tls.Config{RootCAs: roots, ServerName: "localhost", KeyLogWriter: &keys}, &tls.Config{Certificates: []tls.Certificate{cert}})
	fmt.Println(strings.Contains(keys.String(), "CLIENT_HANDSHAKE_TRAFFIC_SECRET"))
	// Output: true
}

func ExampleConn_KeyUpdate() {
	cert, roots := newCertificate()
	c, s := pair(&tls.Config{RootCAs: roots, ServerName: "localhost"}, &tls.Config{Certificates: []tls.Certificate{cert}})
	go io.Copy(s, s)
	if err := c.KeyUpdate(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "under new keys")
	buf := make([]byte, 14)
	_, err := io.ReadFull(c, buf)
	fmt.Printf("%s, %v\n", buf, err)
	// Output: under new keys, <nil>
}

func ExampleConn_ExportKeys() {
	cert, roots := newCertificate()
	c, s := pair(&tls.Config{RootCAs: roots, ServerName: "localhost"}, &tls.Config{Certificates: []tls.Certificate{cert}})
	keys, err := s.ExportKeys()
	if err != nil {
		log.Fatal(err)
	}
	// Another record layer goes on, here package record.
	sealer := record.NewSealer(keys.Write)
	records, err := sealer.Seal(nil, record.ApplicationData, []byte("by the keys alone"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.NetConn().Write(records); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	fmt.Printf("%s, %v\n", buf[:n], err)
	// Output: by the keys alone, <nil>
}

func ExampleConn_ExportKeyingMaterial() {
	cert, roots := newCertificate()
	c, s := pair(&tls.Config{RootCAs: roots, ServerName: "localhost"}, &tls.Config{Certificates: []tls.Certificate{cert}})
	mine, err := c.ExportKeyingMaterial("EXPORTER-example", nil, 32)
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := s.ExportKeyingMaterial("EXPORTER-example", nil, 32)
	fmt.Println(string(mine) == string(theirs), err)
	// Output: true <nil>
}

func ExampleConn_CloseWrite() {
	cert, roots := newCertificate()
	c, s := pair(&tls.Config{RootCAs: roots, ServerName: "localhost"}, &tls.Config{Certificates: []tls.Certificate{cert}})
	go func() {
		question, _ := io.ReadAll(s) // to the end of it
		fmt.Fprintf(s, "%d bytes", len(question))
		s.Close()
	}()
	fmt.Fprint(c, "a question without a length")
	if err := c.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	fmt.Printf("%s, %v\n", answer, err)
	// Output: 27 bytes, <nil>
}

// The kernel is to send from the end of the handshake on, if it can. A direction
// that stays in user space says why.
func ExampleConfig_kernel() {
	cert, roots := newCertificate()
	policy := kernel.Policy{TX: kernel.Auto, MoveTX: kernel.AtOnce}
	c, _ := pair(&tls.Config{RootCAs: roots, ServerName: "localhost", Kernel: policy}, &tls.Config{Certificates: []tls.Certificate{cert}})
	tx := c.Offload().TX
	fmt.Println(tx.Where == tls.KernelSoftware || tx.Where == tls.KernelDevice || tx.Reason != "")
	// Output: true
}

func ExampleConn_Offload() {
	cert, roots := newCertificate()
	c, _ := pair(&tls.Config{RootCAs: roots, ServerName: "localhost"}, &tls.Config{Certificates: []tls.Certificate{cert}})
	fmt.Println(c.Offload().RX)
	// Output: user space (Config.Kernel does not want it in the kernel)
}

func ExampleFromStd() {
	cert, roots := newCertificate()
	fromSomeLibrary := &stdtls.Config{Certificates: []stdtls.Certificate{cert}, NextProtos: []string{"h2"}}
	server, err := tls.FromStd(fromSomeLibrary)
	if err != nil {
		log.Fatal(err)
	}
	c, _ := pair(&tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h2"}}, server)
	fmt.Println(c.ConnectionState().NegotiatedProtocol)
	// Output: h2
}

func ExampleCipherSuites() {
	for _, suite := range tls.CipherSuites()[:3] {
		fmt.Println(suite.Name)
	}
	// Output:
	// TLS_AES_128_GCM_SHA256
	// TLS_AES_256_GCM_SHA384
	// TLS_CHACHA20_POLY1305_SHA256
}
