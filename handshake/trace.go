package handshake

// Trace sees what goes over a connection beside application data. It is for
// debugging: what it shows is not secret but for the tickets of sessions, with
// which, by their server, a session can be read. Its functions are called within
// the handshake and by Read and Write, in the order of the messages in each
// direction; they must not call into the connection, nor keep or change what they get.
type Trace struct {
	// Sent is called for what is about to be sent, Received for what has come,
	// before it is acted on.
	Sent, Received func(TracedMessage)
}

// TracedMessage is a handshake message, an alert or a ChangeCipherSpec.
type TracedMessage struct {
	// Type is the content type (RFC 9846, section 5.1): 22 for a handshake message,
	// 21 for an alert, 20 for a ChangeCipherSpec.
	Type uint8
	// Data is the whole of it, malformed as it may be if the peer has sent it. A
	// handshake message begins with its header: type and length.
	Data []byte
}

const (
	contentChangeCipherSpec uint8 = 20
	contentHandshake        uint8 = 22
)

// OnSent calls Sent, if there is one; t may be nil.
func (t *Trace) OnSent(typ uint8, data []byte) {
	if t != nil && t.Sent != nil {
		t.Sent(TracedMessage{typ, data})
	}
}

// OnReceived calls Received, if there is one; t may be nil.
func (t *Trace) OnReceived(typ uint8, data []byte) {
	if t != nil && t.Received != nil {
		t.Received(TracedMessage{typ, data})
	}
}
