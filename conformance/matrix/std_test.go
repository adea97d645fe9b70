package matrix

import (
	stdtls "crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/go-handoff/tls"
)

// std is the crypto/tls of the installed Go.
func std() *peer {
	return &peer{
		version: func() (string, error) { return "crypto/tls of " + runtime.Version(), nil },
		cannot: func(_ role, p *plan) string {
			switch {
			case p.group == tls.X448:
				return "crypto/tls has no X448"
			case p.update == theirs:
				return "crypto/tls has no function that changes keys"
			case p.early:
				return "crypto/tls has no early data"
			}
			return ""
		},
		serve: serveStd, visit: visitStd,
	}
}

func (p *plan) std() *stdtls.Config {
	cfg := &stdtls.Config{MinVersion: p.version, MaxVersion: p.version, NextProtos: []string{protocol}}
	if p.group != 0 {
		cfg.CurvePreferences = []stdtls.CurveID{p.group}
	}
	return cfg
}

// stdSeen is what crypto/tls says of a connection.
func stdSeen(s stdtls.ConnectionState) seen {
	v := seen{
		Version: stdtls.VersionName(s.Version), Suite: stdtls.CipherSuiteName(s.CipherSuite), Group: groupNames[s.CurveID],
		ALPN: s.NegotiatedProtocol, Resumed: fmt.Sprint(s.DidResume),
	}
	if b, err := s.ExportKeyingMaterial(label, nil, 32); err == nil {
		v.Exported = hex.EncodeToString(b)
	}
	if len(s.VerifiedChains) > 0 {
		v.Client = s.PeerCertificates[0].Subject.CommonName
	}
	return v
}

func serveStd(t testing.TB, p *plan) *far {
	cfg := p.std()
	cfg.Certificates = []stdtls.Certificate{servers[p.kind].cert}
	if p.auth != notAsked {
		cfg.ClientAuth, cfg.ClientCAs = stdtls.RequireAndVerifyClientCert, authority.Pool()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	states, conns := make(chan seen, p.connections()), make(chan net.Conn, p.connections())
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			conns <- raw
			conn := stdtls.Server(raw, cfg)
			if conn.Handshake() == nil { // if it fails, the client's side tells
				states <- stdSeen(conn.ConnectionState())
				_, _ = io.Copy(conn, conn)
			}
			conn.Close()
		}
	}()
	return &far{
		addr:     l.Addr().String(),
		exchange: func(conn *tls.Conn) { echo(t, conn, p.payload(), p.payload()) },
		seen:     func() seen { return <-states },
		kill:     func() { (<-conns).Close() },
	}
}

func visitStd(t testing.TB, p *plan, port int) *far {
	cfg := p.std()
	cfg.RootCAs, cfg.ServerName, cfg.ClientSessionCache = authority.Pool(), serverName, stdtls.NewLRUClientSessionCache(0)
	switch {
	case p.retry:
		cfg.CurvePreferences = nil
	case p.auth == given:
		cfg.Certificates = []stdtls.Certificate{person.cert}
	case p.auth == refused:
		cfg.Certificates = []stdtls.Certificate{foreign.cert}
	}
	var raw net.Conn
	var conn *stdtls.Conn
	var failed chan error
	f := &far{kill: func() { raw.Close() }, leave: func() { conn.Close() }}
	f.connect = func(int) {
		var err error
		if raw, err = net.Dial("tcp", loopbackAddr(port)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		if err := raw.SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		conn, failed = stdtls.Client(raw, cfg), make(chan error, 1)
		go func(conn *stdtls.Conn, failed chan error) { failed <- conn.Handshake() }(conn, failed)
	}
	f.exchange = func(ours *tls.Conn) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			answer(t, ours, p.payload())
		}()
		echo(t, conn, p.payload(), p.payload())
		<-done
	}
	f.seen = func() seen {
		v := stdSeen(conn.ConnectionState())
		v.Client = ""
		return v
	}
	f.refused = func(*tls.Conn) {
		err := <-failed
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Error("crypto/tls does not notice that it is refused")
		}
	}
	return f
}
