package handshake

import (
	"bytes"
	"reflect"
	"testing"
)

// FuzzParse gives any bytes to every parser. What parses must marshal to
// something that means the same, and what does not must carry an alert that a
// parser may send.
func FuzzParse(f *testing.F) {
	for i := range messageFormats {
		g := newGen(uint64(i))
		for range 3 {
			f.Add(uint8(i), messageFormats[i].random(g).append(nil)[4:])
		}
	}
	for _, tr := range tracedMessages(f) {
		for i := range messageFormats {
			if messageFormats[i].typ == handshakeType(tr.raw[0]) {
				f.Add(uint8(i), tr.raw[4:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		format := &messageFormats[int(which)%len(messageFormats)]
		before := bytes.Clone(body)
		m, err := format.parse(body)
		checkParseAlert(t, err)
		if !bytes.Equal(body, before) {
			t.Fatal("the parser changed its input")
		}
		if err != nil {
			return
		}
		if c, ok := m.(*clientHello); ok && c.secureRenegotiation && !c.has(extRenegotiationInfo) {
			return // a signaling cipher suite turns into an extension
		}
		raw := m.append(nil)
		again, err := format.parse(raw[4:])
		if err != nil {
			t.Fatalf("%s: marshaled %x: %v", format.name, raw, err)
		}
		if !sameValue(reflect.ValueOf(again), reflect.ValueOf(m)) {
			t.Fatalf("%s:\n%+v\nmarshaled:\n%+v", format.name, m, again)
		}
		if twice := again.append(nil); !bytes.Equal(twice, raw) {
			t.Fatalf("%s: marshaled\n%x\nand again\n%x", format.name, raw, twice)
		}
		if len(raw) > len(body)+64 {
			t.Fatalf("%s: %d bytes mean %d", format.name, len(body), len(raw))
		}
	})
}
