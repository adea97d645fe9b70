package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-handoff/tls"
)

// handshakeTimeout bounds a handshake, on both sides: a peer that stays silent
// holds nothing for longer.
const handshakeTimeout = 15 * time.Second

// listener gives connections to net/http once their handshake is complete.
// net/http does that itself only for crypto/tls's own type: on others it would
// look at the connection's state before there is one.
type listener struct {
	net.Listener
	config *tls.Config
	logf   func(format string, args ...any)

	ctx    context.Context // until Close
	cancel context.CancelFunc
	ready  chan accepted
	wait   sync.WaitGroup // for all that runs here
}

type accepted struct {
	conn net.Conn
	err  error
}

func newListener(inner net.Listener, config *tls.Config, logf func(string, ...any)) *listener {
	l := &listener{Listener: inner, config: config, logf: logf, ready: make(chan accepted)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wait.Go(l.accept)
	return l
}

// accept starts a handshake for each connection. Errors go to net/http, which
// waits and goes on if it can.
func (l *listener) accept() {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			if !l.deliver(accepted{err: err}) {
				return
			}
			continue
		}
		l.wait.Go(func() { l.handshake(raw) })
	}
}

func (l *listener) handshake(raw net.Conn) {
	ctx, cancel := context.WithTimeout(l.ctx, handshakeTimeout)
	defer cancel()
	conn := tls.Server(raw, l.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		l.refuse(raw, err)
		return
	}
	if !l.deliver(accepted{conn: conn}) {
		conn.Close()
	}
}

// deliver waits for net/http to take a, or for the end.
func (l *listener) deliver(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// refuse ends a connection without a handshake. Those who forgot the s in https
// are told so, as net/http does.
func (l *listener) refuse(raw net.Conn, err error) {
	defer raw.Close()
	if isPlainRequest(err) {
		err = errors.New("plain HTTP request")
		l.answerPlain(raw)
	}
	l.logf("%s handshake failed: %v", raw.RemoteAddr(), err)
}

// The bounds of what is read of a request in plain HTTP.
const (
	plainTimeout = 2 * time.Second
	plainLimit   = 1 << 20
)

// answerPlain answers a request in plain HTTP. It reads the rest of it, because
// the system resets connections that are closed with something unread, and the
// reset can overtake the answer.
func (l *listener) answerPlain(raw net.Conn) {
	defer context.AfterFunc(l.ctx, func() { raw.Close() })()
	_ = raw.SetDeadline(time.Now().Add(plainTimeout))
	_, err := io.WriteString(raw, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nThis server speaks HTTPS.\n")
	if half, ok := raw.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, raw, plainLimit)
	}
}

// isPlainRequest reports whether err is about a peer that began with HTTP.
func isPlainRequest(err error) bool {
	var e tls.RecordHeaderError
	if !errors.As(err, &e) || e.Conn == nil {
		return false
	}
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET"} {
		if strings.HasPrefix(string(e.RecordHeader[:]), method) {
			return true
		}
	}
	return false
}

// Accept returns the next connection whose handshake is complete.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close stops listening and ends the handshakes that are under way.
func (l *listener) Close() error {
	l.cancel()
	err := l.Listener.Close()
	l.wait.Wait()
	return err
}
