package matrix

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/conformance/internal/process"
	"github.com/go-handoff/tls/interop/debian"
	"github.com/go-handoff/tls/interop/peers"
)

var update = flag.Bool("update", os.Getenv("HANDOFF_INTEROP_UPDATE") != "", "write the results of the tests that run")

var all = flag.Bool("all", false, "play all cells, and not one of three")

// limit bounds every connection: what hangs fails, and says where.
const limit = process.Limit

// What all connections have.
const (
	serverName = "server.example"
	protocol   = "http/1.1"
	label      = "EXPERIMENTAL-interop" // of exported keying material
)

// A release is what a release of Debian has.
type release struct {
	name peers.Release
	tls  *debian.Tree // programs that are for tests of TLS
	apps *debian.Tree // programs that do TLS for others
}

var releases = []*release{{name: peers.Bookworm}, {name: peers.Trixie}}

// identity is a certificate with its key, and a PEM file of both.
type identity struct {
	cert tls.Certificate
	file string
}

// Who all connections are between, and what they carry.
var (
	authority *pki.Authority
	servers   = map[pki.Kind]identity{}
	person    identity // a client
	foreign   identity // a client that nobody knows
	roots     string   // the PEM file of authority's certificate
	loopback  string   // a library that keeps servers off other interfaces
	small     = []byte("0123456789ghijmnotuvwxyz\n")
	large     = lines(4 << 20)
	smallFile string
	largeFile string
)

// lines returns n bytes of lines without letters that openssl takes for
// commands at the beginning of what is typed.
func lines(n int) []byte {
	const alphabet = "0123456789ghijmnotuvwxyz"
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		if b[i] = alphabet[x>>16%uint32(len(alphabet))]; i%4000 == 3999 || i == n-1 {
			b[i] = '\n'
		}
	}
	return b
}

func prepare(dir string) (err error) {
	for _, r := range releases {
		if r.tls, err = peers.Open(context.Background(), r.name); err != nil {
			return err
		}
		if r.apps, err = peers.OpenApplications(context.Background(), r.name); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("these tests need the command node: install the Debian package nodejs")
	}
	if loopback, err = buildLoopback(dir); err != nil {
		return err
	}
	if err := issueAll(dir); err != nil {
		return err
	}
	roots, smallFile, largeFile = filepath.Join(dir, "roots.pem"), filepath.Join(dir, "small"), filepath.Join(dir, "large")
	for file, b := range map[string][]byte{roots: authority.PEM(), smallFile: small, largeFile: large} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// buildLoopback makes a library that keeps gnutls-serv off other interfaces.
func buildLoopback(dir string) (string, error) {
	library := filepath.Join(dir, "loopback.so")
	source := filepath.Join("..", "resumption", "testdata", "loopback.c")
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, source).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gcc, of the Debian packages gcc and libc6-dev: %w\n%s", err, out)
	}
	return library, nil
}

func issueAll(dir string) (err error) {
	if authority, err = pki.New("Test Authority"); err != nil {
		return err
	}
	stranger, err := pki.New("Stranger")
	if err != nil {
		return err
	}
	for _, kind := range pki.Kinds() {
		if servers[kind], err = issue(authority, kind, serverName, dir, string(kind)); err != nil {
			return err
		}
	}
	if person, err = issue(authority, pki.P256, "person", dir, "person"); err != nil {
		return err
	}
	foreign, err = issue(stranger, pki.P256, "foreigner", dir, "foreign")
	return err
}

func issue(a *pki.Authority, kind pki.Kind, subject, dir, name string) (identity, error) {
	cert, err := a.Issue(kind, subject)
	if err != nil {
		return identity{}, err
	}
	chain, key, err := pki.PEM(cert)
	if err != nil {
		return identity{}, err
	}
	file := filepath.Join(dir, name+".pem")
	return identity{cert, file}, os.WriteFile(file, append(chain, key...), 0o600)
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "interop-matrix")
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err != nil {
		fmt.Println("preparing the tests:", err)
		return 1
	}
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // most of the time, they wait
		err = flag.Set("test.parallel", "4")
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}
