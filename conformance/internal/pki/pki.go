// Package pki makes the throw-away certificates of the conformance tests:
// authorities, and chains for every kind of key that the stack knows.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// Kind is a kind of key.
type Kind string

// The kinds that certificates can have here.
const (
	P256    Kind = "ecdsa-p256"
	P384    Kind = "ecdsa-p384"
	P521    Kind = "ecdsa-p521"
	RSA     Kind = "rsa-2048"
	Ed25519 Kind = "ed25519"
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{P256, P384, P521, RSA, Ed25519} }

// Curve returns the curve of an ECDSA key. In TLS 1.2, a peer must list it among
// its groups (RFC 8422, section 5.1.1).
func (k Kind) Curve() (id tls.CurveID, ok bool) {
	id, ok = map[Kind]tls.CurveID{P256: tls.CurveP256, P384: tls.CurveP384, P521: tls.CurveP521}[k]
	return id, ok
}

func (k Kind) newKey() (crypto.Signer, error) {
	switch k {
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case P521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case RSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("no kind of key is called %q", k)
}

// Authority issues certificates.
type Authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	above [][]byte // the chain from here to the root, without the root
	root  *Authority
}

// New returns a root.
func New(name string) (*Authority, error) {
	a := &Authority{}
	a.root = a
	var err error
	if a.key, err = P256.newKey(); err != nil {
		return nil, err
	}
	tmpl := template(name)
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert, err = sign(tmpl, tmpl, a.key.Public(), a.key)
	return a, err
}

// Below returns an authority that a has signed.
func (a *Authority) Below(name string) (*Authority, error) {
	key, err := P256.newKey()
	if err != nil {
		return nil, err
	}
	tmpl := template(name)
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	cert, err := sign(tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	above := append([][]byte{cert.Raw}, a.above...)
	return &Authority{cert: cert, key: key, above: above, root: a.root}, nil
}

// Issue returns a new certificate for servers and clients, with a new key. The
// first name is also that of the subject.
func (a *Authority) Issue(kind Kind, names ...string) (tls.Certificate, error) {
	key, err := kind.newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := template(names[0])
	tmpl.DNSNames, tmpl.IPAddresses = names, []net.IP{net.IPv4(127, 0, 0, 1)}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf, err := sign(tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	chain := slices.Insert(slices.Clone(a.above), 0, leaf.Raw)
	return tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
}

// Cert returns the authority's certificate.
func (a *Authority) Cert() *x509.Certificate { return a.cert }

// Signer returns the authority's key.
func (a *Authority) Signer() crypto.Signer { return a.key }

// Pool returns a pool of the root alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root.cert)
	return pool
}

// PEM returns the root's certificate in PEM.
func (a *Authority) PEM() []byte { return block("CERTIFICATE", a.root.cert.Raw) }

// PEM returns a certificate's chain and its key in PEM.
func PEM(cert tls.Certificate) (chain, key []byte, err error) {
	for _, der := range cert.Certificate {
		chain = append(chain, block("CERTIFICATE", der)...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	return chain, block("PRIVATE KEY", der), err
}

func block(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(30 * 24 * time.Hour),
	}
}

func sign(tmpl, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
