package tls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

var past = time.Unix(1, 0)

// rawPeer is the other end of a connection, by its keys alone: it can send what
// a Conn would not.
type rawPeer struct {
	net.Conn
	t      testing.TB
	sealer *record.Sealer
	opener *record.Opener
}

// connectRaw returns a Conn and the other end of it.
func connectRaw(t testing.TB, nw network, client, server *Config, r role) (*Conn, *rawPeer) {
	t.Helper()
	c, s := connect(t, nw, client, server)
	ours, theirs := c.(*Conn), s.(*Conn)
	if r == roleServer {
		ours, theirs = theirs, ours
	}
	keys, err := theirs.ExportKeys()
	if err != nil {
		t.Fatal(err)
	}
	return ours, &rawPeer{theirs.NetConn(), t, record.NewSealer(keys.Write), record.NewOpener(keys.Read)}
}

func connectRawVersion(t testing.TB, v uint16) (*Conn, *rawPeer) {
	t.Helper()
	server := serverConfig("P256")
	server.MaxVersion = v
	server.SessionTicketsDisabled = true // nothing but what the test sends
	return connectRaw(t, sockets, clientConfig(), server, roleClient)
}

// seal returns one record or more.
func (p *rawPeer) seal(typ record.ContentType, content []byte) []byte {
	p.t.Helper()
	rec, err := p.sealer.Seal(nil, typ, content)
	if err != nil {
		p.t.Fatal(err)
	}
	return rec
}

func (p *rawPeer) send(rec ...[]byte) {
	p.t.Helper()
	if _, err := p.Write(bytes.Join(rec, nil)); err != nil {
		p.t.Fatal(err)
	}
}

// receive returns the next record.
func (p *rawPeer) receive() (record.ContentType, []byte) {
	p.t.Helper()
	rec := make([]byte, record.HeaderLen)
	if _, err := io.ReadFull(p, rec); err != nil {
		p.t.Fatal(err)
	}
	n, err := p.opener.Need(rec)
	if err != nil {
		p.t.Fatal(err)
	}
	rec = append(rec, make([]byte, n-len(rec))...)
	if _, err := io.ReadFull(p, rec[record.HeaderLen:]); err != nil {
		p.t.Fatal(err)
	}
	typ, content, err := p.opener.Open(nil, rec)
	if err != nil {
		p.t.Fatal(err)
	}
	return typ, content
}

func forEachVersion(t *testing.T, f func(t *testing.T, v uint16)) {
	for _, v := range versions {
		t.Run(VersionName(v), func(t *testing.T) { f(t, v) })
	}
}

// TestPipe checks that connections without any buffer never block for something
// that nobody waits for: tickets, and answers to KeyUpdate.
func TestPipe(t *testing.T) {
	for _, auth := range []ClientAuthType{NoClientCert, RequestClientCert} {
		client, server := clientConfig(), serverConfig("P256")
		client.ClientSessionCache = NewLRUClientSessionCache(0)
		server.ClientAuth = auth
		for _, resumed := range []bool{false, true} {
			c, s := connect(t, pipes, client, server)
			echo(t, c, s)
			if err := exchange(s, c, "once more"); err != nil {
				t.Fatal(err)
			}
			if got := c.ConnectionState().DidResume; got != resumed {
				t.Errorf("%v: resumed %v, want %v", auth, got, resumed)
			}
		}
	}
}

func TestReadDeadline(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		server.SessionTicketsDisabled = true
		c, peer := connectRaw(t, pipes, clientConfig(), server, roleClient)
		rec := peer.seal(record.ApplicationData, []byte("hello"))
		for _, cut := range []int{0, 3, record.HeaderLen, record.HeaderLen + 7} {
			results := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 10))
				results <- err
			}()
			if _, err := peer.Write(rec[:cut]); err != nil { // returns once it was read
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(past); err != nil {
				t.Fatal(err)
			}
			if err := <-results; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Read after %d bytes of a record: %v", cut, err)
			}
			rec = rec[cut:]
			if err := c.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		go peer.send(rec)
		buf := make([]byte, 10)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "hello" {
			t.Fatalf("Read after timeouts: %q, %v", buf[:n], err)
		}
	})
}

func TestWriteDeadline(t *testing.T) {
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	if err := c.SetWriteDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write: %v", err)
	}
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Write([]byte("x"))
	ne := net.Error(nil)
	//lint:ignore SA1019 callers that still ask must not be told to try again
	if !errors.As(err, &ne) || !ne.Timeout() || ne.Temporary() {
		t.Fatalf("Write after a timeout: %v", err)
	}
	if err := exchange(s, c, "reading goes on"); err != nil {
		t.Fatal(err)
	}
}

func TestHandshakeDeadline(t *testing.T) {
	for _, r := range []role{roleClient, roleServer} {
		a, b := net.Pipe()
		defer b.Close()
		if err := a.SetDeadline(past); err != nil {
			t.Fatal(err)
		}
		conn := newConn(a, clientConfig(), r)
		first := conn.Handshake()
		if !errors.Is(first, os.ErrDeadlineExceeded) {
			t.Errorf("Handshake: %v", first)
		}
		if err := conn.Handshake(); err != first {
			t.Errorf("second Handshake: %v, want %v", err, first)
		}
	}
}

func TestHandshakeContext(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	conn := Client(a, clientConfig())
	results := make(chan error, 1)
	go func() { results <- conn.HandshakeContext(ctx) }()
	if _, err := io.ReadFull(b, make([]byte, 5)); err != nil { // it is in the middle of it
		t.Fatal(err)
	}
	cancel()
	if err := <-results; err != context.Canceled {
		t.Errorf("HandshakeContext: %v", err)
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		t.Errorf("the connection below was not closed: %v", err)
	}
}

func TestTruncation(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		for _, cut := range []int{0, 1, record.HeaderLen, record.HeaderLen + 3} {
			c, peer := connectRawVersion(t, v)
			rec := peer.seal(record.ApplicationData, []byte("some data"))
			peer.send(rec, peer.seal(record.ApplicationData, []byte("lost"))[:cut])
			peer.Close()
			got, err := io.ReadAll(c)
			if string(got) != "some data" || err != io.ErrUnexpectedEOF {
				t.Errorf("cut after %d bytes of a record: %q, %v", cut, got, err)
			}
		}
		c, peer := connectRawVersion(t, v)
		peer.send(peer.seal(record.ApplicationData, []byte("some data")), peer.seal(record.Alert, []byte{1, 0}))
		buf := make([]byte, 100)
		if n, err := c.Read(buf); string(buf[:n]) != "some data" || err != io.EOF && err != nil {
			t.Errorf("Read: %q, %v", buf[:n], err)
		}
		for range 2 {
			if n, err := c.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("Read at the end: %d, %v", n, err)
			}
		}
	})
}

func TestHalfClose(t *testing.T) {
	for _, v := range versions {
		forEachRole(t, func(t *testing.T, client, server any) {
			setMax(server, v)
			c, s := connect(t, sockets, client, server)
			for _, pair := range [][2]tlsConn{{c, s}, {s, c}} {
				from, to := pair[0], pair[1]
				if err := from.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if _, err := from.Write([]byte("x")); err == nil {
					t.Error("Write after CloseWrite succeeds")
				}
				if got, err := io.ReadAll(to); len(got) > 0 || err != nil {
					t.Errorf("after CloseWrite of the peer: %q, %v", got, err)
				}
				if from == c {
					if err := exchange(s, c, "the other way goes on"); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.Close()
			s.Close()
		})
	}
}

func TestCloseWriteTooEarly(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	conn := Client(a, clientConfig())
	if err := conn.CloseWrite(); err != errEarlyCloseWrite {
		t.Errorf("CloseWrite: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := conn.Write(nil); err != net.ErrClosed {
		t.Errorf("Write: %v", err)
	}
	if err := conn.Close(); err != net.ErrClosed {
		t.Errorf("second Close: %v", err)
	}
}

// TestCloseBreaksOff checks that Close ends a Read and a Write in progress, and
// that the keys are gone afterwards.
func TestCloseBreaksOff(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		c, _ := connect(t, pipes, clientConfig(), server) // nobody reads at the other end
		conn := c.(*Conn)
		results := make(chan error, 2)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			results <- err
		}()
		go func() {
			_, err := conn.Write(make([]byte, 1<<20))
			results <- err
		}()
		for conn.calls.Load() == 0 || conn.out.TryLock() { // until it is writing
			if conn.calls.Load() != 0 {
				conn.out.Unlock()
			}
			time.Sleep(time.Millisecond)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for range 2 {
			if err := <-results; err == nil {
				t.Error("Read or Write goes on after Close")
			}
		}
		if _, err := conn.ExportKeyingMaterial("label", nil, 10); err == nil {
			t.Error("secrets are still there after Close")
		}
		if _, _, err := conn.in.opener.Open(nil, []byte{23, 3, 3, 0, 0}); err == nil {
			t.Error("receiving keys are still there after Close")
		}
	})
}

func TestReadTakesSeveralRecords(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		c, peer := connectRawVersion(t, v)
		var stream, want []byte
		for i := range 20 {
			data := bytes.Repeat([]byte{byte(i)}, 10*i+1)
			want = append(want, data...)
			stream = append(stream, peer.seal(record.ApplicationData, data)...)
		}
		peer.send(stream, peer.seal(record.Alert, []byte{1, 0}))
		buf, got := make([]byte, 1000), []byte(nil)
		for {
			n, err := c.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, want %d", len(got), len(want))
		}
	})
}

// TestReadAtOnce checks that what is there comes by one Read, end included.
func TestReadAtOnce(t *testing.T) {
	server := serverConfig("P256")
	server.SessionTicketsDisabled = true
	c, peer := connectRaw(t, pipes, clientConfig(), server, roleClient)
	go peer.send(peer.seal(record.ApplicationData, []byte("one ")),
		peer.seal(record.ApplicationData, []byte("two")), peer.seal(record.Alert, []byte{1, 0}))
	buf := make([]byte, 100)
	if n, err := c.Read(buf); string(buf[:n]) != "one two" || err != io.EOF {
		t.Errorf("Read: %q, %v", buf[:n], err)
	}
}

func TestReadSmallPieces(t *testing.T) {
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	want := strings.Repeat("0123456789", 5000)
	go func() {
		_, _ = io.WriteString(s, want)
		s.CloseWrite()
	}()
	got, err := io.ReadAll(iotest.OneByteReader(c))
	if err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// TestIdleHoldsNoBuffer looks at a connection whose Read waits.
func TestIdleHoldsNoBuffer(t *testing.T) {
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	echo(t, c, s)
	conn := c.(*Conn)
	if conn.in.buf != nil {
		t.Error("buffer after a Read that left nothing")
	}
	done := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 100))
		done <- err
	}()
	for conn.in.TryLock() { // until it waits
		conn.in.Unlock()
		time.Sleep(time.Millisecond)
	}
	if err := conn.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	<-done
	if conn.in.buf != nil {
		t.Error("buffer in a Read that waits")
	}
}

// TestHandshakeHoldsNoBuffer looks at connections whose handshake is complete,
// and on which nobody has called Read yet.
func TestHandshakeHoldsNoBuffer(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		for _, link := range []struct {
			name string
			pair func(testing.TB) (client, server net.Conn)
		}{{"sockets", sockets}, {"pipes", pipes}} {
			c, s := connect(t, link.pair, clientConfig(), server)
			for _, conn := range []tlsConn{c, s} {
				conn := conn.(*Conn)
				conn.in.Lock()
				if conn.in.buf != nil && len(conn.in.bytes()) == 0 {
					t.Errorf("%s: role %v holds an empty buffer", link.name, conn.role)
				}
				conn.in.Unlock()
				conn.queueMutex.Lock()
				if len(conn.queue) == 0 && conn.queue != nil {
					t.Errorf("%s: role %v holds an empty queue", link.name, conn.role)
				}
				conn.queueMutex.Unlock()
			}
		}
	})
}

func TestReadFromWriteTo(t *testing.T) {
	want := bytes.Repeat([]byte("all of it "), 30000)
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		c, s := connect(t, sockets, clientConfig(), server)
		results := make(chan error, 1)
		go func() {
			n, err := s.(*Conn).ReadFrom(iotest.DataErrReader(bytes.NewReader(want)))
			if err == nil && n != int64(len(want)) {
				err = fmt.Errorf("ReadFrom returns %d", n)
			}
			results <- errors.Join(err, s.CloseWrite())
		}()
		var got bytes.Buffer
		if n, err := c.(*Conn).WriteTo(&got); err != nil || n != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("WriteTo: %d bytes, %v", n, err)
		}
		if err := <-results; err != nil {
			t.Error(err)
		}
	})
}

func TestReadFromWriteToErrors(t *testing.T) {
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	broken := errors.New("broken")
	if n, err := c.(*Conn).ReadFrom(io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(broken))); n != 5 || err != broken {
		t.Errorf("ReadFrom: %d, %v", n, err)
	}
	r, w := io.Pipe()
	r.CloseWithError(broken)
	if n, err := s.(*Conn).WriteTo(w); n != 0 || err != broken {
		t.Errorf("WriteTo: %d, %v", n, err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(s, buf); err != nil || string(buf) != "hello" {
		t.Errorf("what a writer refused is lost: %q, %v", buf, err)
	}
}

// TestBadRecords sends what a peer must not send, and checks our error, our
// alert, and that nothing works afterwards.
func TestBadRecords(t *testing.T) {
	repeat := func(n int, typ record.ContentType, content ...byte) func(*rawPeer) {
		return func(p *rawPeer) {
			for range n {
				p.send(p.seal(typ, content))
			}
		}
	}
	tests := []struct {
		name    string
		version uint16 // 0 for both
		send    func(*rawPeer)
		want    alert.Description
	}{
		{"useless data", 0, repeat(maxUseless+1, record.ApplicationData), alert.UnexpectedMessage},
		{"warnings", VersionTLS12, repeat(maxWarnings+1, record.Alert, 1, byte(alert.UserCanceled)), alert.UnexpectedMessage},
		{"user_canceled", VersionTLS13, repeat(maxWarnings+1, record.Alert, 1, byte(alert.UserCanceled)), alert.UnexpectedMessage},
		{"long alert", 0, repeat(1, record.Alert, 1, 0, 0), alert.DecodeError},
		{"alert level", 0, repeat(1, record.Alert, 3, 40), alert.IllegalParameter},
		{"damage", 0, func(p *rawPeer) {
			rec := p.seal(record.ApplicationData, []byte("data"))
			rec[len(rec)-1] ^= 1
			p.send(rec)
		}, alert.BadRecordMAC},
		{"ChangeCipherSpec", VersionTLS13, func(p *rawPeer) { p.send([]byte{20, 3, 3, 0, 1, 1}) }, alert.UnexpectedMessage},
		{"protected ChangeCipherSpec", 0, func(p *rawPeer) {
			if p.opener.Seq() == 0 { // TLS 1.3: never protected
				p.send([]byte{20, 3, 3, 0, 1, 2})
				return
			}
			p.send(p.seal(record.ChangeCipherSpec, []byte{1}))
		}, alert.UnexpectedMessage},
		{"ClientHello", 0, repeat(1, record.Handshake, 1, 0, 0, 0), alert.UnexpectedMessage},
		{"HelloRequest", VersionTLS12, repeat(1, record.Handshake, 0, 0, 0, 0), alert.NoRenegotiation},
		{"interleaved", 0, func(p *rawPeer) {
			p.send(p.seal(record.Handshake, []byte{0, 0}), p.seal(record.ApplicationData, []byte("x")))
		}, alert.UnexpectedMessage},
		{"oversized", 0, func(p *rawPeer) { p.send([]byte{23, 3, 3, 0xff, 0xff}) }, alert.RecordOverflow},
	}
	for _, test := range tests {
		for _, v := range versions {
			if test.version != 0 && test.version != v {
				continue
			}
			t.Run(test.name+"/"+VersionName(v), func(t *testing.T) {
				c, peer := connectRawVersion(t, v)
				test.send(peer)
				n, err := io.ReadAll(c)
				ae := AlertError(0)
				if len(n) > 0 || !errors.As(err, &ae) || alert.Description(ae) != test.want {
					t.Fatalf("Read: %q, %v; want %v", n, err, test.want)
				}
				if _, err2 := c.Read(make([]byte, 1)); err2 != err {
					t.Errorf("second Read: %v", err2)
				}
				if _, err := c.Write([]byte("x")); err == nil {
					t.Error("Write goes on")
				}
				typ, content := peer.receive()
				wantLevel := alertLevelFatal
				if test.want == alert.NoRenegotiation {
					wantLevel = alertLevelWarning
				}
				if typ != record.Alert || !bytes.Equal(content, []byte{wantLevel, byte(test.want)}) {
					t.Errorf("peer got %v %v", typ, content)
				}
			})
		}
	}
}

func TestRemoteAlert(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		c, peer := connectRawVersion(t, v)
		peer.send(peer.seal(record.Alert, []byte{alertLevelFatal, byte(alert.AccessDenied)}))
		_, err := c.Read(make([]byte, 1))
		op, ae := (*net.OpError)(nil), AlertError(0)
		if !errors.As(err, &op) || op.Op != "remote error" || !errors.As(err, &ae) || alert.Description(ae) != alert.AccessDenied {
			t.Errorf("Read: %v", err)
		}
		if _, werr := c.Write([]byte("x")); werr != err {
			t.Errorf("Write: %v", werr)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		c, s := connect(t, sockets, clientConfig(), server)
		const writers, messages = 4, 50
		message := bytes.Repeat([]byte("m"), 3000)
		var wg sync.WaitGroup
		for _, conn := range []tlsConn{c, s} {
			for range writers {
				wg.Go(func() {
					for range messages {
						if _, err := conn.Write(message); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Go(func() {
				if n, err := io.CopyN(io.Discard, conn, writers*messages*int64(len(message))); err != nil {
					t.Errorf("after %d bytes: %v", n, err)
				}
			})
			wg.Go(func() {
				for range 20 {
					if v == VersionTLS13 {
						if err := conn.(*Conn).KeyUpdate(context.Background()); err != nil {
							t.Error(err)
						}
					}
					conn.ConnectionState()
					if _, err := conn.(*Conn).ExportKeyingMaterial("label", nil, 10); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestAccessors(t *testing.T) {
	c, s := connect(t, sockets, clientConfig(), serverConfig("P256"))
	conn := c.(*Conn)
	if conn.LocalAddr() != conn.NetConn().LocalAddr() || conn.RemoteAddr() != conn.NetConn().RemoteAddr() {
		t.Error("addresses are not those of the connection below")
	}
	if err := conn.VerifyHostname(testName); err != nil {
		t.Error(err)
	}
	if err := conn.VerifyHostname("other.example"); err == nil {
		t.Error("VerifyHostname accepts another name")
	}
	if err := s.(*Conn).VerifyHostname(testName); err == nil {
		t.Error("VerifyHostname on a server succeeds")
	}
	if conn.OCSPResponse() != nil {
		t.Error("OCSP response from nowhere")
	}
	if _, err := conn.SyscallConn(); err != ErrUserSpace {
		t.Errorf("SyscallConn: %v", err)
	}
	if d := conn.Details(); d.PeerSignatureScheme != ECDSAWithP256AndSHA256 || d.SignatureScheme != 0 || !d.ExtendedMasterSecret {
		t.Errorf("Details: %+v", d)
	}
	if o := conn.Offload(); o.TX.Where != UserSpace || o.RX.Where != UserSpace || !strings.HasPrefix(o.TX.String(), "user space (") {
		t.Errorf("Offload: %v", o)
	}
}

// writeCounter counts what a side sends to the network.
type writeCounter struct {
	net.Conn
	n int
}

func (w *writeCounter) Write(b []byte) (int, error) {
	w.n++
	return w.Conn.Write(b)
}

// TestFlights counts the writes of a handshake: one for each flight, tickets
// included.
func TestFlights(t *testing.T) {
	for version, want := range map[uint16][2]int{VersionTLS12: {2, 2}, VersionTLS13: {2, 1}} {
		a, b := sockets(t)
		client, server := clientConfig(), serverConfig("P256")
		client.MaxVersion = version
		cw, sw := &writeCounter{Conn: a}, &writeCounter{Conn: b}
		done := make(chan error, 1)
		s := Server(sw, server)
		go func() { done <- s.Handshake() }()
		if err := errors.Join(Client(cw, client).Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		if cw.n != want[0] || sw.n != want[1] {
			t.Errorf("%s: client wrote %d times and server %d times, want %v", VersionName(version), cw.n, sw.n, want)
		}
	}
}

// TestCloseAfterWrite checks that what was written before Close arrives, though
// the client has never read the session ticket that came with the server's
// first flight: a socket that is closed with bytes unread is reset, which
// throws away what is still to be sent.
func TestCloseAfterWrite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := bytes.Repeat([]byte("all of it "), 100<<10)
	closed := make(chan error, 1)
	go func() {
		c, err := Dial("tcp", l.Addr().String(), clientConfig())
		if err == nil {
			_, err = c.Write(want)
			err2 := c.Close()
			if err == nil {
				err = err2
			}
		}
		closed <- err
	}()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	conn := Server(raw, serverConfig("P256"))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-closed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(200 * time.Millisecond): // the buffers of the sockets do not hold it all
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d of %d bytes, %v", len(got), len(want), err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestStateFromBefore asks a state that was taken before the handshake for
// keying material while the handshake goes on.
func TestStateFromBefore(t *testing.T) {
	a, b := sockets(t)
	c, s := Client(a, clientConfig()), Server(b, serverConfig("P256"))
	state := c.ConnectionState()
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	asked := make(chan bool)
	go func() {
		defer close(asked)
		for !c.complete.Load() {
			_, _ = state.ExportKeyingMaterial("label", nil, 16)
		}
	}()
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	<-asked
	if _, err := state.ExportKeyingMaterial("label", nil, 16); err != nil {
		t.Errorf("after the handshake: %v", err)
	}
}

// deadlineRecorder notes whether a write deadline was set.
type deadlineRecorder struct {
	net.Conn
	set atomic.Bool
}

func (d *deadlineRecorder) SetWriteDeadline(t time.Time) error {
	d.set.Store(true)
	return d.Conn.SetWriteDeadline(t)
}

// TestExportedSocketIsLeftAlone: whoever took the keys also has the socket's
// deadlines.
func TestExportedSocketIsLeftAlone(t *testing.T) {
	a, b := sockets(t)
	below := &deadlineRecorder{Conn: a}
	c, s := Client(below, clientConfig()), Server(b, serverConfig("P256"))
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	keys, err := c.ExportKeys()
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Wipe()
	below.set.Store(false)
	if err := c.CloseWrite(); err != ErrKeysExported {
		t.Errorf("CloseWrite: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if below.set.Load() {
		t.Error("a deadline was set on a socket that is somebody else's")
	}
}

// TestCloseInCallback closes the connection before the last flight is sent: a
// handshake that the peer cannot complete must not succeed.
func TestCloseInCallback(t *testing.T) {
	a, b := sockets(t)
	config := clientConfig()
	var c *Conn
	config.VerifyConnection = func(ConnectionState) error { return c.Close() }
	c = Client(a, config)
	s := Server(b, serverConfig("P256"))
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err == nil {
		t.Error("Handshake on a closed connection succeeds")
	}
	if err := <-done; err == nil {
		t.Error("the server's handshake succeeds")
	}
}

// shortWriter breaks io.Writer's contract.
type shortWriter struct{ net.Conn }

func (s shortWriter) Write(b []byte) (int, error) { return s.Conn.Write(b[:len(b)-1]) }

func TestShortWrite(t *testing.T) {
	a, _ := sockets(t)
	if err := Client(shortWriter{a}, clientConfig()).Handshake(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Handshake: %v", err)
	}
}

// TestDropWipes: keys that come too late are overwritten, and so is a secret that came
// with them. That of the application level is the engine's.
func TestDropWipes(t *testing.T) {
	suite := keyschedule.SuiteByID(TLS_AES_128_GCM_SHA256)
	for _, level := range []handshake.Level{handshake.LevelEarly, handshake.LevelHandshake, handshake.LevelApplication} {
		traffic := &keyschedule.TrafficSecret{Secret: keyschedule.NewSecret(bytes.Repeat([]byte{1}, suite.Hash.Size()))}
		keys, secret := traffic.Epoch(suite)
		q := outgoing{install: &handshake.InstallWrite{Level: level, Keys: keys, Secret: secret}}
		q.drop()
		if key := keys.Key(); !bytes.Equal(key, make([]byte, len(key))) {
			t.Errorf("%v: the key is still there", level)
		}
		if engines := level == handshake.LevelApplication; (len(secret.Bytes()) > 0) != engines {
			t.Errorf("%v: a secret of %d bytes", level, len(secret.Bytes()))
		}
	}
	q := outgoing{install: &handshake.InstallWrite{Level: handshake.LevelInitial}}
	q.drop() // back to cleartext: nothing to overwrite
}
