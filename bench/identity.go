package bench

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
	"math/big"
	"time"
)

// serverName is what the certificates here are for.
const serverName = "bench.example"

// keyType is the kind of key that certificates have.
type keyType int

const (
	p256Key keyType = iota
	ed25519Key
	rsa2048Key
)

func (t keyType) generate() crypto.Signer {
	var key crypto.Signer
	var err error
	switch t {
	case p256Key:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ed25519Key:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case rsa2048Key:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	must(err)
	return key
}

// identity is a certificate for both roles, and what to trust for it.
type identity struct {
	certificate tls.Certificate
	roots       *x509.CertPool
}

// newIdentity returns a leaf that a root has signed, or an intermediate
// certificate that the root has signed.
func newIdentity(t keyType, chain bool) identity {
	root := issue(t, "root", nil)
	id := identity{roots: x509.NewCertPool()}
	id.roots.AddCert(root.Leaf)
	issuer := root
	if chain {
		issuer = issue(t, "intermediate", root)
	}
	leaf := issue(t, serverName, issuer)
	id.certificate = *leaf
	if chain {
		id.certificate.Certificate = append(id.certificate.Certificate, issuer.Certificate...)
	}
	return id
}

// CertificatePEM makes what the cases with P-256 use, for stacks that are not in
// Go: a certificate for both roles and its key, and the root that has signed it.
func CertificatePEM() (certificate, key, root []byte, err error) {
	issuer := issue(p256Key, "root", nil)
	leaf := issue(p256Key, serverName, issuer)
	der, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		return nil, nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Leaf.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Leaf.Raw}), nil
}

// issue makes a certificate, signed by the issuer or, without one, by itself.
func issue(t keyType, name string, issuer *tls.Certificate) *tls.Certificate {
	key := t.generate()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(err)
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	if name == serverName {
		template.DNSNames = []string{name}
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	} else {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey.(crypto.Signer)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(err)
	leaf, err := x509.ParseCertificate(der)
	must(err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// must is for what fails only if the machine does.
func must(err error) {
	if err != nil {
		panic("bench: " + err.Error())
	}
}
