package fuzz

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/go-handoff/tls/record"
)

// sentRecord is what one record of a stream carries.
type sentRecord struct {
	typ     record.ContentType
	content []byte
	end     int // of the record in the stream
}

// sealScript seals records as script says: a type and padding in one byte, then
// a length.
func sealScript(t *testing.T, suiteNumber byte, script []byte) (stream []byte, sent []sentRecord) {
	s := new(record.Sealer)
	if suiteNumber > 0 {
		s = record.NewSealer(trafficKeys(pickSuite(suiteNumber), 5))
	}
	for ; len(script) >= 3 && len(sent) < 12; script = script[3:] {
		typ := record.ContentType(20 + script[0]%4)
		n := int(binary.BigEndian.Uint16(script[1:])) % (record.MaxPlaintext + 1)
		if typ == record.ChangeCipherSpec || suiteNumber == 0 && typ == record.ApplicationData {
			typ = record.Handshake
		}
		if typ != record.ApplicationData {
			n = max(n, 1)
		}
		s.SetPadding(func(int) int { return int(script[0] >> 2) })
		content := bytes.Repeat([]byte{script[2] ^ byte(len(sent))}, n)
		before := len(stream)
		var err error
		if stream, err = s.Seal(stream, typ, content); err != nil {
			t.Fatal(err)
		}
		if room := s.SealedLen(typ, n); len(stream)-before > room {
			t.Fatalf("%d bytes are sealed to %d, more than %d", n, len(stream)-before, room)
		}
		sent = append(sent, sentRecord{typ, content, len(stream)})
	}
	return stream, sent
}

// readStream reads records out of a stream that comes in pieces, whose lengths
// are in cuts, over and over.
func readStream(t *testing.T, o *record.Opener, stream, cuts []byte, each func(record.ContentType, []byte)) error {
	var buf []byte
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)])*(1+i/len(cuts)))
		}
		buf, stream = append(buf, stream[:n]...), stream[n:]
		for {
			need, err := o.Need(buf)
			if err != nil {
				return err
			}
			if need > len(buf) {
				break
			}
			typ, content, err := o.Open(nil, buf[:need:need])
			if err != nil {
				return err
			}
			each(typ, content)
			if buf = buf[need:]; len(buf) == 0 {
				break
			}
		}
		if len(buf) > record.HeaderLen+record.MaxCiphertext12+1<<16 {
			t.Fatalf("%d bytes are no record yet", len(buf))
		}
	}
	return nil
}

// FuzzStream sends records through a stream that arrives in any pieces, perhaps
// with one byte of it changed. What comes out is what went in, in order, up to
// the record that was changed; that one is refused with an alert, or never
// complete.
func FuzzStream(f *testing.F) {
	for suite := range byte(20) {
		f.Add(suite, []byte{3, 0, 5, 2, 0, 1, 3, 0x40, 0, 1, 0, 2}, []byte{1, 7, 200}, uint16(0), byte(0))
		f.Add(suite, []byte{3 + 8, 0, 9, 3, 0, 0, 3, 1, 1}, []byte{}, uint16(20*uint16(suite)), byte(1))
	}
	f.Fuzz(func(t *testing.T, suite byte, script, cuts []byte, at uint16, flip byte) {
		stream, sent := sealScript(t, suite, script)
		good := len(sent) // records before the one that is changed
		if flip != 0 && len(stream) > 0 && suite > 0 {
			i := int(at) % len(stream)
			stream[i] ^= flip
			for good > 0 && sent[good-1].end > i {
				good--
			}
		}
		o := new(record.Opener)
		if suite > 0 {
			o = record.NewOpener(trafficKeys(pickSuite(suite), 5))
		}
		got := 0
		err := readStream(t, o, stream, cuts, func(typ record.ContentType, content []byte) {
			if got >= good || typ != sent[got].typ || !bytes.Equal(content, sent[got].content) {
				t.Fatalf("record %d of %d good ones: %v, %d bytes", got, good, typ, len(content))
			}
			got++
		})
		if got != good || err != nil && (good == len(sent) || !isRecordAlert(err)) {
			t.Fatalf("%d records of %d: %v", got, good, err)
		}
	})
}
