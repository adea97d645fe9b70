package tls

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// mustDetach takes conn out of use.
func mustDetach(t testing.TB, conn *Conn, key *HandoverKey) (*os.File, []byte) {
	t.Helper()
	f, blob, err := conn.Detach(key)
	if err != nil {
		t.Fatalf("Detach: %v", err)
	}
	return f, blob
}

// moved goes on with conn by way of a blob.
func moved(t testing.TB, conn *Conn, config *Config) *Conn {
	t.Helper()
	key := GenerateHandoverKey()
	f, blob := mustDetach(t, conn, key)
	next, err := Adopt(f, blob, key, config)
	if err != nil {
		t.Fatalf("Adopt: %v", err)
	}
	t.Cleanup(func() { next.Close() })
	if err := next.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return next
}

// suiteConfigs returns configs of each suite, by its name.
func suiteConfigs() iter.Seq2[string, [2]*Config] {
	return func(yield func(string, [2]*Config) bool) {
		for _, suite := range keyschedule.Suites() {
			kind := "P256"
			if suite.Auth == keyschedule.AuthRSA {
				kind = "RSA"
			}
			client, server := clientConfig(), serverConfig(kind)
			client.MaxVersion = suite.Version
			client.CipherSuites = []uint16{suite.ID}
			server.CipherSuites = client.CipherSuites
			client.ClientSessionCache = NewLRUClientSessionCache(0)
			if !yield(suite.Name, [2]*Config{client, server}) {
				return
			}
		}
	}
}

// TestDetach moves both sides of a connection of each suite, again and again.
func TestDetach(t *testing.T) {
	for name, configs := range suiteConfigs() {
		t.Run(name, func(t *testing.T) {
			client, server := configs[0], configs[1]
			client.Certificates = []Certificate{testCert("Ed25519")}
			server.ClientAuth, server.ClientCAs = RequireAndVerifyClientCert, newAuthority().pool
			cc, ss := connect(t, sockets, client, server)
			c, s := cc.(*Conn), ss.(*Conn)
			before := [...]map[string]any{negotiated(t, c), negotiated(t, s)}
			for i := range 4 {
				c, s = moved(t, c, client), moved(t, s, nil)
				echo(t, c, s)
				for j, after := range [...]map[string]any{negotiated(t, c), negotiated(t, s)} {
					for what, value := range after {
						if !reflect.DeepEqual(value, before[j][what]) {
							t.Fatalf("move %d, side %d: %s is %v, was %v", i, j, what, value, before[j][what])
						}
					}
				}
				if c.ConnectionState().Version == VersionTLS13 {
					updateBoth(t, c, s)
				}
			}
			endBoth(t, c, s)
		})
	}
}

// TestDetachRoles moves our side of connections with crypto/tls.
func TestDetachRoles(t *testing.T) {
	forEachRole(t, func(t *testing.T, client, server any) {
		for _, v := range versions {
			setMax(server, v)
			c, s := connect(t, sockets, client, server)
			for range 3 {
				if conn, ok := c.(*Conn); ok {
					c = moved(t, conn, clientConfig())
				}
				if conn, ok := s.(*Conn); ok {
					s = moved(t, conn, nil)
				}
				echo(t, c, s)
			}
		}
	})
}

// negotiated is all that a connection says of itself, and what it exports.
func negotiated(t *testing.T, c *Conn) map[string]any {
	t.Helper()
	exported, err := c.ExportKeyingMaterial("label", []byte("context"), 32)
	if err != nil {
		t.Fatal(err)
	}
	state := c.ConnectionState()
	again, err := state.ExportKeyingMaterial("label", []byte("context"), 32)
	if err != nil || !bytes.Equal(exported, again) {
		t.Fatalf("ConnectionState exports %x, %v, and the Conn %x", again, err, exported)
	}
	all := map[string]any{"exported": exported, "details": c.Details()}
	v := reflect.ValueOf(state)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			all[f.Name] = v.Field(i).Interface()
		}
	}
	return all
}

func updateBoth(t *testing.T, c, s *Conn) {
	t.Helper()
	for _, conn := range [...]*Conn{c, s} {
		if err := conn.KeyUpdate(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	echo(t, c, s)
	if c.out.sealer.Seq() > 3 || s.out.sealer.Seq() > 3 {
		t.Errorf("records %d and %d after KeyUpdate", c.out.sealer.Seq(), s.out.sealer.Seq())
	}
}

// endBoth ends a connection in good order.
func endBoth(t *testing.T, c, s *Conn) {
	t.Helper()
	if err := c.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
	if rest, err := io.ReadAll(s); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v at the end", rest, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v at the end", rest, err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestDetachUnread moves a connection with data in every stage: read by nobody,
// not decrypted, arrived in part, and not arrived.
func TestDetachUnread(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		c, peer := connectRawVersion(t, v)
		first := peer.seal(record.ApplicationData, []byte("first"))
		second := peer.seal(record.ApplicationData, bytes.Repeat([]byte("second"), 10))
		third := peer.seal(record.ApplicationData, []byte("third"))
		for n := range len(third) {
			peer.send(first, second, third[:n])
			buf := make([]byte, 2)
			if _, err := io.ReadFull(c, buf); err != nil {
				t.Fatal(err)
			}
			waitBuffered(t, c, len(second)+n)
			c = moved(t, c, clientConfig())
			c = moved(t, c, clientConfig()) // also what nobody has touched
			peer.send(third[n:])
			rest := make([]byte, 3+60+5)
			if _, err := io.ReadFull(c, rest); err != nil {
				t.Fatal(err)
			}
			if got := string(buf) + string(rest); got != "first"+strings.Repeat("second", 10)+"third" {
				t.Fatalf("cut after %d bytes: read %q", n, got)
			}
			first = peer.seal(record.ApplicationData, []byte("first"))
			second = peer.seal(record.ApplicationData, bytes.Repeat([]byte("second"), 10))
			third = peer.seal(record.ApplicationData, []byte("third"))
		}
	})
}

// waitBuffered reads from the network until n bytes are there that are not
// decrypted.
func waitBuffered(t *testing.T, c *Conn, n int) {
	t.Helper()
	c.in.Lock()
	defer c.in.Unlock()
	for len(c.in.bytes()) < n {
		if err := c.in.fill(c.conn, len(c.in.bytes())+1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDetachTimedOut moves a connection whose Read has ended by its deadline, in
// the middle of a header and of a record.
func TestDetachTimedOut(t *testing.T) {
	for _, n := range []int{0, 1, 4, 5, 6, 20} {
		c, peer := connectRawVersion(t, VersionTLS13)
		rec := peer.seal(record.ApplicationData, []byte("some data"))
		peer.send(rec[:n])
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read: %v", err)
		}
		c = moved(t, c, clientConfig())
		peer.send(rec[n:])
		if err := expect(c, "some data"); err != nil {
			t.Errorf("%d bytes of the record: %v", n, err)
		}
	}
}

func expect(r io.Reader, want string) error {
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(r, buf); err != nil {
		return err
	}
	if string(buf) != want {
		return fmt.Errorf("read %q, want %q", buf, want)
	}
	return nil
}

// TestDetachTickets moves a client before, while and after its ticket comes.
func TestDetachTickets(t *testing.T) {
	for n := range 8 {
		client, server := clientConfig(), serverConfig("P256")
		client.ClientSessionCache = NewLRUClientSessionCache(0)
		server.SessionTicketsDisabled = true
		c, peer := connectRaw(t, sockets, client, server, roleClient)
		ticket := []byte("\x04\x00\x00\x11\x00\x00\x00\x64\x00\x00\x00\x00\x00\x00\x06ticket")
		ticket[3] = byte(len(ticket) - 4 + 2)
		ticket = append(ticket, 0, 0) // no extensions
		parts := [][]byte{ticket[:n], ticket[n:]}
		for i, part := range parts {
			if len(part) == 0 {
				continue
			}
			peer.send(peer.seal(record.Handshake, part))
			if i == 0 {
				if err := c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("Read: %v", err)
				}
				c = moved(t, c, client)
			}
		}
		peer.send(peer.seal(record.ApplicationData, []byte("data")))
		if err := expect(c, "data"); err != nil {
			t.Fatalf("ticket cut after %d bytes: %v", n, err)
		}
		if s, ok := client.ClientSessionCache.Get(testName); !ok || s == nil {
			t.Errorf("ticket cut after %d bytes: no session", n)
		}
	}
}

// Sessions that were made on the way can be resumed.
func TestDetachResumption(t *testing.T) {
	client, server := clientConfig(), serverConfig("P256")
	client.ClientSessionCache = NewLRUClientSessionCache(0)
	for _, resumed := range []bool{false, true, true} {
		cc, ss := connect(t, sockets, client, server)
		c, s := moved(t, cc.(*Conn), client), moved(t, ss.(*Conn), server)
		echo(t, c, s)
		for _, conn := range []*Conn{c, s} {
			if got := conn.ConnectionState().DidResume; got != resumed {
				t.Errorf("resumed %v, want %v", got, resumed)
			}
		}
		endBoth(t, c, s)
	}
}

// TestDetachOwesUpdate moves a connection that has been asked for new keys and
// has not answered.
func TestDetachOwesUpdate(t *testing.T) {
	server := serverConfig("P256")
	server.SessionTicketsDisabled = true
	c, peer := connectRawSecrets(t, sockets, clientConfig(), server)
	peer.send(peer.seal(record.Handshake, []byte{24, 0, 0, 1, 1}))
	peer.nextSeal()
	peer.send(peer.seal(record.ApplicationData, []byte("data")))
	if err := expect(c, "data"); err != nil {
		t.Fatal(err)
	}
	c = moved(t, c, clientConfig())
	if _, err := c.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if typ, got := peer.receive(); typ != record.Handshake || !bytes.Equal(got, []byte{24, 0, 0, 1, 0}) {
		t.Errorf("got %v %v, want a KeyUpdate", typ, got)
	}
	peer.nextOpen()
	if typ, got := peer.receive(); typ != record.ApplicationData || string(got) != "answer" {
		t.Errorf("got %v %q", typ, got)
	}
}

// TestDetachHalfClosed moves a connection of which one or both directions have
// ended in good order.
func TestDetachHalfClosed(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client := clientConfig()
		client.MaxVersion = v
		cc, ss := connect(t, sockets, client, serverConfig("P256"))
		c, s := cc.(*Conn), ss.(*Conn)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("Read: %v", err)
		}
		for range 2 {
			c, s = moved(t, c, client), moved(t, s, nil)
			if _, err := c.Write([]byte("x")); err != errShutdown {
				t.Errorf("Write after CloseWrite: %v", err)
			}
			if _, err := s.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read after close_notify: %v", err)
			}
			if err := exchange(s, c, "one way"); err != nil {
				t.Error(err)
			}
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("Read: %v", err)
		}
		c, s = moved(t, c, client), moved(t, s, nil)
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read: %v", err)
		}
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// TestDetachUnix moves a connection over another kind of socket.
func TestDetachUnix(t *testing.T) {
	nw := func(t testing.TB) (client, server net.Conn) {
		l, err := net.Listen("unix", t.TempDir()+"/socket")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if client, err = net.Dial("unix", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	cc, ss := connect(t, nw, clientConfig(), serverConfig("P256"))
	c, s := cc.(*Conn), ss.(*Conn)
	for range 3 {
		c, s = moved(t, c, clientConfig()), moved(t, s, nil)
		echo(t, c, s)
	}
	endBoth(t, c, s)
}

// TestDetachErrors checks that a connection goes on after a Detach that failed.
func TestDetachErrors(t *testing.T) {
	key := GenerateHandoverKey()
	c, s := connect(t, pipes, clientConfig(), serverConfig("P256"))
	if _, _, err := c.(*Conn).Detach(key); err != ErrNoDescriptor {
		t.Errorf("Detach over a pipe: %v", err)
	}
	echo(t, c, s)

	server := serverConfig("P256")
	randomness := &io.LimitedReader{R: server.rand(), N: 1 << 20}
	server.Rand = randomness
	c, s = connect(t, sockets, clientConfig(), server)
	conn := s.(*Conn)
	for what, key := range map[string]*HandoverKey{"no key": nil, "an empty key": {}} {
		if _, _, err := conn.Detach(key); err != errNoHandoverKey {
			t.Errorf("Detach with %s: %v", what, err)
		}
	}
	randomness.N = 0
	if _, _, err := conn.Detach(key); err != io.EOF {
		t.Errorf("Detach without randomness: %v", err)
	}
	randomness.N = 1 << 20
	conn.in.Lock()
	if _, _, err := conn.Detach(key); err != ErrReadInProgress {
		t.Errorf("Detach within Read: %v", err)
	}
	conn.in.Unlock()
	conn.engine.State().ServerName = strings.Repeat("x", 1<<16)
	if _, _, err := conn.Detach(key); err == nil {
		t.Error("Detach of an engine that has no encoding succeeds")
	}
	conn.engine.State().ServerName = ""
	echo(t, c, s)
	echo(t, c, moved(t, conn, server))
}

// TestDetachUnsent has a message queued that cannot be sent.
func TestDetachUnsent(t *testing.T) {
	c, _ := connectRawVersion(t, VersionTLS13)
	c.enqueue(outgoing{typ: record.Handshake, body: []byte{24, 0, 0, 1, 0}})
	if err := c.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Detach(GenerateHandoverKey()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Detach: %v", err)
	}
	c, _ = connectRawVersion(t, VersionTLS13)
	final := errors.New("the end")
	c.enqueue(outgoing{typ: record.Alert, body: []byte{2, 80}, final: final})
	if _, _, err := c.Detach(GenerateHandoverKey()); err != final {
		t.Errorf("Detach with an alert queued: %v", err)
	}
}

// TestAdoptReset tries a socket that the peer has reset meanwhile.
func TestAdoptReset(t *testing.T) {
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	key := GenerateHandoverKey()
	f, blob := mustDetach(t, s.(*Conn), key)
	defer f.Close()
	tcp := c.(*Conn).NetConn().(*net.TCPConn)
	if err := errors.Join(tcp.SetLinger(0), tcp.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(f, blob, key, nil); !errors.Is(err, ErrHandoverSocket) {
		t.Errorf("Adopt: %v", err)
	}
}

func TestDetachDead(t *testing.T) {
	key := GenerateHandoverKey()
	c, peer := connectRawVersion(t, VersionTLS13)
	peer.send(peer.seal(record.Alert, []byte{2, byte(alert.InternalError)}))
	_, want := c.Read(make([]byte, 1))
	if _, _, err := c.Detach(key); err != want {
		t.Errorf("Detach after an alert: %v, want %v", err, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Detach(key); err != net.ErrClosed {
		t.Errorf("Detach after Close: %v", err)
	}
	c, _ = connectRawVersion(t, VersionTLS13)
	if _, err := c.ExportKeys(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Detach(key); err != ErrKeysExported {
		t.Errorf("Detach after ExportKeys: %v", err)
	}
	raw, _ := sockets(t)
	raw.Close()
	if _, _, err := Client(raw, clientConfig()).Detach(key); err == nil {
		t.Error("Detach without a handshake succeeds")
	}
	c, peer = connectRawVersion(t, VersionTLS13)
	peer.Close()
	_, _ = c.Read(make([]byte, 1))
	if _, _, err := c.Detach(key); err != io.ErrUnexpectedEOF {
		t.Errorf("Detach of a connection that was cut: %v", err)
	}
}

// TestDetached checks that what has left is of no use any more and holds no
// keys, and that the peer has noticed nothing.
func TestDetached(t *testing.T) {
	key := GenerateHandoverKey()
	cc, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	c := cc.(*Conn)
	sealer, opener := c.out.sealer, c.in.opener
	f, _ := mustDetach(t, c, key)
	defer f.Close()
	for what, call := range map[string]func() error{
		"Read":                 func() error { _, err := c.Read(make([]byte, 1)); return err },
		"Write":                func() error { _, err := c.Write([]byte("x")); return err },
		"ReadFrom":             func() error { _, err := c.ReadFrom(strings.NewReader("x")); return err },
		"WriteTo":              func() error { _, err := c.WriteTo(io.Discard); return err },
		"KeyUpdate":            func() error { return c.KeyUpdate(t.Context()) },
		"CloseWrite":           c.CloseWrite,
		"Abort":                func() error { return c.Abort(80) },
		"ExportKeyingMaterial": func() error { _, err := c.ExportKeyingMaterial("label", nil, 10); return err },
		"ExportKeys":           func() error { _, err := c.ExportKeys(); return err },
		"SyscallConn":          func() error { _, err := c.SyscallConn(); return err },
		"Detach":               func() error { _, _, err := c.Detach(key); return err },
	} {
		if err := call(); !errors.Is(err, ErrDetached) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !c.ConnectionState().HandshakeComplete {
		t.Error("ConnectionState is gone")
	}
	if o := c.Offload(); !strings.Contains(o.TX.Reason, "adopted") || !strings.Contains(o.RX.Reason, "adopted") {
		t.Errorf("Offload: %v", o)
	}
	if sealer.Release() != nil || opener.Release() != nil {
		t.Error("keys are left")
	}
	if err := s.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the peer reads %v", err)
	}
	for range 2 {
		if err := c.Close(); err != nil && err != net.ErrClosed {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after Close the peer reads %v", err)
	}
}

// TestAdoptRefuses tries what is not what was detached. Afterwards that can
// still be adopted: once.
func TestAdoptRefuses(t *testing.T) {
	now := time.Now()
	config := serverConfig("P256")
	config.Time = func() time.Time { return now }
	c, s := connect(t, sockets, clientConfig(), config)
	_, other := connect(t, sockets, clientConfig(), config)
	key := GenerateHandoverKey()
	f, blob := mustDetach(t, s.(*Conn), key)
	otherFile, otherBlob := mustDetach(t, other.(*Conn), key)
	refuse := func(what string, want error, f *os.File, blob []byte, key *HandoverKey) {
		t.Helper()
		if conn, err := Adopt(f, blob, key, config); !errors.Is(err, want) || conn != nil {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
	}
	for n := range blob {
		refuse(fmt.Sprintf("%d of %d bytes", n, len(blob)), ErrHandoverForged, f, blob[:n], key)
		bad := bytes.Clone(blob)
		bad[n] ^= 1 << (n % 8)
		want := ErrHandoverForged
		if n < 2 {
			want = ErrHandoverVersion
		}
		refuse(fmt.Sprintf("byte %d of %d changed", n, len(blob)), want, f, bad, key)
	}
	refuse("bytes added", ErrHandoverForged, f, append(bytes.Clone(blob), 0), key)
	refuse("another key", ErrHandoverForged, f, blob, GenerateHandoverKey())
	refuse("no key", errNoHandoverKey, f, blob, nil)
	refuse("another socket", ErrHandoverSocket, otherFile, blob, key)
	refuse("another blob", ErrHandoverSocket, f, otherBlob, key)
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := Adopt(file, blob, key, config); err == nil {
		t.Fatal("a file is adopted")
	}
	for _, shift := range []time.Duration{time.Minute + time.Second, -time.Minute - time.Second} {
		now = now.Add(shift)
		refuse("made too long ago", ErrHandoverExpired, f, blob, key)
		now = now.Add(-shift)
	}
	now = now.Add(59 * time.Second)
	key.MaxAge = 58 * time.Second
	refuse("MaxAge", ErrHandoverExpired, f, blob, key)
	key.MaxAge = 0

	same, err := NewHandoverKey(key.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again := duplicate(t, f)
	adopted, err := Adopt(f, blob, same, config)
	if err != nil {
		t.Fatalf("what is right is refused: %v", err)
	}
	defer adopted.Close()
	refuse("replayed", ErrHandoverReplayed, again, blob, same)
	echo(t, c, adopted)
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the descriptor is not Adopt's: %v", err)
	}
}

// duplicate returns another descriptor of a socket.
func duplicate(t *testing.T, f *os.File) *os.File {
	t.Helper()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dup, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dup.Close() })
	return dup
}

// TestAdoptMalformed changes what is sealed. Nothing panics, and what is
// refused is said to be of another version.
func TestAdoptMalformed(t *testing.T) {
	key := GenerateHandoverKey()
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		_, s := connect(t, sockets, clientConfig(), server)
		f, blob := mustDetach(t, s.(*Conn), key)
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f.Close()
		plain, _, err := key.open(blob)
		if err != nil {
			t.Fatal(err)
		}
		adopt := func(plain []byte) error {
			h, err := parseHandover(plain)
			if err != nil {
				return err
			}
			c, err := h.conn(conn, server)
			if err == nil {
				c.leaveAlone()
			}
			return err
		}
		if err := adopt(plain); err != nil {
			t.Fatal(err)
		}
		for n := range plain {
			if err := adopt(plain[:n]); err == nil {
				t.Fatalf("%d of %d bytes are adopted", n, len(plain))
			}
			bad := bytes.Clone(plain)
			bad[n] ^= 1 << (n % 8)
			_ = adopt(bad)
		}
	})
}

// TestAdoptHostile seals what no connection is, in good order.
func TestAdoptHostile(t *testing.T) {
	key := GenerateHandoverKey()
	_, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	f, blob := mustDetach(t, s.(*Conn), key)
	defer f.Close()
	plain, _, err := key.open(blob)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(h *handover){
		"key too short": func(h *handover) { h.out.key = h.out.key[1:] },
		"IV too long":   func(h *handover) { h.in.iv = append(bytes.Clone(h.in.iv), 0) },
		"MAC key":       func(h *handover) { h.in.mac = []byte{1} },
		"no engine":     func(h *handover) { h.engine = nil },
		"not an engine": func(h *handover) { h.engine = []byte("an engine") },
		"no mode":       func(h *handover) { h.out.mode = 0 },
		"another mode":  func(h *handover) { h.in.mode = modeEnded + 1 },
		"in the kernel": func(h *handover) { h.out.mode = modeKernel },
		"received":      func(h *handover) { h.in.mode = modeKernel },
	} {
		h, err := parseHandover(plain)
		if err != nil {
			t.Fatal(err)
		}
		change(h)
		env, err := key.newEnvelope(new(Config).rand())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Adopt(f, env.seal(h), key, nil); err == nil {
			t.Errorf("%s: adopted", what)
		}
	}
	if c, err := Adopt(f, blob, key, nil); err != nil {
		t.Errorf("what is right is refused: %v", err)
	} else {
		c.Close()
	}
}

func TestHandoverKey(t *testing.T) {
	if _, err := NewHandoverKey(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes is accepted")
	}
	b := bytes.Repeat([]byte{0xa7}, 32)
	key, err := NewHandoverKey(b)
	if err != nil {
		t.Fatal(err)
	}
	b[0] = 0
	for _, none := range []*HandoverKey{{}, GenerateHandoverKey()} {
		none.Wipe()
		if _, err := none.newEnvelope(new(Config).rand()); err != errNoHandoverKey || none.Bytes() != nil {
			t.Errorf("a key that was wiped: %x, %v", none.Bytes(), err)
		}
	}
	if got := key.Bytes(); !bytes.Equal(got, bytes.Repeat([]byte{0xa7}, 32)) {
		t.Errorf("Bytes: %x", got)
	}
	if bytes.Equal(GenerateHandoverKey().Bytes(), GenerateHandoverKey().Bytes()) {
		t.Error("two keys are the same")
	}
	holder := struct {
		key *HandoverKey
		h   *handover
	}{key, &handover{out: half{key: bytes.Repeat([]byte{0xa7}, 32)}, engine: bytes.Repeat([]byte{0xa7}, 32)}}
	var said strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&said, verb+verb, key, holder.h)
	}
	if err := json.NewEncoder(&said).Encode([]any{key, holder.h}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&said, "%v %+v", holder.key, holder)
	for _, leak := range []string{"a7a7", "167 167", "167,167", `\xa7`, "p6en"} {
		if strings.Contains(strings.ToLower(said.String()), leak) {
			t.Errorf("prints %q", leak)
		}
	}
}

// TestHandoverKeyForgets checks that blobs are remembered as long as they could
// be adopted, and not for ever.
func TestHandoverKeyForgets(t *testing.T) {
	key := GenerateHandoverKey()
	start := time.Now()
	const blobs = 1000
	for i := range blobs {
		var id blobID
		binary.BigEndian.PutUint32(id[:], uint32(i))
		now := start.Add(time.Duration(i) * time.Second)
		if err := key.takeOnce(id, now, now); err != nil {
			t.Fatal(err)
		}
		if err := key.takeOnce(id, now, now.Add(59*time.Second)); err != ErrHandoverReplayed {
			t.Fatalf("blob %d: %v", i, err)
		}
	}
	if n := len(key.adopted); n > 4*minSweep {
		t.Errorf("%d of %d blobs are remembered", n, blobs)
	}
}

// TestDetachRace has everybody at a connection while it leaves.
func TestDetachRace(t *testing.T) {
	for i := range 50 {
		c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
		conn, key := s.(*Conn), GenerateHandoverKey()
		calls := []func() error{
			func() error { _, err := conn.Write([]byte("data")); return err },
			func() error { return conn.KeyUpdate(t.Context()) },
			func() error { _, err := conn.ExportKeyingMaterial("label", nil, 8); return err },
			func() error { conn.ConnectionState(); conn.Offload(); return nil },
		}
		if i%2 == 1 {
			calls = append(calls, conn.Close)
		}
		results := make(chan error, len(calls))
		for _, call := range calls {
			go func() { results <- call() }()
		}
		f, blob, err := conn.Detach(key)
		for range calls {
			if err := <-results; err != nil && !errors.Is(err, ErrDetached) && !errors.Is(err, net.ErrClosed) && i%2 == 0 {
				t.Errorf("%v", err)
			}
		}
		if err != nil {
			if i%2 == 0 {
				t.Fatalf("Detach: %v", err)
			}
			continue
		}
		next, err := Adopt(f, blob, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			go func() { _, _ = io.Copy(io.Discard, c) }()
			if err := exchange(c, next, "still there"); err != nil {
				t.Fatal(err)
			}
		}
		next.Close()
	}
}

// Failing readers make no half-sealed blob.
func TestEnvelopeRandomness(t *testing.T) {
	if _, err := GenerateHandoverKey().newEnvelope(iotest.ErrReader(io.ErrNoProgress)); err != io.ErrNoProgress {
		t.Errorf("newEnvelope: %v", err)
	}
}
