package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

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
	CACert      string `name:"cacert" xor:"trust" placeholder:"FILE" help:"Trust these certificates, in PEM, instead of the system's."`
	Fingerprint *pin   `xor:"trust" placeholder:"SHA256" help:"Accept exactly the server certificate with this fingerprint, whatever its name and issuer."`
	Insecure    bool   `xor:"trust" help:"Accept any certificate. Anybody on the way can read and change the data."`
	identityFlags
	versionFlags
	kernelFlags
}

// config returns a client's Config.
func (f *clientFlags) config(p *process) (*tls.Config, error) {
	config := &tls.Config{
		InsecureSkipVerify: f.Insecure,
		MinVersion:         versions[f.Min],
		MaxVersion:         versions[f.Max],
		KeyLogWriter:       p.keyLog,
		Kernel:             f.policy(),
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	certificates, err := f.certificates()
	if err != nil {
		return nil, err
	}
	if certificates != nil {
		// Who names a certificate wants it sent, even if the server names only
		// other authorities: it knows best what it accepts.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certificates[0], nil
		}
	}
	if f.Fingerprint != nil {
		config.InsecureSkipVerify, config.VerifyConnection = true, f.Fingerprint.verify
	}
	if f.CACert != "" {
		config.RootCAs, err = loadPool(f.CACert)
	}
	return config, err
}

// pin is the SHA-256 of the one certificate to accept.
type pin [sha256.Size]byte

// UnmarshalText implements encoding.TextUnmarshaler. The colons that
// fingerprints are printed with may be left out.
func (p *pin) UnmarshalText(text []byte) error {
	sum, err := hex.DecodeString(strings.ReplaceAll(string(text), ":", ""))
	if err != nil || len(sum) != len(p) {
		return fmt.Errorf("%q is no SHA-256 fingerprint: that has %d hexadecimal digits", text, 2*len(p))
	}
	copy(p[:], sum)
	return nil
}

// verify accepts only a connection to who has the certificate.
func (p *pin) verify(state tls.ConnectionState) error {
	if leaf := state.PeerCertificates[0]; sha256.Sum256(leaf.Raw) != *p {
		return &tls.CertificateVerificationError{
			UnverifiedCertificates: state.PeerCertificates,
			Err:                    fmt.Errorf("%w: it is %s", errOtherFingerprint, fingerprint(leaf.Raw)),
		}
	}
	return nil
}

var errOtherFingerprint = errors.New("its SHA-256 is not the one of --fingerprint")

// hintAtTrust adds to the refusal of a certificate what a user can do about it.
func hintAtTrust(err error) error {
	var refused *tls.CertificateVerificationError
	switch {
	case !errors.As(err, &refused), errors.Is(err, errOtherFingerprint):
		return err
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return fmt.Errorf("%w (--cacert FILE trusts its issuer, --fingerprint SHA256 exactly this certificate, --insecure any)", err)
	}
	return fmt.Errorf("%w (--fingerprint SHA256 accepts exactly this certificate, --insecure any)", err)
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
