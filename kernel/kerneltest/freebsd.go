//go:build unix

package kerneltest

import (
	"syscall"

	"github.com/go-handoff/tls/kernel"
)

// takeFreeBSD is recvmsg of FreeBSD: one record, or a part of it, whose type
// is told with the first part alone.
func (s *receiveSide) takeFreeBSD(p []byte, typed bool) (r kernel.Received, err error) {
	if len(s.list) == 0 {
		if err := s.nextFreeBSD(); err != nil || len(s.list) == 0 {
			return r, err
		}
	}
	rec := &s.list[0]
	if typed && !rec.begun {
		r.Typed, r.Type = true, rec.typ
	}
	rec.begun = true
	r.N = copy(p, rec.content)
	rec.content = rec.content[r.N:]
	if r.EOR = len(rec.content) == 0; r.EOR {
		s.list = s.list[1:]
	}
	return r, nil
}

// nextFreeBSD puts the next record into the list, or none at the end.
func (s *receiveSide) nextFreeBSD() error {
	if s.dead {
		return nil
	}
	raw, err := s.whole()
	switch {
	case err == errWait && s.eof && s.reset == nil && len(s.in) > 0:
		return s.dropConnection(syscall.EMSGSIZE) // truncation is seen
	case err == errWait:
		return s.end()
	case err != nil:
		return s.dropConnection(err)
	}
	typ, content, ok := s.prot.open(raw)
	s.drop(len(raw))
	if !ok { // that record is discarded, and the next ones are not
		s.prot.seq++
		return syscall.EBADMSG
	}
	s.list = append(s.list, opened{typ: typ, content: content})
	return nil
}

// dropConnection ends the connection, so that no alert can be sent any more.
func (s *receiveSide) dropConnection(err error) error {
	s.dead, s.in = true, nil
	s.conn.drop()
	return err
}
