package keyschedule

import (
	"bytes"
	"testing"
)

func digest(h Hash, parts ...[]byte) []byte {
	d := h.New()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

var message1, message2, message3 = []byte("\x01\x00\x00\x05hello"), []byte("\x02\x00\x00\x05world"), []byte("\x14\x00\x00\x00")

func TestTranscript(t *testing.T) {
	for _, h := range bothHashes {
		var tr Transcript
		tr.Add(message1)
		if tr.Hash() != 0 || !bytes.Equal(tr.SumWith(h, message2), digest(h, message1, message2)) {
			t.Errorf("hash %d: wrong before Start", h)
		}
		tr.Start(h)
		tr.Start(SHA256 + SHA384 - h) // has no effect
		tr.Add(message2)
		for range 2 { // asking changes nothing
			if tr.Hash() != h || !bytes.Equal(tr.Sum(), digest(h, message1, message2)) {
				t.Errorf("hash %d: sum %x", h, tr.Sum())
			}
			if !bytes.Equal(tr.SumWith(SHA256, message3), digest(h, message1, message2, message3)) {
				t.Errorf("hash %d: sum with a partial message is wrong", h)
			}
		}
		if !bytes.Equal(tr.Messages(), append(bytes.Clone(message1), message2...)) {
			t.Errorf("hash %d: messages %q", h, tr.Messages())
		}
		tr.Forget()
		tr.Add(message3)
		if tr.Messages() != nil || !bytes.Equal(tr.Sum(), digest(h, message1, message2, message3)) {
			t.Errorf("hash %d: wrong after Forget: %q", h, tr.Messages())
		}
	}
}

// TestTranscriptRetry: with both hashes, before and after Forget. The trace of
// a HelloRetryRequest in RFC 8448 is walked in TestRFC8448.
func TestTranscriptRetry(t *testing.T) {
	for _, h := range bothHashes {
		for _, forget := range []bool{false, true} {
			var tr Transcript
			tr.Add(message1)
			tr.Start(h)
			if forget {
				tr.Forget()
			}
			tr.Retry()
			tr.Add(message2)
			synthetic := append([]byte{254, 0, 0, byte(h.Size())}, digest(h, message1)...)
			if !bytes.Equal(tr.Sum(), digest(h, synthetic, message2)) {
				t.Errorf("hash %d, forget %v: sum %x", h, forget, tr.Sum())
			}
			if !forget && !bytes.Equal(tr.Messages(), append(synthetic, message2...)) {
				t.Errorf("hash %d: messages %x", h, tr.Messages())
			}
		}
	}
}
