package tls

import (
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// watched notes, once watch was called, what is done to a connection: "write"
// when one ends, and "deadline" when one for writing is set.
type watched struct {
	net.Conn
	mutex     sync.Mutex
	watching  bool
	done      []string
	deadlines []time.Time
	during    func() // called by Write, before it returns
}

func (w *watched) watch(during func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.watching, w.during = true, during
}

func (w *watched) note(what string) (watching bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.watching {
		w.done = append(w.done, what)
	}
	return w.watching
}

// noted returns what was done so far.
func (w *watched) noted() []string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return slices.Clone(w.done)
}

func (w *watched) lastDeadline() time.Time {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.deadlines[len(w.deadlines)-1]
}

func (w *watched) Write(b []byte) (int, error) {
	w.mutex.Lock()
	during := w.during
	w.during = nil
	w.mutex.Unlock()
	n, err := w.Conn.Write(b)
	if during != nil {
		during()
	}
	w.note("write")
	return n, err
}

func (w *watched) SetWriteDeadline(t time.Time) error {
	err := w.Conn.SetWriteDeadline(t)
	w.mutex.Lock()
	w.deadlines = append(w.deadlines, t)
	w.mutex.Unlock()
	w.note("deadline")
	return err
}

// watchClient and watchServer make a network whose one end is watched.
func watchClient(nw network, w *watched) network {
	return func(t testing.TB) (client, server net.Conn) {
		w.Conn, server = nw(t)
		return w, server
	}
}

func watchServer(nw network, w *watched) network {
	return func(t testing.TB) (client, server net.Conn) {
		client, w.Conn = nw(t)
		return client, w
	}
}

// TestFatalAlertDropsQueue has a peer that fails, and reads nothing any more,
// while tickets wait to be sent: Read must not try to send them.
func TestFatalAlertDropsQueue(t *testing.T) {
	var w watched
	s, peer := connectRaw(t, watchServer(pipes, &w), clientConfig(), serverConfig("P256"), roleServer)
	w.watch(nil)
	go peer.send(peer.seal(record.Alert, []byte{alertLevelFatal, byte(alert.InternalError)}))
	_, err := s.Read(make([]byte, 1))
	if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "remote error" {
		t.Errorf("Read: %v", err)
	}
	if got := w.noted(); len(got) > 0 {
		t.Errorf("Read does %v", got)
	}
	if _, again := s.Write([]byte("x")); again != err {
		t.Errorf("Write: %v, want %v", again, err)
	}
}

// TestKeyUpdateContextTooLate ends the context when the message is on its way:
// there is nothing to break off, and the deadline that would have done so must
// not stay.
func TestKeyUpdateContextTooLate(t *testing.T) {
	for _, deadline := range []time.Time{{}, time.Now().Add(time.Hour)} {
		var w watched
		c, s := connect(t, watchClient(sockets, &w), clientConfig(), serverConfig("P256"))
		if err := c.SetWriteDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		w.watch(func() {
			cancel()
			for !slices.Contains(w.noted(), "deadline") { // until the context's end has its effect
				time.Sleep(time.Millisecond)
			}
		})
		if err := c.(*Conn).KeyUpdate(ctx); err != nil {
			t.Fatalf("KeyUpdate: %v", err)
		}
		if got := w.lastDeadline(); !got.Equal(deadline) {
			t.Errorf("the write deadline is %v, want %v", got, deadline)
		}
		echo(t, c, s)
	}
}

// TestCloseWriteWaits calls CloseWrite beside a Write that takes its time: the
// deadline of the alert must not be the Write's.
func TestCloseWriteWaits(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		var w watched
		server := serverConfig("P256")
		server.MaxVersion = v
		c, s := connect(t, watchClient(sockets, &w), clientConfig(), server)
		closed := make(chan error, 1)
		w.watch(func() {
			go func() { closed <- c.CloseWrite() }()
			for range 50 { // for as long as a CloseWrite that does not wait would need
				if len(w.noted()) > 0 {
					return
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
		if _, err := c.Write([]byte("slow")); err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		if got := w.noted(); len(got) < 3 || !slices.Equal(got[:3], []string{"write", "deadline", "write"}) {
			t.Errorf("order %v", got)
		}
		if got, err := io.ReadAll(s); err != nil || string(got) != "slow" {
			t.Errorf("the peer reads %q, %v", got, err)
		}
	})
}

// TestHTTP2ServerTakesHTTP1 has a server that lists h2 only, as programs do that
// rely on crypto/tls: a client of HTTP/1.1 goes on without a protocol.
func TestHTTP2ServerTakesHTTP1(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion, server.NextProtos = v, []string{"h2"}
		ours, std := clientConfig(), stdClientConfig()
		for _, protocols := range [][]string{{"http/1.1"}, {"http/1.0", "http/1.1"}} {
			ours.NextProtos, std.NextProtos = protocols, protocols
			for _, client := range []any{ours, std} {
				c, s := connect(t, sockets, client, server)
				if a, b := c.ConnectionState().NegotiatedProtocol, s.ConnectionState().NegotiatedProtocol; a != "" || b != "" {
					t.Errorf("%T: protocols %q and %q", client, a, b)
				}
			}
		}
		ours.NextProtos = []string{"http/1.0"}
		if cerr, serr := handshakes(pair(t, sockets, ours, server)); cerr == nil || serr == nil {
			t.Errorf("a client of another protocol is served: %v, %v", cerr, serr)
		}
	})
}

// oneSession is a client's cache that knows no names.
type oneSession struct{ stdtls.ClientSessionCache }

func (o oneSession) Get(string) (*stdtls.ClientSessionState, bool) {
	return o.ClientSessionCache.Get("")
}

func (o oneSession) Put(_ string, s *stdtls.ClientSessionState) { o.ClientSessionCache.Put("", s) }

// TestVhostBypass has a client take a ticket from one name to another, where
// client certificates are checked differently.
func TestVhostBypass(t *testing.T) {
	errUntrusted := errors.New("not trusted")
	forEachVersion(t, func(t *testing.T, v uint16) {
		open, strict := serverConfig("P256"), serverConfig("P256")
		open.ClientAuth, open.MaxVersion = RequestClientCert, v
		strict.ClientAuth, strict.MaxVersion = RequireAnyClientCert, v
		checked := 0
		strict.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
			checked++
			return errUntrusted
		}
		server := &Config{GetConfigForClient: func(h *ClientHelloInfo) (*Config, error) {
			if h.ServerName == "strict.example" {
				return strict, nil
			}
			return open, nil
		}}
		open.SetSessionTicketKeys([][32]byte{{1}})
		strict.SetSessionTicketKeys([][32]byte{{1}})
		client := &stdtls.Config{
			InsecureSkipVerify: true, Certificates: []Certificate{testCert("P384")},
			ClientSessionCache: oneSession{stdtls.NewLRUClientSessionCache(0)},
		}
		for _, resumed := range []bool{false, true} {
			client.ServerName = "open.example"
			c, s := connect(t, sockets, client, server)
			echo(t, c, s)
			if got := s.ConnectionState(); got.DidResume != resumed || len(got.PeerCertificates) != 1 {
				t.Errorf("resumed %v with %d certificates", got.DidResume, len(got.PeerCertificates))
			}
		}
		client.ServerName = "strict.example"
		c, s := pair(t, sockets, client, server)
		if _, err := handshakes(c, s); !errors.Is(err, errUntrusted) || checked != 1 {
			t.Errorf("with a ticket of another name: %v, certificate checked %d times", err, checked)
		}
	})
}
