package peers

import (
	"context"
	"strings"
	"testing"

	"github.com/go-handoff/tls/interop/debian"
)

// TestVersions runs every program: each is the version that tests count on.
func TestVersions(t *testing.T) {
	testVersions(t, Open, map[Release][][]string{
		Bookworm: {{"OpenSSL 3.0.", "openssl", "version"}, {"gnutls-cli 3.7.", "gnutls-cli", "--version"}, {"gnutls-serv 3.7.", "gnutls-serv", "--version"}, {"curl 7.88.", "curl", "--version"}},
		Trixie:   {{"OpenSSL 3.5.", "openssl", "version"}, {"gnutls-cli 3.8.", "gnutls-cli", "--version"}, {"gnutls-serv 3.8.", "gnutls-serv", "--version"}, {"curl 8.14.", "curl", "--version"}},
	})
}

func TestApplicationVersions(t *testing.T) {
	const python = "import ssl, sys; print(*sys.version_info[:2], ssl.OPENSSL_VERSION)"
	testVersions(t, OpenApplications, map[Release][][]string{
		Bookworm: {{"nginx version: nginx/1.22.", "nginx", "-v"}, {"HAProxy version 2.6.", "haproxy", "-v"}, {"3 11 OpenSSL 3.0.", "python3", "-c", python}},
		Trixie:   {{"nginx version: nginx/1.26.", "nginx", "-v"}, {"HAProxy version 3.0.", "haproxy", "-v"}, {"3 13 OpenSSL 3.5.", "python3", "-c", python}},
	})
}

func testVersions(t *testing.T, open func(context.Context, Release) (*debian.Tree, error), want map[Release][][]string) {
	t.Helper()
	for release, programs := range want {
		tree, err := open(t.Context(), release)
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
