package resumption

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/conformance/internal/process"
	"github.com/go-handoff/tls/interop/debian"
	"github.com/go-handoff/tls/interop/peers"
)

var update = flag.Bool("update", false, "write RESULTS.md")

// limit bounds every connection: what hangs fails, and says where.
const limit = process.Limit

// Names that all certificates are for, and the one protocol of all
// applications, which curl insists on.
const (
	serverName = "server.example"
	otherName  = "other.example"
	protocol   = "http/1.1"
)

// A release is a release of Debian, and what its programs are called here.
type release struct {
	openssl, gnutls, curl string
	*debian.Tree
}

var releases = []*release{
	{"OpenSSL 3.0", "GnuTLS 3.7", "curl 7.88", nil},
	{"OpenSSL 3.5", "GnuTLS 3.8", "curl 8.14", nil},
}

// identity is a certificate with its key, and a PEM file of both.
type identity struct {
	cert tls.Certificate
	file string
}

// Who all connections are between.
var (
	authority *pki.Authority
	stranger  *pki.Authority // signs what foreign is
	server    identity
	renewed   identity // a second certificate of server
	foreign   identity
	person    identity // a client
	roots     string   // the PEM file of authority's certificate
	loopback  string   // a library that keeps servers off other interfaces
	scratch   string   // a directory
)

func prepare(dir string) (err error) {
	scratch = dir
	for i, r := range []peers.Release{peers.Bookworm, peers.Trixie} {
		if releases[i].Tree, err = peers.Open(context.Background(), r); err != nil {
			return err
		}
	}
	if loopback, err = buildLoopback(dir); err != nil {
		return err
	}
	if authority, err = pki.New("Test Authority"); err != nil {
		return err
	}
	if stranger, err = pki.New("Stranger"); err != nil {
		return err
	}
	roots = filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, authority.PEM(), 0o600); err != nil {
		return err
	}
	for name, a := range map[string]struct {
		*identity
		*pki.Authority
	}{"server": {&server, authority}, "renewed": {&renewed, authority}, "foreign": {&foreign, stranger}, "person": {&person, authority}} {
		if *a.identity, err = issue(a.Authority, filepath.Join(dir, name+".pem")); err != nil {
			return err
		}
	}
	return nil
}

// issue makes an identity and its file.
func issue(a *pki.Authority, file string) (identity, error) {
	cert, err := a.Issue(pki.P256, serverName, otherName)
	if err != nil {
		return identity{}, err
	}
	chain, key, err := pki.PEM(cert)
	if err != nil {
		return identity{}, err
	}
	return identity{cert, file}, os.WriteFile(file, append(chain, key...), 0o600)
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "conformance-resumption")
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err != nil {
		fmt.Println("preparing the tests:", err)
		return 1
	}
	return m.Run()
}
