package kernel

// Policy says what of a connection the kernel shall do, and when. Its zero value
// is the default: send through the kernel where that works and pays, which is
// for files and streams, and receive in user space.
//
// It is what measuring says (bench/kernelmode/RESULTS.md). A file by sendfile
// costs a server fewer instructions and system calls than in user space, and no
// copy in it; data that the program holds costs more, as the kernel copies it
// before it protects it. Moving costs as much as a sendfile of about 100 KiB
// saves. Receiving through the kernel costs more than in user space, unless the
// data goes on by splice or many connections should hold little memory while
// they are idle.
type Policy struct {
	// TX and RX are about the sending and the receiving direction. The default
	// is Auto for TX and Off for RX.
	TX, RX Mode
	// MoveTX and MoveRX say when a direction moves.
	MoveTX, MoveRX When
	// NoRekey says what to do with TLS 1.3 where the kernel cannot change keys:
	// Linux before 6.14, and FreeBSD.
	NoRekey NoRekey
}

// Mode says whether a direction shall move to the kernel.
type Mode uint8

// The modes.
const (
	ModeDefault Mode = iota
	Off              // stay in user space
	Auto             // move if the kernel takes the keys
	Require          // fail if the kernel does not take them; but what a peer sent that has closed its side is still received in user space
)

// When says when a direction moves to the kernel. Short connections lose by
// what the move costs.
type When int64

const (
	// WhenDefault leaves it to the connection.
	WhenDefault When = 0
	// AtOnce moves when the handshake is complete.
	AtOnce When = -1
	// AtTransfer moves when a whole file or stream is to be carried: for the
	// sending direction at the first ReadFrom of a TCP connection, or of 16 KiB or
	// more of a file with which the connection will have sent 128 KiB; at the first
	// WriteTo for the receiving one.
	AtTransfer When = -2
)

// AfterBytes moves once n bytes of application data went in the direction.
func AfterBytes(n int64) When {
	if n <= 0 {
		return AtOnce
	}
	return When(n)
}

// NoRekey says what to do with TLS 1.3 where the kernel cannot change keys.
type NoRekey uint8

const (
	// NoRekeyDefault is NoRekeyClose for the sending direction, and for the
	// receiving one where that is required; NoRekeyStay for it otherwise.
	NoRekeyDefault NoRekey = iota
	// NoRekeyClose moves to the kernel all the same. A connection that comes to
	// need new keys, at its key's limit or because the peer wants them, is
	// closed then.
	NoRekeyClose
	// NoRekeyStay stays in user space.
	NoRekeyStay
)
