package fuzz

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// puppet is a client that completes a handshake, and then sends what a script
// says.
type puppet struct {
	t      testing.TB
	engine *handshake.Engine
	in     *record.Opener
	out    *record.Sealer
	level  handshake.Level // of what is received
	buf    []byte          // received and not opened yet
	reply  []byte          // to be sent

	script  []byte
	begun   bool                // the script was played
	refused []alert.Description // the fatal alerts of the server
}

func newPuppet(t testing.TB, mode byte, script []byte) *puppet {
	config, _ := engineConfigs(mode)
	p := &puppet{t: t, engine: handshake.NewClient(t.Context(), config), in: new(record.Opener), out: new(record.Sealer), script: script}
	if err := p.engine.Start(); err != nil {
		t.Fatal(err)
	}
	p.apply()
	return p
}

// respond is for a farEnd.
func (p *puppet) respond(out []byte) []byte {
	p.receive(out)
	if p.engine.Established() && !p.begun {
		p.begun = true
		p.play()
	}
	reply := p.reply
	p.reply = nil
	return reply
}

// receive takes records of the server.
func (p *puppet) receive(b []byte) {
	p.buf = append(p.buf, b...)
	for {
		n, err := p.in.Need(p.buf)
		if err != nil {
			p.t.Fatalf("the server sends no records: %v", err)
		}
		if n > len(p.buf) {
			return
		}
		p.take(p.buf[:n])
		if p.buf = p.buf[n:]; len(p.buf) == 0 {
			return
		}
	}
}

func (p *puppet) take(rec []byte) {
	if rec[0] == byte(record.ChangeCipherSpec) {
		if p.engine.State().Version == 0x0303 {
			_ = p.engine.HandleChangeCipherSpec()
			p.apply()
		}
		return
	}
	typ, content, err := p.in.Open(nil, rec)
	if err != nil {
		p.t.Fatalf("a record of the server: %v", err)
	}
	switch typ {
	case record.Alert:
		if d := alert.Description(content[1]); d != alert.CloseNotify {
			p.refused = append(p.refused, d)
		}
	case record.Handshake:
		if err := p.engine.Handle(p.level, bytes.Clone(content)); err != nil {
			p.t.Fatalf("a message of the server: %v", err)
		}
		p.apply()
	}
}

// apply does what the engine asks for.
func (p *puppet) apply() {
	for {
		ev, ok := p.engine.NextEvent()
		if !ok {
			return
		}
		switch ev := ev.(type) {
		case *handshake.SendHandshake:
			p.send(record.Handshake, ev.Bytes)
		case handshake.SendChangeCipherSpec:
			p.send(record.ChangeCipherSpec, []byte{1})
		case *handshake.InstallRead:
			p.in, p.level = record.NewOpener(ev.Keys), ev.Level
		case *handshake.InstallWrite:
			p.out = record.NewSealer(ev.Keys)
		}
	}
}

func (p *puppet) send(typ record.ContentType, content []byte) {
	var err error
	if p.reply, err = p.out.Seal(p.reply, typ, content); err != nil {
		p.t.Fatal(err)
	}
}

// play sends what the script says: chunks of a kind, a length and a value.
func (p *puppet) play() {
	for s := p.script; len(s) >= 3 && len(p.reply) < 1<<16; s = s[3:] {
		n, value := int(s[1]), s[2]
		switch s[0] % 10 {
		case 0:
			p.send(record.ApplicationData, bytes.Repeat([]byte{value}, n*64))
		case 1:
			p.send(record.ApplicationData, nil)
		case 2:
			p.send(record.Alert, []byte{s[1], value})
		case 3:
			p.send(record.Alert, bytes.Repeat([]byte{value}, 1+n%4))
		case 4:
			p.send(record.Handshake, append([]byte{value, 0, 0, byte(n)}, make([]byte, n%3)...))
		case 5:
			_ = p.engine.RequestKeyUpdate()
			p.apply()
		case 6:
			p.out.SetPadding(func(int) int { return n })
		case 7:
			before := len(p.reply)
			p.send(record.ApplicationData, []byte("tampered"))
			p.reply[before+n%(len(p.reply)-before)] ^= value
		case 8:
			p.send(record.ChangeCipherSpec, bytes.Repeat([]byte{1 + value>>7}, 1+n>>7))
		case 9:
			p.reply = append(p.reply, s[1], 3, 3, 0, value>>5)
		}
	}
}

// read is what an implementation made of a script.
type read struct {
	verdict
	data    []byte
	clean   bool // after close_notify; of crypto/tls, perhaps without it
	refused []alert.Description
}

func (r read) accepted() bool { return r.clean || r.verdict.accepted() }

func readScript(t *testing.T, server func(net.Conn) handshaker, mode byte, script []byte) read {
	t.Helper()
	p := newPuppet(t, mode, script)
	w := &farEnd{respond: p.respond}
	conn := server(w).(net.Conn)
	var r read
	buf := make([]byte, 1000)
	for len(r.data) < 1<<17 {
		n, err := conn.Read(buf)
		if r.data = append(r.data, buf[:n]...); err != nil {
			r.clean, r.err = err == io.EOF, err
			break
		}
	}
	if r.err == nil {
		t.Fatal("there is no end of what is read")
	}
	if _, err := conn.Read(buf); err == nil && isOurs(conn) {
		t.Fatalf("reads on after %v", r.err)
	}
	p.receive(w.out[w.seen:])
	if !p.begun {
		t.Fatalf("no handshake: %v", r.err)
	}
	r.refused = p.refused
	return r
}

// isOurs excuses crypto/tls, which reads on after a message that it refused.
func isOurs(conn net.Conn) bool {
	_, ok := conn.(*tls.Conn)
	return ok
}

// FuzzStdRecords sends records of all types, right and wrong, to a server of
// crypto/tls and to one of ours: both read the same bytes, and both go on, or
// both refuse what comes next.
func FuzzStdRecords(f *testing.F) {
	for _, mode := range []byte{0, modeTLS12} {
		f.Add(mode, []byte{0, 1, 1, 1, 0, 0, 6, 9, 0, 0, 255, 2, 2, 1, 0})
		f.Add(mode, []byte{0, 1, 1, 2, 2, 40})
		f.Add(mode, []byte{5, 0, 0, 0, 1, 1, 5, 0, 0, 0, 2, 2})
		f.Add(mode, []byte{0, 1, 1, 7, 8, 1, 0, 2, 2})
		f.Add(mode, []byte{4, 0, 1, 4, 1, 24, 4, 2, 24})
		f.Add(mode, []byte{8, 0, 0, 0, 3, 3})
		f.Add(mode, []byte{9, 23, 0, 9, 99, 32, 3, 3, 1})
		f.Add(mode, []byte{2, 1, 90, 2, 1, 90, 0, 1, 1})
	}
	f.Fuzz(func(t *testing.T, mode byte, script []byte) {
		mode &= modeTLS12
		ours, std := readScript(t, ourServer, mode, script), readScript(t, stdServer, mode, script)
		if !ours.accepted() && len(ours.refused) == 0 && !errors.As(ours.err, new(*net.OpError)) {
			t.Fatalf("refused without an alert: %v", ours.err)
		}
		if !bytes.HasPrefix(ours.data, std.data) && !bytes.HasPrefix(std.data, ours.data) {
			t.Fatal("one of the two reads other bytes")
		}
		if bytes.Equal(ours.data, std.data) && (std.clean || !ours.clean) && ours.accepted() == std.accepted() {
			return
		}
		if reason(recordDifferences, ours.verdict, std.verdict) == "" {
			t.Fatalf("ours: %d bytes, %v; crypto/tls: %d bytes, %v", len(ours.data), ours.err, len(std.data), std.err)
		}
	})
}

// recordDifferences are those about records after a handshake.
var recordDifferences = []difference{
	{ours: "record of unknown type", why: "a header is judged when it is there; crypto/tls waits for the record"},
	{ours: " in state CONNECTED", why: "a type that is not legal is refused by its first byte; crypto/tls waits for the whole message"},
	{ours: "alert of level", why: "RFC 9846, section 6, knows two; crypto/tls ignores the level in TLS 1.3"},
	{std: "too many ignored records", why: "the limit is another here"},
	{ours: "ChangeCipherSpec in state", why: "RFC 9846, section 5: none is legal after the handshake"},
}
