package keyschedule

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// tap keeps what a connection wrote and read.
type tap struct {
	net.Conn
	wrote, read bytes.Buffer
}

func (c *tap) Write(b []byte) (int, error) {
	c.wrote.Write(b)
	return c.Conn.Write(b)
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Write(b[:n])
	return n, err
}

// TestAgainstStd12 listens to both ends of a crypto/tls connection, for every
// suite: from the master secret of the key log it decrypts and checks both
// Finished messages, and exports what both ends export.
func TestAgainstStd12(t *testing.T) {
	certs := map[Auth]tls.Certificate{AuthECDSA: stdCertificate(t, AuthECDSA), AuthRSA: stdCertificate(t, AuthRSA)}
	for _, suite := range Suites() {
		if suite.Version != VersionTLS12 {
			continue
		}
		t.Run(suite.Name, func(t *testing.T) {
			wire, clientState, serverState, log := connect12(t, suite, certs[suite.Auth])
			secret := NewSecret(unhex(t, log.get("CLIENT_RANDOM")))
			master := ResumeMasterSecret(suite.Hash, &secret)
			fromClient, fromServer := split12(t, &wire.wrote), split12(t, &wire.read)
			clientRandom, serverRandom := [32]byte(fromClient.plain[6:]), [32]byte(fromServer.plain[6:])
			clientKeys, serverKeys := master.Keys(suite, clientRandom[:], serverRandom[:])

			var transcript Transcript
			transcript.Start(suite.Hash)
			transcript.Add(fromClient.plain[:fromClient.hello])
			transcript.Add(fromServer.plain)
			transcript.Add(fromClient.plain[fromClient.hello:])
			finished := open12(t, clientKeys, fromClient.sealed)
			checkFinished(t, "client", finished, master.ClientVerifyData(transcript.Sum()))
			transcript.Add(finished)
			checkFinished(t, "server", open12(t, serverKeys, fromServer.sealed), master.ServerVerifyData(transcript.Sum()))

			e := master.Exporter(clientRandom, serverRandom)
			for name, context := range exporterContexts {
				for _, state := range []tls.ConnectionState{clientState, serverState} {
					want, err := state.ExportKeyingMaterial("EXPERIMENTAL label", context, 100)
					if err != nil {
						t.Fatal(err)
					}
					if got, err := e.Export("EXPERIMENTAL label", context, 100); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s context: %x, %v, crypto/tls has %x", name, got, err, want)
					}
				}
			}
		})
	}
}

func connect12(t *testing.T, suite *Suite, cert tls.Certificate) (*tap, tls.ConnectionState, tls.ConnectionState, *keyLog) {
	t.Helper()
	log := new(keyLog)
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	wire := &tap{Conn: here}
	config := &tls.Config{
		Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, KeyLogWriter: log, SessionTicketsDisabled: true,
		MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID},
	}
	client, server := tls.Client(wire, config), tls.Server(there, config)
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatalf("client: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("server: %v", err)
	}
	return wire, client.ConnectionState(), server.ConnectionState(), log
}

// flight12 is what one side sent in a handshake.
type flight12 struct {
	plain  []byte // messages before ChangeCipherSpec
	hello  int    // length of the first one
	sealed []byte // the record after it
}

func split12(t *testing.T, stream io.Reader) (f flight12) {
	t.Helper()
	for {
		head, body := readRecord(t, stream)
		if head[0] == 20 {
			head, body = readRecord(t, stream)
			f.sealed = append(head, body...)
			f.hello = 4 + int(binary.BigEndian.Uint32(f.plain)&0xffffff)
			return f
		}
		f.plain = append(f.plain, body...)
	}
}

func checkFinished(t *testing.T, who string, message, want []byte) {
	t.Helper()
	if !bytes.Equal(message, append([]byte{20, 0, 0, 12}, want...)) {
		t.Errorf("the %s's Finished is %x, want %x", who, message, want)
	}
}

// open12 decrypts the first record under k.
func open12(t *testing.T, k *TrafficKeys, record []byte) []byte {
	t.Helper()
	head, body := record[:5], record[5:]
	additional := func(n int) []byte {
		return append(binary.BigEndian.AppendUint64(nil, k.Seq), head[0], head[1], head[2], byte(n>>8), byte(n))
	}
	if k.Suite.Cipher.IsCBC() {
		return openCBC12(t, k, body, additional)
	}
	nonce, n := append(bytes.Clone(k.IV()), body[:8]...), 8
	if k.Suite.Cipher == ChaCha20Poly1305 {
		nonce, n = xorNonce(k), 0
		k.Seq--
	}
	plain, err := newAEAD(t, k).Open(nil, nonce, body[n:], additional(len(body)-n-16))
	if err != nil {
		t.Fatalf("a record of crypto/tls does not open: %v", err)
	}
	return plain
}

func openCBC12(t *testing.T, k *TrafficKeys, body []byte, additional func(int) []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(k.Key())
	if err != nil {
		t.Fatal(err)
	}
	plain := make([]byte, len(body)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, body[:aes.BlockSize]).CryptBlocks(plain, body[aes.BlockSize:])
	n := len(plain) - 1 - int(plain[len(plain)-1]) - sha1.Size
	if n < 0 {
		t.Fatalf("impossible padding: %x", plain)
	}
	mac := hmac.New(sha1.New, k.MACKey())
	mac.Write(additional(n))
	mac.Write(plain[:n])
	if want := mac.Sum(nil); !bytes.Equal(plain[n:n+sha1.Size], want) {
		t.Fatalf("the MAC of a record is %x, want %x", plain[n:n+sha1.Size], want)
	}
	return plain[:n]
}
