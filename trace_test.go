package tls

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traced returns a Trace and what it has seen so far, a line for each message.
func traced() (*Trace, func() []string) {
	var mutex sync.Mutex
	var list []string
	note := func(verb string) func(TracedMessage) {
		return func(m TracedMessage) {
			mutex.Lock()
			defer mutex.Unlock()
			switch m.Type {
			case 22:
				if n := int(m.Data[1])<<16 | int(m.Data[2])<<8 | int(m.Data[3]); len(m.Data) != 4+n {
					verb += " incomplete"
				}
				list = append(list, fmt.Sprintf("%s hs %d", verb, m.Data[0]))
			case 21:
				list = append(list, fmt.Sprintf("%s alert %d", verb, m.Data[1]))
			default:
				list = append(list, fmt.Sprintf("%s %d %x", verb, m.Type, m.Data))
			}
		}
	}
	return &Trace{Sent: note("sent"), Received: note("got")}, func() []string {
		mutex.Lock()
		defer mutex.Unlock()
		return slices.Clone(list)
	}
}

// TestTrace compares what both sides of a connection see with what there is.
func TestTrace(t *testing.T) {
	for version, want := range map[uint16][2][]string{
		VersionTLS12: {
			{"sent hs 1", "got hs 2", "got hs 11", "got hs 12", "got hs 14", "sent hs 16", "sent 20 01", "sent hs 20", "got hs 4", "got 20 01", "got hs 20", "sent alert 0", "got alert 0"},
			{"got hs 1", "sent hs 2", "sent hs 11", "sent hs 12", "sent hs 14", "got hs 16", "got 20 01", "got hs 20", "sent hs 4", "sent 20 01", "sent hs 20", "got alert 0", "sent alert 0"},
		},
		VersionTLS13: {
			{"sent hs 1", "got hs 2", "sent 20 01", "got 20 01", "got hs 8", "got hs 11", "got hs 15", "got hs 20", "sent hs 20", "got hs 4", "sent alert 0", "got alert 0"},
			{"got hs 1", "sent hs 2", "sent 20 01", "sent hs 8", "sent hs 11", "sent hs 15", "sent hs 20", "sent hs 4", "got 20 01", "got hs 20", "got alert 0", "sent alert 0"},
		},
	} {
		client, server := clientConfig(), serverConfig("P256")
		client.MaxVersion, client.ClientSessionCache = version, NewLRUClientSessionCache(1)
		var clientSaw, serverSaw func() []string
		client.Trace, clientSaw = traced()
		server.Trace, serverSaw = traced()
		c, s := connect(t, sockets, client, server)
		echo(t, c, s)
		if err := c.(*Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatalf("server reads %d bytes, %v", n, err)
		}
		if err := s.(*Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatalf("client reads %d bytes, %v", n, err)
		}
		for i, saw := range [...][]string{clientSaw(), serverSaw()} {
			if !slices.Equal(saw, want[i]) {
				t.Errorf("%s, side %d:\ngot  %q\nwant %q", VersionName(version), i, saw, want[i])
			}
		}
	}
}

// TestTraceOfTheFirstConfig: a connection is traced from one end to the other,
// whatever GetConfigForClient returns.
func TestTraceOfTheFirstConfig(t *testing.T) {
	for _, version := range []uint16{VersionTLS12, VersionTLS13} {
		other, otherSaw := traced()
		next := serverConfig("P256")
		next.Trace = other
		server := serverConfig("P256")
		var saw func() []string
		server.Trace, saw = traced()
		server.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return next, nil }
		client := clientConfig()
		client.MaxVersion = version
		c, s := connect(t, sockets, client, server)
		echo(t, c, s)
		if got := saw(); !slices.Contains(got, "sent hs 2") || !slices.Contains(got, "got hs 20") {
			t.Errorf("%s: the trace is %q", VersionName(version), got)
		}
		if got := otherSaw(); len(got) > 0 {
			t.Errorf("%s: the other trace is %q", VersionName(version), got)
		}
	}
}

// TestTraceInTurn: what is sent is shown one after the other, also where several
// goroutines cause it.
func TestTraceInTurn(t *testing.T) {
	client := clientConfig()
	var once sync.Once
	var within, most atomic.Int32
	aborted := make(chan error, 1)
	var c tlsConn
	client.Trace = &Trace{Sent: func(m TracedMessage) {
		for n := within.Add(1); n > most.Load(); {
			most.Store(n)
		}
		if m.Type == 22 && m.Data[0] == 24 {
			once.Do(func() { go func() { aborted <- c.(*Conn).Abort(80) }() })
			time.Sleep(50 * time.Millisecond)
		}
		within.Add(-1)
	}}
	c, _ = connect(t, sockets, client, serverConfig("P256"))
	_ = c.(*Conn).KeyUpdate(context.Background()) // Abort may have come first
	if err := <-aborted; err != nil {
		t.Error(err)
	}
	if n := most.Load(); n != 1 {
		t.Errorf("%d calls at once", n)
	}
}
