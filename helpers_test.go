package tls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/record"
)

// authority signs the certificates of these tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

const testName = "server.example"

var newAuthority = sync.OnceValue(func() *authority { return makeAuthority("Test CA") })

func makeAuthority(name string) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// issue makes a certificate for key and names.
func (a *authority) issue(key crypto.Signer, names ...string) Certificate {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(12 * time.Hour),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	return Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// keys of the kinds that certificates have, by name.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := make(map[string]crypto.Signer)
	for name, curve := range map[string]elliptic.Curve{"P256": elliptic.P256(), "P384": elliptic.P384(), "P521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	keys["RSA"] = rsaKey
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	keys["Ed25519"] = ed
	return keys
})

// testCert returns the same certificate each time: sessions are bound to it.
func testCert(kind string) Certificate { return testCerts()[kind] }

var testCerts = sync.OnceValue(func() map[string]Certificate {
	certs := make(map[string]Certificate)
	for kind, key := range testKeys() {
		certs[kind] = newAuthority().issue(key, testName)
	}
	return certs
})

// Configs that fit each other, for this package and for crypto/tls.
func serverConfig(kind string) *Config { return &Config{Certificates: []Certificate{testCert(kind)}} }

func clientConfig() *Config { return &Config{RootCAs: newAuthority().pool, ServerName: testName} }

func stdServerConfig(kind string) *stdtls.Config {
	return &stdtls.Config{Certificates: []Certificate{testCert(kind)}}
}

func stdClientConfig() *stdtls.Config {
	return &stdtls.Config{RootCAs: newAuthority().pool, ServerName: testName}
}

// tlsConn is what both implementations have.
type tlsConn interface {
	net.Conn
	HandshakeContext(context.Context) error
	CloseWrite() error
	ConnectionState() ConnectionState
}

// network makes a pair of connected connections.
type network func(t testing.TB) (client, server net.Conn)

func pipes(testing.TB) (client, server net.Conn) { return net.Pipe() }

func sockets(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// pair returns both ends of one connection, before the handshake.
func pair(t testing.TB, nw network, client, server any) (tlsConn, tlsConn) {
	t.Helper()
	c, s := nw(t)
	t.Cleanup(func() { c.Close(); s.Close() })
	deadline := time.Now().Add(20 * time.Second) // a hang fails the test, with a message
	for _, conn := range []net.Conn{c, s} {
		if err := conn.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	return newSide(c, client, roleClient), newSide(s, server, roleServer)
}

func newSide(conn net.Conn, config any, r role) tlsConn {
	switch cfg := config.(type) {
	case *stdtls.Config:
		if r == roleClient {
			return stdtls.Client(conn, cfg)
		}
		return stdtls.Server(conn, cfg)
	case *Config:
		return newConn(conn, cfg, r)
	}
	panic("unknown config")
}

// handshakes runs both handshakes and returns their errors.
func handshakes(client, server tlsConn) (clientErr, serverErr error) {
	done := make(chan error, 1)
	go func() {
		err := server.HandshakeContext(context.Background())
		if err != nil {
			server.Close() // as a server would: so the client ends too
		}
		done <- err
	}()
	if clientErr = client.HandshakeContext(context.Background()); clientErr != nil {
		client.Close()
	}
	return clientErr, <-done
}

// connect returns both ends of one connection, after the handshake.
func connect(t testing.TB, nw network, client, server any) (tlsConn, tlsConn) {
	t.Helper()
	c, s := pair(t, nw, client, server)
	if cerr, serr := handshakes(c, s); cerr != nil || serr != nil {
		t.Fatalf("handshake: client %v, server %v", cerr, serr)
	}
	return c, s
}

// echo sends a message each way.
func echo(t testing.TB, client, server tlsConn) {
	t.Helper()
	if err := exchange(client, server, "ping"); err != nil {
		t.Fatalf("client to server: %v", err)
	}
	if err := exchange(server, client, "pong"); err != nil {
		t.Fatalf("server to client: %v", err)
	}
}

// exchange sends msg from one end to the other.
func exchange(from, to net.Conn, msg string) error {
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(from, msg)
		done <- err
	}()
	buf := make([]byte, len(msg))
	if _, err := io.ReadFull(to, buf); err != nil {
		return err
	}
	if string(buf) != msg {
		return errors.New("wrong data: " + string(buf))
	}
	return <-done
}

// sealAny makes a record that record.Sealer would not, with AES-GCM. It returns
// what seals the next one.
func sealAny(t testing.TB, sealer *record.Sealer, typ record.ContentType, content []byte) ([]byte, *record.Sealer) {
	t.Helper()
	keys := sealer.Release()
	block, err := aes.NewCipher(keys.Key())
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	seq := binary.BigEndian.AppendUint64(nil, keys.Seq)
	keys.Seq++
	if keys.Suite.Version == VersionTLS12 {
		head := append([]byte{byte(typ), 3, 3}, binary.BigEndian.AppendUint16(nil, uint16(8+len(content)+16))...)
		extra := append(append(bytes.Clone(seq), head[:3]...), binary.BigEndian.AppendUint16(nil, uint16(len(content)))...)
		rec := aead.Seal(append(head, seq...), append(bytes.Clone(keys.IV()), seq...), content, extra)
		return rec, record.NewSealer(keys)
	}
	head := append([]byte{23, 3, 3}, binary.BigEndian.AppendUint16(nil, uint16(len(content)+1+16))...)
	nonce := bytes.Clone(keys.IV())
	subtle.XORBytes(nonce[4:], nonce[4:], seq)
	rec := aead.Seal(head, nonce, append(bytes.Clone(content), byte(typ)), bytes.Clone(head))
	return rec, record.NewSealer(keys)
}
