package matrix

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/interop/peers"
)

// role is which end our side is.
type role string

const (
	ourClient role = "our client"
	ourServer role = "our server"
)

// What the tables are for.
var (
	roles    = []role{ourClient, ourServer}
	versions = []uint16{tls.VersionTLS13, tls.VersionTLS12}
)

// peer is a program.
type peer struct {
	name string // with its major version
	// version is what the program says it is.
	version func() (string, error)
	// cannot says why there is no such connection; "" if there is.
	cannot func(role, *plan) string
	// serve starts a server, visit a client; nil if there is none.
	serve func(testing.TB, *plan) *far
	visit func(t testing.TB, p *plan, port int) *far
	// http is that it speaks HTTP.
	http bool
	// early reads the answer to early data; nil if there is none.
	early func(testing.TB, *tls.Conn)
}

// old reports whether the release has OpenSSL 3.0.
func (r *release) old() bool { return r.name == peers.Bookworm }

// allPeers returns the columns of the tables.
func allPeers() (list []*peer) {
	for i, make := range []func(*release) *peer{
		(*release).openssl, (*release).gnutls, (*release).curl, (*release).nginx, (*release).haproxy, (*release).python,
	} {
		for j, r := range releases {
			p := make(r)
			p.name = [][]string{
				{"OpenSSL 3.0", "OpenSSL 3.5"}, {"GnuTLS 3.7", "GnuTLS 3.8"}, {"curl 7.88", "curl 8.14"},
				{"nginx 1.22", "nginx 1.26"}, {"HAProxy 2.6", "HAProxy 3.0"}, {"Python 3.11", "Python 3.13"},
			}[i][j]
			list = append(list, p)
		}
	}
	n, s := node(), std()
	n.name, s.name = "Node", "crypto/tls"
	return append(list, n, s)
}

// banner runs a program that says its version.
func banner(pattern string, command func(context.Context, string, ...string) *exec.Cmd, program, arg string) (string, error) {
	out, err := command(context.Background(), program, arg).CombinedOutput()
	m := regexp.MustCompile("(?m)" + pattern).FindSubmatch(out)
	if err != nil || m == nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, arg, err, out)
	}
	return string(m[1]), nil
}

func loopbackAddr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// play plays one cell.
func (p *plan) play(t *testing.T, role role, peer *peer, m *mode) {
	if role == ourClient {
		p.meetServer(t, peer, m)
	} else {
		p.meetClient(t, peer, m)
	}
}

// has reports whether the peer is in the table of a role.
func (p *peer) has(role role) bool {
	return role == ourClient && p.serve != nil || role == ourServer && p.visit != nil
}

// cell is one connection, or two.
type cell struct {
	role role
	plan *plan
	peer *peer
	n    int // of the diagonal of the table that it is on
}

// String is the cell's name in tests and in results.
func (c cell) String() string {
	return fmt.Sprintf("%s, %s, %s: %s", c.role, c.plan.dotted(), c.plan.name, c.peer.name)
}

// cells returns all cells that there are connections for.
func cells() (list []cell) {
	peers := allPeers()
	for _, role := range roles {
		for _, version := range versions {
			for i, p := range plans(version) {
				for j, peer := range peers {
					if peer.has(role) && peer.cannot(role, p) == "" {
						list = append(list, cell{role, p, peer, i + j})
					}
				}
			}
		}
	}
	return list
}

// playAll plays all cells, or some of each program, and compares what becomes of them with a file.
func playAll(t *testing.T, m *mode, file string) {
	res := newResults(t)
	t.Run("cells", func(t *testing.T) {
		for _, c := range cells() {
			if c.n%3 != 0 && !*all && !*update {
				continue
			}
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() { res.record(c, !t.Failed()) })
				c.plan.play(t, c.role, c.peer, m)
			})
		}
	})
	res.finish(t, file)
}

// TestMatrix plays cells in user space.
func TestMatrix(t *testing.T) { playAll(t, userSpace, userFile) }
