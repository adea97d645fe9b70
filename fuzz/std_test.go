package fuzz

import (
	"bytes"
	stdtls "crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// farEnd is a connection whose other end is a function: it gets what was written
// since it was called last, and says what is there to be read then.
type farEnd struct {
	in, out []byte
	seen    int // how much of out respond was given
	respond func(out []byte) []byte
}

func (w *farEnd) Read(p []byte) (int, error) {
	if len(w.in) == 0 && w.respond != nil {
		w.in = w.respond(w.out[w.seen:])
		w.seen = len(w.out)
	}
	if len(w.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *farEnd) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

func (*farEnd) Close() error                     { return nil }
func (*farEnd) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*farEnd) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*farEnd) SetDeadline(time.Time) error      { return nil }
func (*farEnd) SetReadDeadline(time.Time) error  { return nil }
func (*farEnd) SetWriteDeadline(time.Time) error { return nil }

// verdict is what an implementation made of what it was given: an error, which is
// the end of the stream if it waits for more.
type verdict struct{ err error }

func (v verdict) accepted() bool {
	return errors.Is(v.err, io.EOF) || errors.Is(v.err, io.ErrUnexpectedEOF)
}

// difference is where one of the two refuses what the other one accepts.
type difference struct {
	ours, std string // what the error of the one that refuses says
	why       string
}

// reason returns why the verdicts differ, or nothing if it is not known.
func reason(list []difference, ours, std verdict) string {
	for _, d := range list {
		switch {
		case d.ours != "" && strings.Contains(ours.err.Error(), d.ours), d.std != "" && strings.Contains(std.err.Error(), d.std):
			return d.why
		}
	}
	return ""
}

// compare fails if only one of the two accepts, without a known reason.
func compare(t *testing.T, list []difference, ours, std verdict) {
	t.Helper()
	if ours.accepted() != std.accepted() && reason(list, ours, std) == "" {
		t.Fatalf("ours: %v; crypto/tls: %v", ours.err, std.err)
	}
}

// once gives input at the first read, and the end of the stream after it.
func once(input []byte) func([]byte) []byte {
	return func([]byte) []byte {
		b := input
		input = nil
		return b
	}
}

// plainAlert finds a fatal alert among records that are not protected, and says
// whether there was a handshake message.
func plainAlert(out []byte) (d alert.Description, found, handshakes bool) {
	for len(out) >= record.HeaderLen {
		n := record.HeaderLen + int(out[3])<<8 + int(out[4])
		if n > len(out) {
			break
		}
		switch {
		case out[0] == byte(record.Alert) && n == record.HeaderLen+2:
			d, found = alert.Description(out[6]), true
		case out[0] == byte(record.Handshake):
			handshakes = true
		}
		out = out[n:]
	}
	return d, found, handshakes
}

// plainRecords carries a message in records of at most n bytes, with the minor
// version of their headers.
func plainRecords(msg []byte, n int, minor byte) (out []byte) {
	for part := range slices.Chunk(msg, max(n, 1)) {
		out = append(append(out, 22, 3, minor, byte(len(part)>>8), byte(len(part))), part...)
	}
	return out
}

type handshaker interface{ Handshake() error }

// both sides' configurations, as alike as the two packages' are.
func ourConfig() *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: engineCert.Chain, PrivateKey: engineCert.PrivateKey, Leaf: engineCert.Leaf}},
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256},
		CipherSuites:       []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		InsecureSkipVerify: true, ServerName: "server.test", NextProtos: []string{"b"},
		Time: func() time.Time { return engineNow },
	}
}

func stdConfig() *stdtls.Config {
	return &stdtls.Config{
		Certificates:       []stdtls.Certificate{{Certificate: engineCert.Chain, PrivateKey: engineCert.PrivateKey, Leaf: engineCert.Leaf}},
		CurvePreferences:   []stdtls.CurveID{stdtls.X25519, stdtls.CurveP256},
		CipherSuites:       []uint16{stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		InsecureSkipVerify: true, ServerName: "server.test", NextProtos: []string{"b"},
		Time: func() time.Time { return engineNow },
	}
}

// judgeHello gives a ClientHello to a server.
func judgeHello(t *testing.T, server func(net.Conn) handshaker, records []byte) verdict {
	w := &farEnd{respond: once(records)}
	v := verdict{server(w).Handshake()}
	if _, refused, answered := plainAlert(w.out); !refused && !answered && !v.accepted() {
		t.Fatalf("refused without an alert: %v", v.err)
	}
	return v
}

func ourServer(c net.Conn) handshaker { return tls.Server(c, ourConfig()) }
func stdServer(c net.Conn) handshaker { return stdtls.Server(c, stdConfig()) }
func ourClient(c net.Conn) handshaker { return tls.Client(c, ourConfig()) }
func stdClient(c net.Conn) handshaker { return stdtls.Client(c, stdConfig()) }

// firstMessage is what a client of each kind begins with.
func firstMessage(t testing.TB, client func(net.Conn) handshaker) []byte {
	t.Helper()
	w := new(farEnd)
	_ = client(w).Handshake()
	if len(w.out) < record.HeaderLen+4 {
		t.Fatal("no ClientHello")
	}
	return w.out[record.HeaderLen:]
}

// FuzzStdClientHello gives a ClientHello to a server of crypto/tls and to one of
// ours: both answer it, or both refuse it, but for what differs lists.
func FuzzStdClientHello(f *testing.F) {
	for _, client := range []func(net.Conn) handshaker{ourClient, stdClient} {
		hello := firstMessage(f, client)
		f.Add(hello[4:], uint16(1<<14))
		f.Add(hello[4:], uint16(7))
	}
	client, _ := newParties(f, modeTLS12)
	f.Add(client.peer.in[0].bytes[4:], uint16(1<<14))
	f.Fuzz(func(t *testing.T, body []byte, cut uint16) {
		if len(body) > 1<<14 || otherStatusType(body) {
			return
		}
		msg := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
		// Many small records are another matter.
		records := plainRecords(msg, max(int(cut), 1+len(msg)/8), 1)
		compare(t, helloDifferences, judgeHello(t, ourServer, records), judgeHello(t, stdServer, records))
	})
}

// otherStatusType reports whether there may be a status_request that does not ask
// for OCSP: crypto/tls reads its content as if it did, and we pass over it, as
// RFC 6066, section 8, has other types in mind.
func otherStatusType(body []byte) bool {
	for b := body; ; {
		i := bytes.Index(b, []byte{0, 5})
		if i < 0 || len(b) < i+5 {
			return false
		}
		if b[i+4] != 1 {
			return true
		}
		b = b[i+1:]
	}
}

// helloDifferences are those of servers, about a ClientHello.
var helloDifferences = []difference{
	{ours: "supported_groups and key_share must come together", why: "RFC 9846, section 9.2; crypto/tls sends a HelloRetryRequest"},
	{ours: "without signature_algorithms or supported_groups", why: "RFC 9846, section 9.2: missing_extension"},
	{ours: "with legacy_version", why: "RFC 9846, section 4.2.2, allows to refuse what is not 0x0303"},
	{ours: "which is not in supported_groups", why: "RFC 9846, section 4.3.8, allows to refuse such key shares"},
	{ours: "misplaced extension", why: "RFC 9846, section 4.3: an extension that is known and not of this message"},
	{ours: "post_handshake_auth extension", why: "crypto/tls does not know the extension"},
	{ours: "certificate_authorities extension", why: "crypto/tls does not know the extension"},
	{ours: "compress_certificate extension", why: "crypto/tls does not know the extension"},
	{ours: "certificate compression is listed twice", why: "crypto/tls does not know the extension"},
	{ours: "malformed server_name extension", why: "no name may have zero bytes or more than 255, and no other type may be in the list"},
	{std: "unexpected quic_transport_parameters", why: "unknown here, and so ignored (RFC 9846, section 4.3)"},
}

// judgeFlight gives a client what a server of a mode says to it at first, with
// some changes.
func judgeFlight(t *testing.T, client func(net.Conn) handshaker, mode byte, edits []edit) verdict {
	t.Helper()
	_, config := engineConfigs(mode | modeServer)
	server := &party{Engine: handshake.NewServer(t.Context(), config), t: t}
	server.peer = &party{t: t, peer: server}
	number := byte(0)
	respond := func(out []byte) (in []byte) {
		if len(out) < record.HeaderLen || out[0] != byte(record.Handshake) {
			return nil
		}
		n := record.HeaderLen + int(out[3])<<8 + int(out[4])
		server.give(flightUnit{bytes: out[record.HeaderLen:n]})
		for _, u := range server.peer.in {
			if u.level != handshake.LevelInitial || u.ccs {
				continue
			}
			msg := u.bytes
			for _, e := range edits {
				if e.number == number {
					msg = e.change(msg)
				}
			}
			in, number = append(in, plainRecords(msg, 1<<14, 3)...), number+1
		}
		server.peer.in = nil
		return in
	}
	return verdict{client(&farEnd{respond: respond}).Handshake()}
}

// FuzzStdServerFlight gives what a server says at first, with changes, to a
// client of crypto/tls and to one of ours.
func FuzzStdServerFlight(f *testing.F) {
	for _, mode := range []byte{0, modeRetry, modeTLS12} {
		f.Add(mode, []byte{})
		for number := range byte(5) {
			f.Add(mode, []byte{number, editFlip, 0, 40, 1})
			f.Add(mode, []byte{number, editInsert | editFix, 0, 38, 0})
			f.Add(mode, []byte{number, editDelete | editFix, 0, 44, 4})
		}
	}
	f.Fuzz(func(t *testing.T, mode byte, script []byte) {
		mode &= modeTLS12 | modeRetry
		edits := parseEdits(script)
		ours, std := judgeFlight(t, ourClient, mode, edits), judgeFlight(t, stdClient, mode, edits)
		compare(t, flightDifferences, ours, std)
		if len(edits) == 0 && !ours.accepted() {
			t.Fatal(ours.err)
		}
	})
}

// flightDifferences are those of clients, about what a server says to them.
var flightDifferences = []difference{
	{ours: "handshake data after a message that changes keys", why: "RFC 9846, section 5.1; crypto/tls looks when it changes keys"},
	{ours: "unsolicited extension", why: "RFC 9846, section 4.3; crypto/tls ignores what it does not know"},
	{ours: "misplaced extension", why: "RFC 9846, section 4.3; crypto/tls ignores what it does not know"},
	{ours: "peer's certificate", why: "crypto/tls looks at it when the next message has come"},
	{ours: " in state WAIT_", why: "a type that is not legal is refused by its first byte; crypto/tls waits for the whole message"},
}
