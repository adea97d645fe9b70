package tls

import (
	"crypto/tls"

	"github.com/go-handoff/tls/keyschedule"
)

// X509KeyPair parses a certificate chain and its key from PEM. The result's
// Leaf is set.
func X509KeyPair(certPEMBlock, keyPEMBlock []byte) (Certificate, error) {
	return tls.X509KeyPair(certPEMBlock, keyPEMBlock)
}

// LoadX509KeyPair is [X509KeyPair] over the contents of two files.
func LoadX509KeyPair(certFile, keyFile string) (Certificate, error) {
	return tls.LoadX509KeyPair(certFile, keyFile)
}

// VersionName returns the name of a protocol version, or its number in
// hexadecimal if it has none (RFC 9846, section 4.3.1).
func VersionName(version uint16) string { return tls.VersionName(version) }

// CipherSuiteName returns the standard name of a cipher suite, or its number in
// hexadecimal if crypto/tls knows none (RFC 9846, appendix B.4).
func CipherSuiteName(id uint16) string { return tls.CipherSuiteName(id) }

// CipherSuites lists the cipher suites that are implemented and have no known
// weakness, sorted by ID within each version. Not all of them are on by default:
// see Config.CipherSuites.
func CipherSuites() []*CipherSuite { return implemented(tls.CipherSuites()) }

// InsecureCipherSuites lists the cipher suites that are implemented though they
// have known weaknesses. There are none.
func InsecureCipherSuites() []*CipherSuite { return implemented(tls.InsecureCipherSuites()) }

// implemented keeps what exists here, in the one version that it exists for.
func implemented(list []*CipherSuite) []*CipherSuite {
	out := []*CipherSuite{}
	for _, c := range list {
		if s := keyschedule.SuiteByID(c.ID); s != nil {
			c.SupportedVersions = []uint16{s.Version}
			out = append(out, c)
		}
	}
	return out
}
