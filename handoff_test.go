package tls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// TestExportKeys goes on, by the exported keys, with a connection that has data
// under way in every stage: read by nobody, not decrypted, and not arrived.
func TestExportKeys(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		server := serverConfig("P256")
		server.MaxVersion = v
		server.SessionTicketsDisabled = true
		c, peer := connectRaw(t, pipes, clientConfig(), server, roleClient)
		first := peer.seal(record.ApplicationData, []byte("first"))
		second := peer.seal(record.ApplicationData, bytes.Repeat([]byte("second"), 10))
		third := peer.seal(record.ApplicationData, []byte("third"))
		go peer.send(first, second, third[:7])
		buf := make([]byte, 2)
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
		keys, err := c.ExportKeys()
		if err != nil {
			t.Fatal(err)
		}
		if keys.Version != v || string(buf)+string(keys.Plaintext) != "first" {
			t.Errorf("version %x, plaintext %q", keys.Version, keys.Plaintext)
		}
		if !bytes.Equal(keys.Ciphertext, append(bytes.Clone(second), third[:7]...)) {
			t.Errorf("ciphertext of %d bytes", len(keys.Ciphertext))
		}
		opener := record.NewOpener(keys.Read)
		stream := append(keys.Ciphertext, third[7:]...)
		for _, want := range []string{strings.Repeat("second", 10), "third"} {
			n, err := opener.Need(stream)
			if err != nil {
				t.Fatal(err)
			}
			if _, got, err := opener.Open(nil, stream[:n]); err != nil || string(got) != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
			stream = stream[n:]
		}
		ours := &rawPeer{c.NetConn(), t, record.NewSealer(keys.Write), nil}
		go ours.send(ours.seal(record.ApplicationData, []byte("back")))
		if typ, got := peer.receive(); typ != record.ApplicationData || string(got) != "back" {
			t.Errorf("peer got %v %q", typ, got)
		}
		checkExported(t, c)
		keys.Wipe()
		if key := keys.Write.Key(); !bytes.Equal(key, make([]byte, len(key))) || keys.WriteSecret.Len() > 0 {
			t.Error("Wipe leaves keys")
		}
	})
}

// checkExported checks that the Conn is of no use any more.
func checkExported(t *testing.T, c *Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); err != ErrKeysExported {
		t.Errorf("Read: %v", err)
	}
	if _, err := c.Write([]byte("x")); err != ErrKeysExported {
		t.Errorf("Write: %v", err)
	}
	if _, err := c.ExportKeys(); err != ErrKeysExported {
		t.Errorf("second ExportKeys: %v", err)
	}
	if err := c.KeyUpdate(context.Background()); err == nil {
		t.Error("KeyUpdate succeeds")
	}
	if _, err := c.ExportKeyingMaterial("label", nil, 10); err == nil {
		t.Error("ExportKeyingMaterial succeeds")
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestExportKeysSyscallConn(t *testing.T) {
	c, _ := connect(t, sockets, clientConfig(), serverConfig("P256"))
	conn := c.(*Conn)
	if _, err := conn.ExportKeys(); err != nil {
		t.Fatal(err)
	}
	if raw, err := conn.SyscallConn(); err != nil || raw == nil {
		t.Errorf("SyscallConn: %v", err)
	}
	if err := conn.KeyUpdate(t.Context()); err != ErrKeysExported {
		t.Errorf("KeyUpdate: %v", err)
	}
	if _, err := conn.ExportKeyingMaterial("label", nil, 16); err != ErrKeysExported {
		t.Errorf("ExportKeyingMaterial: %v", err)
	}
	if reason := conn.Offload().TX.Reason; !strings.Contains(reason, "exported") {
		t.Errorf("Offload: %q", reason)
	}
	c, _ = connect(t, pipes, clientConfig(), serverConfig("P256"))
	conn = c.(*Conn)
	if _, err := conn.ExportKeys(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.SyscallConn(); err == nil {
		t.Error("SyscallConn of a pipe succeeds")
	}
}

func TestExportKeysWhileReading(t *testing.T) {
	c, s := connect(t, pipes, clientConfig(), serverConfig("P256"))
	conn := c.(*Conn)
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(conn, make([]byte, 2))
		done <- err
	}()
	if _, err := s.Write([]byte("x")); err != nil { // returns once it was read
		t.Fatal(err)
	}
	for conn.in.TryLock() { // until it waits for more
		conn.in.Unlock()
	}
	if _, err := conn.ExportKeys(); err != ErrReadInProgress {
		t.Errorf("ExportKeys: %v", err)
	}
	if _, err := s.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Read: %v", err)
	}
}

func TestExportKeysWithinMessage(t *testing.T) {
	c, peer := connectRawVersion(t, VersionTLS13)
	peer.send(peer.seal(record.Handshake, []byte{24, 0}))
	c.in.Lock()
	_, err := c.advance(nil)
	c.in.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	ae := AlertError(0)
	if _, err := c.ExportKeys(); !errors.As(err, &ae) {
		t.Errorf("ExportKeys: %v", err)
	}
}

// TestKeyUpdate changes keys on both sides, also with a peer of crypto/tls,
// which can answer but not ask.
func TestKeyUpdate(t *testing.T) {
	forEachRole(t, func(t *testing.T, client, server any) {
		c, s := connect(t, sockets, client, server)
		for _, conn := range []tlsConn{c, s} {
			ours, ok := conn.(*Conn)
			if !ok {
				continue
			}
			for range 3 {
				if err := ours.KeyUpdate(context.Background()); err != nil {
					t.Fatal(err)
				}
				if seq := ours.out.sealer.Seq(); seq != 0 {
					t.Errorf("the next record after KeyUpdate has number %d", seq)
				}
				other := c
				if conn == c {
					other = s
				}
				if err := errors.Join(exchange(ours, other, "ask"), exchange(other, ours, "answer")); err != nil {
					t.Fatal(err)
				}
				if seq := ours.in.opener.Seq(); seq != 1 {
					t.Errorf("the peer answers with record %d of its key", seq)
				}
			}
		}
	})
}

func TestKeyUpdateErrors(t *testing.T) {
	server := serverConfig("P256")
	server.MaxVersion = VersionTLS12
	c, s := connect(t, sockets, clientConfig(), server)
	ae := AlertError(0)
	if err := c.(*Conn).KeyUpdate(context.Background()); !errors.As(err, &ae) {
		t.Errorf("KeyUpdate in TLS 1.2: %v", err)
	}
	echo(t, c, s)

	c, s = connect(t, pipes, clientConfig(), serverConfig("P256"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.(*Conn).KeyUpdate(ctx); err != context.Canceled {
		t.Errorf("KeyUpdate with an ended context: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.(*Conn).KeyUpdate(ctx) }()                             // nobody reads
	if _, err := io.ReadFull(s.(*Conn).NetConn(), make([]byte, 1)); err != nil { // it is being sent
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("KeyUpdate goes on after its context")
	}
	c.Close()
	if err := c.(*Conn).KeyUpdate(context.Background()); err == nil {
		t.Error("KeyUpdate after Close succeeds")
	}

	c, _ = connect(t, sockets, clientConfig(), serverConfig("P256"))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := c.(*Conn).KeyUpdate(context.Background()); err != errShutdown {
		t.Errorf("KeyUpdate after CloseWrite: %v", err)
	}
}

// TestKeyUpdateRequests has a peer ask many times while we are busy: it gets
// one answer, before the next data, and a Read does not wait for a Write.
func TestKeyUpdateRequests(t *testing.T) {
	server := serverConfig("P256")
	server.SessionTicketsDisabled = true
	c, peer := connectRawSecrets(t, pipes, clientConfig(), server)
	written := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("blocked"))
		written <- err
	}()
	for c.out.TryLock() { // until it is blocked
		c.out.Unlock()
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(c, make([]byte, 4))
		read <- err
	}()
	for range 5 {
		peer.send(peer.seal(record.Handshake, []byte{24, 0, 0, 1, 1}))
		peer.nextSeal()
	}
	peer.send(peer.seal(record.ApplicationData, []byte("data")))
	if err := <-read; err != nil {
		t.Fatalf("Read waits for Write: %v", err)
	}
	if typ, got := peer.receive(); typ != record.ApplicationData || string(got) != "blocked" {
		t.Errorf("got %v %q", typ, got)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := c.Write([]byte("next"))
		written <- err
	}()
	if typ, got := peer.receive(); typ != record.Handshake || !bytes.Equal(got, []byte{24, 0, 0, 1, 0}) {
		t.Errorf("got %v %v, want one KeyUpdate", typ, got)
	}
	peer.nextOpen()
	if typ, got := peer.receive(); typ != record.ApplicationData || string(got) != "next" {
		t.Errorf("got %v %q", typ, got)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

func TestTooManyKeyUpdates(t *testing.T) {
	server := serverConfig("P256")
	server.SessionTicketsDisabled = true
	c, peer := connectRawSecrets(t, sockets, clientConfig(), server)
	for range 40 {
		peer.send(peer.seal(record.Handshake, []byte{24, 0, 0, 1, 0}))
		peer.nextSeal()
	}
	ae := AlertError(0)
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &ae) || alert.Description(ae) != alert.UnexpectedMessage {
		t.Errorf("Read: %v", err)
	}
}

// secretPeer is a rawPeer that can change keys.
type secretPeer struct {
	*rawPeer
	suite       *keyschedule.Suite
	write, read keyschedule.TrafficSecret
}

func connectRawSecrets(t *testing.T, nw network, client, server *Config) (*Conn, *secretPeer) {
	c, s := connect(t, nw, client, server)
	keys, err := s.(*Conn).ExportKeys()
	if err != nil {
		t.Fatal(err)
	}
	raw := &rawPeer{s.(*Conn).NetConn(), t, record.NewSealer(keys.Write), record.NewOpener(keys.Read)}
	suite := keyschedule.SuiteByID(keys.CipherSuite)
	return c.(*Conn), &secretPeer{raw, suite, *keys.WriteSecret, *keys.ReadSecret}
}

func (p *secretPeer) nextSeal() {
	p.write = p.write.Next(p.suite.Hash)
	p.sealer = record.NewSealer(p.write.Keys(p.suite))
}

func (p *secretPeer) nextOpen() {
	p.read = p.read.Next(p.suite.Hash)
	p.opener = record.NewOpener(p.read.Keys(p.suite))
}

// TestRecordLimit lowers the limit of keys to a few records: TLS 1.3 changes
// keys and goes on, TLS 1.2 ends cleanly.
func TestRecordLimit(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	forEachVersion(t, func(t *testing.T, v uint16) {
		for _, limit := range []uint64{3, 4, 7, 1000} {
			client, server := clientConfig(), serverConfig("P256")
			server.MaxVersion = v
			client.recordLimit, server.recordLimit = limit, limit
			c, s := connect(t, sockets, client, server)
			received := make(chan []byte, 1)
			go func() {
				got, err := io.ReadAll(s)
				if err != nil {
					t.Errorf("limit %d: Read: %v", limit, err)
				}
				received <- got
			}()
			n, err := c.Write(data)
			closeErr := c.CloseWrite()
			got := <-received
			if n != len(got) || !bytes.Equal(got, data[:n]) {
				t.Errorf("limit %d: wrote %d bytes, peer got %d", limit, n, len(got))
			}
			if ends := v == VersionTLS12 && limit < 1000; ends != errors.Is(err, ErrRecordLimit) || ends == (n == len(data)) || closeErr != err {
				t.Errorf("limit %d: wrote %d bytes, %v; CloseWrite: %v", limit, n, err, closeErr)
			}
		}
	})
}

func TestRecordPadding(t *testing.T) {
	client := clientConfig()
	client.RecordPadding = func(n int) int { return 512 - n%512 }
	server := serverConfig("P256")
	server.SessionTicketsDisabled = true
	c, peer := connectRaw(t, sockets, client, server, roleClient)
	for _, n := range []int{1, 100, 511, 512} {
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		header := make([]byte, record.HeaderLen)
		if _, err := io.ReadFull(peer, header); err != nil {
			t.Fatal(err)
		}
		h, err := record.ParseHeader(header)
		if err != nil || (h.Length-1-16)%512 != 0 {
			t.Errorf("record of %d bytes for %d bytes of data (%v)", h.Length, n, err)
		}
		if _, err := io.CopyN(io.Discard, peer, int64(h.Length)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDynamicRecordSizing looks at the records on the wire.
func TestDynamicRecordSizing(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		client, server := clientConfig(), serverConfig("P256")
		client.DynamicRecordSizingDisabled = disabled
		server.SessionTicketsDisabled = true
		c, peer := connectRaw(t, sockets, client, server, roleClient)
		data := make([]byte, 256<<10)
		go func() {
			_, _ = c.Write(data)
		}()
		var sizes []int
		for total := 0; total < len(data); {
			_, content := peer.receive()
			sizes = append(sizes, len(content))
			total += len(content)
		}
		last := sizes[len(sizes)-2] // the very last one is what was left
		if last != record.MaxPlaintext || (sizes[0] == record.MaxPlaintext) != disabled || !disabled && (sizes[0] > 1200 || sizes[1] <= sizes[0]) {
			t.Errorf("disabled %v: %v", disabled, sizes)
		}
	}
}

// TestRemainingIsAboutRight: what Offload says of a key that allows for many records
// is off by less than 64, whatever steps it is counted in.
func TestRemainingIsAboutRight(t *testing.T) {
	for step := uint64(1); step <= 5; step++ {
		var p place
		for left := uint64(1<<16 + 1001); left >= 1<<16-100; left -= step {
			p.note(left)
			if told := p.offload().Remaining; told < left || told-left >= 64 || left < 1<<16 && told != left {
				t.Fatalf("in steps of %d: told %d of %d", step, told, left)
			}
		}
		p.note(1 << 20) // new keys
		if told := p.offload().Remaining; told != 1<<20 {
			t.Errorf("told %d of new keys", told)
		}
	}
}
