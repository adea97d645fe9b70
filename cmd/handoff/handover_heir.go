//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/go-handoff/tls"
)

// How one process follows another, over a link:
//
//	old                                  new
//	                                     connects to the door
//	key, with the listening socket  -->
//	                                <--  empty: it has all it needs, its own door
//	                                     too, and serves new connections
//	an exchange, with a connection       for each connection, in between two
//	and the rest of a file          -->  chunks of a response
//	                                <--  empty, or why it does not take it
//	closes the link, and ends
//
// Until the new one has everything, the old one can go on as if nothing had
// happened.

// heir is the process that follows, as the old one sees it.
type heir struct {
	link   *link
	key    *tls.HandoverKey
	config *tls.Config // of connections that it does not take

	mutex  sync.Mutex
	moved  int64 // connections
	broken error // the link: an answer that comes late must not be taken for the next one's
}

// take moves x's connection to the heir. It returns what goes on here instead,
// which is nil if the heir has it, or may have it: then nobody else must.
func (h *heir) take(x *exchange) (still *tls.Conn, err error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.broken != nil {
		return x.conn, h.broken
	}
	descriptor, blob, err := x.conn.Detach(h.key)
	if err != nil {
		return x.conn, err
	}
	refused, err := h.offer(x, blob, descriptor)
	switch {
	case err != nil:
		h.broken = err
		return nil, errors.Join(err, descriptor.Close())
	case refused == "":
		h.moved++
		return nil, descriptor.Close()
	}
	if still, err = tls.Adopt(descriptor, blob, h.key, h.config); err != nil {
		return nil, errors.Join(err, descriptor.Close())
	}
	return still, errors.New(refused)
}

// offer sends x and returns why the heir does not take it, if it says so.
func (h *heir) offer(x *exchange, blob []byte, descriptor *os.File) (refused string, err error) {
	message, with, err := x.pack(blob, descriptor)
	if err != nil {
		return "", err
	}
	if err := h.link.send(message, with...); err != nil {
		return "", err
	}
	answer, files, err := h.link.answer()
	closeAll(files)
	return string(answer), err
}

// awaitHeir waits for the process that follows, and goes when it is there.
func (s *movable) awaitHeir() {
	for {
		conn, err := s.door.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.alarm.Printf("handover: %v", err)
			time.Sleep(acceptPause)
			continue
		}
		if err := s.handOver(conn); err != nil {
			s.alarm.Printf("handover: %v; going on", err)
			continue
		}
		return
	}
}

// handOver hands everything to the process at the other end of conn. An error
// means that this one goes on.
func (s *movable) handOver(conn *net.UnixConn) error {
	l, err := newLink(conn)
	if err != nil {
		return err
	}
	defer l.close()
	key := tls.GenerateHandoverKey()
	defer key.Wipe()
	secret := key.Bytes()
	defer clear(secret)
	if err := l.send(secret, s.listener); err != nil {
		return err
	}
	_, files, err := l.answer()
	closeAll(files)
	if err != nil {
		return fmt.Errorf("the next process did not begin: %w", err)
	}
	h := &heir{link: l, key: key, config: s.config}
	if !s.leave(leaving, h) {
		return errors.New("this process is stopping")
	}
	_ = s.door.Close()
	s.done <- s.finish()
	return nil
}

// inheritance is what a process gets from the one before it.
type inheritance struct {
	link     *link
	key      *tls.HandoverKey
	listener *net.TCPListener
}

// inherit asks the process whose door is at path for what it has. It is nil if
// there is none.
func inherit(path string) (*inheritance, error) {
	l, err := dialPrivate(path)
	if l == nil {
		return nil, err
	}
	i, err := l.inheritance()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server at %s does not hand over: %w", path, err), l.close())
	}
	return i, nil
}

// inheritance receives the old process's first message.
func (l *link) inheritance() (*inheritance, error) {
	secret, files, err := l.answer()
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	defer clear(secret)
	key, err := tls.NewHandoverKey(secret)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("it sent %d listening sockets", len(files))
	}
	ln, err := net.FileListener(files[0])
	if err != nil {
		return nil, err
	}
	listener, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("it listens on %s", ln.Addr()), ln.Close())
	}
	return &inheritance{link: l, key: key, listener: listener}, nil
}

// follow takes over from the process before this one, all it has.
func (s *movable) follow(i *inheritance) {
	defer i.key.Wipe()
	defer i.link.close()
	if err := i.link.send(nil); err != nil {
		s.alarm.Printf("handover: %v", err)
		return
	}
	for {
		message, files, err := i.link.receive()
		if err == nil {
			err = i.link.send([]byte(s.adopt(message, files, i.key)))
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.alarm.Printf("handover: %v", err)
			}
			return
		}
	}
}

// adopt goes on with a connection of the process before. It returns why not.
func (s *movable) adopt(message []byte, files []*os.File, key *tls.HandoverKey) (refused string) {
	if !s.addOne() {
		closeAll(files)
		return "the next process is stopping"
	}
	x, err := unpack(message, files, key, s.config)
	if err != nil {
		s.all.Done()
		closeAll(files)
		return err.Error()
	}
	go func() {
		defer s.all.Done()
		s.serve(x)
	}()
	return ""
}

// addOne counts one more connection, unless they are waited for already.
func (s *movable) addOne() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.phase == serving {
		s.all.Add(1)
	}
	return s.phase == serving
}
