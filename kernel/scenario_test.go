//go:build unix

package kernel_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// scenario is one thing that a kernel must do, the model of it as well as it
// itself. Many are named after the cases of the Linux kernel's own tests
// (tools/testing/selftests/net/tls.c).
type scenario struct {
	name string
	// Where it does not apply, if these are not zero.
	rules     kernel.Rules
	version   uint16
	rekey     need
	only13GCM bool
	run       func(t *testing.T, g ground, suite *keyschedule.Suite)
}

type need uint8

const (
	any need = iota
	with
	without
)

func (s *scenario) applies(g ground, suite *keyschedule.Suite) bool {
	switch {
	case s.rules != 0 && s.rules != g.rules,
		s.version != 0 && s.version != suite.Version,
		s.rekey == with && !g.rekey,
		s.rekey == without && g.rekey,
		s.only13GCM && suite.ID != keyschedule.TLS_AES_128_GCM_SHA256:
		return false
	}
	return true
}

// play runs all scenarios under all suites.
func play(t *testing.T, g ground) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			for _, suite := range suites() {
				if s.applies(g, suite) {
					t.Run(suite.Name, func(t *testing.T) { s.run(t, g, suite) })
				}
			}
		})
	}
}

func TestModels(t *testing.T) {
	for _, g := range models() {
		t.Run(g.name, func(t *testing.T) { play(t, g) })
	}
}

func TestKernelScenarios(t *testing.T) { play(t, realGround(t)) }

const (
	tls12 = keyschedule.VersionTLS12
	tls13 = keyschedule.VersionTLS13
	linux = kernel.RulesLinux
	bsd   = kernel.RulesFreeBSD
)

var scenarios = []scenario{
	{name: "bidir", run: bothWays},
	{name: "bidir at once", run: bothAtOnce},
	{name: "one direction", run: oneDirection},
	{name: "base_base", run: refusedIsPlain},
	{name: "bad_cipher", rules: linux, run: badCipher},
	{name: "install twice", run: installTwice},
	{name: "recseq_wrap", rules: linux, run: sequenceWraps},
	{name: "middle of the sequence", run: middleOfSequence},
	{name: "getsockopt", rules: linux, run: liveNumbers},
	{name: "adopt", run: adopt},
	{name: "adopt nothing", run: adoptNothing},
	{name: "non_established", rules: linux, run: notEstablished},
	{name: "prequeue", run: prequeue},

	{name: "recv_max", run: receiveMax},
	{name: "recv_partial", run: receivePartial},
	{name: "recv_small", run: receiveSmall},
	{name: "multiple_send_single_recv", rules: linux, run: recordsMerge},
	{name: "one record a call", rules: bsd, run: recordsDoNotMerge},
	{name: "large write", run: largeWrite},
	{name: "ReadFrom", run: readFrom},
	{name: "control_msg", run: controlRecord},
	{name: "control_msg, plain read, Linux", rules: linux, run: plainReadEIO},
	{name: "control_msg, plain read, FreeBSD", rules: bsd, run: plainReadConfused},
	{name: "control_msg_nomerge", run: controlDoesNotMerge},
	{name: "control record in parts", run: controlInParts},
	{name: "data_control_data", run: dataControlData},
	{name: "record types are free", version: tls13, run: freeTypes},
	{name: "SendControl lengths", run: controlLengths},
	{name: "zero_len", rules: linux, only13GCM: true, run: zeroLength},
	{name: "zero_len, FreeBSD", rules: bsd, only13GCM: true, run: zeroLengthFreeBSD},
	{name: "padding", only13GCM: true, run: padding},

	{name: "rekey", rekey: with, version: tls13, run: rekey},
	{name: "rekey_tx, rekey_rx", rekey: with, version: tls13, run: rekeyAtOnce},
	{name: "rekey_fail", rules: linux, run: rekeyFails},
	{name: "no rekey", rekey: without, run: noRekey},
	{name: "rekey_poll_pending", rekey: with, version: tls13, run: rekeyPending},
	{name: "rekey_poll_delay", rekey: with, version: tls13, run: rekeyDelay},
	{name: "not a KeyUpdate", rules: linux, version: tls13, run: notKeyUpdate},
	{name: "not a KeyUpdate, TLS 1.2", rules: linux, version: tls12, run: notKeyUpdate12},

	{name: "bad_rec", rules: linux, run: badRecord},
	{name: "bad_rec, FreeBSD", rules: bsd, run: badRecordFreeBSD},
	{name: "bad version", run: badVersion},
	{name: "bad_auth", run: badAuth},
	{name: "bad_auth, then the right keys", rules: linux, rekey: with, version: tls13, run: badAuthMended},
	{name: "bad_in_large_read", rules: linux, run: badInLargeRead},
	{name: "change_cipher_spec", version: tls13, run: plaintextCCS},
	{name: "alert after an error", rules: linux, run: alertAfterError},
	{name: "timeo", run: deadline},
	{name: "poll_partial_rec", run: partialRecord},
	{name: "end", run: endOfStream},
	{name: "truncated", run: truncated},
	{name: "write deadline", run: writeDeadline},
	{name: "drain", run: drain},
	{name: "close loses", rules: linux, run: closeLoses},
	{name: "close while receiving", run: closeWhileReceiving},
}

func bothWays(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for range 3 {
		a.write([]byte("from a"))
		b.write([]byte("from b"))
		b.once(100, typeData, []byte("from a"), false)
		a.once(100, typeData, []byte("from b"), false)
	}
	if !a.TX() || !a.RX() {
		t.Error("keys are installed and do not count as such")
	}
}

// bothAtOnce has a writer and a reader at each end, and somebody who asks.
func bothAtOnce(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	want := text(1 << 20)
	var group sync.WaitGroup
	defer group.Wait()
	for _, e := range []end{a, b} {
		group.Go(func() {
			for i := 0; i < len(want); i += 10000 {
				if _, err := e.Conn.Write(want[i:min(i+10000, len(want))]); err != nil {
					t.Error(err)
					return
				}
				_, _ = e.NextTX()
				_, _ = e.NextRX()
			}
		})
	}
	group.Go(func() {
		if err := a.same(want); err != nil {
			t.Errorf("a: %v", err)
		}
	})
	if err := b.same(want); err != nil {
		t.Errorf("b: %v", err)
	}
}

// same receives data and compares it.
func (e end) same(want []byte) error {
	buf := make([]byte, 1<<16)
	for len(want) > 0 {
		_, n, _, err := e.Receive(buf)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(want, buf[:n]) {
			return errors.New("not what was sent")
		}
		want = want[n:]
	}
	return nil
}

func oneDirection(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	k := keys(suite, 1)
	if err := a.InstallTX(k); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Key(), make([]byte, len(k.Key()))) {
		t.Error("the keys were not wiped")
	}
	if a.RX() || !a.TX() {
		t.Errorf("TX %v, RX %v", a.TX(), a.RX())
	}
	b.write([]byte("in the clear"))
	buf := make([]byte, 100)
	if n, err := a.Conn.Read(buf); string(buf[:n]) != "in the clear" || err != nil {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	// The other end unprotects in user space.
	a.write([]byte("protected"))
	a.control(typeAlert, []byte{1, 0})
	opener := record.NewOpener(keys(suite, 1))
	for _, want := range []string{"protected", "\x01\x00"} {
		if _, content := b.open(opener); string(content) != want {
			t.Fatalf("%q, want %q", content, want)
		}
	}
}

// open reads a record from plain TCP and unprotects it.
func (e end) open(opener *record.Opener) (record.ContentType, []byte) {
	e.t.Helper()
	rec := make([]byte, record.HeaderLen)
	if _, err := io.ReadFull(e.Conn, rec); err != nil {
		e.t.Fatal(err)
	}
	need, err := opener.Need(rec)
	if err != nil {
		e.t.Fatal(err)
	}
	rec = append(rec, make([]byte, need-len(rec))...)
	if _, err := io.ReadFull(e.Conn, rec[record.HeaderLen:]); err != nil {
		e.t.Fatal(err)
	}
	typ, content, err := opener.Open(nil, rec)
	if err != nil {
		e.t.Fatal(err)
	}
	return typ, content
}

func refusedIsPlain(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	cbc := keyschedule.SuiteByID(keyschedule.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA)
	k := keys(cbc, 1)
	var refusal *kernel.Refusal
	for _, install := range []func(*keyschedule.TrafficKeys) error{a.InstallTX, a.InstallRX} {
		if err := install(k); !errors.As(err, &refusal) || refusal.Reason == "" {
			t.Fatalf("a suite without kernel: %v", err)
		}
	}
	if bytes.Equal(k.Key(), make([]byte, len(k.Key()))) || a.TX() || a.RX() {
		t.Error("a refusal took the keys")
	}
	a.write([]byte("plain"))
	buf := make([]byte, 100)
	if n, err := b.Conn.Read(buf); string(buf[:n]) != "plain" || err != nil {
		t.Fatalf("%q, %v", buf[:n], err)
	}
}

func badCipher(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	if err := a.InstallTX(keys(suite, 1)); err != nil {
		t.Fatal(err)
	}
	for _, other := range suites() {
		if other == suite {
			continue
		}
		err := a.InstallRX(keys(other, 2))
		if !errors.Is(err, syscall.EINVAL) || a.RX() {
			t.Fatalf("the other direction with %s: %v", other.Name, err)
		}
	}
	b.write([]byte("still plain"))
	buf := make([]byte, 100)
	if n, err := a.Conn.Read(buf); string(buf[:n]) != "still plain" || err != nil {
		t.Fatalf("%q, %v", buf[:n], err)
	}
}

func installTwice(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for _, install := range []func(*keyschedule.TrafficKeys) error{a.InstallTX, a.InstallRX} {
		if err := install(keys(suite, 3)); err == nil {
			t.Fatal("a direction was installed twice")
		}
	}
	a.write([]byte("the old keys"))
	b.once(100, typeData, []byte("the old keys"), false)
}

func sequenceWraps(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	last := func() *keyschedule.TrafficKeys {
		k := keys(suite, 1)
		k.Seq = math.MaxUint64
		return k
	}
	if err := errors.Join(a.InstallTX(last()), b.InstallRX(last())); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Conn.Write([]byte("one too many")); !errors.Is(err, syscall.EBADMSG) {
		t.Fatalf("the record whose number wraps: %d, %v", n, err)
	}
}

func middleOfSequence(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	sealer := record.NewSealer(keys(suite, 1))
	send := func(content string) {
		rec, err := sealer.Seal(nil, typeData, []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		a.write(rec)
	}
	// Records in user space, then in the kernel, with the numbers going on.
	send("one")
	send("two")
	plain := record.NewOpener(keys(suite, 1))
	for range 2 {
		b.open(plain)
	}
	send("three")
	settle()
	if err := b.InstallRX(plain.Release()); err != nil {
		t.Fatal(err)
	}
	b.once(100, typeData, []byte("three"), false)
	if err := a.InstallTX(sealer.Release()); err != nil {
		t.Fatal(err)
	}
	a.write([]byte("four"))
	b.once(100, typeData, []byte("four"), false)
	if g.rules == linux {
		if n, err := a.NextTX(); n != 4 || err != nil {
			t.Errorf("next record is %d, %v", n, err)
		}
	}
}

func liveNumbers(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	if _, err := a.NextTX(); err == nil {
		t.Error("a record number without keys")
	}
	tx, rx := keys(suite, 1), keys(suite, 1)
	tx.Seq, rx.Seq = 1000, 1000
	if err := errors.Join(a.InstallTX(tx), b.InstallRX(rx)); err != nil {
		t.Fatal(err)
	}
	check := func(want uint64) {
		t.Helper()
		if n, err := a.NextTX(); n != want || err != nil {
			t.Errorf("next record to send is %d, %v, want %d", n, err, want)
		}
		if n, err := b.NextRX(); n != want || err != nil {
			t.Errorf("next record to receive is %d, %v, want %d", n, err, want)
		}
	}
	check(1000)
	a.write(text(40000)) // three records
	b.all(typeData, text(40000))
	check(1003)
	a.control(typeAlert, []byte{1, 0})
	b.once(1, typeAlert, []byte{1}, true) // in part, and counted
	check(1004)
}

func adopt(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	var again [2]end
	for i, e := range []end{a, b} {
		s, err := kernel.Open(e.Conn)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.AdoptTX(suite), s.AdoptRX(suite)); err != nil || !s.TX() || !s.RX() {
			t.Fatal(err)
		}
		again[i] = end{t, e.Conn, s}
	}
	again[0].write([]byte("adopted"))
	again[0].control(typeAlert, []byte{1, 0})
	again[1].once(100, typeData, []byte("adopted"), false)
	again[1].once(100, typeAlert, []byte{1, 0}, false)
	if g.rules == linux {
		if n, err := again[1].NextRX(); n != 2 || err != nil {
			t.Errorf("next record is %d, %v", n, err)
		}
		other := suites()[0]
		if other == suite {
			other = suites()[4]
		}
		if err := again[0].AdoptTX(other); err == nil {
			t.Error("adopted under another suite")
		}
	}
}

func adoptNothing(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, _ := g.ends(t)
	var refusal *kernel.Refusal
	if err := a.AdoptTX(suite); !errors.As(err, &refusal) || a.TX() {
		t.Errorf("adopted a direction without keys: %v", err)
	}
	if err := a.AdoptRX(suite); !errors.As(err, &refusal) || a.RX() {
		t.Errorf("adopted a direction without keys: %v", err)
	}
	if err := a.RekeyTX(keys(suite, 1)); err == nil {
		t.Error("new keys for a direction without keys")
	}
}

func notEstablished(t *testing.T, g ground, suite *keyschedule.Suite) {
	if g.model {
		return // the model is about records
	}
	a, b := g.ends(t)
	_ = b.Conn.Close()
	settle()
	if err := a.InstallTX(keys(suite, 1)); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("keys after the peer has closed: %v", err)
	}
}

func prequeue(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	if err := a.InstallTX(keys(suite, 1)); err != nil {
		t.Fatal(err)
	}
	a.write(text(20000))
	settle()
	if err := b.InstallRX(keys(suite, 1)); err != nil {
		t.Fatal(err)
	}
	b.all(typeData, text(20000))
}

func receiveMax(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	want := text(record.MaxPlaintext)
	a.write(want)
	settle()
	b.once(record.MaxPlaintext, typeData, want, false)
}

func receivePartial(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	want := text(1000)
	a.write(want)
	settle()
	b.once(300, typeData, want[:300], true)
	b.once(300, typeData, want[300:600], true)
	b.once(400, typeData, want[600:], false)
}

func receiveSmall(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.write([]byte("xyz"))
	for i, c := range []byte("xyz") {
		b.once(1, typeData, []byte{c}, i < 2)
	}
}

func recordsMerge(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for range 4 {
		a.write([]byte("ab"))
	}
	settle()
	b.once(100, typeData, []byte("abababab"), false)
	for range 4 {
		a.write([]byte("ab"))
	}
	settle()
	// Linux says that a record ended, and not that another one goes on.
	b.once(3, typeData, []byte("aba"), false)
	b.once(100, typeData, []byte("babab"), false)
}

func recordsDoNotMerge(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.write([]byte("ab"))
	a.write([]byte("cd"))
	settle()
	b.once(100, typeData, []byte("ab"), false)
	b.once(100, typeData, []byte("cd"), false)
}

func largeWrite(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	want := text(3<<20 + 17)
	failed := make(chan error, 1)
	go func() {
		_, err := a.Conn.Write(want)
		failed <- err
	}()
	b.all(typeData, want)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func readFrom(t *testing.T, g ground, suite *keyschedule.Suite) {
	want := text(300001)
	name := t.TempDir() + "/file"
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	a, b := g.keyed(t, suite)
	a.write([]byte("before "))
	failed := make(chan error, 1)
	go func() {
		n, err := a.Conn.(io.ReaderFrom).ReadFrom(f)
		if err == nil && n != int64(len(want)) {
			err = io.ErrShortWrite
		}
		failed <- err
	}()
	b.all(typeData, append([]byte("before "), want...))
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func controlRecord(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeAlert, []byte{1, 0})
	b.once(100, typeAlert, []byte{1, 0}, false)
	b.control(typeHandshake, text(record.MaxPlaintext))
	a.once(record.MaxPlaintext+100, typeHandshake, text(record.MaxPlaintext), false)
	a.control(typeData, []byte("data by name"))
	b.once(100, typeData, []byte("data by name"), false)
}

func plainReadEIO(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeAlert, []byte{1, 0})
	for range 2 {
		if n, err := b.Conn.Read(make([]byte, 10)); !errors.Is(err, syscall.EIO) {
			t.Fatalf("plain read before an alert: %d, %v", n, err)
		}
	}
	b.once(100, typeAlert, []byte{1, 0}, false)
	a.write([]byte("data"))
	buf := make([]byte, 10)
	if n, err := b.Conn.Read(buf); string(buf[:n]) != "data" || err != nil {
		t.Fatalf("plain read of data: %q, %v", buf[:n], err)
	}
}

func plainReadConfused(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeAlert, []byte{1, 0})
	buf := make([]byte, 10)
	if n, err := b.Conn.Read(buf); n != 2 || err != nil {
		t.Fatalf("plain read of an alert: %d, %v", n, err)
	}
}

func controlDoesNotMerge(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeHandshake, []byte("first"))
	a.control(typeHandshake, []byte("second"))
	a.control(typeAlert, []byte{1, 90})
	settle()
	b.once(100, typeHandshake, []byte("first"), false)
	b.once(100, typeHandshake, []byte("second"), false)
	b.once(100, typeAlert, []byte{1, 90}, false)
}

func controlInParts(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeHandshake, []byte("abcdefgh"))
	a.write([]byte("data"))
	settle()
	b.once(3, typeHandshake, []byte("abc"), true)
	b.once(3, typeHandshake, []byte("def"), true)
	b.once(3, typeHandshake, []byte("gh"), false)
	b.once(100, typeData, []byte("data"), false)
}

func dataControlData(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.write([]byte("one"))
	a.control(typeAlert, []byte{1, 90})
	a.write([]byte("two"))
	settle()
	b.once(100, typeData, []byte("one"), false)
	b.once(100, typeAlert, []byte{1, 90}, false)
	b.once(100, typeData, []byte("two"), false)
}

func freeTypes(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for _, typ := range []byte{1, 20, 24, 255} {
		a.control(typ, []byte("odd"))
		b.once(100, typ, []byte("odd"), false)
	}
}

func controlLengths(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for _, n := range []int{0, kernel.MaxControl + 1} {
		if err := a.SendControl(typeHandshake, text(n)); err == nil {
			t.Errorf("%d bytes were sent as one record", n)
		}
	}
	a.write([]byte("nothing before"))
	b.once(100, typeData, []byte("nothing before"), false)
}

// seal13 returns a record of TLS 1.3 under AES-128-GCM, with pad zeros, that no
// record layer would make.
func seal13(k *keyschedule.TrafficKeys, typ byte, content string, pad int) []byte {
	block, err := aes.NewCipher(k.Key())
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := bytes.Clone(k.IV())
	for i := range 8 {
		nonce[11-i] ^= byte(k.Seq >> (8 * i))
	}
	k.Seq++
	inner := append(append([]byte(content), typ), make([]byte, pad)...)
	n := len(inner) + aead.Overhead()
	header := []byte{typeData, 3, 3, byte(n >> 8), byte(n)}
	return aead.Seal(header, nonce, inner, header)
}

// receiving returns a connection whose one end is plain and whose other end
// receives through the kernel.
func (g ground) receiving(t *testing.T, suite *keyschedule.Suite) (a, b end, k *keyschedule.TrafficKeys) {
	t.Helper()
	a, b = g.ends(t)
	if err := b.InstallRX(keys(suite, 1)); err != nil {
		t.Fatal(err)
	}
	return a, b, keys(suite, 1)
}

// zeroLength is zero_len.test of the kernel's tests. A number is the length of a
// record of data, and after a c of a control record; what is received is in
// the same form.
func zeroLength(t *testing.T, g ground, suite *keyschedule.Suite) {
	for _, test := range []struct{ sent, received string }{
		{"11 11 11", "33"},
		{"11 c0 11", "11 c0 11"},
		{"0 0 0", ""},
		{"0 0 c11", "0 c11"},
		{"0 0 c0", "0 c0"},
		{"c0 c0 c0", "c0 c0 c0"},
		{"0 0 11", "11"},
		{"11 0 0", "11"},
	} {
		lengths(t, g, suite, test.sent, test.received)
	}
}

func zeroLengthFreeBSD(t *testing.T, g ground, suite *keyschedule.Suite) {
	for _, sent := range []string{"11 11", "11 c0 11", "0 0 0", "0 c11", "c0 c0", "0 11", "11 0"} {
		lengths(t, g, suite, sent, sent)
	}
}

func lengths(t *testing.T, g ground, suite *keyschedule.Suite, sent, received string) {
	a, b, k := g.receiving(t, suite)
	var all []byte
	for what := range strings.FieldsSeq(sent) {
		typ := byte(typeData)
		if strings.HasPrefix(what, "c") {
			typ = typeAlert
		}
		n := 11
		if strings.HasSuffix(what, "0") {
			n = 0
		}
		all = append(all, seal13(k, typ, strings.Repeat("x", n), 0)...)
	}
	a.write(all)
	settle()
	names := map[byte]string{typeData: "", typeAlert: "c"}
	var got []string
	_ = b.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		typ, n, _, err := b.Receive(make([]byte, 100))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", sent, err)
		}
		got = append(got, names[typ]+map[int]string{0: "0", 11: "11", 22: "22", 33: "33"}[n])
	}
	if s := strings.Join(got, " "); s != received {
		t.Errorf("%s is received as %q, want %q", sent, s, received)
	}
}

func padding(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, k := g.receiving(t, suite)
	a.write(seal13(k, typeData, "padded", 1000))
	b.once(100, typeData, []byte("padded"), false)
	a.write(seal13(k, typeAlert, "\x01\x00", 3))
	b.once(100, typeAlert, []byte{1, 0}, false)
	a.write(seal13(k, 0, "", 5)) // no type at all
	if err := b.fails(); alert.Of(err) != alert.BadRecordMAC {
		t.Errorf("a record without a type: %v", err)
	}
}

// keyUpdate is the message (RFC 9846, section 4.7.3).
var keyUpdate = []byte{24, 0, 0, 1, 0}

func rekey(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for epoch := byte(3); epoch < 20; epoch += 2 {
		a.write([]byte("old"))
		a.control(typeHandshake, keyUpdate)
		k := keys(suite, epoch)
		if err := a.RekeyTX(k); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(k.Key(), make([]byte, len(k.Key()))) {
			t.Fatal("the keys were not wiped")
		}
		a.write([]byte("new"))
		b.once(100, typeData, []byte("old"), false)
		b.once(100, typeHandshake, keyUpdate, false)
		if err := b.RekeyRX(keys(suite, epoch)); err != nil {
			t.Fatal(err)
		}
		b.once(100, typeData, []byte("new"), false)
		if n, err := b.NextRX(); n != 1 || err != nil {
			t.Errorf("next record is %d, %v", n, err)
		}
		b.write([]byte("the other direction"))
		a.once(100, typeData, []byte("the other direction"), false)
	}
}

func rekeyAtOnce(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	if err := errors.Join(a.RekeyTX(keys(suite, 3)), b.RekeyRX(keys(suite, 3))); err != nil {
		t.Fatal(err)
	}
	a.write([]byte("hello"))
	b.once(100, typeData, []byte("hello"), false)
}

func rekeyFails(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for _, other := range suites() {
		if other == suite {
			continue
		}
		if err := a.RekeyTX(keys(other, 3)); err == nil {
			t.Errorf("keys of %s replaced those of %s", other.Name, suite.Name)
		}
		if !g.rekey {
			continue
		}
		want := error(syscall.EINVAL)
		if !is13(suite) {
			want = syscall.EBUSY
		}
		if err := a.System().EnableTX(keys(other, 4)); !errors.Is(err, want) {
			t.Errorf("the kernel says of keys of %s: %v, want %v", other.Name, err, want)
		}
	}
	// The old keys are in force.
	a.write([]byte("hello"))
	b.once(100, typeData, []byte("hello"), false)
}

func noRekey(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	k := keys(suite, 3)
	for _, rekey := range []func(*keyschedule.TrafficKeys) error{a.RekeyTX, b.RekeyRX} {
		if err := rekey(k); !errors.Is(err, kernel.ErrNoRekey) {
			t.Errorf("new keys: %v", err)
		}
	}
	if !bytes.Equal(k.Key(), make([]byte, len(k.Key()))) {
		t.Error("the keys were not wiped")
	}
	want := error(syscall.EBUSY)
	if g.rules == bsd {
		want = syscall.EALREADY
	}
	if err := a.System().EnableTX(keys(suite, 4)); !errors.Is(err, want) {
		t.Errorf("the kernel says %v, want %v", err, want)
	}
	if err := b.System().EnableRX(keys(suite, 4)); !errors.Is(err, want) {
		t.Errorf("the kernel says %v, want %v", err, want)
	}
	a.write([]byte("hello"))
	b.once(100, typeData, []byte("hello"), false)
}

func rekeyPending(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeHandshake, keyUpdate)
	if err := a.RekeyTX(keys(suite, 3)); err != nil {
		t.Fatal(err)
	}
	a.write([]byte("new"))
	settle()
	b.once(100, typeHandshake, keyUpdate, false)
	for range 2 {
		if r, err := b.System().Receive(make([]byte, 100)); !errors.Is(err, kernel.ErrKeyExpired) {
			t.Fatalf("past a KeyUpdate: %+v, %v", r, err)
		}
	}
	if err := b.RekeyRX(keys(suite, 3)); err != nil {
		t.Fatal(err)
	}
	b.once(100, typeData, []byte("new"), false)
}

func rekeyDelay(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeHandshake, keyUpdate)
	b.once(100, typeHandshake, keyUpdate, false)
	if err := b.RekeyRX(keys(suite, 3)); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		buf := make([]byte, 100)
		_, n, _, err := b.Receive(buf)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(buf[:n])
	}()
	settle() // now it waits
	if err := a.RekeyTX(keys(suite, 3)); err != nil {
		t.Fatal(err)
	}
	a.write([]byte("new"))
	if s := <-got; s != "new" {
		t.Errorf("received %q", s)
	}
}

// notKeyUpdate receives a fragment of a handshake message that begins as a
// KeyUpdate would.
func notKeyUpdate(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for i := range 3 {
		fragment := append([]byte{24, byte(i)}, text(300)...)
		a.control(typeHandshake, fragment)
		a.write([]byte("goes on"))
		settle()
		b.once(1000, typeHandshake, fragment, false)
		b.once(100, typeData, []byte("goes on"), false)
	}
}

func notKeyUpdate12(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.control(typeHandshake, []byte{24, 1, 2, 3})
	a.write([]byte("goes on"))
	settle()
	b.once(100, typeHandshake, []byte{24, 1, 2, 3}, false)
	if !g.rekey { // and so does not look
		b.once(100, typeData, []byte("goes on"), false)
		return
	}
	for range 2 {
		if err := b.fails(); !errors.Is(err, kernel.ErrKeyExpired) {
			t.Fatalf("after what looks like a KeyUpdate: %v", err)
		}
	}
}

// badRecord reports the error of a header, again and again: the kernel says it
// once and then waits for ever.
func badRecord(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, _ := g.receiving(t, suite)
	a.write(bytes.Repeat([]byte{0x17, 3, 3, 0xff, 0xff}, 20))
	for range 3 {
		err := b.fails()
		if alert.Of(err) != alert.RecordOverflow || !errors.Is(err, syscall.EMSGSIZE) {
			t.Fatalf("a record that is too long: %v", err)
		}
	}
	_ = b.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if r, err := b.System().Receive(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second time the kernel says %+v, %v", r, err)
	}
}

func badRecordFreeBSD(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, _ := g.receiving(t, suite)
	a.write(bytes.Repeat([]byte{0x17, 3, 3, 0xff, 0xff}, 20))
	for range 3 {
		err := b.fails()
		if alert.Of(err) != alert.RecordOverflow || !errors.Is(err, syscall.EMSGSIZE) {
			t.Fatalf("a record that is too long: %v", err)
		}
	}
	if r, err := b.System().Receive(make([]byte, 100)); r.N != 0 || r.Typed || err != nil {
		t.Errorf("after the connection was dropped: %+v, %v", r, err)
	}
}

func badVersion(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, _ := g.receiving(t, suite)
	a.write(append([]byte{0x17, 3, 1, 0, 100}, text(100)...))
	for range 2 {
		err := b.fails()
		if alert.Of(err) != alert.ProtocolVersion || !errors.Is(err, syscall.EINVAL) {
			t.Fatalf("a record of another version: %v", err)
		}
	}
}

func badAuth(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	if err := errors.Join(a.InstallTX(keys(suite, 1)), b.InstallRX(keys(suite, 2))); err != nil {
		t.Fatal(err)
	}
	a.write([]byte("with other keys"))
	a.write([]byte("with other keys"))
	for range 3 {
		err := b.fails()
		if alert.Of(err) != alert.BadRecordMAC || !errors.Is(err, syscall.EBADMSG) {
			t.Fatalf("a record under other keys: %v", err)
		}
	}
	if r, err := b.System().Receive(make([]byte, 100)); !errors.Is(err, syscall.EBADMSG) {
		t.Errorf("the second time the kernel says %+v, %v", r, err)
	}
}

// badAuthMended checks that the record stays.
func badAuthMended(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	if err := errors.Join(a.InstallTX(keys(suite, 1)), b.InstallRX(keys(suite, 2))); err != nil {
		t.Fatal(err)
	}
	a.write([]byte("with other keys"))
	sys := b.System()
	if r, err := sys.Receive(make([]byte, 100)); !errors.Is(err, syscall.EBADMSG) {
		t.Fatalf("%+v, %v", r, err)
	}
	if n, err := sys.NextRX(); n != 0 || err != nil {
		t.Errorf("next record is %d, %v", n, err)
	}
	if err := sys.EnableRX(keys(suite, 1)); err != nil {
		t.Fatal(err)
	}
	b.once(100, typeData, []byte("with other keys"), false)
}

func badInLargeRead(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, k := g.receiving(t, suite)
	sealer := record.NewSealer(k)
	var all []byte
	for _, content := range []string{"good", "good", "bad"} {
		rec, err := sealer.Seal(nil, typeData, []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec...)
	}
	all[len(all)-1] ^= 1
	a.write(all)
	settle()
	b.once(1000, typeData, []byte("goodgood"), false)
	if err := b.fails(); alert.Of(err) != alert.BadRecordMAC {
		t.Errorf("the bad record: %v", err)
	}
}

func plaintextCCS(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, _ := g.receiving(t, suite)
	a.write([]byte{20, 3, 3, 0, 1, 1})
	for range 2 {
		if err := b.fails(); alert.Of(err) == alert.InternalError {
			t.Errorf("a plaintext change_cipher_spec: %v", err)
		}
	}
}

func alertAfterError(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.ends(t)
	if err := errors.Join(a.InstallTX(keys(suite, 1)), b.InstallRX(keys(suite, 2)), b.InstallTX(keys(suite, 3)), a.InstallRX(keys(suite, 3))); err != nil {
		t.Fatal(err)
	}
	a.write([]byte("with other keys"))
	if err := b.fails(); alert.Of(err) != alert.BadRecordMAC {
		t.Fatal(err)
	}
	bad := []byte{2, byte(alert.BadRecordMAC)}
	for range 2 {
		if err := b.SendControl(typeAlert, bad); !errors.Is(err, syscall.EBADMSG) {
			t.Errorf("sending with a pending error: %v", err)
		}
	}
	b.ClearError()
	b.control(typeAlert, bad)
	a.once(100, typeAlert, bad, false)
}

func deadline(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	for range 2 {
		_ = b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		begin := time.Now()
		if err := b.fails(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) > patience/2 {
			t.Fatalf("%v after %v", err, time.Since(begin))
		}
	}
	_ = b.SetReadDeadline(time.Now().Add(patience))
	a.write([]byte("in time"))
	b.once(100, typeData, []byte("in time"), false)
	_ = b.SetReadDeadline(time.Unix(1, 0))
	if err := b.fails(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

func partialRecord(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, k := g.receiving(t, suite)
	rec, err := record.NewSealer(k).Seal(nil, typeData, text(5000))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{rec[:3], rec[3:100], rec[100 : len(rec)-1]} {
		a.write(part)
		_ = b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if err := b.fails(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	_ = b.SetReadDeadline(time.Now().Add(patience))
	a.write(rec[len(rec)-1:])
	b.once(10000, typeData, text(5000), false)
}

func endOfStream(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.write([]byte("last"))
	if err := a.Drain(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_ = a.Conn.Close()
	b.once(100, typeData, []byte("last"), false)
	for range 2 {
		if err := b.fails(); err != io.EOF {
			t.Fatal(err)
		}
	}
}

// truncated ends the stream inside a record, which Linux does not tell.
func truncated(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b, k := g.receiving(t, suite)
	rec, err := record.NewSealer(k).Seal(nil, typeData, text(5000))
	if err != nil {
		t.Fatal(err)
	}
	a.write(rec[:len(rec)-1])
	_ = a.Conn.Close()
	err = b.fails()
	switch g.rules {
	case linux:
		if err != io.EOF {
			t.Error(err)
		}
	case bsd:
		if !errors.Is(err, syscall.EMSGSIZE) {
			t.Error(err)
		}
	}
}

func writeDeadline(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.smallBuffers()
	b.smallBuffers()
	want := text(16 << 20)
	accepted := a.fill(want)
	if accepted%record.MaxPlaintext != 0 {
		t.Errorf("%d bytes were accepted, which are not whole records", accepted)
	}
	// What was accepted goes on, and a control record has to wait.
	if err := a.SendControl(typeAlert, []byte{1, 0}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a record beyond a full buffer: %v", err)
	}
	_ = a.SetWriteDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() { sent <- a.SendControl(typeAlert, []byte{1, 0}) }()
	b.all(typeData, want[:accepted])
	b.once(100, typeAlert, []byte{1, 0}, false)
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func drain(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.smallBuffers()
	b.smallBuffers()
	want := text(16 << 20)
	accepted := a.fill(want)
	begin := time.Now()
	if err := a.Drain(begin.Add(30 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) > patience/2 {
		t.Fatalf("draining into a peer that does not read: %v after %v", err, time.Since(begin))
	}
	done := make(chan error, 1)
	go func() {
		_ = a.SetWriteDeadline(time.Now().Add(patience))
		done <- errors.Join(a.SendControl(typeAlert, []byte{1, 0}), a.Drain(time.Now().Add(patience)), a.Conn.Close())
	}()
	b.all(typeData, want[:accepted])
	b.once(100, typeAlert, []byte{1, 0}, false)
	if err := b.fails(); err != io.EOF {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// closeLoses shows what Drain is for: the record that the kernel accepted last,
// when TCP's queue was full, may not be delivered if the socket is closed then.
func closeLoses(t *testing.T, g ground, suite *keyschedule.Suite) {
	a, b := g.keyed(t, suite)
	a.smallBuffers()
	b.smallBuffers()
	want := text(16 << 20)
	accepted := a.fill(want)
	_ = a.Conn.Close()
	got, buf := 0, make([]byte, 1<<16)
	for {
		_, n, _, err := b.Receive(buf)
		if err == io.EOF {
			break
		}
		if err != nil || !bytes.Equal(buf[:n], want[got:got+n]) {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		got += n
	}
	switch {
	case got > accepted:
		t.Errorf("%d bytes were accepted and %d arrived", accepted, got)
	case got == accepted && g.model:
		t.Errorf("%d bytes were accepted and %d arrived: the model lost nothing", accepted, got)
	case got == accepted: // 6.1 loses nothing here
		t.Logf("%d bytes were accepted and %d arrived: nothing was lost", accepted, got)
	}
}

func closeWhileReceiving(t *testing.T, g ground, suite *keyschedule.Suite) {
	_, b := g.keyed(t, suite)
	failed := make(chan error, 1)
	go func() {
		_, _, _, err := b.Receive(make([]byte, 100))
		failed <- err
	}()
	settle()
	_ = b.Conn.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := b.SendControl(typeAlert, []byte{1, 0}); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := b.Drain(time.Now().Add(patience)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
