package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/go-handoff/tls"
)

// versionFlags are the protocol versions that a command allows.
type versionFlags struct {
	Min string `enum:"1.2,1.3" default:"1.2" help:"Lowest TLS version: 1.2 or 1.3."`
	Max string `enum:"1.2,1.3" default:"1.3" help:"Highest TLS version: 1.2 or 1.3."`
}

// Validate refuses a range that is empty. It is called by the parser.
func (f versionFlags) Validate() error {
	if versions[f.Min] > versions[f.Max] {
		return fmt.Errorf("--min %s is above --max %s", f.Min, f.Max)
	}
	return nil
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// identityFlags are the certificate that a command shows.
type identityFlags struct {
	Cert string `and:"identity" placeholder:"FILE" help:"Certificate chain to show, in PEM, leaf first."`
	Key  string `and:"identity" placeholder:"FILE" help:"Its private key, in PEM."`
}

// certificates loads what the flags name, if they do.
func (f identityFlags) certificates() ([]tls.Certificate, error) {
	if f.Cert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.Cert, err)
	}
	return []tls.Certificate{cert}, nil
}

// clientFlags are what clients have in common.
type clientFlags struct {
	CACert   string `name:"cacert" xor:"trust" placeholder:"FILE" help:"Trust these certificates, in PEM, instead of the system's."`
	Insecure bool   `xor:"trust" help:"Accept any certificate. Anybody on the way can read and change the data."`
	identityFlags
	versionFlags
}

// config returns a client's Config.
func (f *clientFlags) config(p *process) (*tls.Config, error) {
	config := &tls.Config{
		InsecureSkipVerify: f.Insecure,
		MinVersion:         versions[f.Min],
		MaxVersion:         versions[f.Max],
		KeyLogWriter:       p.keyLog,
	}
	var err error
	if config.Certificates, err = f.certificates(); err != nil {
		return nil, err
	}
	if f.CACert != "" {
		config.RootCAs, err = loadPool(f.CACert)
	}
	return config, err
}

// loadPool reads certificates to trust.
func loadPool(name string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %w", name, errNoCertificate)
	}
	return pool, nil
}

var errNoCertificate = errors.New("no certificate in PEM was found")
