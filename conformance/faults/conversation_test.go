package faults

import (
	"bytes"
	"context"
	"crypto/ed25519"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/go-handoff/tls"
)

const serverName = "server.example"

// now is when all conversations are had.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// identity makes a certificate that is the same each time.
func identity(name string, seed byte) tls.Certificate {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(int64(seed)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pool(cert tls.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(cert.Leaf)
	return p
}

var identities = sync.OnceValue(func() [2]tls.Certificate {
	return [2]tls.Certificate{identity("client", 1), identity(serverName, 2)}
})

// config returns the Config of the end that sends in direction d, with
// randomness that begins anew.
func config(d direction, version uint16) *tls.Config {
	both := identities()
	cfg := &tls.Config{
		Rand: rand.NewChaCha8([32]byte{byte(d), byte(version)}), Time: func() time.Time { return now },
		Certificates: []tls.Certificate{both[d]}, MinVersion: version, MaxVersion: version,
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	if d == fromClient {
		cfg.ServerName, cfg.RootCAs = serverName, pool(both[fromServer])
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		return cfg
	}
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, pool(both[fromClient])
	cfg.SetSessionTicketKeys([][32]byte{{3}})
	return cfg
}

// stdConfig is config for crypto/tls.
func stdConfig(d direction, version uint16) *stdtls.Config {
	c := config(d, version)
	return &stdtls.Config{
		Rand: c.Rand, Time: c.Time, Certificates: c.Certificates, MinVersion: version, MaxVersion: version,
		CurvePreferences: c.CurvePreferences, ServerName: c.ServerName, RootCAs: c.RootCAs, ClientAuth: c.ClientAuth, ClientCAs: c.ClientCAs,
	}
}

// conn is what both implementations' connections have.
type conn interface {
	net.Conn
	HandshakeContext(context.Context) error
	CloseWrite() error
}

// makeConn makes an end of a conversation over a connection.
type makeConn func(raw net.Conn, d direction, version uint16) conn

func ours(raw net.Conn, d direction, version uint16) conn {
	if d == fromClient {
		return tls.Client(raw, config(d, version))
	}
	return tls.Server(raw, config(d, version))
}

func std(raw net.Conn, d direction, version uint16) conn {
	if d == fromClient {
		return stdtls.Client(raw, stdConfig(d, version))
	}
	return stdtls.Server(raw, stdConfig(d, version))
}

// The messages of a conversation, by who sends them.
var messages = [2][][]byte{
	{bytes.Repeat([]byte("question"), 12), []byte("and one more")},
	{bytes.Repeat([]byte("answer"), 20), []byte("the other answer")},
}

// all is what the end that sends in direction d has to say.
func all(d direction) []byte { return bytes.Join(messages[d], nil) }

// outcome is what one end has seen.
type outcome struct {
	handshaken bool
	written    int    // bytes of data in calls of Write that went well
	read       []byte // data
	eof        bool   // a close_notify of the peer
	err        error  // the first one
}

// complete reports whether all went as it does without a fault.
func (o *outcome) complete(d direction) bool {
	return o.err == nil && o.eof && bytes.Equal(o.read, all(d.other()))
}

// setup is who talks to whom, over what.
type setup struct {
	make [2]makeConn
	mine isOurs
	// fixed means that keys are not changed: a kernel has them that cannot.
	fixed bool
	// sockets means that an alert can be lost on its way, as it can over TCP: who
	// closes a socket that has something to read resets the connection.
	sockets bool
}

// alone is this stack at both ends.
var alone = setup{make: [2]makeConn{ours, ours}, mine: isOurs{true, true}}

// talk has one end's part of a conversation, and closes it.
func (s *setup) talk(c conn, d direction) *outcome {
	o := new(outcome)
	defer c.Close()
	if o.err = c.HandshakeContext(context.Background()); o.err != nil {
		return o
	}
	o.handshaken = true
	for i := range messages[d] {
		if d == fromClient {
			o.write(c, messages[d][i])
		}
		o.readN(c, len(messages[d.other()][i]))
		if d == fromServer {
			o.write(c, messages[d][i])
		}
		if i == 0 && !s.fixed {
			o.update(c)
		}
	}
	if d == fromClient {
		o.closeWrite(c)
	}
	if rest, err := readAll(c, o); o.err == nil && err == nil {
		o.read, o.eof = append(o.read, rest...), true
	}
	if d == fromServer {
		o.closeWrite(c)
	}
	return o
}

func (o *outcome) write(c conn, b []byte) {
	if o.err != nil || o.eof {
		return
	}
	if _, o.err = c.Write(b); o.err == nil {
		o.written += len(b)
	}
}

// readN reads n bytes, or as many as there are.
func (o *outcome) readN(c conn, n int) {
	buf := make([]byte, n)
	for o.err == nil && !o.eof && n > 0 {
		m, err := c.Read(buf[:n])
		o.read, n = append(o.read, buf[:m]...), n-m
		if err == io.EOF {
			o.eof = true
		} else {
			o.err = err
		}
	}
}

func readAll(c conn, o *outcome) ([]byte, error) {
	if o.err != nil || o.eof {
		return nil, nil
	}
	var b []byte
	b, o.err = io.ReadAll(c)
	return b, o.err
}

// update changes the keys of both directions, where that exists and c is ours.
func (o *outcome) update(c conn) {
	if t, ok := c.(*tls.Conn); ok && o.err == nil && !o.eof && t.ConnectionState().Version == tls.VersionTLS13 {
		o.err = t.KeyUpdate(context.Background())
	}
}

func (o *outcome) closeWrite(c conn) {
	if o.err == nil {
		o.err = c.CloseWrite()
	}
}

// converse has a conversation over two connected ends.
func (s *setup) converse(raw [2]net.Conn, version uint16) [2]*outcome {
	var outcomes [2]*outcome
	var wg sync.WaitGroup
	for _, d := range directions {
		wg.Go(func() { outcomes[d] = s.talk(s.make[d](raw[d], d, version), d) })
	}
	hang := time.AfterFunc(30*time.Second, func() { panic("a conversation hangs") })
	defer hang.Stop()
	wg.Wait()
	return outcomes
}
