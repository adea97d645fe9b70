package handshake

import (
	"github.com/go-handoff/tls/internal/alert"
)

const (
	messageHeaderLen = 4
	// maxMessage bounds what a peer can make us buffer for one message.
	// Certificate chains may be longer than anything else.
	maxMessage     = 1 << 16
	maxCertificate = 1 << 18
)

// message is one handshake message as it stood on the wire. raw, header
// included, is what the transcript hashes.
type message struct {
	typ  handshakeType
	raw  []byte
	body []byte
}

// reassembler joins handshake bytes, however records cut them, into messages.
type reassembler struct{ buf []byte }

// add appends bytes from a record. What messages alias is never written to again:
// others are put behind it.
func (r *reassembler) add(b []byte) {
	if len(r.buf) == 0 && cap(r.buf) < len(b) {
		r.buf = make([]byte, 0, len(b)+usualMessages)
	}
	r.buf = append(r.buf, b...)
}

// usualMessages is room for the small messages that may follow: Finished, and the
// flight of a resumption.
const usualMessages = 128

// release gives up the memory that no message is in.
func (r *reassembler) release() {
	if len(r.buf) == 0 {
		r.buf = nil
	}
}

// peek returns the type of the next message, if its first byte is there.
func (r *reassembler) peek() (handshakeType, bool) {
	if len(r.buf) == 0 {
		return 0, false
	}
	return handshakeType(r.buf[0]), true
}

// next returns the next whole message, if there is one. The message does not
// alias the buffer of the bytes still to come.
func (r *reassembler) next() (message, bool, error) {
	if len(r.buf) < messageHeaderLen {
		return message{}, false, nil
	}
	typ := handshakeType(r.buf[0])
	n := int(r.buf[1])<<16 | int(r.buf[2])<<8 | int(r.buf[3])
	limit := maxMessage
	if typ == typeCertificate || typ == typeCompressedCertificate {
		limit = maxCertificate
	}
	if n > limit {
		return message{}, false, alert.Errorf(alert.IllegalParameter, "%v of %d bytes is too long", typ, n)
	}
	end := messageHeaderLen + n
	if len(r.buf) < end {
		return message{}, false, nil
	}
	raw := r.buf[:end:end]
	r.buf = r.buf[end:]
	return message{typ: typ, raw: raw, body: raw[messageHeaderLen:]}, true, nil
}

// aligned proves that no byte of a handshake message is pending, which a key
// change demands: messages must not span one (RFC 9846, section 5.1).
func (r *reassembler) aligned() (alignedProof, error) {
	if len(r.buf) > 0 {
		return alignedProof{}, alert.Errorf(alert.UnexpectedMessage, "handshake data after a message that changes keys")
	}
	return alignedProof{ok: true}, nil
}
