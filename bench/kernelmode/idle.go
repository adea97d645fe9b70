//go:build linux

package main

import (
	stdtls "crypto/tls"
	"errors"
	"net"
	"runtime"

	tls "github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

// idleBytes returns how much heap a server's connection holds while nothing
// happens on it: what becomes free, per connection, when n of them are let go
// while their TCP sockets and everything else stay. wrap makes the server's end.
func idleBytes(n int, id *identity, wrap func(net.Conn) handshaker) (perConn float64, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	var raw []net.Conn
	defer func() {
		for _, c := range raw {
			c.Close()
		}
	}()
	clientConfig, _ := id.configs(policy(false, false))
	servers := make([]handshaker, 0, n)
	for range n {
		c, s, err := pipe(ln)
		if err != nil {
			return 0, err
		}
		raw = append(raw, c, s)
		server := wrap(s)
		if err := greet(tls.Client(c, clientConfig), server); err != nil {
			return 0, err
		}
		servers = append(servers, server)
	}
	held := heap()
	runtime.KeepAlive(servers)
	clear(servers)
	held -= heap()
	runtime.KeepAlive(raw)
	return float64(held) / float64(n), nil
}

// handshaker is a connection of either stack.
type handshaker interface {
	net.Conn
	Handshake() error
}

// idleOf measures servers of this stack whose directions are where the policy
// wants them.
func idleOf(n int, tx, rx bool) (float64, error) {
	id, err := newIdentity()
	if err != nil {
		return 0, err
	}
	return idleBytes(n, id, ourServer(id, policy(tx, rx)))
}

// idleStd measures servers of crypto/tls.
func idleStd(n int) (float64, error) {
	id, err := newIdentity()
	if err != nil {
		return 0, err
	}
	return idleBytes(n, id, stdServer(id))
}

// greet handshakes, and sends a byte each way, so that nothing is left to be
// sent or received.
func greet(client, server handshaker) error {
	done := make(chan error, 1)
	go func() {
		done <- exchange(server, server.Read, server.Write)
	}()
	return errors.Join(exchange(client, client.Write, client.Read), <-done)
}

func exchange(c handshaker, first, second func([]byte) (int, error)) error {
	if err := c.Handshake(); err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err := first(b); err != nil {
		return err
	}
	_, err := second(b)
	return err
}

// heap returns how much of the heap is in use once garbage is gone. Pools let go
// of what they hold in two rounds, and finalizers run after the first.
func heap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// ourServer returns what makes ends of this stack.
func ourServer(id *identity, p kernel.Policy) func(net.Conn) handshaker {
	_, config := id.configs(p)
	return func(c net.Conn) handshaker { return tls.Server(c, config) }
}

// stdServer returns what makes ends of crypto/tls.
func stdServer(id *identity) func(net.Conn) handshaker {
	config := &stdtls.Config{Certificates: []stdtls.Certificate{id.certificate}, MinVersion: stdtls.VersionTLS13}
	return func(c net.Conn) handshaker { return stdtls.Server(c, config) }
}
