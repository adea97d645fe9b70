package tls

import (
	"bytes"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// under returns an authority whose certificate a has signed.
func (a *authority) under(name string) *authority {
	inner := makeAuthority(name)
	tmpl := *inner.cert
	tmpl.SerialNumber, tmpl.AuthorityKeyId, tmpl.SignatureAlgorithm = big.NewInt(2), nil, 0
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, a.cert, inner.key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{cert, inner.key, nil}
}

// TestChainOrder: one's own certificate is the first, in what we send and in what
// we take; the others may come in any order, with superfluous ones in between
// (RFC 9846, section 4.5.1).
func TestChainOrder(t *testing.T) {
	outer := newAuthority().under("Outer CA")
	inner := outer.under("Inner CA")
	cert := inner.issue(testKeys()["P256"], testName)
	for _, other := range []*authority{outer, makeAuthority("Nobody's CA"), inner} {
		cert.Certificate = append(cert.Certificate, other.cert.Raw)
	}
	for _, v := range versions {
		forEachRole(t, func(t *testing.T, client, server any) {
			setMax(server, v)
			certs := []Certificate{cert}
			set(server, func(c *Config) { c.Certificates = certs }, func(c *stdtls.Config) { c.Certificates = certs })
			c, _ := connect(t, pipes, client, server)
			state := c.ConnectionState()
			if len(state.PeerCertificates) != len(cert.Certificate) || len(state.VerifiedChains) != 1 || len(state.VerifiedChains[0]) != 4 {
				t.Fatalf("%d certificates, chains %v", len(state.PeerCertificates), state.VerifiedChains)
			}
			for i, got := range state.PeerCertificates {
				if !bytes.Equal(got.Raw, cert.Certificate[i]) {
					t.Errorf("certificate %d is another one", i)
				}
			}
		})
	}
}

// TestWriteHandshakes: a Write that comes first runs the handshake (RFC 9846,
// section 2: no data before Finished, but for early data).
func TestWriteHandshakes(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		for _, ours := range []role{roleClient, roleServer} {
			a, b := sockets(t)
			sent := &flight{Conn: a}
			client, server := clientConfig(), serverConfig("P256")
			server.MaxVersion = v
			c, peer := Client(sent, client), Server(b, server)
			if ours == roleServer {
				c, peer = Server(sent, server), Client(b, client)
			}
			t.Cleanup(func() { a.Close(); b.Close() })
			for _, conn := range []net.Conn{a, b} {
				if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			if err := exchange(c, peer, "first"); err != nil {
				t.Fatal(err)
			}
			if !c.ConnectionState().HandshakeComplete || record.ContentType(sent.b[0]) != record.Handshake {
				t.Errorf("role %d: complete %v, the first record is of type %d", ours, c.ConnectionState().HandshakeComplete, sent.b[0])
			}
		}
	})
}

// TestKeysWithoutKeyUpdate: the peer's next keys are not taken before it has said
// that they come (RFC 9846, section 4.7.3).
func TestKeysWithoutKeyUpdate(t *testing.T) {
	for _, said := range []bool{true, false} {
		server := serverConfig("P256")
		server.SessionTicketsDisabled = true
		c, peer := connectRawSecrets(t, sockets, clientConfig(), server)
		if said {
			peer.send(peer.seal(record.Handshake, []byte{24, 0, 0, 1, 0}))
		}
		peer.nextSeal()
		peer.send(peer.seal(record.ApplicationData, []byte("next")))
		buf := make([]byte, 4)
		n, err := io.ReadFull(c, buf)
		if said && (err != nil || string(buf) != "next") {
			t.Errorf("after KeyUpdate: %q, %v", buf, err)
		}
		if ae := AlertError(0); !said && (n > 0 || !errors.As(err, &ae) || alert.Description(ae) != alert.BadRecordMAC) {
			t.Errorf("without KeyUpdate: %q, %v", buf[:n], err)
		}
	}
}

// TestFailedHandshakeForgets: the secrets and keys of a handshake that has failed
// are gone before anybody closes the connection (RFC 9846, section 6).
func TestFailedHandshakeForgets(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := clientConfig(), serverConfig("P256")
		server.MaxVersion = v
		client.VerifyConnection = func(ConnectionState) error { return AlertError(alert.AccessDenied) }
		client2, server2 := pair(t, sockets, client, server)
		c, s := client2.(*Conn), server2.(*Conn)
		done := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 1))
			done <- err
		}()
		ae := AlertError(0)
		if err := c.Handshake(); !errors.As(err, &ae) || alert.Description(ae) != alert.AccessDenied {
			t.Fatalf("Handshake: %v", err)
		}
		if err := <-done; !errors.As(err, &ae) || alert.Description(ae) != alert.AccessDenied {
			t.Fatalf("peer's Read: %v", err)
		}
		for name, conn := range map[string]*Conn{"client": c, "server": s} {
			if !conn.engineWiped {
				t.Errorf("%s: the engine keeps its secrets", name)
			}
			if _, err := conn.out.sealer.Seal(nil, record.ApplicationData, []byte("x")); err != record.ErrReleased {
				t.Errorf("%s: sending keys: %v", name, err)
			}
		}
	})
}
