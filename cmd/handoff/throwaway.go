package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/go-handoff/tls"
)

// throwAwayLifetime is long enough for a server that is left running; the key
// is gone with the process anyway.
const throwAwayLifetime = 90 * 24 * time.Hour

// throwAwayCertificate makes a certificate that signs itself, for this machine
// and the host that the server listens on. It may not sign others, so a client
// that trusts it trusts nothing else.
func throwAwayCertificate(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes([]byte(rand.Text()[:16])),
		Subject:               pkix.Name{CommonName: "handoff throw-away certificate"},
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:             now.Add(-time.Hour), // for clients whose clock is slow
		NotAfter:              now.Add(throwAwayLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	addHost(template, host)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// addHost adds a name or address that is not in the template yet.
func addHost(template *x509.Certificate, host string) {
	ip := net.ParseIP(host)
	switch {
	case host == "" || host == "localhost":
	case ip == nil:
		template.DNSNames = append(template.DNSNames, host)
	case !ip.IsLoopback() && !ip.IsUnspecified():
		template.IPAddresses = append(template.IPAddresses, ip)
	}
}

// encodePEM returns the first certificate of a chain in PEM.
func encodePEM(cert tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
}

const hexDigits = "0123456789ABCDEF"

// fingerprint returns the SHA-256 of a certificate, as OpenSSL and browsers
// write it.
func fingerprint(der []byte) string {
	var b strings.Builder
	for i, v := range sha256.Sum256(der) {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteByte(hexDigits[v>>4])
		b.WriteByte(hexDigits[v&15])
	}
	return b.String()
}
