package kernel

import (
	"errors"
	"io"
)

// ErrControlRecord says that the next record is not application data and cannot
// be spliced: it is to be had from [Socket.Receive].
var ErrControlRecord = errors.New("kernel tls: next record is not application data")

// splicer is a System that can move what it receives into a pipe.
type splicer interface {
	spliceTo(p *Pipe, n int) (int, error)
}

// SpliceTo moves at most n bytes of application data of the next record into
// p, which must be empty, without a copy in user space. It waits until there is
// something; of a record without content it moves 0 bytes. At the end of the
// stream it fails with io.EOF, before a record that is not application data with
// [ErrControlRecord], and otherwise as Receive does.
//
// A kernel whose [Report] has no SpliceRX loses bytes here.
func (s *Socket) SpliceTo(p *Pipe, n int) (int, error) {
	sys, ok := s.sys.(splicer)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	if s.err != nil {
		return 0, s.err
	}
	moved, err := sys.spliceTo(p, n)
	if errors.Is(err, ErrKeyExpired) {
		if err = s.unblock(); err == nil {
			moved, err = sys.spliceTo(p, n)
		}
	}
	if err == nil || err == io.EOF || err == ErrControlRecord {
		return moved, err
	}
	return 0, s.receiveError("splice", err)
}
