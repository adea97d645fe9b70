package handshake_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/keyschedule"
)

// newCertificate makes a certificate for the server.
func newCertificate() *handshake.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	return &handshake.Certificate{Chain: [][]byte{der}, Leaf: leaf, PrivateKey: key}
}

// newEngines returns both sides of a connection.
func newEngines() (client, server *handshake.Engine) {
	cert := newCertificate()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	client = handshake.NewClient(context.Background(), &handshake.Config{
		Rand:         rand.Reader,
		Time:         time.Now,
		ServerName:   "example.com",
		CipherSuites: []uint16{keyschedule.TLS_AES_128_GCM_SHA256},
		VerifyPeer: func(peer *handshake.PeerCertificates) ([][]*x509.Certificate, error) {
			return peer.Chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: peer.ServerName})
		},
	})
	server = handshake.NewServer(context.Background(), &handshake.Config{
		Rand: rand.Reader,
		Time: time.Now,
		GetCertificate: func(context.Context, *handshake.ClientHelloInfo) (*handshake.Certificate, error) {
			return cert, nil
		},
	})
	return client, server
}

// installed are the keys that a side has for each direction.
type installed struct{ read, write *keyschedule.TrafficKeys }

// carryOut does what an engine asks for: its messages go straight to the peer,
// where a record layer would protect them first. It reports whether there was
// anything to do.
func (k *installed) carryOut(engine, peer *handshake.Engine) bool {
	busy := false
	for {
		event, ok := engine.NextEvent()
		if !ok {
			return busy
		}
		busy = true
		switch event := event.(type) {
		case *handshake.SendHandshake:
			if err := peer.Handle(event.Level, event.Bytes); err != nil {
				log.Fatal(err)
			}
		case *handshake.InstallRead:
			replace(&k.read, event.Keys)
		case *handshake.InstallWrite:
			replace(&k.write, event.Keys)
		}
	}
}

// replace puts the keys of a new epoch in place of the old ones.
func replace(old **keyschedule.TrafficKeys, keys *keyschedule.TrafficKeys) {
	if *old != nil {
		(*old).Wipe()
	}
	*old = keys
}

// Two engines do a handshake in memory. Nothing here is a network, a goroutine
// or a record layer: an engine turns messages into messages and keys.
func Example() {
	client, server := newEngines()
	defer client.Wipe()
	defer server.Wipe()
	if err := client.Start(); err != nil {
		log.Fatal(err)
	}
	var ofClient, ofServer installed
	for ofClient.carryOut(client, server) || ofServer.carryOut(server, client) {
	}
	state := client.State()
	fmt.Printf("established: %v, %v\n", client.Established(), server.Established())
	fmt.Printf("version %#x, %s, %v\n", state.Version, state.Suite.Name, state.Group)
	fmt.Println("client to server, same keys:", bytes.Equal(ofClient.write.Key(), ofServer.read.Key()))
	fmt.Println("server to client, same keys:", bytes.Equal(ofServer.write.Key(), ofClient.read.Key()))
	fmt.Println("printed:", ofClient.write)
	// Output:
	// established: true, true
	// version 0x304, TLS_AES_128_GCM_SHA256, X25519MLKEM768
	// client to server, same keys: true
	// server to client, same keys: true
	// printed: redacted
}
