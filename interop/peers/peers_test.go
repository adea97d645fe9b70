package peers

import (
	"strings"
	"testing"
)

// TestVersions runs every program: each is the version that tests count on.
func TestVersions(t *testing.T) {
	for release, programs := range map[Release][][]string{
		Bookworm: {{"OpenSSL 3.0.", "openssl", "version"}, {"gnutls-cli 3.7.", "gnutls-cli", "--version"}, {"gnutls-serv 3.7.", "gnutls-serv", "--version"}, {"curl 7.88.", "curl", "--version"}},
		Trixie:   {{"OpenSSL 3.5.", "openssl", "version"}, {"gnutls-cli 3.8.", "gnutls-cli", "--version"}, {"gnutls-serv 3.8.", "gnutls-serv", "--version"}, {"curl 8.14.", "curl", "--version"}},
	} {
		tree, err := Open(t.Context(), release)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range programs {
			out, err := tree.Command(t.Context(), p[1], p[2:]...).CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), p[0]) {
				t.Errorf("%s of %s: %v\n%s", p[1], release, err, out)
			}
		}
	}
}
