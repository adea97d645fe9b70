package faults

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	tlsrecord "github.com/go-handoff/tls/record"
)

// hostile is a peer that has the keys, and does with them what it likes.
type hostile struct {
	t      *testing.T
	conn   *end
	suite  *keyschedule.Suite
	write  keyschedule.TrafficSecret // TLS 1.3
	read   keyschedule.TrafficSecret
	sealer *tlsrecord.Sealer
	opener *tlsrecord.Opener
	hello  []byte // a ClientHello
}

// connected returns an end of ours, which sends in direction d, after the
// handshake, and the peer.
func connected(t *testing.T, d direction, version uint16) (*tls.Conn, *hostile) {
	t.Helper()
	client, server := newWire(fault{}).ends()
	ends := [2]*end{client, server}
	var conns [2]*tls.Conn
	var errs [2]error
	var wg sync.WaitGroup
	for _, d := range directions {
		conns[d] = ours(ends[d], d, version).(*tls.Conn)
		wg.Go(func() { errs[d] = conns[d].Handshake() })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	// The server's ticket is read, or the keys could not be given out.
	go func() { _, _ = conns[fromServer].Write([]byte("x")) }()
	if _, err := io.ReadFull(conns[fromClient], make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	keys, err := conns[d.other()].ExportKeys()
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{
		t: t, conn: ends[d.other()], suite: keyschedule.SuiteByID(keys.CipherSuite),
		sealer: tlsrecord.NewSealer(keys.Write), opener: tlsrecord.NewOpener(keys.Read),
		hello: firstFlight(t, version)[tlsrecord.HeaderLen:],
	}
	if version == tls.VersionTLS13 {
		h.write, h.read = *keys.WriteSecret, *keys.ReadSecret
	}
	return conns[d], h
}

func (h *hostile) seal(typ tlsrecord.ContentType, content ...byte) []byte {
	h.t.Helper()
	b, err := h.sealer.Seal(nil, typ, content)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// update is a KeyUpdate, after which the keys are the next ones.
func (h *hostile) update(request byte) []byte {
	b := h.seal(tlsrecord.Handshake, 24, 0, 0, 1, request)
	h.write = h.write.Next(h.suite.Hash)
	h.sealer = tlsrecord.NewSealer(h.write.Keys(h.suite))
	return b
}

// lastAlert returns the alert that ends what our side has sent, and the number
// of KeyUpdates before it.
func (h *hostile) lastAlert() (content []byte, updates int) {
	h.t.Helper()
	got, err := io.ReadAll(h.conn)
	if err != nil {
		h.t.Error(err)
	}
	for len(got) > 0 {
		n, err := h.opener.Need(got)
		if err != nil || n > len(got) {
			h.t.Fatalf("%x: %d, %v", got, n, err)
		}
		typ, b, err := h.opener.Open(nil, got[:n:n])
		if err != nil {
			h.t.Fatal(err)
		}
		switch {
		case typ == tlsrecord.Alert:
			content = bytes.Clone(b)
		case typ == tlsrecord.Handshake && b[0] == 24:
			updates++
			h.read = h.read.Next(h.suite.Hash)
			h.opener = tlsrecord.NewOpener(h.read.Keys(h.suite))
		}
		got = got[n:]
	}
	return content, updates
}

// floods are what is sent very often, after an honest handshake.
var floods = []struct {
	name    string
	version uint16
	to      []direction // that our side sends in
	begin   func(h *hostile) []byte
	again   func(h *hostile) []byte
	want    alert.Description
	times   int // many, if 0
}{
	{name: "HelloRequest", version: tls.VersionTLS12, to: []direction{fromClient}, want: alert.NoRenegotiation,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 0, 0, 0, 0) }},
	{name: "HelloRequest", version: tls.VersionTLS13, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 0, 0, 0, 0) }},
	{name: "ClientHello", version: tls.VersionTLS12, to: []direction{fromServer}, want: alert.NoRenegotiation,
		again: func(h *hostile) []byte {
			return h.seal(tlsrecord.Handshake, h.hello...)
		}},
	{name: "ClientHello", version: tls.VersionTLS13, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte {
			return h.seal(tlsrecord.Handshake, h.hello...)
		}},
	{name: "KeyUpdate", version: tls.VersionTLS13, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.update(0) }},
	{name: "KeyUpdate that asks for another", version: tls.VersionTLS13, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.update(1) }},
	{name: "ticket for a server", version: tls.VersionTLS13, to: []direction{fromServer}, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 4, 0, 0, 0) }},
	{name: "ticket", version: tls.VersionTLS13, to: []direction{fromClient}, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, ticket(1000)...) }},
	{name: "ticket", version: tls.VersionTLS12, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 4, 0, 0, 7, 0, 0, 0, 9, 0, 1, 1) }},
	{name: "warning", version: tls.VersionTLS12, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Alert, 1, byte(alert.UserCanceled)) }},
	{name: "warning", version: tls.VersionTLS13, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Alert, 1, byte(alert.UserCanceled)) }},
	{name: "empty record", version: tls.VersionTLS12, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.ApplicationData) }},
	{name: "record of padding", version: tls.VersionTLS13, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte {
			h.sealer.SetPadding(func(int) int { return 1000 })
			return h.seal(tlsrecord.ApplicationData)
		}},
	{name: "ChangeCipherSpec", version: tls.VersionTLS12, to: directions, want: alert.UnexpectedMessage,
		again: func(h *hostile) []byte { return h.seal(tlsrecord.ChangeCipherSpec, 1) }},
	{name: "ChangeCipherSpec", version: tls.VersionTLS13, to: directions, want: alert.UnexpectedMessage,
		again: func(*hostile) []byte { return []byte{20, 3, 3, 0, 1, 1} }},
	{name: "byte of a long ticket", version: tls.VersionTLS13, to: []direction{fromClient}, want: alert.DecodeError, times: 1 << 16,
		begin: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 4, 0, 0xff, 0xff) },
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 0) }},
	{name: "byte of a message of 16 MiB", version: tls.VersionTLS13, to: directions, want: alert.IllegalParameter,
		begin: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 24, 0xff, 0xff, 0xff) },
		again: func(h *hostile) []byte { return h.seal(tlsrecord.Handshake, 0) }},
}

// ticket is a NewSessionTicket of TLS 1.3 with n bytes of ticket.
func ticket(n int) []byte {
	body := append([]byte{0, 0, 1, 0, 1, 2, 3, 4, 1, 0, byte(n >> 8), byte(n)}, make([]byte, n)...)
	body = append(body, 0, 0)
	return append([]byte{4, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

// TestFloods has peers that send one useless thing for ever. Each is stopped by an
// alert, and what it costs us does not grow with what it sends.
func TestFloods(t *testing.T) {
	const many = 2000
	noGoroutineLeft(t)
	for _, f := range floods {
		for _, d := range f.to {
			t.Run(f.name+"/"+tls.VersionName(f.version)+"/"+[...]string{"our client", "our server"}[d], func(t *testing.T) {
				c, h := connected(t, d, f.version)
				defer c.Close()
				var sent []byte
				if f.begin != nil {
					sent = f.begin(h)
				}
				for range cmp.Or(f.times, many) {
					sent = append(sent, f.again(h)...)
				}
				if _, err := h.conn.Write(sent); err != nil {
					t.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				got, err := io.ReadAll(c)
				runtime.ReadMemStats(&after)
				if ae := tls.AlertError(0); len(got) > 0 || !errors.As(err, &ae) || alert.Description(ae) != f.want {
					t.Errorf("%q, %v; want %v", got, err, f.want)
				}
				// All that was ever allocated, garbage included.
				if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
					t.Errorf("allocated %d bytes", n)
				}
				_ = c.Close()
				content, updates := h.lastAlert()
				if len(content) != 2 || alert.Description(content[1]) != f.want {
					t.Errorf("the peer got the alert %x, want %v", content, f.want)
				}
				if updates > 33 {
					t.Errorf("we answered with %d KeyUpdates", updates)
				}
			})
		}
	}
}

// firstFlight is what our client sends first, in a version.
func firstFlight(t *testing.T, version uint16) []byte {
	t.Helper()
	hello := alone.record(t, version)[fromClient]
	return hello[:5+int(hello[3])<<8+int(hello[4])]
}

// TestHalfOpen has very many clients that stop in the handshake, at various
// places, and measures what each costs a server. When they are gone nothing of
// them is left.
func TestHalfOpen(t *testing.T) {
	const many = 400
	for _, v := range versions {
		hello := firstFlight(t, v.id)
		for _, test := range []struct {
			name string
			sent []byte
			max  int64 // bytes for each, stack and all that the wire keeps included
		}{
			{"nothing", nil, 24 << 10},
			{"a byte", hello[:1], 24 << 10},
			{"half a ClientHello", hello[:len(hello)/2], 48 << 10},
			{"ClientHello", hello, 64 << 10},
		} {
			t.Run(v.name+"/"+test.name, func(t *testing.T) {
				noGoroutineLeft(t)
				cfg := config(fromServer, v.id)
				cfg.Rand = nil // they share it
				var before, after runtime.MemStats
				runtime.GC()
				runtime.GC() // what others left in pools goes at the second
				runtime.ReadMemStats(&before)
				clients, errs := halfOpen(t, cfg, many, test.sent)
				runtime.GC()
				runtime.ReadMemStats(&after)
				each := int64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse) / many
				t.Logf("%d bytes each", each)
				if each > test.max {
					t.Errorf("a half-open connection takes %d bytes, more than %d", each, test.max)
				}
				for _, c := range clients {
					_ = c.Close()
				}
				for range many {
					if err := <-errs; !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
						t.Errorf("%v", err)
					}
				}
			})
		}
	}
}

// halfOpen starts n servers' handshakes, sends something to each, and waits until
// all wait for more.
func halfOpen(t *testing.T, cfg *tls.Config, n int, sent []byte) (clients []*end, errs chan error) {
	t.Helper()
	errs = make(chan error, n)
	for range n {
		client, server := newWire(fault{}).ends()
		clients = append(clients, client)
		if _, err := client.Write(sent); err != nil {
			t.Fatal(err)
		}
		go func() { errs <- tls.Server(server, cfg).Handshake() }()
	}
	for range 2000 {
		if !slices.ContainsFunc(clients, func(c *end) bool { return !c.idle() }) {
			return clients, errs
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the servers do not come to rest")
	return nil, nil
}

// idle reports whether the other end waits for more.
func (e *end) idle() bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.waiting[e.direction.other()] && len(e.streams[e.direction].ready) == 0
}

// trickle sends b a byte at a time for ever, and after its end zeros.
func trickle(c net.Conn, b []byte) {
	for i := 0; ; i++ {
		x := []byte{0}
		if i < len(b) {
			x[0] = b[i]
		}
		if _, err := c.Write(x); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestSlowLoris has peers that never stop sending, a byte at a time: deadlines
// and contexts end that all the same, in the handshake and after it.
func TestSlowLoris(t *testing.T) {
	noGoroutineLeft(t)
	const many = 32
	slow := []byte{22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3} // a ClientHello of 16 KiB
	cfg := config(fromServer, tls.VersionTLS13)
	cfg.Rand = nil
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			raw, peer := tcpPair(t)
			defer raw.Close()
			defer peer.Close()
			wg.Go(func() { trickle(peer, slow) })
			server := tls.Server(raw, cfg)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%2 == 0 {
				_ = server.SetReadDeadline(time.Now().Add(patience))
			} else {
				ctx, cancel = context.WithTimeout(ctx, patience)
				defer cancel()
			}
			err := server.HandshakeContext(ctx)
			timeout := net.Error(nil)
			if !errors.Is(err, context.DeadlineExceeded) && (!errors.As(err, &timeout) || !timeout.Timeout()) {
				t.Errorf("the handshake: %v", err)
			}
		})
	}
	wg.Wait()
	for _, v := range versions {
		slowAfter(t, v.id)
	}
}

// slowAfter has a peer that is slow after the handshake. What has arrived of its
// record is kept, and it is bounded.
func slowAfter(t *testing.T, version uint16) {
	t.Helper()
	raw := [2]net.Conn{}
	raw[0], raw[1] = tcpPair(t)
	var conns [2]*tls.Conn
	var errs [2]error
	var wg sync.WaitGroup
	for _, d := range directions {
		conns[d] = ours(raw[d], d, version).(*tls.Conn)
		defer conns[d].Close()
		wg.Go(func() { errs[d] = conns[d].Handshake() })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { trickle(raw[fromClient], []byte{23, 3, 3, 0x40, 0x11}) })
	server := conns[fromServer]
	for range 3 {
		_ = server.SetReadDeadline(time.Now().Add(patience / 4))
		n, err := server.Read(make([]byte, 100))
		if timeout := net.Error(nil); n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("Read: %d, %v", n, err)
		}
	}
	_ = server.Close()
	wg.Wait()
}
