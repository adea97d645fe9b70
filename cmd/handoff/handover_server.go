//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/go-handoff/tls"
)

// movable is a server of files whose connections can move to another process,
// in the middle of a response too. net/http's cannot: what it knows of a
// response is in the running code of a handler. So this one speaks HTTP/1.1
// itself, and net/http only decides what the answers are.
type movable struct {
	config    *tls.Config
	handler   http.Handler
	logger    *log.Logger // of requests
	alarm     *log.Logger // of handovers that do not go well
	transfers transfers
	parts     func(part) // is told what was sent from here; nil for nobody
	patience  time.Duration

	listener *net.TCPListener
	door     *net.UnixListener // where the heir comes
	path     string            // of the door
	done     chan error        // the end, if it is not by shutdown

	handshakes context.Context // until cut
	breakOff   context.CancelFunc

	mutex sync.Mutex
	phase phase
	heir  *heir // in phase leaving
	conns map[*exchange]struct{}
	all   sync.WaitGroup // the goroutines of connections, and the one that accepts them
}

// phase is how far a server has come.
type phase uint8

const (
	serving phase = iota
	stopping
	leaving // connections move to the heir
)

// start begins to accept connections.
func (s *movable) start() {
	s.conns = make(map[*exchange]struct{})
	s.done = make(chan error, 1)
	s.handshakes, s.breakOff = context.WithCancel(context.Background())
	s.all.Go(s.accept)
}

func (s *movable) accept() {
	for {
		conn, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.logger.Printf("accept: %v", err)
			time.Sleep(acceptPause)
		default:
			s.all.Go(func() { s.welcome(conn) })
		}
	}
}

// acceptPause keeps an error that lasts, such as too many open files, from
// filling the log.
const acceptPause = 100 * time.Millisecond

// welcome handshakes and serves.
func (s *movable) welcome(raw net.Conn) {
	conn := tls.Server(raw, s.config)
	ctx, cancel := context.WithTimeout(s.handshakes, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		s.logger.Printf("TLS handshake error from %s: %v", raw.RemoteAddr(), err)
		_ = conn.Close()
		return
	}
	s.serve(&exchange{conn: conn})
}

// serve answers requests until the connection ends or moves.
func (s *movable) serve(x *exchange) {
	s.register(x)
	defer s.forget(x)
	for s.keeps(x) {
		if err := s.advance(x); err != nil {
			if x.file != nil || !ordinary(err) {
				s.logger.Printf("%s %s ended: %v", x.conn.RemoteAddr(), x.request, err)
			}
			return
		}
	}
}

// ordinary reports whether err is how connections end between requests.
func ordinary(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET)
}

func (s *movable) register(x *exchange) {
	if x.file != nil {
		s.transfers.n.Add(1)
	}
	s.transfers.live.add(x.conn)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.conns[x] = struct{}{}
}

// forget closes x. To a connection that has moved that does nothing.
func (s *movable) forget(x *exchange) {
	s.drop(x, x.conn.Offload().TX)
	s.mutex.Lock()
	delete(s.conns, x)
	s.mutex.Unlock()
	s.transfers.live.remove(x.conn)
	_ = x.conn.Close() // the client may be gone
}

// drop ends what is being sent of a file: complete, cut off, or to be gone on
// with elsewhere.
func (s *movable) drop(x *exchange, tx tls.DirectionOffload) {
	if x.file == nil {
		return
	}
	_ = x.file.Close() // it was only read
	x.file = nil
	s.transfers.n.Add(-1)
	s.tell(x.part(tx), tx)
}

// tell tells what was sent from here.
func (s *movable) tell(p part, tx tls.DirectionOffload) {
	if s.parts != nil {
		s.parts(p)
	}
	if s.transfers.told != nil {
		s.transfers.told.look(tx, "HTTP/1.1", p.To-p.From)
	}
	s.logger.Print(p)
}

// keeps reports whether x goes on here. It is asked whenever x could as well go
// on elsewhere.
func (s *movable) keeps(x *exchange) bool {
	s.mutex.Lock()
	phase, heir := s.phase, s.heir
	s.mutex.Unlock()
	switch {
	case phase == serving:
		return true
	case phase == leaving && !x.staying:
		s.move(x, heir)
	}
	return x.file != nil
}

// move gives x to the heir. If the heir does not take it, it stays here until
// its response is complete.
func (s *movable) move(x *exchange, heir *heir) {
	tx := x.conn.Offload().TX
	still, err := heir.take(x)
	switch {
	case err != nil && still == x.conn: // its client has gone, most likely
		s.logger.Printf("%s %s does not move: %v", x.conn.RemoteAddr(), x.request, err)
	case err != nil:
		s.alarm.Printf("handover: %s %s does not move: %v", x.conn.RemoteAddr(), x.request, err)
	}
	if still == nil {
		s.drop(x, tx)
		return
	}
	s.transfers.live.remove(x.conn)
	s.transfers.live.add(still)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	x.conn, x.staying = still, true
}

// advance sends some more of a response, or receives some more of a request, or
// answers it.
func (s *movable) advance(x *exchange) error {
	switch {
	case x.file != nil:
		return s.send(x)
	case !x.complete():
		return s.receive(x)
	}
	return s.answer(x)
}

func (s *movable) send(x *exchange) error {
	n, err := x.send()
	s.transfers.live.sent.Add(n)
	if err != nil || x.left > 0 {
		return err
	}
	s.drop(x, x.conn.Offload().TX)
	return x.end()
}

// receive waits for the client, unless the server is called away.
func (s *movable) receive(x *exchange) error {
	if !s.mayWait(x) {
		return nil
	}
	err := x.receive()
	if errors.Is(err, os.ErrDeadlineExceeded) && !s.mayWait(x) {
		return nil
	}
	return err
}

// mayWait sets the bound for how long to wait for x's client, if there is time
// for that.
func (s *movable) mayWait(x *exchange) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.phase != serving {
		return false
	}
	return x.conn.SetReadDeadline(x.patience()) == nil
}

// answer answers the request that is there, up to the part of a file.
func (s *movable) answer(x *exchange) error {
	r, refused := x.next()
	if r == nil {
		a := &reply{header: http.Header{}}
		http.Error(a, fmt.Sprintf("%d %s", refused, http.StatusText(refused)), refused)
		_, err := x.conn.Write(a.bytes(http.MethodGet, true))
		return errors.Join(err, io.EOF)
	}
	a := record(s.handler, r)
	x.begin(r, a)
	if x.file != nil {
		s.transfers.n.Add(1)
	}
	if _, err := x.conn.Write(a.bytes(r.Method, x.last)); err != nil || x.file != nil {
		return err
	}
	s.logger.Printf("%s %s %d bytes, %s", r.RemoteAddr, x.request, a.body.Len(), summary(x.conn))
	return x.end()
}

// leave begins another phase, for all connections soon, unless one has begun
// already.
func (s *movable) leave(to phase, heir *heir) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.phase != serving {
		return false
	}
	s.phase, s.heir = to, heir
	for x := range s.conns {
		_ = x.conn.SetReadDeadline(time.Unix(1, 0)) // nobody waits for requests any more
	}
	return true
}

// finish waits for the connections to end or move, and cuts off those that do
// neither for too long.
func (s *movable) finish() error {
	_ = s.listener.Close()
	ended := make(chan struct{})
	go func() {
		s.all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-time.After(s.patience):
	}
	n := s.transfers.running()
	s.cut()
	<-ended
	if n == 0 {
		return nil
	}
	return fmt.Errorf("stopped, and cut off %s", count(n, "transfer"))
}

// cut ends all connections.
func (s *movable) cut() {
	s.breakOff()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for x := range s.conns {
		_ = x.conn.NetConn().Close()
	}
}

// shutdown ends the server when the transfers in progress are done. If it is
// just leaving, it does that.
func (s *movable) shutdown(p *process) error {
	if !s.leave(stopping, nil) {
		return <-s.done
	}
	_ = os.Remove(s.path)
	_ = s.door.Close()
	p.waitFor(&s.transfers, s.patience)
	return s.finish()
}
