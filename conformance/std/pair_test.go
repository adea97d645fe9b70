package std

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
)

// limit bounds every test of a connection: what hangs fails, and says where.
const limit = 20 * time.Second

// conn is what both implementations' connections have.
type conn interface {
	net.Conn
	HandshakeContext(context.Context) error
	CloseWrite() error
	ConnectionState() tls.ConnectionState
}

// role is this stack's; crypto/tls has the other one.
type role string

const (
	client role = "client"
	server role = "server"
)

var roles = []role{client, server}

// pairing makes connections between this stack and crypto/tls with one Config
// for each side, so that sessions can be resumed.
type pairing struct {
	role role
	ours *tls.Config
	std  *stdtls.Config
}

// pair translates one of the Configs for crypto/tls, by our role.
func pair(r role, clientConfig, serverConfig *tls.Config) *pairing {
	if r == client {
		return &pairing{r, clientConfig, toStd(serverConfig)}
	}
	return &pairing{r, serverConfig, toStd(clientConfig)}
}

// toStd copies the fields that have the same type in both packages. The others
// have no tests here, but for two.
func toStd(c *tls.Config) *stdtls.Config {
	out := new(stdtls.Config)
	from, to := reflect.ValueOf(c).Elem(), reflect.ValueOf(out).Elem()
	for i := range to.NumField() {
		field := to.Type().Field(i)
		value := from.FieldByName(field.Name)
		if field.IsExported() && value.IsValid() && value.Type() == field.Type {
			to.Field(i).Set(value)
		}
	}
	if c.ClientSessionCache != nil {
		out.ClientSessionCache = stdtls.NewLRUClientSessionCache(0)
	}
	if c.GetConfigForClient != nil {
		out.GetConfigForClient = func(info *tls.ClientHelloInfo) (*stdtls.Config, error) {
			next, err := c.GetConfigForClient(info)
			if next == nil || err != nil {
				return nil, err
			}
			return toStd(next), nil
		}
	}
	return out
}

// sides is one connection.
type sides struct {
	ours           *tls.Conn
	std            *stdtls.Conn
	client, server conn // the same two
	raw            [2]net.Conn
}

// dial connects the two sides, without a handshake.
func (p *pairing) dial(t testing.TB) *sides {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	for _, raw := range []net.Conn{c, s} {
		if err := raw.SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
	}
	both := &sides{raw: [2]net.Conn{c, s}}
	if p.role == client {
		both.ours, both.std = tls.Client(c, p.ours), stdtls.Server(s, p.std)
		both.client, both.server = both.ours, both.std
	} else {
		both.std, both.ours = stdtls.Client(c, p.std), tls.Server(s, p.ours)
		both.client, both.server = both.std, both.ours
	}
	return both
}

// handshake runs both handshakes. A server that fails hangs up, and so does a
// client.
func (b *sides) handshake() (clientErr, serverErr error) {
	done := make(chan error, 1)
	go func() {
		err := b.server.HandshakeContext(context.Background())
		if err != nil {
			b.server.Close()
		}
		done <- err
	}()
	if clientErr = b.client.HandshakeContext(context.Background()); clientErr != nil {
		b.client.Close()
	}
	return clientErr, <-done
}

// connect is dial and handshake, which must succeed.
func (p *pairing) connect(t testing.TB) *sides {
	t.Helper()
	b := p.dial(t)
	if cerr, serr := b.handshake(); cerr != nil || serr != nil {
		t.Fatalf("handshake: client %v, server %v", cerr, serr)
	}
	return b
}

// close ends both sides.
func (b *sides) close() {
	b.client.Close()
	b.server.Close()
}

// echo sends a message each way.
func (b *sides) echo(t testing.TB) {
	t.Helper()
	say(t, b.client, b.server, "from the client")
	say(t, b.server, b.client, "from the server")
}

func say(t testing.TB, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatalf("sending %q: %v", text, err)
	}
	buf := make([]byte, len(text))
	if n, err := io.ReadFull(to, buf); err != nil || string(buf) != text {
		t.Fatalf("received %q instead of %q: %v", buf[:n], text, err)
	}
}

// isAlert reports whether err says that the peer sent this alert. What crypto/tls
// wraps then is not an AlertError, but has its text.
func isAlert(err error, alert tls.AlertError) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == alert.Error()
}

// What all tests share.
var (
	authority *pki.Authority // signs all certificates but the stranger's
	strange   tls.Certificate
	certs     = map[pki.Kind]tls.Certificate{}
)

const serverName = "server.example"

func makeCertificates() (err error) {
	if authority, err = pki.New("Test Authority"); err != nil {
		return err
	}
	stranger, err := pki.New("Stranger")
	if err != nil {
		return err
	}
	if strange, err = stranger.Issue(pki.P256, "stranger", serverName); err != nil {
		return err
	}
	for _, kind := range pki.Kinds() {
		if certs[kind], err = authority.Issue(kind, serverName); err != nil {
			return err
		}
	}
	return nil
}

func clientConfig() *tls.Config {
	return &tls.Config{RootCAs: authority.Pool(), ServerName: serverName}
}

func serverConfig(kind pki.Kind) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certs[kind]}}
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// pin restricts a Config to one version.
func pin(v uint16, c *tls.Config) *tls.Config {
	c.MinVersion, c.MaxVersion = v, v
	return c
}

// results counts rows by test.
var results = struct {
	sync.Mutex
	passed, failed map[string]int
}{passed: map[string]int{}, failed: map[string]int{}}

// row runs one row of a table beside others, in both roles, and counts it.
func row(t *testing.T, name string, f func(t *testing.T, r role)) {
	for _, r := range roles {
		t.Run(name+"/"+string(r), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				results.Lock()
				defer results.Unlock()
				test, _, _ := strings.Cut(t.Name(), "/")
				if t.Failed() {
					results.failed[test]++
				} else {
					results.passed[test]++
				}
			})
			f(t, r)
		})
	}
}

// eachVersion is row for both versions.
func eachVersion(t *testing.T, name string, f func(t *testing.T, r role, v uint16)) {
	for _, v := range slices.Sorted(maps.Keys(versions)) {
		row(t, v+"/"+name, func(t *testing.T, r role) { f(t, r, versions[v]) })
	}
}

func TestMain(m *testing.M) {
	if err := makeCertificates(); err != nil {
		fmt.Println("preparing the tests:", err)
		os.Exit(1)
	}
	code := m.Run()
	summary(os.Stdout)
	os.Exit(code)
}

func summary(w io.Writer) {
	tests := maps.Clone(results.passed)
	maps.Copy(tests, results.failed)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nagainst crypto/tls\ntest\tpassed\tfailed")
	passed, failed := 0, 0
	for _, test := range slices.Sorted(maps.Keys(tests)) {
		fmt.Fprintf(tw, "%s\t%d\t%d\n", test, results.passed[test], results.failed[test])
		passed += results.passed[test]
		failed += results.failed[test]
	}
	fmt.Fprintf(tw, "all\t%d\t%d\n", passed, failed)
	tw.Flush()
}
