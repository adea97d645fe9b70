//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/go-handoff/tls"
)

// runMovable is Run with --handover.
func (c *serveCmd) runMovable(ctx context.Context, p *process, config *tls.Config, handler http.Handler) error {
	before, err := inherit(c.Handover)
	if err != nil {
		return err
	}
	status := p.newStatusLine()
	s := c.newMovable(p, status, config, handler)
	if err := s.open(ctx, c.Addr, before); err != nil {
		return err
	}
	go func() {
		if before != nil {
			s.follow(before)
		}
		s.awaitHeir()
	}()
	if before != nil {
		fmt.Fprintf(p.stderr, "taking over from the server at %s\n", c.Handover)
	}
	if err := c.announce(p, config.Certificates[0], s.listener.Addr()); err != nil {
		return errors.Join(err, s.shutdown(p))
	}
	stop := c.showStatus(status, &s.transfers.live)
	select {
	case err = <-s.done:
		stop()
		if err == nil {
			fmt.Fprintf(p.stderr, "handed over to the next server, with %s\n", count(s.heir.moved, "connection"))
		}
		return err
	case <-ctx.Done():
		stop()
		return s.shutdown(p)
	}
}

func (c *serveCmd) newMovable(p *process, log io.Writer, config *tls.Config, handler http.Handler) *movable {
	s := &movable{
		config:   config.Clone(),
		handler:  handler,
		logger:   logger(log, c.Verbose),
		alarm:    logger(log, true),
		patience: shutdownTimeout,
		path:     c.Handover,
	}
	s.config.NextProtos = []string{"http/1.1"}
	s.transfers.told = c.surprises(log)
	if c.Parts {
		s.parts = printParts(p.stdout)
	}
	return s
}

// printParts returns what prints parts, a line each.
func printParts(w io.Writer) func(part) {
	lines := log.New(w, "", 0)
	return func(p part) {
		if text, err := json.Marshal(p); err == nil {
			lines.Print(string(text))
		}
	}
}

// open opens the sockets, or takes the one that clients connect to from the
// process before, and begins to serve.
func (s *movable) open(ctx context.Context, addr string, before *inheritance) error {
	if before != nil {
		s.listener = before.listener
	} else {
		ln, err := listen(ctx, addr)
		if err != nil {
			return err
		}
		s.listener = ln.(*net.TCPListener)
	}
	var err error
	if s.door, err = listenPrivate(s.path); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	s.start()
	return nil
}
