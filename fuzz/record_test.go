package fuzz

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// trafficKeys returns keys made from seed.
func trafficKeys(suite *keyschedule.Suite, seed byte) *keyschedule.TrafficKeys {
	k := &keyschedule.TrafficKeys{Suite: suite}
	for i, part := range [][]byte{k.Key(), k.IV(), k.MACKey()} {
		for j := range part {
			part[j] = seed ^ byte(0x30*i+j)
		}
	}
	return k
}

func pickSuite(n byte) *keyschedule.Suite {
	suites := keyschedule.Suites()
	return suites[int(n)%len(suites)]
}

// recordAlerts are what a record may be refused with.
var recordAlerts = []alert.Description{
	alert.UnexpectedMessage, alert.BadRecordMAC, alert.RecordOverflow, alert.DecodeError, alert.ProtocolVersion,
}

func isRecordAlert(err error) bool {
	var e *alert.Error
	return errors.As(err, &e) && slices.Contains(recordAlerts, e.Description)
}

// FuzzRecordOpen gives an Opener bytes that the peer did not seal, and then
// what it did seal with one byte changed: neither may open, nor disturb the
// record that comes after.
func FuzzRecordOpen(f *testing.F) {
	for i := range keyschedule.Suites() {
		s := record.NewSealer(trafficKeys(pickSuite(byte(i)), 1))
		rec, err := s.Seal(nil, record.ApplicationData, []byte("seed"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), rec, []byte("payload"), uint16(9), byte(1))
		f.Add(byte(i), rec[:len(rec)-1], []byte{}, uint16(0), byte(0x80))
	}
	f.Add(byte(0), []byte("\x17\x03\x03\x00\x00"), []byte("x"), uint16(3), byte(0xff))
	f.Add(byte(9), append([]byte("\x17\x03\x03\x00\x40"), make([]byte, 64)...), []byte("x"), uint16(20), byte(0xff))
	f.Fuzz(func(t *testing.T, suiteNumber byte, raw, payload []byte, at uint16, flip byte) {
		suite := pickSuite(suiteNumber)
		s, o := record.NewSealer(trafficKeys(suite, 2)), record.NewOpener(trafficKeys(suite, 2))
		payload = payload[:min(len(payload), record.MaxPlaintext)]
		rec, err := s.Seal(nil, record.ApplicationData, payload)
		if err != nil {
			t.Fatal(err)
		}
		forged := bytes.Clone(rec)
		if i := int(at) % len(rec); flip != 0 {
			forged[i] ^= flip
			refuse(t, o, forged)
		}
		refuse(t, o, bytes.Clone(raw))
		if o.Seq() != 0 {
			t.Fatal("a record that was refused is counted")
		}
		typ, content, err := o.Open(make([]byte, len(raw)), rec)
		if err != nil || typ != record.ApplicationData || !bytes.Equal(content, payload) {
			t.Fatalf("%s: %v, %x, %v, want %x", suite.Name, typ, content, err, payload)
		}
	})
}

func refuse(t *testing.T, o *record.Opener, rec []byte) {
	t.Helper()
	if _, content, err := o.Open(nil, rec); !isRecordAlert(err) || content != nil {
		t.Fatalf("opened to %x, error %v", content, err)
	}
}

// FuzzDeframer cuts a stream into records as it arrives: what Need says must
// not depend on how much beyond the header has come.
func FuzzDeframer(f *testing.F) {
	f.Add(byte(0), []byte("\x16\x03\x01\x00\x05hello\x16\x03\x03\x00\x01x"))
	f.Add(byte(1), []byte("\x17\x03\x03\x00\x00\x17\x03\x03\x40\x11"))
	f.Add(byte(2), []byte("\x15\x03\x03\x00\x02\x01\x00"))
	f.Add(byte(0), []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(byte(0), []byte("\x80\x2e\x01\x03\x01\x00\x15"))
	f.Fuzz(func(t *testing.T, epoch byte, stream []byte) {
		o := new(record.Opener)
		if epoch%3 > 0 {
			o = record.NewOpener(trafficKeys(pickSuite(epoch), 3))
		}
		for len(stream) > 0 {
			n, err := o.Need(stream)
			for i := range min(len(stream), 600) {
				checkPrefix(t, o, stream[:i], n, err)
			}
			if err != nil || n > len(stream) {
				return
			}
			if _, _, err := o.Open(nil, bytes.Clone(stream[:n])); err != nil && !isRecordAlert(err) {
				t.Fatal(err)
			}
			stream = stream[n:]
		}
	})
}

// checkPrefix compares what Need says of a part with what it says of all.
func checkPrefix(t *testing.T, o *record.Opener, part []byte, n int, err error) {
	t.Helper()
	got, gotErr := o.Need(part)
	switch {
	case len(part) < record.HeaderLen:
		if got != record.HeaderLen || gotErr != nil {
			t.Fatalf("%d bytes: %d, %v", len(part), got, gotErr)
		}
	case got != n || (gotErr == nil) != (err == nil):
		t.Fatalf("%d bytes: %d, %v; all: %d, %v", len(part), got, gotErr, n, err)
	}
	if err != nil && !isRecordAlert(err) {
		t.Fatal(err)
	}
}
