package bogo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"

	"github.com/go-handoff/tls"
)

// loadRawKey loads a raw public key.
func (c *credential) loadRawKey() (tls.Certificate, error) {
	text, err := os.ReadFile(c.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return tls.Certificate{}, fmt.Errorf("no key in %s", c.key)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.NewRawPublicKey(key.(crypto.Signer))
	cert.SupportedSignatureAlgorithms = c.schemes()
	return cert, err
}

func (c *credential) schemes() (list []tls.SignatureScheme) {
	for _, p := range c.prefs {
		list = append(list, tls.SignatureScheme(p))
	}
	return list
}

// fitsRequest reports whether the credential is what a server asks for.
func (c *shown) fitsRequest(r *tls.CertificateRequestInfo) bool {
	return tls.FitsRequest(r, &c.cert)
}

// fitsHello reports whether the credential is one that a client can use.
func (c *shown) fitsHello(h *tls.ClientHelloInfo) bool {
	return tls.FitsHello(h, &c.cert) && (!c.mustMatch || issuedBy(&c.cert, tls.DetailsOfHello(h).CertificateAuthorities))
}

// issuedBy reports whether one of the authorities has signed the chain.
func issuedBy(cert *tls.Certificate, authorities [][]byte) bool {
	for _, der := range cert.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err == nil && slices.ContainsFunc(authorities, func(a []byte) bool { return string(a) == string(parsed.RawIssuer) }) {
			return true
		}
	}
	return false
}

// stapled returns cert with the OCSP response that the callback decides on.
func (o *options) stapled(cert *tls.Certificate, h *tls.ClientHelloInfo) *tls.Certificate {
	if !o.bools["decline-ocsp-callback"] {
		return cert
	}
	c := *cert
	c.OCSPStaple = nil
	return &c
}

// certificateTypes says what types of certificates are shown and accepted.
func (o *options) certificateTypes(c *tls.Config, s *seen) {
	for _, t := range o.lists["accepted-peer-cert-types"] {
		c.PeerCertificateTypes = append(c.PeerCertificateTypes, tls.CertificateType(t))
	}
	c.CertificateTypes = o.ownTypes()
	c.VerifyPeerPublicKey = func(key crypto.PublicKey) error {
		spki, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(spki)
		want := o.bytes["expect-peer-rpk-sha256"]
		if want != nil && string(want) != string(sum[:]) {
			return errors.New("peer has another raw public key")
		}
		if o.bools["verify-fail"] {
			return alertHandshakeFailure
		}
		return nil
	}
}

// ownTypes are what is told of the client's credentials.
func (o *options) ownTypes() (list []tls.CertificateType) {
	for _, t := range o.lists["available-client-cert-types"] {
		list = append(list, tls.CertificateType(t))
	}
	if list != nil {
		return list
	}
	for _, c := range o.credentials {
		t := tls.CertificateTypeX509
		switch {
		case c.kind == "new-rpk-credential":
			t = tls.CertificateTypeRawPublicKey
		case c.chain == "":
			continue
		}
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// trafficSecrets finds, in a key log, the secrets of the first epoch.
func trafficSecrets(log string) (client, server []byte, err error) {
	for _, line := range strings.Split(log, "\n") {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		secret, err := hex.DecodeString(fields[2])
		if err != nil {
			return nil, nil, err
		}
		switch fields[0] {
		case "CLIENT_TRAFFIC_SECRET_0":
			client = secret
		case "SERVER_TRAFFIC_SECRET_0":
			server = secret
		}
	}
	return client, server, nil
}

// authorities makes authorities with the names that a flag lists in
// hexadecimal.
func authorities(list string) (*x509.CertPool, error) {
	if list == "" || list == "<NULL>" || list == "<EMPTY>" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	names, err := hexList(list)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: name, IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

func hexList(list string) (names [][]byte, err error) {
	for _, item := range strings.Split(list, ",") {
		name, err := hex.DecodeString(item)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// cipherNames are OpenSSL's names.
var cipherNames = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
}

// ciphers takes a list of names, without OpenSSL's language for such lists.
func (o *options) ciphers(c *tls.Config) error {
	list := o.strings["cipher"]
	if list == "" {
		return nil
	}
	c.CipherSuites = nil
	for _, name := range strings.Split(list, ":") {
		id, ok := cipherNames[name]
		if !ok {
			return unimplemented{"cipher " + name}
		}
		c.CipherSuites = append(c.CipherSuites, id)
	}
	return nil
}
