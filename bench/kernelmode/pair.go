//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"time"

	tls "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// serverName is what the certificate here is for.
const serverName = "bench.example"

// identity is a certificate, and what a client trusts for it.
type identity struct {
	certificate stdtls.Certificate
	roots       *x509.CertPool
}

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{serverName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &identity{stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots}, nil
}

// policy says which directions move to the kernel at once.
func policy(tx, rx bool) kernel.Policy {
	p := kernel.Policy{TX: kernel.Off, RX: kernel.Off}
	if tx {
		p.TX, p.MoveTX = kernel.Require, kernel.AtOnce
	}
	if rx {
		p.RX, p.MoveRX = kernel.Require, kernel.AtOnce
	}
	return p
}

// configs returns what both stacks' ends are made with: TLS 1.3 with
// AES-128-GCM, the suite that all of them choose first.
func (id *identity) configs(p kernel.Policy) (client, server *tls.Config) {
	server = &tls.Config{Certificates: []tls.Certificate{id.certificate}, MinVersion: tls.VersionTLS13, Kernel: p}
	client = &tls.Config{RootCAs: id.roots, ServerName: serverName, MinVersion: tls.VersionTLS13, Kernel: policy(false, false)}
	return client, server
}

// pipe returns the two ends of a TCP connection.
func pipe(ln net.Listener) (client, server net.Conn, err error) {
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	if server, err = ln.Accept(); err != nil {
		client.Close()
		return nil, nil, err
	}
	return client, server, nil
}
