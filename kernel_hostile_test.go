//go:build unix

package tls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

// hostileScript is what a peer sends that has the keys, as records.
type hostileScript struct {
	name    string
	version uint16 // 0 for both
	send    func(p *secretPeer) [][]byte
	// garbled means that a record is none of the connection's: kernels see that
	// in other ways than user space, and so with other alerts.
	garbled bool
}

// hostileScripts end with close_notify: where that is read, all was accepted.
func hostileScripts() []hostileScript {
	const v12, v13 = VersionTLS12, VersionTLS13
	data := []byte("data")
	update, request := []byte{24, 0, 0, 1, 0}, []byte{24, 0, 0, 1, 1}
	ticket := hostileTicket(32)
	// The second record of this one begins as a KeyUpdate does.
	long := hostileTicket(200)
	long[100] = 24
	parts := func(typ record.ContentType, parts ...[]byte) func(*secretPeer) [][]byte {
		return func(p *secretPeer) (recs [][]byte) {
			for _, part := range parts {
				recs = append(recs, p.seal(typ, part))
			}
			return recs
		}
	}
	updates := func(n int, message []byte, between ...byte) func(*secretPeer) [][]byte {
		return func(p *secretPeer) (recs [][]byte) {
			for range n {
				recs = append(recs, p.seal(record.Handshake, message))
				p.nextSeal()
				if len(between) > 0 {
					recs = append(recs, p.seal(record.ApplicationData, between))
				}
			}
			return recs
		}
	}
	// updated sends the parts, which make up a KeyUpdate, and goes on with new keys.
	updated := func(p ...[]byte) func(*secretPeer) [][]byte {
		return func(peer *secretPeer) [][]byte {
			recs := parts(record.Handshake, p...)(peer)
			peer.nextSeal()
			return append(recs, peer.seal(record.ApplicationData, data))
		}
	}
	mixed := func(a record.ContentType, first []byte, b record.ContentType, second []byte) func(*secretPeer) [][]byte {
		return func(p *secretPeer) [][]byte { return [][]byte{p.seal(a, first), p.seal(b, second)} }
	}
	raw := func(b ...byte) func(*secretPeer) [][]byte {
		return func(p *secretPeer) [][]byte { return [][]byte{p.seal(record.ApplicationData, data), b} }
	}
	padded := func(n int, sizes ...int) func(*secretPeer) [][]byte {
		return func(p *secretPeer) (recs [][]byte) {
			p.sealer.SetPadding(func(int) int { return n })
			for _, size := range sizes {
				recs = append(recs, p.seal(record.ApplicationData, stream()[:size]))
			}
			p.sealer.SetPadding(nil)
			return recs
		}
	}
	odd := func(typ record.ContentType, content ...byte) func(*secretPeer) [][]byte {
		return func(p *secretPeer) [][]byte { return [][]byte{p.sealAny(typ, content)} }
	}
	repeat := func(n int, b []byte) [][]byte { return slices.Repeat([][]byte{b}, n) }
	warning := []byte{alertLevelWarning, byte(alert.UserCanceled)}
	return []hostileScript{
		{"updates", v13, updates(32, update), false},
		{"too many updates", v13, updates(33, update), false},
		{"too many updates that ask", v13, updates(40, request), false},
		{"updates and data", v13, updates(100, update, 'x'), false},
		{"updates that ask, and data", v13, updates(100, request, 'x'), false},
		{"tickets", v13, parts(record.Handshake, repeat(32, ticket)...), false},
		{"too many tickets", v13, parts(record.Handshake, repeat(33, ticket)...), false},
		{"too many tickets in few records", v13, parts(record.Handshake, repeat(4, bytes.Repeat(ticket, 10))...), false},
		{"some warnings", 0, parts(record.Alert, repeat(16, warning)...), false},
		{"too many warnings", 0, parts(record.Alert, repeat(17, warning)...), false},
		{"empty data between data", 0, func(p *secretPeer) [][]byte {
			return parts(record.ApplicationData, nil, data, nil, nil, data, nil)(p)
		}, false},
		{"empty alert", 0, odd(record.Alert), false},
		{"empty handshake", 0, odd(record.Handshake), false},
		{"empty ChangeCipherSpec", 0, odd(record.ChangeCipherSpec), false},
		{"short alert", 0, parts(record.Alert, []byte{1}), false},
		{"long alert", 0, parts(record.Alert, []byte{1, 0, 0}), false},
		{"two alerts in a record", 0, parts(record.Alert, []byte{1, 90, 1, 0}), false},
		{"close_notify in two records", 0, parts(record.Alert, []byte{1}, []byte{0}), false},
		{"alert of 16 KiB", 0, parts(record.Alert, make([]byte, record.MaxPlaintext)), false},
		{"alert of level 3", 0, parts(record.Alert, []byte{3, 0}), false},
		{"update in two records", v13, updated(update[:1], update[1:]), false},
		{"update in five records", v13, updated(update[:1], update[1:2], update[2:3], update[3:4], update[4:]), false},
		{"ticket and update in a record", v13, updated(append(bytes.Clone(ticket), update...)), false},
		{"ticket and half an update", v13, updated(append(bytes.Clone(ticket), 24, 0), []byte{0, 1, 0}), false},
		{"update and more in a record", v13, updated(append(bytes.Clone(update), ticket...)), false},
		{"two updates in a record", v13, updated(append(bytes.Clone(update), update...)), false},
		{"update and a byte more", v13, updated(append(bytes.Clone(update), 4)), false},
		{"update without new keys", v13, func(p *secretPeer) [][]byte {
			return [][]byte{p.seal(record.Handshake, update), p.seal(record.ApplicationData, data)}
		}, false},
		{"new keys without update", v13, func(p *secretPeer) [][]byte {
			p.nextSeal()
			return [][]byte{p.seal(record.ApplicationData, data)}
		}, false},
		{"update of value 2", v13, parts(record.Handshake, []byte{24, 0, 0, 1, 2}), false},
		{"empty update", v13, parts(record.Handshake, []byte{24, 0, 0, 0}), false},
		{"long update", v13, parts(record.Handshake, []byte{24, 0, 0, 2, 0, 0}), false},
		{"update of 16 MiB", v13, parts(record.Handshake, []byte{24, 0xff, 0xff, 0xff}), false},
		{"fragment like an update", v13, parts(record.Handshake, long[:100], long[100:]), false},
		{"fragments like updates", v13, func(p *secretPeer) (recs [][]byte) {
			message := hostileTicket(40)
			for i := 16; i < 16+32; i++ {
				message[i] = 24
			}
			for _, b := range message {
				recs = append(recs, p.seal(record.Handshake, []byte{b}))
			}
			return append(recs, p.seal(record.ApplicationData, data))
		}, false},
		{"update in TLS 1.2", v12, parts(record.Handshake, update), false},
		{"record like an update in TLS 1.2", v12, parts(record.Handshake, bytes.Repeat([]byte{24}, 100)), false},
		{"half a message and data", v13, mixed(record.Handshake, ticket[:10], record.ApplicationData, data), false},
		{"half an update and data", v13, mixed(record.Handshake, update[:1], record.ApplicationData, data), false},
		{"half a message and a warning", v13, mixed(record.Handshake, ticket[:10], record.Alert, warning), false},
		{"half a message and empty data", v13, mixed(record.Handshake, ticket[:10], record.ApplicationData, nil), false},
		{"half a message and the end", v13, parts(record.Handshake, ticket[:10]), false},
		{"half a message in TLS 1.2", v12, mixed(record.Handshake, []byte{0}, record.ApplicationData, data), false},
		{"HelloRequest", v12, parts(record.Handshake, []byte{0, 0, 0, 0}), false},
		{"HelloRequest in TLS 1.3", v13, parts(record.Handshake, []byte{0, 0, 0, 0}), false},
		{"ClientHello", 0, parts(record.Handshake, []byte{1, 0, 0, 0}), false},
		{"ServerHello", 0, parts(record.Handshake, []byte{2, 0, 0, 0}), false},
		{"EndOfEarlyData", 0, parts(record.Handshake, []byte{5, 0, 0, 0}), false},
		{"CertificateRequest", 0, parts(record.Handshake, []byte{13, 0, 0, 3, 0, 0, 0}), false},
		{"Finished", 0, parts(record.Handshake, append([]byte{20, 0, 0, 32}, make([]byte, 32)...)), false},
		{"ticket in TLS 1.2", v12, parts(record.Handshake, []byte{4, 0, 0, 7, 0, 0, 1, 0, 0, 1, 1}), false},
		{"unknown message", 0, parts(record.Handshake, []byte{255, 0, 0, 0}), false},
		{"protected ChangeCipherSpec", 0, odd(record.ChangeCipherSpec, 1), false},
		{"protected ChangeCipherSpec of another kind", 0, odd(record.ChangeCipherSpec, 2), false},
		{"bare ChangeCipherSpec", 0, raw(20, 3, 3, 0, 1, 1), true},
		{"bare alert", 0, raw(21, 3, 3, 0, 2, 2, 40), true},
		{"bare handshake", 0, raw(22, 3, 3, 0, 4, 0, 0, 0, 0), true},
		{"bare data", 0, raw(23, 3, 3, 0, 1, 'x'), true},
		{"record of type 0", 0, odd(0, data...), true},
		{"record of type 0 and no content", 0, odd(0), true},
		{"record of type 0 and 16 KiB of padding", 0, odd(0, make([]byte, record.MaxPlaintext)...), true},
		{"record of type 24", 0, odd(24, data...), false},
		{"record of type 255", 0, odd(255, data...), false},
		{"record with a byte too much", 0, odd(record.ApplicationData, stream()[:record.MaxPlaintext+1]...), true},
		{"empty record on the wire", 0, raw(23, 3, 3, 0, 0), true},
		{"record of a byte", 0, raw(append([]byte{23, 3, 3, 0, 1}, make([]byte, 1)...)...), true},
		{"record of a tag", 0, raw(append([]byte{23, 3, 3, 0, 16}, make([]byte, 16)...)...), true},
		{"record a byte too long", v13, raw(append([]byte{23, 3, 3, 0x41, 1}, make([]byte, 0x4101)...)...), true},
		{"record of 64 KiB", 0, raw(append([]byte{23, 3, 3, 0xff, 0xff}, make([]byte, 100)...)...), true},
		{"full record", 0, parts(record.ApplicationData, stream()[:record.MaxPlaintext]), false},
		{"sizes", 0, parts(record.ApplicationData, stream()[:1], stream()[1:300], stream()[300:555], stream()[555:811], stream()[811:5000]), false},
		{"padding", v13, padded(100, 1, 10, 1000), false},
		{"much padding", v13, padded(16000, 1, 10, 0, 300), false},
		{"nothing but padding", v13, padded(record.MaxPlaintext, 0, 0, 0), false},
		{"version 3.1", 0, func(p *secretPeer) [][]byte { return [][]byte{versioned(p.seal(record.ApplicationData, data), 1)} }, true},
		{"version 3.4", 0, func(p *secretPeer) [][]byte { return [][]byte{versioned(p.seal(record.ApplicationData, data), 4)} }, true},
	}
}

// hostileTicket is a NewSessionTicket of TLS 1.3 with a ticket of n bytes.
func hostileTicket(n int) []byte {
	message := append([]byte{4, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4, 1, 9, 0, byte(n)}, make([]byte, n+2)...)
	binary.BigEndian.PutUint16(message[2:], uint16(len(message)-4))
	return message
}

// sealAny makes a record that record.Sealer would not.
func (p *secretPeer) sealAny(typ record.ContentType, content []byte) (rec []byte) {
	rec, p.sealer = sealAny(p.t, p.sealer, typ, content)
	return rec
}

func versioned(rec []byte, minor byte) []byte {
	rec[2] = minor
	return rec
}

// hostilePeer is connectRawSecrets for both versions.
func hostilePeer(t *testing.T, nw network, client, server *Config) (*Conn, *secretPeer) {
	t.Helper()
	if server.MaxVersion == VersionTLS13 {
		return connectRawSecrets(t, nw, client, server)
	}
	c, peer := connectRaw(t, nw, client, server, roleClient)
	return c, &secretPeer{rawPeer: peer}
}

// outcome says what a Conn makes of a script: what it has read, and how it ended.
func outcome(t *testing.T, c *Conn, peer *secretPeer, s hostileScript, read func(c *Conn) ([]byte, error)) string {
	t.Helper()
	recs := append(s.send(peer), peer.seal(record.Alert, []byte{alertLevelWarning, byte(alert.CloseNotify)}))
	go func() { _, _ = peer.Write(bytes.Join(recs, nil)) }() // of which not all need be read
	got, err := read(c)
	if len(got) > 200 {
		got = fmt.Appendf(nil, "%d bytes, right %v", len(got), bytes.Equal(got, stream()[:len(got)]))
	}
	ae := AlertError(0)
	switch h := (RecordHeaderError{}); {
	case err == nil:
		return string(got) + " EOF"
	case errors.As(err, &ae):
		return string(got) + " " + alert.Description(ae).String()
	case errors.As(err, &h):
		return string(got) + " " + "protocol version"
	}
	return string(got) + " " + err.Error()
}

// readers are ways to receive all there is.
func readers(t *testing.T) map[string]func(c *Conn) ([]byte, error) {
	return map[string]func(c *Conn) ([]byte, error){
		"large reads": func(c *Conn) ([]byte, error) { return io.ReadAll(c) },
		"small reads": func(c *Conn) ([]byte, error) {
			return io.ReadAll(struct{ io.Reader }{oneByteReader{c}})
		},
		"WriteTo": func(c *Conn) ([]byte, error) {
			var b bytes.Buffer
			_, err := c.WriteTo(&b)
			return b.Bytes(), err
		},
		"splice": func(c *Conn) ([]byte, error) {
			from, to := sockets(t)
			defer to.Close()
			got := make(chan []byte, 1)
			go func() {
				b, _ := io.ReadAll(struct{ io.Reader }{to})
				got <- b
			}()
			_, err := c.WriteTo(from)
			from.Close()
			return <-got, err
		},
	}
}

type oneByteReader struct{ r io.Reader }

func (o oneByteReader) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

// garbledAlerts are what there is to say of a record that is none.
var garbledAlerts = []alert.Description{alert.UnexpectedMessage, alert.BadRecordMAC, alert.RecordOverflow, alert.ProtocolVersion, alert.DecodeError}

// sameEnd reports whether got, of a kernel, is as good as want.
func (s *hostileScript) sameEnd(got, want string) bool {
	if !s.garbled {
		return got == want
	}
	gotData, gotEnd, _ := strings.Cut(got, " ")
	wantData, _, _ := strings.Cut(want, " ")
	return gotData == wantData && slices.ContainsFunc(garbledAlerts, func(d alert.Description) bool { return d.String() == gotEnd })
}

// TestKernelHostileRecords plays scripts to connections that receive through
// the kernel, and wants them to end as those in user space do.
func TestKernelHostileRecords(t *testing.T) {
	grounds := kernelGrounds(t)
	forEachVersion(t, func(t *testing.T, v uint16) {
		for _, s := range hostileScripts() {
			if s.version == 0 || s.version == v {
				t.Run(s.name, func(t *testing.T) { s.play(t, v, grounds) })
			}
		}
	})
}

func (s *hostileScript) play(t *testing.T, v uint16, grounds []ground) {
	ways := readers(t)
	client, server := kernelConfigs(v, kernel.Policy{TX: kernel.Off})
	c, peer := hostilePeer(t, sockets, client, server)
	want := outcome(t, c, peer, *s, ways["large reads"])
	t.Logf("user space: %q", want)
	client.Kernel = kernel.Policy{TX: kernel.Off, RX: kernel.Require}
	for _, g := range grounds {
		if !g.rekey && strings.Contains(s.name, "update") {
			continue
		}
		for name, read := range ways {
			if g.model && name == "splice" {
				continue // models do not
			}
			c, peer := hostilePeer(t, g.network, client, server)
			if got := outcome(t, c, peer, *s, read); !s.sameEnd(got, want) {
				t.Errorf("%s, %s: %q", g.name, name, got)
			}
			_ = peer.Close()
			_ = c.Close()
		}
	}
}

// TestKernelSpliceEmpty sends a proxy more records without content than one may.
func TestKernelSpliceEmpty(t *testing.T) {
	if r := kernel.Probe(); !r.Available || !r.SpliceRX.OK {
		t.Skipf("NOT RUN: nothing is spliced here: %s", r.SpliceRX.Reason)
	}
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := kernelConfigs(v, both)
		c, peer := connectRaw(t, sockets, client, server, roleClient)
		peer.send(peer.seal(record.ApplicationData, []byte("data")))
		for range maxUseless + 1 {
			peer.send(peer.seal(record.ApplicationData, nil))
		}
		got, err := readers(t)["splice"](c)
		if ae := AlertError(0); string(got) != "data" || !errors.As(err, &ae) || alert.Description(ae) != alert.UnexpectedMessage {
			t.Errorf("%q, %v", got, err)
		}
	})
}
