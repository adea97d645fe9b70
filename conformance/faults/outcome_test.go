package faults

import (
	"bytes"
	stdtls "crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/go-handoff/tls"
)

// What can become of a conversation at one end. An alert is followed by its
// name.
const (
	complete   = "complete"
	clean      = "closed by the peer" // with close_notify, before all was said
	truncated  = "truncated"          // io.ErrUnexpectedEOF, or io.EOF before the first byte
	wasReset   = "reset"              // by the network
	broken     = "broken pipe"
	timedOut   = "timeout"
	notTLS     = "not TLS" // RecordHeaderError
	sent       = "sent "   // an alert
	received   = "received "
	stdError   = "an error of crypto/tls"
	unexpected = "UNCLASSIFIED: "
)

// classify returns the name of an outcome.
func (o *outcome) classify(d direction, isOurs bool) string {
	switch {
	case o.complete(d):
		return complete
	case o.err == nil:
		return clean
	}
	return classifyError(o, isOurs)
}

func classifyError(o *outcome, isOurs bool) string {
	err := o.err
	op, alertErr, header := (*net.OpError)(nil), tls.AlertError(0), tls.RecordHeaderError{}
	netErr := net.Error(nil)
	switch {
	case errors.As(err, &header):
		return notTLS
	case errors.As(err, &op) && op.Op == "remote error":
		return received + strings.TrimPrefix(op.Err.Error(), "tls: ")
	case errors.As(err, &alertErr):
		return sent + strings.TrimPrefix(alertErr.Error(), "tls: ")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF) && !o.handshaken:
		return truncated
	case errors.Is(err, syscall.ECONNRESET):
		return wasReset
	case errors.Is(err, syscall.EPIPE):
		return broken
	case errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	case !isOurs && strings.Contains(err.Error(), "tls: "), !isOurs && errors.As(err, new(*stdtls.CertificateVerificationError)):
		return stdError
	}
	return fmt.Sprintf("%s%T %v", unexpected, err, err)
}

// isOurs says which ends of a conversation are this stack's.
type isOurs [2]bool

// unnoticed returns the bytes that may be others without an effect, of what was
// sent in one direction: the last bytes of the versions of records without
// protection, which say nothing (RFC 9846, section 5.1). Those end with a
// ChangeCipherSpec.
func unnoticed(stream []byte) (offsets []int) {
	for i := 0; i+5 <= len(stream); {
		offsets = append(offsets, i+2)
		if stream[i] == 20 {
			break
		}
		i += 5 + int(binary.BigEndian.Uint16(stream[i+3:]))
	}
	return offsets
}

// matters reports whether the fault must keep the receiver from all that it
// should get, close_notify included.
func (f fault) matters(recorded []byte) bool {
	switch f.kind {
	case flipBit, flipByte:
		return !slices.Contains(unnoticed(recorded), f.offset)
	case repeat:
		return f.offset < len(recorded)-1 // what comes after the end is not read
	}
	return !f.kind.harmless()
}

// judge returns what is wrong with the outcomes of a conversation with a fault,
// "" if nothing is. Without it, recorded is what goes in the fault's direction.
func (s *setup) judge(f fault, recorded []byte, o [2]*outcome) string {
	mine := s.mine
	for _, d := range directions {
		peer := o[d.other()]
		name := o[d].classify(d, mine[d])
		switch {
		case strings.HasPrefix(name, unexpected):
			return fmt.Sprintf("the error of who sends %v has no type: %s", d, name)
		case !bytes.HasPrefix(all(d.other()), o[d].read):
			return fmt.Sprintf("who sends %v has read other bytes: %q", d, o[d].read)
		case o[d].eof && len(o[d].read) < peer.written && mine[d]:
			return fmt.Sprintf("who sends %v takes %d of %d bytes for all", d, len(o[d].read), peer.written)
		case f.kind.harmless() && name != complete:
			return fmt.Sprintf("who sends %v does not get all: %s", d, name)
		}
	}
	receiver, sender := o[f.direction.other()], o[f.direction]
	got := receiver.classify(f.direction.other(), mine[f.direction.other()])
	theirs := sender.classify(f.direction, mine[f.direction])
	// crypto/tls takes an end without close_notify for one if it comes at the end
	// of a record.
	if got == complete && f.matters(recorded) && mine[f.direction.other()] {
		return "who receives it does not notice"
	}
	if alert, ok := strings.CutPrefix(got, sent); ok && f.kind.forges() && mine[0] && mine[1] {
		// Who has lost patience has closed, and may give what the other waited for.
		lost := theirs == timedOut || s.sockets && slices.Contains([]string{wasReset, broken, truncated}, theirs)
		if theirs != complete && theirs != received+alert && !strings.HasPrefix(theirs, sent) && !lost {
			return fmt.Sprintf("the alert %q did not arrive, but: %s", alert, theirs)
		}
	}
	return ""
}
