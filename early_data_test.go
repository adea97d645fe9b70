package tls

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// rawClient offers early data and then sends what a test likes, under the keys
// that it likes.
type rawClient struct {
	t      *testing.T
	conn   net.Conn
	engine *handshake.Engine
	level  handshake.Level // of what arrives
	opener *record.Opener

	// Sealers by level, and what the engine wants sent under them.
	sealers  [4]*record.Sealer
	messages [4][]byte
	retried  bool // the server asked for another ClientHello
	lenient  bool // the server may end the connection at any time
}

// newRawClient begins a handshake with a session of server's: ClientHello and
// ChangeCipherSpec are sent.
func newRawClient(t *testing.T, conn net.Conn, session *Config) *rawClient {
	t.Helper()
	client := cachingClient()
	ticketFor(t, client, session)
	return startRawClient(t, conn, client)
}

// startRawClient is newRawClient for a client that has a session.
func startRawClient(t *testing.T, conn net.Conn, client *Config) *rawClient {
	t.Helper()
	b := binding{conn: Client(nil, client), cfg: client}
	hc := b.client()
	hc.EarlyData = true
	if hc.Session != nil {
		hc.Session.EarlyData, hc.Session.MaxEarlyData = true, max(hc.Session.MaxEarlyData, 1)
	}
	c := &rawClient{t: t, conn: conn, engine: handshake.NewClient(context.Background(), hc), opener: new(record.Opener)}
	c.sealers[handshake.LevelInitial] = new(record.Sealer)
	if err := c.engine.Start(); err != nil {
		t.Fatal(err)
	}
	c.take()
	if c.sealers[handshake.LevelEarly] == nil {
		t.Fatal("no early data is offered")
	}
	c.sendMessages(handshake.LevelInitial)
	return c
}

// take takes what the engine has to say.
func (c *rawClient) take() {
	for ev, ok := c.engine.NextEvent(); ok; ev, ok = c.engine.NextEvent() {
		switch ev := ev.(type) {
		case *handshake.SendHandshake:
			c.messages[ev.Level] = append(c.messages[ev.Level], ev.Bytes...)
		case *handshake.InstallRead:
			c.opener, c.level = record.NewOpener(ev.Keys), ev.Level
		case *handshake.InstallWrite:
			if ev.Keys == nil {
				c.retried = true
				continue
			}
			c.sealers[ev.Level] = record.NewSealer(ev.Keys)
		}
	}
}

// send sends one record under the keys of a level. The server may be gone.
func (c *rawClient) send(level handshake.Level, typ record.ContentType, content ...byte) {
	rec, err := c.sealers[level].Seal(nil, typ, content)
	if err != nil {
		c.t.Error(err)
		return
	}
	_, _ = c.conn.Write(rec)
}

// odd sends a record that no sender may make.
func (c *rawClient) odd(level handshake.Level, typ record.ContentType, content ...byte) {
	var rec []byte
	rec, c.sealers[level] = sealAny(c.t, c.sealers[level], typ, content)
	_, _ = c.conn.Write(rec)
}

func (c *rawClient) sendMessages(level handshake.Level) {
	c.send(level, record.Handshake, c.messages[level]...)
	c.messages[level] = nil
}

// data sends early data.
func (c *rawClient) data(s string) {
	c.send(handshake.LevelEarly, record.ApplicationData, []byte(s)...)
}

// ccs sends a ChangeCipherSpec, which is never protected.
func (c *rawClient) ccs() { _, _ = c.conn.Write([]byte{20, 3, 3, 0, 1, 1}) }

// flight takes the server's flight, up to its Finished, and answers a
// HelloRetryRequest. It reports whether it came.
func (c *rawClient) flight() bool {
	for !c.engine.Established() {
		err := c.step()
		if err != nil && !c.lenient {
			c.t.Errorf("server's flight: %v", err)
		}
		if err != nil {
			return false
		}
	}
	return true
}

// step takes one record.
func (c *rawClient) step() error {
	rec := make([]byte, record.HeaderLen)
	if _, err := io.ReadFull(c.conn, rec); err != nil {
		return err
	}
	n, err := c.opener.Need(rec)
	if err != nil {
		return err
	}
	rec = append(rec, make([]byte, n-len(rec))...)
	if _, err := io.ReadFull(c.conn, rec[record.HeaderLen:]); err != nil {
		return err
	}
	if rec[0] == byte(record.ChangeCipherSpec) {
		return nil
	}
	typ, content, err := c.opener.Open(nil, rec)
	if err == nil && typ != record.Handshake {
		err = errors.New("record of type " + typ.String())
	}
	if err == nil {
		err = c.engine.Handle(c.level, content)
	}
	if err != nil {
		return err
	}
	c.take()
	if c.retried && len(c.messages[handshake.LevelInitial]) > 0 {
		c.sendMessages(handshake.LevelInitial)
	}
	return nil
}

// finish sends the second flight, without EndOfEarlyData, and data.
func (c *rawClient) finish() {
	c.sendMessages(handshake.LevelHandshake)
	c.send(handshake.LevelApplication, record.ApplicationData, []byte("after")...)
	c.send(handshake.LevelApplication, record.Alert, alertLevelWarning, byte(alert.CloseNotify))
}

func (c *rawClient) end() { c.sendMessages(handshake.LevelEarly) }

// earlyOutcome is what a server's application sees.
type earlyOutcome struct {
	early, late string
	err         error
}

// serveEarly reads all that there is.
func serveEarly(s *Conn) (o earlyOutcome) {
	if o.early, o.err = readEarly(s); o.err == nil {
		var b []byte
		b, o.err = io.ReadAll(s)
		o.late = string(b)
	}
	s.Close()
	return o
}

// attack has a raw client send what play likes to a server of this Config, with a
// session of another one.
func attack(t *testing.T, session, server *Config, play func(c *rawClient)) (earlyOutcome, *Conn) {
	t.Helper()
	a, b := sockets(t)
	defer a.Close()
	deadline := time.Now().Add(20 * time.Second)
	if err := errors.Join(a.SetDeadline(deadline), b.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	s := Server(b, server)
	done := make(chan earlyOutcome, 1)
	c := newRawClient(t, a, session)
	go func() { done <- serveEarly(s) }()
	play(c)
	_ = a.(*net.TCPConn).CloseWrite() // the server may have closed it already
	_, _ = io.Copy(io.Discard, a)
	return <-done, s
}

const noAlert = alert.Description(255)

// checkOutcome checks what the server saw, and which alert it sent.
func checkOutcome(t *testing.T, o earlyOutcome, early, late string, want alert.Description) {
	t.Helper()
	if o.early != early || o.late != late {
		t.Errorf("early data %.40q, then %.40q; want %.40q and %.40q", o.early, o.late, early, late)
	}
	got := noAlert
	if e := AlertError(0); errors.As(o.err, &e) {
		got = alert.Description(e)
	}
	if got != want || want == noAlert && o.err != nil {
		t.Errorf("server: %v, want alert %v", o.err, want)
	}
}

// TestEarlyDataOrder sends everything at every wrong time to a server that has
// accepted early data.
func TestEarlyDataOrder(t *testing.T) {
	const limit = 100
	full := strings.Repeat("x", limit)
	early, hs := handshake.LevelEarly, handshake.LevelHandshake
	tests := []struct {
		name        string
		play        func(c *rawClient)
		early, late string
		want        alert.Description
	}{
		{"good", func(c *rawClient) {
			c.data("one")
			c.data("two")
			c.flight()
			c.data("three")
			c.end()
			c.finish()
		}, "onetwothree", "after", noAlert},
		{"nothing", func(c *rawClient) { c.flight(); c.end(); c.finish() }, "", "after", noAlert},
		{"to the limit", func(c *rawClient) { c.data(full[1:]); c.data("y"); c.flight(); c.end(); c.finish() }, full[1:] + "y", "after", noAlert},
		{"tiny records", func(c *rawClient) {
			for range limit {
				c.data("x")
			}
			c.flight()
			c.end()
			c.finish()
		}, full, "after", noAlert},
		{"ChangeCipherSpec in between", func(c *rawClient) {
			c.ccs()
			c.data("a")
			c.ccs()
			c.data("b")
			c.flight()
			c.ccs()
			c.end()
			c.ccs()
			c.finish()
		}, "ab", "after", noAlert},
		{"empty records in between", func(c *rawClient) {
			c.data("")
			c.data("a")
			c.data("")
			c.flight()
			c.end()
			c.finish()
		}, "a", "after", noAlert},
		{"EndOfEarlyData in pieces", func(c *rawClient) {
			c.data("a")
			c.flight()
			for _, b := range c.messages[early] {
				c.send(early, record.Handshake, b)
			}
			c.finish()
		}, "a", "after", noAlert},

		{"beyond the limit", func(c *rawClient) { c.data(full); c.data("y"); c.flight() }, full, "", alert.UnexpectedMessage},
		{"beyond the limit at once", func(c *rawClient) { c.data(full + "y"); c.flight() }, "", "", alert.UnexpectedMessage},
		{"beyond the limit after the flight", func(c *rawClient) { c.data(full); c.flight(); c.data("y") }, full, "", alert.UnexpectedMessage},
		{"empty records", func(c *rawClient) {
			for range maxUseless + 1 {
				c.data("")
			}
		}, "", "", alert.UnexpectedMessage},
		{"ChangeCipherSpecs", func(c *rawClient) {
			for range maxUseless + 1 {
				c.ccs()
			}
		}, "", "", alert.UnexpectedMessage},
		{"warnings", func(c *rawClient) {
			for range maxWarnings + 1 {
				c.send(early, record.Alert, alertLevelWarning, byte(alert.UserCanceled))
			}
		}, "", "", alert.UnexpectedMessage},
		{"protected ChangeCipherSpec", func(c *rawClient) { c.data("a"); c.odd(early, record.ChangeCipherSpec, 1) }, "a", "", alert.UnexpectedMessage},
		{"protected ChangeCipherSpec of the handshake", func(c *rawClient) { c.flight(); c.end(); c.odd(hs, record.ChangeCipherSpec, 1) }, "", "", alert.UnexpectedMessage},
		{"unknown record", func(c *rawClient) { c.data("a"); c.odd(early, 99, 1) }, "a", "", alert.UnexpectedMessage},
		{"empty handshake record", func(c *rawClient) { c.odd(early, record.Handshake) }, "", "", alert.UnexpectedMessage},
		{"empty alert", func(c *rawClient) { c.odd(early, record.Alert) }, "", "", alert.UnexpectedMessage},
		{"long alert", func(c *rawClient) { c.send(early, record.Alert, 2, 0, 0) }, "", "", alert.DecodeError},
		{"changed record", func(c *rawClient) {
			rec, _ := c.sealers[early].Seal(nil, record.ApplicationData, []byte("a"))
			rec[len(rec)-1] ^= 1
			_, _ = c.conn.Write(rec)
		}, "", "", alert.BadRecordMAC},
		{"same record twice", func(c *rawClient) {
			rec, _ := c.sealers[early].Seal(nil, record.ApplicationData, []byte("a"))
			_, _ = c.conn.Write(append(rec, rec...))
		}, "a", "", alert.BadRecordMAC},
		{"long record", func(c *rawClient) { _, _ = c.conn.Write(append([]byte{23, 3, 3, 0x41, 1}, make([]byte, 0x4101)...)) }, "", "", alert.RecordOverflow},

		{"EndOfEarlyData twice", func(c *rawClient) {
			c.flight()
			eoed := c.messages[early]
			c.end()
			c.send(early, record.Handshake, eoed...)
		}, "", "", alert.BadRecordMAC},
		{"EndOfEarlyData twice in one record", func(c *rawClient) {
			c.flight()
			c.send(early, record.Handshake, slices.Repeat(c.messages[early], 2)...)
		}, "", "", alert.UnexpectedMessage},
		{"EndOfEarlyData after EndOfEarlyData", func(c *rawClient) {
			c.flight()
			eoed := c.messages[early]
			c.end()
			c.send(hs, record.Handshake, eoed...)
		}, "", "", alert.UnexpectedMessage},
		{"EndOfEarlyData with content", func(c *rawClient) { c.flight(); c.send(early, record.Handshake, 5, 0, 0, 1, 0) }, "", "", alert.DecodeError},
		{"EndOfEarlyData under the next keys", func(c *rawClient) { c.flight(); c.send(hs, record.Handshake, c.messages[early]...) }, "", "", alert.BadRecordMAC},
		{"EndOfEarlyData in clear", func(c *rawClient) { c.flight(); c.send(handshake.LevelInitial, record.Handshake, c.messages[early]...) }, "", "", alert.UnexpectedMessage},
		{"no EndOfEarlyData", func(c *rawClient) { c.data("a"); c.flight(); c.finish() }, "a", "", alert.BadRecordMAC},
		{"data after EndOfEarlyData", func(c *rawClient) { c.data("a"); c.flight(); c.end(); c.data("b") }, "a", "", alert.BadRecordMAC},
		{"data within EndOfEarlyData", func(c *rawClient) { c.flight(); c.send(early, record.Handshake, 5, 0); c.data("b") }, "", "", alert.UnexpectedMessage},
		{"alert within EndOfEarlyData", func(c *rawClient) {
			c.flight()
			c.send(early, record.Handshake, 5, 0)
			c.send(early, record.Alert, alertLevelWarning, byte(alert.UserCanceled))
		}, "", "", alert.UnexpectedMessage},
		{"ChangeCipherSpec within EndOfEarlyData", func(c *rawClient) { c.flight(); c.send(early, record.Handshake, 5, 0); c.ccs() }, "", "", alert.UnexpectedMessage},
		{"Finished within EndOfEarlyData", func(c *rawClient) { c.flight(); c.send(early, record.Handshake, 5, 0); c.finish() }, "", "", alert.BadRecordMAC},
		{"Finished under early keys", func(c *rawClient) { c.flight(); c.send(early, record.Handshake, c.messages[hs]...) }, "", "", alert.UnexpectedMessage},
		{"Finished behind EndOfEarlyData", func(c *rawClient) {
			c.flight()
			c.send(early, record.Handshake, append(c.messages[early], c.messages[hs]...)...)
		}, "", "", alert.UnexpectedMessage},
		{"KeyUpdate", func(c *rawClient) { c.data("a"); c.send(early, record.Handshake, 24, 0, 0, 1, 0) }, "a", "", alert.UnexpectedMessage},
		{"Certificate", func(c *rawClient) { c.send(early, record.Handshake, 11, 0, 0, 4, 0, 0, 0, 0) }, "", "", alert.UnexpectedMessage},
		{"ClientHello", func(c *rawClient) { c.send(early, record.Handshake, 1, 0, 0, 4, 0, 0, 0, 0) }, "", "", alert.UnexpectedMessage},
		{"data of the handshake's keys", func(c *rawClient) { c.flight(); c.end(); c.send(hs, record.ApplicationData, 'a') }, "", "", alert.UnexpectedMessage},
		{"data of the next keys", func(c *rawClient) { c.flight(); c.send(handshake.LevelApplication, record.ApplicationData, 'a') }, "", "", alert.BadRecordMAC},
		{"wrong Finished", func(c *rawClient) {
			c.data("a")
			c.flight()
			c.end()
			c.messages[hs][10] ^= 1
			c.finish()
		}, "a", "", alert.DecryptError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := earlyServer()
			server.MaxEarlyData, server.CipherSuites = limit, []uint16{TLS_AES_128_GCM_SHA256}
			o, s := attack(t, server, server, test.play)
			checkOutcome(t, o, test.early, test.late, test.want)
			if e := s.EarlyData(); !e.Accepted || test.want == noAlert && e.Bytes != int64(len(test.early)) {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestEarlyDataEnds ends connections in the middle of early data. It must not
// look as if all of it had arrived.
func TestEarlyDataEnds(t *testing.T) {
	tests := []struct {
		name string
		play func(c *rawClient)
		want error
	}{
		{"nothing more", func(c *rawClient) { c.data("a") }, io.ErrUnexpectedEOF},
		{"half a record", func(c *rawClient) { c.data("a"); _, _ = c.conn.Write([]byte{23, 3, 3, 0, 100, 1}) }, io.ErrUnexpectedEOF},
		{"half an EndOfEarlyData", func(c *rawClient) { c.data("a"); c.send(handshake.LevelEarly, record.Handshake, 5, 0) }, io.ErrUnexpectedEOF},
		{"close_notify", func(c *rawClient) {
			c.data("a")
			c.send(handshake.LevelEarly, record.Alert, alertLevelWarning, byte(alert.CloseNotify))
		}, io.ErrUnexpectedEOF},
		{"alert", func(c *rawClient) {
			c.data("a")
			c.send(handshake.LevelEarly, record.Alert, alertLevelFatal, byte(alert.BadCertificate))
		}, AlertError(alert.BadCertificate)},
		{"alert in clear", func(c *rawClient) {
			c.data("a")
			c.send(handshake.LevelInitial, record.Alert, alertLevelFatal, byte(alert.BadCertificate))
		}, AlertError(alert.BadCertificate)},
		{"close_notify in clear", func(c *rawClient) {
			c.data("a")
			c.send(handshake.LevelInitial, record.Alert, alertLevelWarning, byte(alert.CloseNotify))
		}, AlertError(alert.UnexpectedMessage)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := earlyServer()
			o, s := attack(t, server, server, test.play)
			if o.early != "a" || !errors.Is(o.err, test.want) {
				t.Errorf("%q, %v; want %v", o.early, o.err, test.want)
			}
			if n, err := s.ReadEarlyData(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("ReadEarlyData again: %d, %v", n, err)
			}
			if err := s.Handshake(); err == nil {
				t.Error("the handshake succeeds")
			}
		})
	}
}

// TestEarlyDataSkipped offers early data to servers that do not accept it, with
// and without a HelloRetryRequest: they pass over it, up to a limit that counts
// content.
func TestEarlyDataSkipped(t *testing.T) {
	full := strings.Repeat("x", record.MaxPlaintext)
	small := func(n int) func(c *rawClient) {
		return func(c *rawClient) {
			for range n {
				c.data("x")
			}
		}
	}
	tests := []struct {
		name  string
		max   uint32 // of the server
		early func(c *rawClient)
		fails bool
	}{
		{"some", 0, func(c *rawClient) { c.data("early"); c.data("data"); c.data(full[:5000]) }, false},
		{"a full record", 0, func(c *rawClient) { c.data(full) }, false},
		{"small records", 0, small(minSkipped), false},
		{"to the limit", 40000, func(c *rawClient) { c.data(full); c.data(full); c.data(full[:40000-2*len(full)]) }, false},
		{"empty ones in between", 0, func(c *rawClient) {
			for range 3 * maxUseless {
				c.data("")
				c.data("x")
			}
		}, false},
		{"too much", 0, func(c *rawClient) { c.data(full); c.data(full) }, true},
		{"too many small records", 0, small(minSkipped + 1), true},
		{"beyond the limit", 40000, func(c *rawClient) { c.data(full); c.data(full); c.data(full[:40001-2*len(full)]) }, true},
		{"empty records", 0, func(c *rawClient) {
			for range maxUseless + 1 {
				c.data("")
			}
		}, true},
	}
	for _, test := range tests {
		for _, retry := range []bool{false, true} {
			name := test.name
			if retry {
				name += ", retried"
			}
			t.Run(name, func(t *testing.T) {
				server := earlyServer(func(c *Config) { c.MaxEarlyData = test.max })
				issuer := server.Clone()
				issuer.SetSessionTicketKeys([][32]byte{{1}})
				issuer.MaxEarlyData = 0
				server.SetSessionTicketKeys([][32]byte{{1}})
				server.AntiReplay = newMemoryAntiReplay()
				if retry {
					server.CurvePreferences = []CurveID{CurveP521}
				}
				o, s := attack(t, issuer, server, func(c *rawClient) {
					if test.early(c); !test.fails {
						c.flight()
						c.finish()
					}
				})
				if test.fails {
					checkOutcome(t, o, "", "", alert.UnexpectedMessage)
					return
				}
				checkOutcome(t, o, "", "after", noAlert)
				if e := s.EarlyData(); e != (EarlyDataState{Offered: true}) {
					t.Errorf("%+v", e)
				}
				if !s.ConnectionState().DidResume {
					t.Error("not resumed")
				}
			})
		}
	}
}

// TestEarlyDataSkippedEnds checks that skipping is over with the first record
// that is not early data.
func TestEarlyDataSkippedEnds(t *testing.T) {
	for _, retry := range []bool{false, true} {
		server := earlyServer(func(c *Config) { c.MaxEarlyData = 0 })
		if retry {
			server.CurvePreferences = []CurveID{CurveP521}
		}
		o, _ := attack(t, server, server, func(c *rawClient) {
			c.data("early")
			c.flight()
			if !retry {
				c.send(handshake.LevelHandshake, record.Handshake, c.messages[handshake.LevelHandshake][:10]...)
			}
			c.data("more")
		})
		checkOutcome(t, o, "", "", alert.BadRecordMAC)
	}
}

// TestEarlyDataNobody accepts a connection that ends before it has begun: that is
// no end of early data.
func TestEarlyDataNobody(t *testing.T) {
	for name, first := range map[string]string{"nothing": "", "half a header": "\x16\x03", "half a record": "\x16\x03\x01\x01\x00\x01"} {
		a, b := sockets(t)
		_, err := io.WriteString(a, first)
		if err := errors.Join(err, a.Close()); err != nil {
			t.Fatal(err)
		}
		s := Server(b, earlyServer())
		for range 2 {
			if _, err := readEarly(s); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v", name, err)
			}
		}
		s.Close()
	}
}

// FuzzEarlyData plays scripts of what a client may do with early data, right or
// wrong. Whatever it is, the application sees what was sent, in its order and
// from its beginning, and an end of it only if all was right.
func FuzzEarlyData(f *testing.F) {
	for _, script := range []string{"", "aDbFEZ", "abcFabEZ", "FEZ", "aFEEZ", "aCbCFCECZ", "aFhZ", "aFaEaZ", "nabFZ", "nFZ", "naaaCFCZ", "aKFEZ", "aFEo", "aFEZaE", "a!FEZ", "ooooFEZ", "aWWWWWWFEZ", "aF2EZ", "aFZEZ"} {
		f.Add([]byte(script))
	}
	server := earlyServer(func(c *Config) {
		c.MaxEarlyData, c.CipherSuites, c.SessionTicketCount = 200, []uint16{TLS_AES_128_GCM_SHA256}, 1
		c.AntiReplay = ownAntiReplay()
	})
	client := cachingClient()
	cache := new(replayCache)
	client.ClientSessionCache = cache
	ticketFor(f, client, server)
	f.Fuzz(func(t *testing.T, script []byte) { playScript(t, client, server, script) })
}

func playScript(t *testing.T, client, server *Config, script []byte) {
	if len(script) > 100 {
		t.Skip("too long")
	}
	accept := len(script) == 0 || script[0] != 'n'
	a, b := sockets(t)
	defer a.Close()
	deadline := time.Now().Add(20 * time.Second)
	if err := errors.Join(a.SetDeadline(deadline), b.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	if !accept {
		server = server.Clone()
		server.MaxEarlyData = 0
	}
	s := Server(b, server)
	done := make(chan earlyOutcome, 1)
	go func() { done <- serveEarly(s) }()
	c := startRawClient(t, a, client)
	c.lenient = true
	early, late := c.script(script)
	_ = a.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, a)
	o := <-done
	// After some thousands of scripts what remembers them is full.
	if e := s.EarlyData(); e.Accepted && !accept {
		t.Error("early data is accepted")
	} else if !e.Accepted {
		early = ""
	}
	if !strings.HasPrefix(early, o.early) || !strings.HasPrefix(late, o.late) || o.late != "" && o.early != early {
		t.Errorf("sent %q and %q, seen %q and %q", early, late, o.early, o.late)
	}
	if o.err == nil && (o.early != early || o.late != late) {
		t.Errorf("it looks complete: sent %q and %q, seen %q and %q", early, late, o.early, o.late)
	}
	if errors.Is(o.err, os.ErrDeadlineExceeded) {
		t.Error("the server hangs")
	}
}

// script does what each byte says, and returns what it has sent by keys that were
// right: early data and data after it.
func (c *rawClient) script(script []byte) (early, late string) {
	ended := false
	for i, op := range script {
		switch op {
		case 'F':
			c.flight()
		case 'E':
			if c.sealers[handshake.LevelHandshake] != nil && len(c.messages[handshake.LevelEarly]) > 0 {
				c.end()
				ended = true
			}
		case 'Z':
			if len(c.messages[handshake.LevelHandshake]) > 0 {
				c.finish()
				late = "after"
			}
		case 'C':
			c.ccs()
		case 'D':
			c.data("")
		case 'W':
			c.send(handshake.LevelEarly, record.Alert, alertLevelWarning, byte(alert.UserCanceled))
		case 'K':
			c.send(handshake.LevelEarly, record.Handshake, 24, 0, 0, 1, 0)
		case 'h':
			c.send(handshake.LevelEarly, record.Handshake, 5, 0)
		case '2':
			c.send(handshake.LevelEarly, record.Handshake, 5, 0, 0, 0, 5, 0, 0, 0)
		case 'o':
			c.odd(handshake.LevelEarly, record.ContentType(100+i), 1)
		case '!':
			_, _ = c.conn.Write([]byte{23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
		default:
			data := strings.Repeat(string(rune('a'+op%26)), int(op))
			if c.data(data); !ended {
				early += data
			}
		}
	}
	return early, late
}
