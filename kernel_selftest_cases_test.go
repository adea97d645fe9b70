//go:build unix

package tls

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/record"
)

var (
	userCanceled = []byte{alertLevelWarning, byte(alert.UserCanceled)}
	closeNotify  = []byte{alertLevelWarning, byte(alert.CloseNotify)}
)

// oneDirection leaves the other one without keys: plain TCP to the kernel.
func (s *stage) oneDirection() {
	for _, policy := range []kernel.Policy{
		{TX: kernel.Require, RX: kernel.Off, MoveTX: kernel.AtOnce}, {TX: kernel.Off, RX: kernel.Require, MoveRX: kernel.AtOnce},
	} {
		client, server := s.configs(policy)
		server.Kernel = policy
		c, sv := connect(s.T, s.g.network, client, server)
		for range 3 {
			echo(s.T, c, sv)
		}
		if o := c.(*Conn).Offload(); (o.TX.Where == UserSpace) != (policy.TX == kernel.Off) || (o.RX.Where == UserSpace) != (policy.RX == kernel.Off) {
			s.Errorf("TX %v, RX %v", o.TX, o.RX)
		}
	}
}

// unknownToKernels wants to move under a cipher that no kernel has.
func (s *stage) unknownToKernels() {
	client, server := s.configs(kernel.Policy{TX: kernel.Auto, RX: kernel.Auto, MoveTX: kernel.AtOnce, MoveRX: kernel.AtOnce})
	client.CipherSuites = []uint16{TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	server.CipherSuites = client.CipherSuites
	c, sv := connect(s.T, s.g.network, client, server)
	echo(s.T, c, sv)
	if o := c.(*Conn).Offload(); o.TX.Where != UserSpace || o.RX.Where != UserSpace || o.TX.Reason == "" || o.RX.Reason == "" {
		s.Errorf("TX %v, RX %v", o.TX, o.RX)
	}
	client.Kernel = both
	c, sv = pair(s.T, s.g.network, client, server)
	err, _ := handshakes(c, sv)
	if refusal := (*kernel.Refusal)(nil); !errors.As(err, &refusal) {
		s.Errorf("required: %v", err)
	}
}

// limit is what comes instead of a number that wraps, and long before.
func (s *stage) limit() {
	client, server := s.configs(both)
	client.recordLimit = 8
	c, sv := connect(s.T, s.g.network, client, server)
	var n int
	var err error
	wait := s.beside(func() error {
		n, err = c.Write(stream()[:20*record.MaxPlaintext])
		_ = c.CloseWrite()
		return nil
	})
	got, readErr := io.ReadAll(sv)
	wait()
	want := map[bool]error{true: ErrNoRekey, false: ErrRecordLimit}[is13(s)]
	if rekeys(s) {
		want = nil
	}
	if err != want || readErr != nil || !bytes.Equal(got, stream()[:n]) || (n == 20*record.MaxPlaintext) != rekeys(s) || n == 0 {
		s.Errorf("wrote %d (%v), peer read %d (%v)", n, err, len(got), readErr)
	}
}

// padded sends records with and without padding. The kernel could be told to
// expect none; then it takes each that has some again, and may spoil what
// comes behind it.
func (s *stage) padded() {
	c, peer := s.hostile()
	const n = 700
	for i := range 10 {
		peer.sealer.SetPadding(func(int) int { return 100 * (i % 3) })
		peer.send(peer.seal(record.ApplicationData, stream()[i*n:(i+1)*n]))
	}
	s.settle()
	buf := bytes.Repeat([]byte{0xaa}, 6000)
	for got := 0; got < 10*n; {
		m, err := c.Read(buf[:2000:2000])
		if err != nil || !bytes.Equal(buf[:m], stream()[got:got+m]) {
			s.Fatalf("Read after %d bytes: %d, %v", got, m, err)
		}
		got += m
	}
	if !bytes.Equal(buf[2000:], bytes.Repeat([]byte{0xaa}, 4000)) {
		s.Error("something was written behind the reader's buffer")
	}
}

func (s *stage) rekeyRX() { s.rekeyTwice(func(a, b *Conn) (*Conn, *Conn) { return b, a }) }

func (s *stage) rekeyTX() { s.rekeyTwice(func(a, b *Conn) (*Conn, *Conn) { return a, b }) }

// rekeyTwice changes keys twice before there is any data.
func (s *stage) rekeyTwice(order func(a, b *Conn) (*Conn, *Conn)) {
	from, to := order(s.ends())
	for range 2 {
		s.updateKeys(from)
	}
	s.write(from, []byte("data"))
	s.full(to, []byte("data"))
	s.write(to, []byte("back")) // after the answer
	s.full(from, []byte("back"))
	for i, o := range []Offload{from.Offload(), to.Offload()} {
		if tx, rx := []uint64{2, 1}[i], []uint64{1, 2}[i]; o.TX.Rekeys != tx || o.RX.Rekeys != rx {
			s.Errorf("TX %v, RX %v; want %d and %d", o.TX, o.RX, tx, rx)
		}
	}
}

func (s *stage) updateKeys(c *Conn) {
	s.Helper()
	if err := c.KeyUpdate(s.Context()); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) sendfile() {
	a, b := s.ends()
	wait := s.beside(func() error { return readFrom(a, s.open(), streamLen) })
	s.full(b, stream())
	wait()
}

// readFrom wants c to take n bytes of r.
func readFrom(c *Conn, r io.Reader, n int64) error {
	m, err := c.ReadFrom(r)
	if err == nil && m != n {
		err = io.ErrShortWrite
	}
	return err
}

func (s *stage) sendThenSendfile() {
	a, b := s.ends()
	wait := s.beside(func() error {
		_, err := a.Write([]byte("before"))
		return errors.Join(err, readFrom(a, io.LimitReader(s.open(), 100000), 100000))
	})
	s.full(b, []byte("before"))
	s.full(b, stream()[:100000])
	wait()
}

// chunks are the kernel's sizes of pieces, and what is left after four of them.
func (s *stage) chunks() {
	a, b := s.ends()
	file := s.open()
	for _, size := range [][2]int64{
		{4096, 4096}, {4096, 0}, {4096, 1}, {4096, 2048}, {8192, 2048}, {4096, 8192}, {12288, 1024}, {15360, 300}, {1, 4096}, {2000, 12288},
	} {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			s.Fatal(err)
		}
		wait := s.beside(func() error {
			for range 4 {
				if err := readFrom(a, io.LimitReader(file, size[0]), size[0]); err != nil {
					return err
				}
			}
			return readFrom(a, io.LimitReader(file, size[1]), size[1])
		})
		s.full(b, stream()[:4*size[0]+size[1]])
		wait()
	}
}

func (s *stage) receiveMax() {
	a, b := s.ends()
	s.write(a, stream()[:record.MaxPlaintext])
	s.settle()
	s.once(b, 20000, stream()[:record.MaxPlaintext])
}

func (s *stage) receiveSmall() {
	a, b := s.ends()
	s.write(a, []byte("xyz"))
	for _, c := range []byte("xyz") {
		s.once(b, 1, []byte{c})
	}
}

// oneRecord writes pieces that the kernel is to make one record of, and does not
// hold back.
func (s *stage) oneRecord() {
	c, peer := s.hostile()
	s.writeBuffers(c, 100, 100)
	if typ, content := peer.receive(); typ != record.ApplicationData || !bytes.Equal(content, stream()[:10000]) {
		s.Errorf("record of type %v with %d bytes", typ, len(content))
	}
}

// writeBuffers writes the stream's beginning in n buffers.
func (s *stage) writeBuffers(c *Conn, n, size int) {
	s.Helper()
	var b net.Buffers
	for i := range n {
		b = append(b, stream()[i*size:(i+1)*size])
	}
	if m, err := c.WriteBuffers(&b); m != int64(n*size) || err != nil {
		s.Errorf("WriteBuffers: %d, %v", m, err)
	}
}

func (s *stage) dataThenControl() {
	c, peer := s.hostile()
	s.writeBuffers(c, 3, 10)
	if err := c.CloseWrite(); err != nil {
		s.Fatal(err)
	}
	if typ, content := peer.receive(); typ != record.ApplicationData || !bytes.Equal(content, stream()[:30]) {
		s.Errorf("first record: type %v, %d bytes", typ, len(content))
	}
	if typ, content := peer.receive(); typ != record.Alert || !bytes.Equal(content, closeNotify) {
		s.Errorf("second record: type %v, %x", typ, content)
	}
}

func (s *stage) fragmented() {
	a, b := s.ends()
	s.writeBuffers(a, 5, 3)
	s.full(b, stream()[:15])
}

// largeBuffers writes more than a record holds.
func (s *stage) largeBuffers() {
	c, peer := s.hostile()
	go s.writeBuffers(c, 16, 20000)
	for got := 0; got < 16*20000; {
		typ, content := peer.receive()
		if typ != record.ApplicationData || len(content) > record.MaxPlaintext || !bytes.Equal(content, stream()[got:got+len(content)]) {
			s.Fatalf("record after %d bytes: type %v, %d bytes", got, typ, len(content))
		}
		got += len(content)
	}
}

// spliceFrom sends what comes from a socket, and from a pipe.
func (s *stage) spliceFrom() {
	a, b := s.ends()
	from, to := sockets(s.T)
	r, w, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	for _, p := range []struct {
		w io.WriteCloser
		r io.ReadCloser
	}{{from, to}, {w, r}} {
		go func() {
			defer p.w.Close()
			_, _ = p.w.Write(stream()[:200000])
		}()
		wait := s.beside(func() error { return readFrom(a, p.r, 200000) })
		s.full(b, stream()[:200000])
		wait()
		p.r.Close()
	}
}

// spliced sends all there is to a socket, and returns what arrived there.
func (s *stage) spliced(c *Conn) []byte {
	s.Helper()
	got, err := readers(s.T)["splice"](c)
	if err != nil {
		s.Error(err)
	}
	return got
}

func (s *stage) spliceTo() {
	a, b := s.ends()
	wait := s.beside(func() error {
		_, err := a.Write(stream())
		return errors.Join(err, a.CloseWrite())
	})
	if got := s.spliced(b); !bytes.Equal(got, stream()) {
		s.Errorf("%d bytes arrived", len(got))
	}
	wait()
}

func (s *stage) spliceControl() {
	c, peer := s.hostile()
	peer.send(peer.seal(record.ApplicationData, []byte("one")), peer.seal(record.Alert, userCanceled), peer.seal(record.ApplicationData, []byte("two")),
		peer.seal(record.Alert, userCanceled), peer.seal(record.Alert, userCanceled), peer.seal(record.ApplicationData, []byte("three")), peer.seal(record.Alert, closeNotify))
	if got := s.spliced(c); string(got) != "onetwothree" {
		s.Errorf("%q arrived", got)
	}
}

// spliceToSlow splices to who takes less than a record at a time.
func (s *stage) spliceToSlow() {
	a, b := s.ends()
	from, to := sockets(s.T)
	_ = from.(*net.TCPConn).SetWriteBuffer(4096)
	_ = to.(*net.TCPConn).SetReadBuffer(4096)
	const n = 4 * record.MaxPlaintext
	waitA := s.beside(func() error {
		_, err := a.Write(stream()[:n])
		return errors.Join(err, a.CloseWrite())
	})
	waitB := s.beside(func() error {
		defer from.Close()
		_, err := b.WriteTo(from)
		return err
	})
	s.rest(smallReads(to, 1000), stream()[:n])
	waitA()
	waitB()
	to.Close()
}

// smallReads limits each Read of r.
func smallReads(r io.Reader, n int) io.Reader {
	return readerFunc(func(b []byte) (int, error) { return r.Read(b[:min(n, len(b))]) })
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// spliceShort splices what a Read has left of a record, and sends some of what a
// socket has.
func (s *stage) spliceShort() {
	a, b := s.ends()
	from, to := sockets(s.T)
	defer to.Close()
	s.write(from, stream()[:30000])
	from.Close()
	if err := readFrom(a, io.LimitReader(to, 20000), 20000); err != nil {
		s.Fatal(err)
	}
	s.rest(to, stream()[20000:30000])
	if err := a.CloseWrite(); err != nil {
		s.Fatal(err)
	}
	s.full(b, stream()[:10])
	if got := s.spliced(b); !bytes.Equal(got, stream()[10:20000]) {
		s.Errorf("%d bytes arrived", len(got))
	}
}

func (s *stage) oneToMany() {
	a, b := s.ends()
	s.write(a, stream()[:16000])
	for i := range 16 {
		s.full(b, stream()[1000*i:1000*(i+1)])
	}
}

// manyToOne has one Read take several records, where the kernel does that.
func (s *stage) manyToOne() {
	a, b := s.ends()
	for i := range 4 {
		s.write(a, stream()[100*i:100*(i+1)])
	}
	s.settle()
	if s.g.name == "FreeBSD" {
		s.full(b, stream()[:400])
		return
	}
	s.once(b, 1000, stream()[:400])
}

func (s *stage) receivePartial() {
	a, b := s.ends()
	s.write(a, stream()[:1000])
	s.once(b, 300, stream()[:300])
	s.once(b, 300, stream()[300:600])
	s.once(b, 1000, stream()[600:1000])
}

func (s *stage) receiveNothing() {
	a, b := s.ends()
	s.timesOut(b)
	s.write(a, []byte("data"))
	s.full(b, []byte("data"))
	s.timesOut(b)
}

func (s *stage) bothWays() {
	a, b := s.ends()
	for range 3 {
		echo(s.T, a, b)
	}
	for _, c := range []*Conn{a, b} {
		wantPlaces(s.T, c, KernelSoftware, KernelSoftware)
	}
	closeBoth(s.T, a, b)
}

// fill writes until nothing more is taken, and reads it all.
func (s *stage) fill() {
	a, b := s.ends()
	sent := fillUp(s.T, a)
	_ = a.SetWriteDeadline(time.Now().Add(20 * time.Second))
	wait := s.beside(func() error {
		_, err := a.Write([]byte("the end"))
		return errors.Join(err, a.CloseWrite())
	})
	got, err := io.ReadAll(b)
	if err != nil || len(got) != sent+7 || !bytes.HasSuffix(got, []byte("the end")) || !bytes.HasPrefix(got, stream()[:min(sent, 10000)]) {
		s.Errorf("%d bytes, %v; %d were sent", len(got), err, sent+7)
	}
	wait()
}

// crowd has so many writers and readers at once.
func (s *stage) crowd(writers, readers int) {
	a, b := s.ends()
	const blocks, size = 20, 1500
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for range blocks {
				if _, err := a.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wait := s.beside(func() error {
		group.Wait()
		return a.CloseWrite()
	})
	got := s.count(b, readers)
	wait()
	for i := range writers {
		if got[i] != blocks*size {
			s.Errorf("%d bytes of writer %d", got[i], i)
		}
	}
}

// count has several readers read all there is, and counts the bytes of each
// value.
func (s *stage) count(c *Conn, readers int) (counts [256]int) {
	s.Helper()
	var group sync.WaitGroup
	var mutex sync.Mutex
	for range readers {
		group.Go(func() {
			got, err := io.ReadAll(struct{ io.Reader }{c})
			if err != nil {
				s.Error(err)
			}
			mutex.Lock()
			defer mutex.Unlock()
			for _, b := range got {
				counts[b]++
			}
		})
	}
	group.Wait()
	return counts
}

func (s *stage) control() {
	c, peer := s.hostile()
	for range 2 {
		peer.send(peer.seal(record.Alert, userCanceled))
		s.timesOut(c) // it is nothing to read
		peer.send(peer.seal(record.ApplicationData, []byte("data")))
		s.full(c, []byte("data"))
	}
}

// controlTwice sends two records that would be an error as one.
func (s *stage) controlTwice() {
	c, peer := s.hostile()
	peer.send(peer.seal(record.Alert, userCanceled), peer.seal(record.Alert, userCanceled), peer.seal(record.ApplicationData, []byte("data")))
	s.full(c, []byte("data"))
}

func (s *stage) dataControlData() {
	c, peer := s.hostile()
	peer.send(peer.seal(record.ApplicationData, []byte("one")), peer.seal(record.Alert, userCanceled), peer.seal(record.ApplicationData, []byte("two")))
	s.settle()
	s.once(c, 100, []byte("one"))
	s.once(c, 100, []byte("two"))
}

func (s *stage) shutdown() {
	a, b := s.ends()
	s.write(a, stream()[:1000])
	if err := a.CloseWrite(); err != nil {
		s.Fatal(err)
	}
	s.rest(b, stream()[:1000])
	if err := exchange(b, a, "the other way goes on"); err != nil {
		s.Error(err)
	}
}

// numbers compares how many records there were with what the kernel says.
func (s *stage) numbers() {
	a, b := s.ends()
	before := a.Offload().TX
	s.write(a, stream()[:40000]) // three records
	s.full(b, stream()[:40000])
	if after := a.Offload().TX; before.Remaining-after.Remaining != 3 || after.Since != before.Since {
		s.Errorf("%+v, then %+v", before, after)
	}
	s.numbersAre(a, b, before.Since+3)
}

// numbersAre wants both ends to count the same, where the kernel tells.
func (s *stage) numbersAre(a, b *Conn, want uint64) {
	s.Helper()
	tx, err := a.sock.sock.NextTX()
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	rx, rxErr := b.sock.sock.NextRX()
	if err := errors.Join(err, rxErr); err != nil || tx != want || rx != want {
		s.Errorf("the kernel sends record %d next and receives %d, %v; want %d", tx, rx, err, want)
	}
}

// rekey changes keys between data that is still under way.
func (s *stage) rekey() {
	a, b := s.ends()
	for i := range uint64(3) {
		s.write(a, []byte("old"))
		s.updateKeys(a)
		s.write(a, []byte("new"))
		s.write(b, []byte("not yet"))
		s.full(b, []byte("oldnew"))
		s.write(b, []byte("answered"))
		s.full(a, []byte("not yetanswered"))
		for _, o := range []Offload{a.Offload(), b.Offload()} {
			if o.TX.Rekeys != i+1 || o.RX.Rekeys != i+1 {
				s.Errorf("TX %v, RX %v", o.TX, o.RX)
			}
		}
	}
}

// rekeyFails asks for keys where there are none to be had, and has a peer say
// that it changes keys and not do it.
func (s *stage) rekeyFails() {
	if rekeys(s) {
		c, peer := s.hostile()
		peer.send(peer.seal(record.Handshake, []byte{24, 0, 0, 1, 0}), peer.seal(record.ApplicationData, []byte("old keys")))
		s.fails(c, "bad_record_mac")
		return
	}
	a, b := s.ends()
	if err := a.KeyUpdate(s.Context()); err == nil || is13(s) && err != ErrNoRekey {
		s.Errorf("KeyUpdate: %v", err)
	}
	echo(s.T, a, b)
}

func (s *stage) spliceRekey() {
	a, b := s.ends()
	wait := s.beside(func() error {
		for i := range 10 {
			if _, err := a.Write(stream()[20000*i : 20000*(i+1)]); err != nil {
				return err
			}
			if err := a.KeyUpdate(s.Context()); err != nil {
				return err
			}
		}
		return a.CloseWrite()
	})
	if got := s.spliced(b); !bytes.Equal(got, stream()[:200000]) {
		s.Errorf("%d bytes arrived", len(got))
	}
	wait()
	if o := b.Offload(); o.RX.Rekeys != 10 {
		s.Errorf("RX %v", o.RX)
	}
}

// rekeyNumbers wants numbers to begin anew with new keys.
func (s *stage) rekeyNumbers() {
	a, b := s.ends()
	for range 2 {
		full := a.Offload().TX.Remaining
		s.write(a, stream()[:40000])
		s.full(b, stream()[:40000])
		s.updateKeys(a)
		if left := a.Offload().TX.Remaining; left < full {
			s.Errorf("%d records left under new keys, %d under the old ones", left, full)
		}
		s.write(a, []byte("first"))
		s.full(b, []byte("first"))
		s.numbersAre(a, b, 1)
	}
}

// rekeyPending lets a KeyUpdate arrive with nothing behind it.
func (s *stage) rekeyPending() {
	c, peer := s.hostile()
	for range 2 {
		peer.send(peer.seal(record.Handshake, []byte{24, 0, 0, 1, 0}))
		peer.nextSeal()
		s.timesOut(c)
		peer.send(peer.seal(record.ApplicationData, []byte("new")))
		s.full(c, []byte("new"))
	}
}

// rekeyDelay is rekeyPending for a reader who waits all the time.
func (s *stage) rekeyDelay() {
	c, peer := s.hostile()
	got := make([]byte, 3)
	wait := s.beside(func() error {
		_, err := io.ReadFull(c, got)
		return err
	})
	for range 2 {
		s.settle()
		peer.send(peer.seal(record.Handshake, []byte{24, 0, 0, 1, 0}))
		peer.nextSeal()
	}
	s.settle()
	peer.send(peer.seal(record.ApplicationData, []byte("new")))
	wait()
	if string(got) != "new" {
		s.Errorf("read %q", got)
	}
}

// lengths sends records of data of the given lengths, and with a c records of
// alerts: without a number close_notify. It wants the content of so many records,
// and then the end.
func (s *stage) lengths(sent string, records int, end string) {
	c, peer := s.hostile()
	for what := range strings.FieldsSeq(sent) {
		switch what {
		case "0":
			peer.send(peer.seal(record.ApplicationData, nil))
		case "11":
			peer.send(peer.seal(record.ApplicationData, stream()[:11]))
		case "c":
			peer.send(peer.seal(record.Alert, closeNotify))
		case "c0":
			peer.send(peer.sealAny(record.Alert, nil))
		}
	}
	s.full(c, bytes.Repeat(stream()[:11], records))
	switch end {
	case "timeout":
		s.timesOut(c)
	case "EOF":
		s.rest(c, nil)
	default:
		if got := s.fails(c, end); len(got) > 0 {
			s.Errorf("read %d bytes more", len(got))
		}
	}
}

// saw wants the peer to get a fatal alert.
func (s *stage) saw(peer *secretPeer, d alert.Description) {
	s.Helper()
	if typ, content := peer.receive(); typ != record.Alert || !bytes.Equal(content, []byte{alertLevelFatal, byte(d)}) {
		s.Errorf("the peer got %v %x", typ, content)
	}
}

// noRecord sends what is no record. The kernel says so once, and we every time.
// FreeBSD drops the connection then.
func (s *stage) noRecord() {
	c, peer := s.hostile()
	peer.send(bytes.Repeat([]byte{23, 3, 3, 0xff, 0xff}, 10))
	s.fails(c, "record_overflow")
	if s.g.name != "FreeBSD" {
		s.saw(peer, alert.RecordOverflow)
	}
}

func (s *stage) tampered() {
	c, peer := s.hostile()
	peer.send(spoilt(peer.seal(record.ApplicationData, []byte("data"))))
	s.fails(c, "bad_record_mac")
	s.saw(peer, alert.BadRecordMAC)
}

func spoilt(rec []byte) []byte {
	rec[len(rec)-1] ^= 1
	return rec
}

// tamperedLast has good records come before a bad one.
func (s *stage) tamperedLast() {
	c, peer := s.hostile()
	peer.send(peer.seal(record.ApplicationData, []byte("good")), peer.seal(record.ApplicationData, []byte("good")), spoilt(peer.seal(record.ApplicationData, []byte("bad"))))
	s.settle()
	if got := s.fails(c, "bad_record_mac"); string(got) != "goodgood" {
		s.Errorf("read %q", got)
	}
	s.saw(peer, alert.BadRecordMAC)
}

// tamperedControl ends the connection by a close_notify that the peer did not
// send.
func (s *stage) tamperedControl() {
	c, peer := s.hostile()
	peer.send(spoilt(peer.seal(record.Alert, closeNotify)))
	s.fails(c, "bad_record_mac")
	s.saw(peer, alert.BadRecordMAC)
}

func (s *stage) twoReadersTimeOut() {
	a, b := s.ends()
	_ = b.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if n, err := b.Read(make([]byte, 100)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				s.Errorf("Read: %d, %v", n, err)
			}
		})
	}
	group.Wait()
	_ = b.SetReadDeadline(time.Now().Add(20 * time.Second))
	echo(s.T, a, b)
}

// partialRecord sends a record in parts, none of which is anything to read.
func (s *stage) partialRecord() {
	c, peer := s.hostile()
	rec := peer.seal(record.ApplicationData, stream()[:5000])
	for _, part := range [][]byte{rec[:3], rec[3:100], rec[100 : len(rec)-1]} {
		peer.send(part)
		s.timesOut(c)
	}
	peer.send(rec[len(rec)-1:])
	s.full(c, stream()[:5000])
}

// peerHasClosed moves to the kernel when the peer has sent all and closed: Linux
// does not take the connection over any more, and all that was sent must be there.
func (s *stage) peerHasClosed() {
	client, server := s.configs(kernel.Policy{TX: kernel.Off, RX: kernel.Auto, MoveRX: kernel.AfterBytes(1), NoRekey: kernel.NoRekeyClose})
	c, sv := connect(s.T, s.g.network, client, server)
	s.write(sv, stream()[:60000])
	if err := sv.Close(); err != nil {
		s.Fatal(err)
	}
	s.settle()
	s.rest(c, stream()[:60000])
	if o := c.(*Conn).Offload(); o.RX.Where != UserSpace || !strings.Contains(o.RX.Reason, "closed") {
		s.Errorf("RX %v", o.RX)
	}
}

// ipv6 has everything work over IPv6 too, and plain IPv6 go on as before.
func (s *stage) ipv6() {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		s.Skipf("NOT RUN, without IPv6: %v", err)
	}
	defer l.Close()
	network := func(t testing.TB) (c, sv net.Conn) {
		t.Helper()
		var errs [2]error
		c, errs[0] = net.Dial("tcp", l.Addr().String())
		sv, errs[1] = l.Accept()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		return c, sv
	}
	s.g.network = network
	a, b := s.ends()
	echo(s.T, a, b)
	wantPlaces(s.T, a, KernelSoftware, KernelSoftware)
	plainA, plainB := network(s)
	if err := exchange(plainA, plainB, "plain"); err != nil {
		s.Error(err)
	}
	plainA.Close()
	plainB.Close()
	closeBoth(s.T, a, b)
}

// prequeue has data wait in the socket when the kernel gets the keys.
func (s *stage) prequeue() {
	client, server := s.configs(kernel.Policy{TX: kernel.Off, RX: kernel.Require, MoveRX: kernel.AfterBytes(1)})
	c, sv := connect(s.T, s.g.network, client, server)
	s.write(sv, []byte("x"))
	s.full(c, []byte("x"))
	s.write(sv, stream()[:50000])
	s.settle()
	s.full(c, stream()[:50000])
	wantPlaces(s.T, c, UserSpace, KernelSoftware)
}

// readersDuringMove has readers wait before, while and after the kernel gets the
// keys of both directions.
func (s *stage) readersDuringMove() {
	client, server := s.configs(kernel.Policy{TX: kernel.Require, RX: kernel.Require, MoveTX: kernel.AfterBytes(1), MoveRX: kernel.AfterBytes(1)})
	conn, sv := connect(s.T, s.g.network, client, server)
	c := conn.(*Conn)
	wait := s.beside(func() error {
		for i := range 10 {
			s.settle()
			if _, err := sv.Write(bytes.Repeat([]byte{byte(i)}, 1+500*i)); err != nil {
				return err
			}
			if _, err := c.Write([]byte("xx")); err != nil {
				return err
			}
		}
		return sv.CloseWrite()
	})
	got := s.count(c, 3)
	wait()
	for i := range 10 {
		if got[i] != 1+500*i {
			s.Errorf("%d bytes of write %d", got[i], i)
		}
	}
	wantPlaces(s.T, c, KernelSoftware, KernelSoftware)
	s.full(sv, bytes.Repeat([]byte("xx"), 10))
}
