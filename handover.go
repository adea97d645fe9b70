package tls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"github.com/go-handoff/tls/internal/wire"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

// A connection on its way between two processes is its descriptor and a blob.
// The blob is the encoding of a handover, below, sealed by a [HandoverKey]:
//
//	uint16 version;
//	opaque salt[32];              makes the sealing key, and names the blob
//	opaque sealed[];              AES-256-GCM; version and salt are associated data
const handoverVersion uint16 = 1

// What [Conn.Detach] and [Adopt] refuse. errors.Is finds these in what they return.
var (
	// ErrDetached is what a Conn answers after [Conn.Detach].
	ErrDetached = errors.New("tls: this connection was detached")
	// ErrNoDescriptor is the answer of [Conn.Detach] over a connection that is
	// neither a *net.TCPConn nor a *net.UnixConn.
	ErrNoDescriptor = errors.New("tls: only a connection over a socket can be detached")
	// ErrHandoverForged means that a blob was not sealed with the key given, or
	// was changed or cut since.
	ErrHandoverForged = errors.New("tls: the blob was not sealed with this key, or was changed since")
	// ErrHandoverVersion means that a blob was made by a version of this package
	// that this one does not understand.
	ErrHandoverVersion = errors.New("tls: the blob has a format that is not known here")
	// ErrHandoverExpired means that a blob is older than HandoverKey.MaxAge, or
	// as much too young.
	ErrHandoverExpired = errors.New("tls: the blob is too old")
	// ErrHandoverReplayed means that a blob was adopted already.
	ErrHandoverReplayed = errors.New("tls: the blob was adopted already")
	// ErrHandoverSocket means that a blob does not belong to the socket given, or
	// that the socket is no longer connected.
	ErrHandoverSocket = errors.New("tls: the blob belongs to another socket, or this one is no longer connected")
)

// handover is a connection between two processes:
//
//	uint64 made;                  milliseconds since 1970
//	opaque local<0..2^8-1>;       the socket: its addresses,
//	opaque remote<0..2^8-1>;
//	uint64 cookie;                and its number in the kernel, 0 if it gives none
//	uint8  owes_update;           the peer has asked for new keys
//	uint16 records;               by which the size of the next one is chosen
//	Half   out, in;
//	opaque plaintext<0..2^24-1>;  received and not read
//	opaque ciphertext<0..2^24-1>; received and not decrypted
//	opaque control<0..2^16-1>;    from the kernel: the beginning of a record
//	opaque engine[];              see handshake.Engine.Suspend
type handover struct {
	guard

	made       time.Time
	socket     socketID
	owesUpdate bool
	records    int
	out, in    half

	plaintext, ciphertext, control []byte
	engine                         []byte
}

// half is one direction:
//
//	uint8 mode;
//	switch (mode) {
//	case user:   opaque key<0..2^8-1>; opaque iv<0..2^8-1>; opaque mac<0..2^8-1>; uint64 next;
//	case kernel: uint64 next; uint64 since; uint64 rekeys; uint8 inside;
//	}
type half struct {
	guard

	mode         halfMode
	next         uint64 // number of the next record; of a kernel's, about
	key, iv, mac []byte // of user
	since        uint64 // of kernel, as the two below
	rekeys       uint64
	inside       byte // type of a record that was received in part, 0 if there is none
}

// halfMode says who protects a direction.
type halfMode uint8

const (
	modeUser   halfMode = iota + 1 // we do, with the keys in the blob
	modeKernel                     // the kernel does; it gives no keys back
	modeEnded                      // nobody: close_notify was the last record
)

const max8 = 1<<8 - 1

// handoverFixed is more than the length of all in a handover that has a fixed
// length, of all length fields, addresses and keys.
const handoverFixed = 1024

func (h *handover) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.made.UnixMilli()))
	b = wire.AppendVec8(b, []byte(h.socket.local))
	b = wire.AppendVec8(b, []byte(h.socket.remote))
	b = binary.BigEndian.AppendUint64(b, h.socket.cookie)
	owes := byte(0)
	if h.owesUpdate {
		owes = 1
	}
	b = append(b, owes)
	b = binary.BigEndian.AppendUint16(b, uint16(h.records))
	b = h.in.append(h.out.append(b))
	b = wire.AppendVec24(b, h.plaintext)
	b = wire.AppendVec24(b, h.ciphertext)
	b = wire.AppendVec16(b, h.control)
	return append(b, h.engine...)
}

// size is at least the length of the encoding, so that appending does not leave
// copies of keys behind in grown buffers.
func (h *handover) size() int {
	return handoverFixed + len(h.plaintext) + len(h.ciphertext) + len(h.control) + len(h.engine)
}

func (d *half) append(b []byte) []byte {
	b = append(b, byte(d.mode))
	switch d.mode {
	case modeUser:
		b = wire.AppendVec8(b, d.key)
		b = wire.AppendVec8(b, d.iv)
		b = wire.AppendVec8(b, d.mac)
		b = binary.BigEndian.AppendUint64(b, d.next)
	case modeKernel:
		b = binary.BigEndian.AppendUint64(b, d.next)
		b = binary.BigEndian.AppendUint64(b, d.since)
		b = binary.BigEndian.AppendUint64(b, d.rekeys)
		b = append(b, d.inside)
	case modeEnded:
	}
	return b
}

// parseHandover is the reverse of append. The result aliases b.
func parseHandover(b []byte) (*handover, error) {
	r := wire.NewReader(b)
	h := &handover{made: time.UnixMilli(int64(min(r.U64(), math.MaxInt64)))}
	h.socket.local = string(r.Vec8(0, max8))
	h.socket.remote = string(r.Vec8(0, max8))
	h.socket.cookie = r.U64()
	owes := r.U8()
	if h.owesUpdate = owes == 1; owes > 1 {
		r.Fail()
	}
	h.records = int(r.U16())
	h.out.read(&r)
	h.in.read(&r)
	h.plaintext = r.Vec24(0, recordBufferLen+burstBufferLen)
	h.ciphertext = r.Vec24(0, recordBufferLen+burstBufferLen)
	h.control = r.Vec16(0, record.MaxPlaintext)
	h.engine = r.Rest()
	return h, r.Done("handover")
}

func (d *half) read(r *wire.Reader) {
	d.mode = halfMode(r.U8())
	switch d.mode {
	case modeUser:
		d.key = r.Vec8(0, max8)
		d.iv = r.Vec8(0, max8)
		d.mac = r.Vec8(0, max8)
		d.next = r.U64()
	case modeKernel:
		d.next = r.U64()
		d.since = r.U64()
		d.rekeys = r.U64()
		d.inside = r.U8()
	case modeEnded:
	default:
		r.Fail()
	}
}

// userHalf is a direction whose keys we have. It aliases them.
func userHalf(k *keyschedule.TrafficKeys) half {
	return half{mode: modeUser, key: k.Key(), iv: k.IV(), mac: k.MACKey(), next: k.Seq}
}

// keys returns the keys of a direction that we protect.
func (d *half) keys(suite *keyschedule.Suite) (*keyschedule.TrafficKeys, error) {
	if k := keyschedule.NewTrafficKeys(suite, d.key, d.iv, d.mac, d.next); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: keys that do not fit %s", ErrHandoverVersion, suite.Name)
}

func (d *half) wipe() {
	clear(d.key)
	clear(d.iv)
	clear(d.mac)
}

// socketID says which socket a blob belongs to.
type socketID struct {
	local, remote string
	cookie        uint64
}

// identify returns what tells the socket of conn from all others. Where the
// system numbers its sockets, as Linux does, no other one has ever the same;
// elsewhere none has at the same time.
func identify(conn net.Conn) socketID {
	return socketID{local: addressOf(conn.LocalAddr()), remote: addressOf(conn.RemoteAddr()), cookie: socketCookie(conn)}
}

// addressOf returns nothing for a socket that is not connected any more.
func addressOf(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	s := addr.String()
	return s[:min(len(s), max8)]
}

// isEnd reports whether err is how a direction ends in good order.
func isEnd(err error) bool { return err == io.EOF || err == errShutdown }
