package matrix

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/process"
	"github.com/go-handoff/tls/kernel"
)

// mode is where the records of our side are protected.
type mode struct {
	name   string
	policy kernel.Policy
	where  tls.Placement
}

var (
	userSpace = &mode{"user space", kernel.Policy{TX: kernel.Off, RX: kernel.Off}, tls.UserSpace}
	inKernel  = &mode{"kernel", kernel.Policy{TX: kernel.Require, RX: kernel.Require, MoveTX: kernel.AtOnce, MoveRX: kernel.AtOnce}, tls.KernelSoftware}
)

// seen is what a program says of a connection; what it says nothing of is "".
type seen struct {
	Version  string `json:"version"`
	Suite    string `json:"suite"`
	Group    string `json:"group"`
	ALPN     string `json:"alpn"`
	Resumed  string `json:"resumed"` // true or false
	Client   string `json:"client"`  // the subject of its certificate
	Exported string `json:"exported"`
}

// far is the other end of connections.
type far struct {
	// addr is where their server listens.
	addr string
	// connect makes their client begin a connection, its first or second.
	connect func(n int)
	// exchange moves the payload in both directions.
	exchange func(conn *tls.Conn)
	// seen returns what the program says of the latest connection.
	seen func() seen
	// once is that there is one exchange on a connection, in which our side
	// changes keys if it is to.
	once bool
	// mute is that the program says nothing of its connections and negotiates no
	// application protocol.
	mute bool
	// brief is that their client closes its first connection at once, which the
	// kernel may be too late for.
	brief bool
	// rekey makes it change keys.
	rekey func()
	// leave makes it close in order: nil if it does so when our side does.
	leave func()
	// kill ends it at once.
	kill func()
	// updates counts the KeyUpdates that our side got.
	updates atomic.Int32
	// refused checks how a client without a good certificate is refused: for
	// servers, nil if by an alert.
	refused func(conn *tls.Conn)
}

// isServer reports whether it is a server of theirs.
func (f *far) isServer() bool { return f.addr != "" }

// watch lets f count.
func (f *far) watch(cfg *tls.Config) {
	const handshakeRecord, keyUpdate = 22, 24
	cfg.Trace = &tls.Trace{Received: func(m tls.TracedMessage) {
		if m.Type == handshakeRecord && m.Data[0] == keyUpdate {
			f.updates.Add(1)
		}
	}}
}

// meetServer connects our client to their server.
func (p *plan) meetServer(t *testing.T, peer *peer, m *mode) {
	s, cfg := peer.serve(t, p), p.client(m)
	s.watch(cfg)
	for n := range p.connections() {
		raw, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		conn := bounded(t, tls.Client(raw, cfg))
		if p.auth == refused {
			p.isRefused(t, s, conn)
			return
		}
		if p.early && n == 1 {
			p.sendEarly(t, conn, peer)
		}
		if err := conn.Handshake(); err != nil {
			t.Fatalf("handshake: %v", err)
		}
		p.use(t, s, conn, m, n)
		if e := conn.EarlyData(); n == 1 && e.Accepted != p.early {
			t.Errorf("early data: %+v", e)
		}
	}
}

// sendEarly sends early data: for HTTP, a request, which the first thing that
// comes back answers.
func (p *plan) sendEarly(t *testing.T, conn *tls.Conn, peer *peer) {
	t.Helper()
	early := "early\n"
	if peer.http {
		early = "GET /early HTTP/1.1\r\nHost: " + serverName + "\r\n\r\n"
	}
	if _, err := conn.WriteEarlyData([]byte(early)); err != nil {
		t.Fatalf("WriteEarlyData: %v", err)
	}
	if err := conn.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	if peer.early != nil {
		peer.early(t, conn)
	}
}

// isRefused checks that their server refuses our client's certificate.
func (p *plan) isRefused(t *testing.T, s *far, conn *tls.Conn) {
	t.Helper()
	if s.refused != nil {
		s.refused(conn)
		return
	}
	_, err := conn.Read(make([]byte, 1))
	var op *net.OpError
	var alert tls.AlertError
	if !errors.As(err, &op) || op.Op != "remote error" || !errors.As(err, &alert) {
		t.Errorf("no alert says that our certificate is refused: %v", err)
	}
}

// meetClient lets their client connect to our server.
func (p *plan) meetClient(t *testing.T, peer *peer, m *mode) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, cfg := peer.visit(t, p, l.Addr().(*net.TCPAddr).Port), p.server(m)
	c.watch(cfg)
	for n := range p.connections() {
		c.connect(n)
		if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		raw, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn := bounded(t, tls.Server(raw, c.serverConfig(cfg, n)))
		if p.early && n == 1 {
			receiveEarly(t, conn)
		}
		err = conn.Handshake()
		if p.auth == refused {
			if err == nil {
				t.Error("our server does not refuse the client")
			}
			conn.Close()
			c.refused(nil)
			return
		}
		if err != nil {
			t.Fatalf("handshake: %v", err)
		}
		p.use(t, c, conn, m, n)
	}
}

// serverConfig is the Config of our server for their nth connection.
func (f *far) serverConfig(cfg *tls.Config, n int) *tls.Config {
	if n == 0 && f.brief {
		cfg = cfg.Clone()
		cfg.Kernel = userSpace.policy
	}
	return cfg
}

// receiveEarly reads the early data of their client.
func receiveEarly(t *testing.T, conn *tls.Conn) {
	t.Helper()
	var got []byte
	buf := make([]byte, 100)
	for {
		n, err := conn.ReadEarlyData(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("ReadEarlyData: %v", err)
		}
	}
	if e := conn.EarlyData(); !e.Accepted || string(got) != string(small) {
		t.Errorf("early data %q, %+v", got, e)
	}
}

// bounded puts a limit on all that happens on conn.
func bounded(t testing.TB, conn *tls.Conn) *tls.Conn {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// use does with a connection what the plan says, and checks it.
func (p *plan) use(t *testing.T, f *far, conn *tls.Conn, m *mode, n int) {
	t.Helper()
	f.exchange(conn)
	switch {
	case f.once:
	case p.update == ours:
		if err := conn.KeyUpdate(context.Background()); err != nil {
			t.Fatalf("KeyUpdate: %v", err)
		}
		f.exchange(conn)
	case p.update == theirs:
		f.rekey()
		f.exchange(conn)
	}
	p.check(t, f, conn, n)
	want := p.ours(t, conn)
	if o := conn.Offload(); (n > 0 || !f.brief) && (o.TX.Where != m.where || o.RX.Where != m.where) {
		t.Errorf("records are protected in %v and %v: %s %s", o.TX.Where, o.RX.Where, o.TX.Reason, o.RX.Reason)
	}
	p.finish(t, f, conn)
	// Who is asked for new keys makes them when it sends again, and may not.
	if updates := f.updates.Load(); p.update != ours && (p.update == theirs) != (updates > 0) {
		t.Errorf("they have changed their keys %d times", updates)
	}
	got := f.seen()
	for end := time.Now().Add(10 * time.Second); got.Suite == "" && !p.quiet(f, n) && time.Now().Before(end); got = f.seen() {
		time.Sleep(10 * time.Millisecond) // it may print when the connection is over
	}
	p.compare(t, got, want)
	p.wantSaid(t, f, got, n)
}

// quiet reports whether the program may say nothing of connection n.
func (p *plan) quiet(f *far, n int) bool {
	return f.mute || p.large || p.end == cut || f.brief && n == 0 || n == 1
}

// wantSaid checks that the program has said what it can say. In a pipe, and if it
// is killed, that may be nothing, and of a resumed connection only that it is one.
func (p *plan) wantSaid(t *testing.T, f *far, got seen, n int) {
	t.Helper()
	if got.Suite == "" && !p.quiet(f, n) || got.Exported == "" && p.exporter || got.Resumed == "" && p.resume && !f.mute ||
		got.Client == "" && p.auth == given && f.isServer() {
		t.Errorf("they do not say what they should: %+v", got)
	}
}

// finish ends a connection.
func (p *plan) finish(t *testing.T, f *far, conn *tls.Conn) {
	t.Helper()
	switch {
	case p.end == cut:
		f.kill()
	case f.leave != nil:
		f.leave()
	default:
		if err := conn.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	}
	switch _, err := io.Copy(io.Discard, conn); p.end {
	case clean:
		if err != nil {
			t.Errorf("at their end: %v", err)
		}
	case cut:
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("where they are cut: %v", err)
		}
	}
	conn.Close()
}

// check judges a connection by what our side saw.
func (p *plan) check(t *testing.T, f *far, conn *tls.Conn, n int) {
	t.Helper()
	s, d := conn.ConnectionState(), conn.Details()
	if s.Version != p.version || s.DidResume != (n == 1) || (s.NegotiatedProtocol != protocol) != f.mute {
		t.Errorf("version %x, resumed %v, protocol %q", s.Version, s.DidResume, s.NegotiatedProtocol)
	}
	if p.group != 0 && s.CurveID != p.group || p.retry && !s.HelloRetryRequest {
		t.Errorf("group %v, HelloRetryRequest %v", s.CurveID, s.HelloRetryRequest)
	}
	if p.scheme != 0 && d.SignatureScheme != p.scheme && d.PeerSignatureScheme != p.scheme {
		t.Errorf("signed by %v and %v", d.SignatureScheme, d.PeerSignatureScheme)
	}
	var want *x509.Certificate
	switch {
	case f.isServer():
		want = servers[p.kind].cert.Leaf
	case p.auth == given:
		want = person.cert.Leaf
	}
	if want == nil && len(s.PeerCertificates) > 0 || want != nil && (len(s.VerifiedChains) == 0 || !s.PeerCertificates[0].Equal(want)) {
		t.Errorf("%d certificates and %d chains, or the wrong ones", len(s.PeerCertificates), len(s.VerifiedChains))
	}
}

// ours is what our side says of a connection.
func (p *plan) ours(t *testing.T, conn *tls.Conn) seen {
	t.Helper()
	s := conn.ConnectionState()
	exported, err := conn.ExportKeyingMaterial(label, nil, 32)
	if err != nil {
		t.Fatalf("ExportKeyingMaterial: %v", err)
	}
	v := seen{
		Version: p.dotted(), Suite: tls.CipherSuiteName(s.CipherSuite), Group: groupNames[s.CurveID], ALPN: s.NegotiatedProtocol,
		Resumed: fmt.Sprint(s.DidResume), Exported: hex.EncodeToString(exported),
	}
	if p.auth == given {
		v.Client = "person"
	}
	return v
}

// compare checks that both sides saw the same.
func (p *plan) compare(t *testing.T, theirs, ours seen) {
	t.Helper()
	for _, c := range []struct {
		what, theirs, ours string
		same               func(theirs, ours string) bool
	}{
		{"version", theirs.Version, ours.Version, strings.HasSuffix},
		{"cipher suite", theirs.Suite, ours.Suite, sameSuite},
		{"group", theirs.Group, ours.Group, sameGroup},
		{"protocol", theirs.ALPN, ours.ALPN, strings.EqualFold},
		{"resumption", theirs.Resumed, ours.Resumed, strings.EqualFold},
		{"client", theirs.Client, ours.Client, strings.EqualFold},
		{"keying material", theirs.Exported, ours.Exported, strings.EqualFold},
	} {
		if c.theirs != "" && !c.same(c.theirs, c.ours) {
			t.Errorf("%s: they say %q, we %q", c.what, c.theirs, c.ours)
		}
	}
}

var shorten = strings.NewReplacer("TLS_", "", "WITH_", "", "-", "", "_", "")

// sameSuite compares the names of suites, of which some programs say only a part.
func sameSuite(theirs, ours string) bool {
	return strings.Contains(strings.ToUpper(shorten.Replace(ours)), strings.ToUpper(shorten.Replace(theirs)))
}

var shortenGroup = strings.NewReplacer("prime256v1", "p256", "secp256r1", "p256", "secp384r1", "p384", "secp521r1", "p521", "0x11ec", "x25519mlkem768", "-", "")

// sameGroup compares the names of groups.
func sameGroup(theirs, ours string) bool {
	return shortenGroup.Replace(strings.ToLower(theirs)) == shortenGroup.Replace(strings.ToLower(ours))
}

// echo sends b to a server, and expects want back.
func echo(t testing.TB, conn io.ReadWriter, b, want []byte) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Write(b)
		failed <- err
	}()
	receive(t, conn, want)
	if err := <-failed; err != nil {
		t.Fatalf("sending: %v", err)
	}
}

// answer receives b from a client, and sends it back.
func answer(t testing.TB, conn io.ReadWriter, b []byte) {
	t.Helper()
	receive(t, conn, b)
	send(t, conn, b)
}

func send(t testing.TB, conn io.Writer, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatalf("sending: %v", err)
	}
}

func receive(t testing.TB, conn io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	if err != nil {
		t.Fatalf("received %d bytes of %d, %.60q: %v", n, len(want), got[:n], err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("received %.60q... instead of %.60q...", got, want)
	}
}

// outputFile returns where a program prints what it gets. To write byte by byte
// into a pipe takes too long.
func outputFile(t testing.TB) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// relay moves b through a program that sends what it reads.
func relay(t testing.TB, c *process.Process, stdout *os.File, conn *tls.Conn, b []byte) {
	t.Helper()
	before := len(read(stdout.Name()))
	go func() { _, _ = c.Stdin.Write(b) }() // what is missing fails at the other end
	answer(t, conn, b)
	for ended := false; !ended; {
		if info, err := stdout.Stat(); err != nil || info.Size() >= int64(before+len(b)) {
			break
		}
		select {
		case <-c.Done():
			ended = true
		case <-time.After(5 * time.Millisecond):
		}
	}
	if got := read(stdout.Name())[before:]; got != string(b) {
		t.Errorf("they received something else, %d bytes of %d", len(got), len(b))
	}
}
