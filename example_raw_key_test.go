package tls_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/go-handoff/tls"
)

// A device knows its server's public key, and nothing else: there is no
// certificate (RFC 7250).
func ExampleNewRawPublicKey() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	raw, err := tls.NewRawPublicKey(key)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{raw}})
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "hello")
	}()

	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{
		PeerCertificateTypes: []tls.CertificateType{tls.CertificateTypeRawPublicKey},
		VerifyPeerPublicKey: func(peer crypto.PublicKey) error {
			if !key.PublicKey.Equal(peer) {
				return errors.New("this is not our server")
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, by %v\n", text, conn.Details().PeerCertificateType)
	// Output: hello, by RawPublicKey
}

// ExampleTrace prints the messages of a handshake, as a client sees them.
func ExampleTrace() {
	cert, roots := newCertificate()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if conn, err := ln.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()

	show := func(arrow string) func(tls.TracedMessage) {
		return func(m tls.TracedMessage) {
			if m.Type == 22 {
				fmt.Printf("%s handshake message %d\n", arrow, m.Data[0])
			}
		}
	}
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{
		RootCAs:                roots,
		ServerName:             "localhost",
		SessionTicketsDisabled: true,
		Trace:                  &tls.Trace{Sent: show("->"), Received: show("<-")},
	})
	if err != nil {
		log.Fatal(err)
	}
	conn.Close()
	// Output:
	// -> handshake message 1
	// <- handshake message 2
	// <- handshake message 8
	// <- handshake message 11
	// <- handshake message 15
	// <- handshake message 20
	// -> handshake message 20
}
