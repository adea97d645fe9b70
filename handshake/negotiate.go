package handshake

import (
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
)

const (
	versionTLS12 = keyschedule.VersionTLS12
	versionTLS13 = keyschedule.VersionTLS13
)

// The accessors below resolve what a Config leaves empty.

func (c *Config) minVersion() uint16 { return max(c.MinVersion, versionTLS12) }

func (c *Config) maxVersion() uint16 {
	if c.MaxVersion == 0 {
		return versionTLS13
	}
	return min(c.MaxVersion, versionTLS13)
}

func (c *Config) allows(version uint16) bool {
	return c.minVersion() <= version && version <= c.maxVersion() && (version == versionTLS13 || !c.PSKOnly)
}

// versions lists what is allowed, highest first.
func (c *Config) versions() []uint16 {
	switch {
	case c.allows(versionTLS13) && c.allows(versionTLS12):
		return allVersions
	case c.allows(versionTLS13):
		return allVersions[:1:1]
	case c.allows(versionTLS12):
		return allVersions[1:]
	}
	return nil
}

var allVersions = []uint16{versionTLS13, versionTLS12}

func (c *Config) cipherSuites() []uint16 {
	if len(c.CipherSuites) == 0 {
		return defaultCipherSuites
	}
	return c.CipherSuites
}

// suitesFor yields the suites of a version in our order of preference.
func (c *Config) suitesFor(version uint16) iter.Seq[*keyschedule.Suite] {
	return func(yield func(*keyschedule.Suite) bool) {
		for _, id := range c.cipherSuites() {
			if s := keyschedule.SuiteByID(id); s != nil && s.Version == version && !yield(s) {
				return
			}
		}
	}
}

func (c *Config) provider() Provider {
	if c.Provider == nil {
		return DefaultProvider()
	}
	return c.Provider
}

// groupsFor yields the groups of a version that the provider has, in our order
// of preference, each once (RFC 9846, section 4.3.7). Hybrids exist in TLS 1.3
// only.
func (c *Config) groupsFor(version uint16) iter.Seq[NamedGroup] {
	return func(yield func(NamedGroup) bool) {
		groups := c.Groups
		if len(groups) == 0 {
			groups = defaultGroups
		}
		for i, g := range groups {
			usable := version == versionTLS13 || g.usable12()
			if usable && !contains(groups[:i], g) && c.provider().KeyExchange(g) != nil && !yield(g) {
				return
			}
		}
	}
}

// hasGroup reports whether groupsFor has g.
func (c *Config) hasGroup(version uint16, g NamedGroup) bool {
	for ours := range c.groupsFor(version) {
		if ours == g {
			return true
		}
	}
	return false
}

func (c *Config) signatureSchemes() []SignatureScheme {
	if len(c.SignatureSchemes) == 0 {
		return defaultSignatureSchemes
	}
	return c.SignatureSchemes
}

// compressors lists how certificates may be compressed.
func (c *Config) compressors() []CertificateCompressor {
	if !c.CompressCertificates {
		return c.CertificateCompressors
	}
	return append(slices.Clip(c.CertificateCompressors), zlibCompressor)
}

// compressionAlgs lists how we let the peer compress certificates, each algorithm
// once.
func (c *Config) compressionAlgs() []certCompressionAlg {
	var list []certCompressionAlg
	for _, z := range c.compressors() {
		if alg := certCompressionAlg(z.ID); z.Decompress != nil && !contains(list, alg) {
			list = append(list, alg)
		}
	}
	return list
}

// compressor returns the first that compresses for a peer that takes these
// algorithms, nil if there is none.
func (c *Config) compressor(peer []certCompressionAlg) *CertificateCompressor {
	list := c.compressors()
	for i := range list {
		if z := &list[i]; z.Compress != nil && contains(peer, certCompressionAlg(z.ID)) {
			return z
		}
	}
	return nil
}

// decompressor returns the first that reverses alg, nil if there is none.
func (c *Config) decompressor(alg certCompressionAlg) *CertificateCompressor {
	list := c.compressors()
	for i := range list {
		if z := &list[i]; z.Decompress != nil && certCompressionAlg(z.ID) == alg {
			return z
		}
	}
	return nil
}

// random fills b from the Config's source.
func (c *Config) random(b []byte) error {
	if _, err := io.ReadFull(c.Rand, b); err != nil {
		return alert.Errorf(alert.InternalError, "no randomness: %w", err)
	}
	return nil
}

// logSecret gives KeyLog copies, so that secrets need not be on the heap for it.
func (c *Config) logSecret(label string, clientRandom *[32]byte, secret *keyschedule.Secret) {
	if c.KeyLog != nil {
		c.KeyLog(label, slices.Clone(clientRandom[:]), slices.Clone(secret.Bytes()))
	}
}

// selectALPN chooses the protocol on a server: the first of ours that the
// client offers (RFC 7301, section 3.2). A client that offers none, or a server
// that has none, goes on without.
func selectALPN(ours, theirs []string) (string, error) {
	if len(ours) == 0 || len(theirs) == 0 {
		return "", nil
	}
	for _, p := range ours {
		if contains(theirs, p) {
			return p, nil
		}
	}
	if contains(ours, "h2") && contains(theirs, "http/1.1") {
		// A server of HTTP/2 that does not list HTTP/1.1 speaks it all the same;
		// crypto/tls lets this pass, and programs rely on it.
		return "", nil
	}
	return "", alert.Errorf(alert.NoApplicationProtocol, "client offers no application protocol of ours: %s", brief(theirs))
}

// brief prints the beginning of a list that a peer has made as long as it liked.
func brief[T any](list []T) string {
	const most = 16
	format := "%v"
	switch any(list).(type) {
	case []uint16:
		format = "%#04x"
	case []string:
		format = "%.32q"
	}
	if len(list) <= most {
		return fmt.Sprintf(format, list)
	}
	return fmt.Sprintf(format+" and %d more", list[:most], len(list)-most)
}

// checkALPN checks a server's choice on a client.
func checkALPN(offered []string, chosen string) error {
	if chosen != "" && !contains(offered, chosen) {
		return alert.Errorf(alert.IllegalParameter, "server chose application protocol %.32q, which was not offered", chosen)
	}
	return nil
}
