package openssl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// What openssl -msg prints for a KeyUpdate that it sends and receives.
const (
	sentUpdate     = ">>> TLS 1.3, Handshake [length 0005], KeyUpdate"
	receivedUpdate = "<<< TLS 1.3, Handshake [length 0005], KeyUpdate"
)

// eachRole runs a row with openssl in each role, connected by TLS 1.3 and with
// both ends ready to talk.
func eachRole(t *testing.T, name string, args []string, f func(t *testing.T, conn *tls.Conn, p *process.Process)) {
	row(t, name+"/s_server", func(t *testing.T) {
		s := startServer(t, append(append(identity(pki.P256), "-tls1_3"), args...))
		conn := s.dial(t, clientConfig())
		talk(t, conn, s.Process, "begin")
		f(t, conn, s.Process)
	})
	row(t, name+"/s_client", func(t *testing.T) {
		l := listen(t, serverConfig(pki.P256))
		p := l.client(append([]string{"-tls1_3"}, args...))
		conn := l.accept()
		talk(t, conn, p, "begin")
		f(t, conn, p)
	})
}

// TestKeyUpdate changes keys several times, started from either side, and
// exchanges data after each.
func TestKeyUpdate(t *testing.T) {
	const rounds = 3
	// sent and received are how many KeyUpdates openssl must have seen at last.
	check := func(t *testing.T, p *process.Process, sent, received int) {
		t.Helper()
		p.Times(sentUpdate, sent)
		p.Times(receivedUpdate, received)
		text := p.Output()
		if s, r := strings.Count(text, sentUpdate), strings.Count(text, receivedUpdate); s != sent || r != received {
			t.Errorf("openssl sent %d and received %d KeyUpdates, want %d and %d", s, r, sent, received)
		}
	}
	for _, test := range []struct {
		name, command string
		answers       int // of ours
	}{{"asked", "K", rounds}, {"told", "k", 0}} {
		eachRole(t, test.name, []string{"-msg"}, func(t *testing.T, conn *tls.Conn, p *process.Process) {
			for i := range rounds {
				p.Say(test.command)
				p.Times(sentUpdate, i+1) // or it would take the next line for part of the command
				talkBack(t, conn, p, fmt.Sprint("round-", i))
			}
			check(t, p, rounds, test.answers)
		})
	}
	eachRole(t, "ours", []string{"-msg"}, func(t *testing.T, conn *tls.Conn, p *process.Process) {
		for i := range rounds {
			if err := conn.KeyUpdate(context.Background()); err != nil {
				t.Fatal(err)
			}
			talk(t, conn, p, fmt.Sprint("round-", i))
		}
		check(t, p, rounds, rounds)
	})
	eachRole(t, "crossing", []string{"-msg"}, func(t *testing.T, conn *tls.Conn, p *process.Process) {
		for i := range rounds {
			p.Say("K")
			p.Times(sentUpdate, 2*i+1)
			if err := conn.KeyUpdate(context.Background()); err != nil {
				t.Fatal(err)
			}
			talkBack(t, conn, p, fmt.Sprint("round-", i))
			talk(t, conn, p, fmt.Sprint("again-", i))
		}
		check(t, p, 2*rounds, 2*rounds)
	})
}

// talkBack is talk with the process first: what it typed before has then
// reached us.
func talkBack(t testing.TB, conn io.ReadWriter, p *process.Process, word string) {
	t.Helper()
	p.Say("from-" + word)
	receive(t, conn, "from-"+word+"\n")
	send(t, conn, "to-"+word+"\n")
	p.Expect("to-" + word + "\n")
}
