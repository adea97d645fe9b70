//go:build unix

package kerneltest

import (
	"errors"
	"syscall"

	"github.com/go-handoff/tls/kernel"
)

// errDead says why there is no next record, beside an errno.
var errDead = errors.New("no more records will be found")

// takeLinux is recvmsg of Linux: as much application data as is there, from
// several records, or one other record, or a part of one.
func (s *receiveSide) takeLinux(p []byte, typed bool) (r kernel.Received, err error) {
	for r.N < len(p) {
		rec, err := s.nextLinux()
		if err != nil {
			return s.stopLinux(r, err)
		}
		if !r.Typed && rec.typ != typeData && !typed {
			return r, syscall.EIO // and the record stays
		}
		if r.Typed && rec.typ != r.Type {
			return r, nil
		}
		r.Typed, r.Type = true, rec.typ
		n := copy(p[r.N:], rec.content)
		r.N += n
		rec.content = rec.content[n:]
		if len(rec.content) > 0 {
			return r, nil
		}
		r.EOR = true // also if another record begins and does not end
		s.list = s.list[1:]
		if r.Type != typeData {
			return r, nil
		}
	}
	return r, nil
}

// stopLinux ends a recvmsg before its buffer is full. Bytes that were copied
// are returned, and the error is left for the next call.
func (s *receiveSide) stopLinux(r kernel.Received, err error) (kernel.Received, error) {
	if r.N > 0 {
		return r, nil
	}
	if err == errDead {
		if err = s.conn.takeError(); err == nil { // is said once
			err = s.end()
		}
	}
	if err == errWait {
		err = s.end()
	}
	return kernel.Received{}, err
}

// nextLinux returns the record that is to be read next, which stays in the list.
func (s *receiveSide) nextLinux() (*opened, error) {
	switch {
	case len(s.list) > 0:
		return &s.list[0], nil
	case s.pending:
		return nil, kernel.ErrKeyExpired
	case s.dead:
		return nil, errDead
	}
	raw, err := s.whole()
	switch {
	case err == errWait: // at the end of the stream a truncated record looks the same
		return nil, err
	case err != nil:
		s.dead, s.in = true, nil
		s.conn.fail(err)
		return nil, errDead
	}
	return s.unprotectLinux(raw)
}

// unprotectLinux puts a record into the list. One that does not authenticate
// stays where it is, to fail again, or to be read with other keys.
func (s *receiveSide) unprotectLinux(raw []byte) (*opened, error) {
	typ, content, ok := s.prot.open(raw)
	if !ok || s.prot.seq == 0 { // the number wrapped
		s.conn.count(1, "TlsDecryptError")
		s.conn.fail(syscall.EBADMSG)
		return nil, syscall.EBADMSG
	}
	s.drop(len(raw))
	if !s.conn.noRekey && typ == typeHandshake && len(content) > 0 && content[0] == keyUpdate {
		s.pending = true // whatever the protocol version
		s.conn.count(1, "TlsRxRekeyReceived")
	}
	s.list = append(s.list, opened{typ: typ, content: content})
	return &s.list[len(s.list)-1], nil
}
