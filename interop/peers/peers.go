// Package peers has other people's programs that speak TLS, for tests: of
// several versions, which Debian's releases have.
//
// They are fetched once and kept in the directory .lab of the tree, beside the
// lab's kernels.
package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-handoff/tls/interop/debian"
)

// Release is a release of Debian.
type Release string

// The releases, and what their programs are.
const (
	Bookworm Release = "bookworm" // OpenSSL 3.0, GnuTLS 3.7, curl 7.88, nginx 1.22, HAProxy 2.6, Python 3.11
	Trixie   Release = "trixie"   // OpenSSL 3.5, GnuTLS 3.8, curl 8.14, nginx 1.26, HAProxy 3.0, Python 3.13
)

// packages have openssl, gnutls-cli and gnutls-serv, and curl.
var packages = []string{"openssl", "gnutls-bin", "curl"}

// applications have nginx, haproxy and python3. Node finds its parts where it is
// installed only.
var applications = []string{"nginx", "haproxy", "python3"}

// Open returns the programs of a release that are for tests of TLS, which it
// fetches if they are not there. The current directory must be in the tree of
// this module.
func Open(ctx context.Context, r Release) (*debian.Tree, error) {
	return open(ctx, r, packages)
}

// OpenApplications returns the programs of a release that do TLS for others, as
// Open does.
func OpenApplications(ctx context.Context, r Release) (*debian.Tree, error) {
	return open(ctx, r, applications)
}

func open(ctx context.Context, r Release, packages []string) (*debian.Tree, error) {
	root, err := findTree()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, ".lab", "peers", string(r)+"+"+strings.Join(packages, "+"))
	t, err := debian.Fetch(ctx, dir, string(r), packages...)
	if err != nil {
		return nil, fmt.Errorf("there are no programs of Debian's %s to test with: %w", r, err)
	}
	return t, nil
}

// findTree returns this module's directory, at or above the current one.
func findTree() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "interop", "peers")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the current directory is not in the tree of github.com/go-handoff/tls")
		}
	}
}
