package fuzz

import (
	"bytes"
	"slices"
	"testing"

	"github.com/go-handoff/tls/handshake"
)

// edit changes one message of a transcript, or how it is delivered.
type edit struct {
	number byte // of the message, in the order of delivery
	op     byte
	at     int
	value  byte
}

const editLen = 5

// What an edit's op may be. The rest of op are flags.
const (
	editFlip = iota
	editInsert
	editDelete
	editTruncate
	editDuplicate
	editDrop
	editSwap  // with the message that follows
	editLevel // to value
	editCut   // into pieces of value bytes
	editMerge // with the message that follows
	editOps

	editMask = 0x0f
	editFix  = 0x10 // make the header's length right again
)

func parseEdits(b []byte) (list []edit) {
	for ; len(b) >= editLen && len(list) < 16; b = b[editLen:] {
		list = append(list, edit{number: b[0] % 32, op: b[1], at: int(b[2])<<8 | int(b[3]), value: b[4]})
	}
	return list
}

// change returns msg as e makes it.
func (e edit) change(msg []byte) []byte {
	msg = slices.Clone(msg)
	at := e.at % (len(msg) + 1)
	switch int(e.op&editMask) % editOps {
	case editFlip:
		if at < len(msg) {
			msg[at] ^= e.value
		}
	case editInsert:
		msg = slices.Insert(msg, at, e.value)
	case editDelete:
		msg = slices.Delete(msg, at, min(len(msg), at+int(e.value)))
	case editTruncate:
		msg = msg[:at]
	case editDuplicate:
		msg = append(msg, msg...)
	}
	if e.op&editFix != 0 && len(msg) >= 4 {
		n := len(msg) - 4
		msg[1], msg[2], msg[3] = byte(n>>16), byte(n>>8), byte(n)
	}
	return msg
}

// editedRun is a handshake whose messages are changed on their way.
type editedRun struct {
	edits  []edit
	number byte
}

// step delivers the next message to p, if there is one.
func (r *editedRun) step(p *party) bool {
	if len(p.in) == 0 {
		return false
	}
	cut := 0
	for _, e := range r.edits {
		if e.number != r.number || len(p.in) == 0 {
			continue
		}
		u := &p.in[0]
		switch int(e.op&editMask) % editOps {
		case editDrop:
			p.in = p.in[1:]
		case editSwap:
			if len(p.in) > 1 {
				p.in[0], p.in[1] = p.in[1], p.in[0]
			}
		case editLevel:
			u.level = handshake.Level(e.value % 4)
		case editCut:
			cut = int(e.value)
		case editMerge:
			if len(p.in) > 1 && !u.ccs && !p.in[1].ccs && u.level == p.in[1].level {
				p.in[1].bytes = slices.Concat(u.bytes, p.in[1].bytes)
				p.in = p.in[1:]
			}
		default:
			if !u.ccs {
				u.bytes = e.change(u.bytes)
			}
		}
	}
	r.number++
	r.deliver(p, cut)
	return true
}

// deliver gives what comes first to p, in pieces of so many bytes.
func (r *editedRun) deliver(p *party, cut int) {
	if len(p.in) == 0 {
		return
	}
	u := p.in[0]
	p.in = p.in[1:]
	if u.ccs || cut == 0 {
		p.give(u)
		return
	}
	for piece := range slices.Chunk(u.bytes, cut) {
		p.give(flightUnit{level: u.level, bytes: piece})
	}
}

// FuzzTranscript changes, cuts, drops, repeats and reorders the messages of real
// handshakes, in both directions. Neither side may be established if what it
// heard, or what the other one heard before its Finished, is not what was said;
// and however messages are cut, they mean the same.
func FuzzTranscript(f *testing.F) {
	for mode := range byte(2 * modeCompress) {
		f.Add(mode, []byte{})
		f.Add(mode, []byte{0, editFlip, 0, 40, 1})
		f.Add(mode, []byte{1, editInsert | editFix, 0, 38, 0, 2, editCut, 0, 0, 1})
		f.Add(mode, []byte{2, editMerge, 0, 0, 0, 3, editDelete | editFix, 0, 20, 2})
		f.Add(mode, []byte{3, editDrop, 0, 0, 0, 1, editCut, 0, 0, 3})
		f.Add(mode, []byte{1, editSwap, 0, 0, 0, 4, editDuplicate, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, mode byte, script []byte) {
		mode %= 2 * modeCompress
		client, server := newParties(t, mode)
		client.edited, server.edited = true, true
		r := &editedRun{edits: parseEdits(script)}
		for r.step(client) || r.step(server) {
			if r.number == 255 {
				t.Fatal("a handshake of 255 messages")
			}
		}
		if onlyCuts(r.edits) && !(client.established && server.established) {
			t.Fatalf("messages cut into pieces: client %v, server %v", client.err, server.err)
		}
		if client.established && server.established {
			sameExports(t, client, server)
		}
	})
}

func onlyCuts(edits []edit) bool {
	return !slices.ContainsFunc(edits, func(e edit) bool { return int(e.op&editMask)%editOps != editCut })
}

// sameExports makes sure that both sides have the same secrets.
func sameExports(t *testing.T, client, server *party) {
	t.Helper()
	a, errA := client.ExportKeyingMaterial("label", nil, 32)
	b, errB := server.ExportKeyingMaterial("label", nil, 32)
	if client.err == nil && server.err == nil && (errA != nil || errB != nil || !bytes.Equal(a, b)) {
		t.Fatalf("exporters: %x, %v and %x, %v", a, errA, b, errB)
	}
}
