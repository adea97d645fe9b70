package keyschedule

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/go-handoff/tls/internal/wire"
)

// exporterContexts: in TLS 1.2 no context and an empty one differ.
var exporterContexts = map[string][]byte{"no": nil, "empty": {}, "some": []byte("context")}

// stdCertificate makes a certificate for an ECDSA or an RSA key.
func stdCertificate(t *testing.T, auth Auth) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	if auth == AuthRSA {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// keyLog is what a KeyLogWriter of crypto/tls has said, by label.
type keyLog struct {
	mu      sync.Mutex
	secrets map[string]string
}

func (l *keyLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.secrets == nil {
		l.secrets = make(map[string]string)
	}
	words := strings.Fields(string(line))
	l.secrets[words[0]] = words[2]
	return len(line), nil
}

func (l *keyLog) get(label string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.secrets[label]
}

func newAEAD(t *testing.T, k *TrafficKeys) cipher.AEAD {
	t.Helper()
	if k.Suite.Cipher == ChaCha20Poly1305 {
		aead, err := chacha20poly1305.New(k.Key())
		if err != nil {
			t.Fatal(err)
		}
		return aead
	}
	block, err := aes.NewCipher(k.Key())
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// xorNonce is the nonce of the next record, of TLS 1.3 and of ChaCha20-Poly1305
// in TLS 1.2.
func xorNonce(k *TrafficKeys) []byte {
	nonce := bytes.Clone(k.IV())
	for i, b := range binary.BigEndian.AppendUint64(nil, k.Seq) {
		nonce[4+i] ^= b
	}
	k.Seq++
	return nonce
}

func readRecord(t *testing.T, r io.Reader) (head, body []byte) {
	t.Helper()
	head = make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatalf("header of a record: %v", err)
	}
	body = make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatalf("body of a record: %v", err)
	}
	return head, body
}

// TestAgainstStd13 is a TLS 1.3 client of the fewest possible lines over this
// package, with crypto/tls as its server: what one seals the other opens, for
// every suite, through a key update; and both export the same.
func TestAgainstStd13(t *testing.T) {
	cert := stdCertificate(t, AuthECDSA)
	for _, suite := range Suites() {
		if suite.Version != VersionTLS13 {
			continue
		}
		t.Run(suite.Name, func(t *testing.T) {
			log := new(keyLog)
			here, there := net.Pipe()
			defer here.Close()
			server := tls.Server(there, &tls.Config{
				Certificates: []tls.Certificate{cert}, KeyLogWriter: log, SessionTicketsDisabled: true,
				CurvePreferences: []tls.CurveID{tls.X25519},
			})
			done := make(chan error, 1)
			go func() {
				_, err := io.Copy(server, server) // echo
				done <- errors.Join(err, there.Close())
			}()
			c := &miniClient{T: t, conn: here, suite: suite}
			c.run(server)
			for label, secret := range map[string]*TrafficSecret{
				"CLIENT_HANDSHAKE_TRAFFIC_SECRET": &c.handshakeWrite, "SERVER_HANDSHAKE_TRAFFIC_SECRET": &c.handshakeRead,
				"CLIENT_TRAFFIC_SECRET_0": &c.firstWrite, "SERVER_TRAFFIC_SECRET_0": &c.firstRead,
			} {
				if got := hex.EncodeToString(secret.Bytes()); got != log.get(label) {
					t.Errorf("%s is %s, crypto/tls has %s", label, got, log.get(label))
				}
			}
			c.seal(21, []byte{1, 0}) // close_notify
			if err := <-done; err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// ecdhKey is an X25519 key.
type ecdhKey struct {
	private *ecdh.PrivateKey
	public  []byte
}

func newECDHKey(t *testing.T) *ecdhKey {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &ecdhKey{key, key.PublicKey().Bytes()}
}

func (k *ecdhKey) shared(t *testing.T, peer []byte) []byte {
	t.Helper()
	public, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := k.private.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

type miniClient struct {
	*testing.T
	conn  net.Conn
	suite *Suite

	transcript  Transcript
	read, write *TrafficKeys
	handshake   *Handshake
	messages    []byte // decrypted, not yet processed
	exporter    *Exporter
	main        *Main
	handshakeRead, handshakeWrite,
	firstRead, firstWrite TrafficSecret
}

func (c *miniClient) run(server *tls.Conn) {
	private := c.clientHello()
	c.serverHello(private)
	c.serverFlight()
	c.clientFinished()
	c.echo("ping")
	c.exports(server)
	c.keyUpdate()
	c.echo("pong")
}

func (c *miniClient) clientHello() *ecdhKey {
	private := newECDHKey(c.T)
	b, message := wire.Open([]byte{1}, 3)
	b = append(b, 3, 3)
	b = append(b, count(0, 32)...)
	b = append(b, 0, 0, 2, byte(c.suite.ID>>8), byte(c.suite.ID), 1, 0)
	b, extensions := wire.Open(b, 2)
	b = append(b, 0, 43, 0, 3, 2, 3, 4)       // supported_versions
	b = append(b, 0, 10, 0, 4, 0, 2, 0, 29)   // supported_groups
	b = append(b, 0, 13, 0, 4, 0, 2, 4, 3)    // signature_algorithms
	b = append(b, 0, 51, 0, 38, 0, 36, 0, 29) // key_share
	b = wire.AppendVec16(b, private.public)
	wire.Close(b, extensions)
	wire.Close(b, message)
	c.transcript.Add(b)
	c.send(append([]byte{22, 3, 1, byte(len(b) >> 8), byte(len(b))}, b...))
	return private
}

func (c *miniClient) serverHello(private *ecdhKey) {
	_, raw := readRecord(c.T, c.conn)
	c.transcript.Add(raw)
	r := wire.NewReader(raw)
	r.Bytes(4 + 2 + 32)
	r.Vec8(0, 32)
	if id := r.U16(); id != c.suite.ID {
		c.Fatalf("server chose suite %#x", id)
	}
	r.U8()
	var share []byte
	for ext := wire.NewReader(r.Vec16(0, 1<<16-1)); ext.More(); {
		typ, body := ext.U16(), ext.Vec16(0, 1<<16-1)
		if typ == 51 {
			share = body[4:]
		}
	}
	c.transcript.Start(c.suite.Hash)
	c.handshake = NewEarly(c.suite.Hash, nil).Handshake(private.shared(c.T, share))
	hash := c.transcript.Sum()
	c.handshakeRead = c.handshake.ServerHandshakeTrafficSecret(hash)
	c.handshakeWrite = c.handshake.ClientHandshakeTrafficSecret(hash)
	c.read, c.write = c.handshakeRead.Keys(c.suite), c.handshakeWrite.Keys(c.suite)
}

// serverFlight reads until the server's Finished, and checks that.
func (c *miniClient) serverFlight() {
	for {
		message := c.nextMessage()
		if message[0] == 20 {
			if want := c.handshakeRead.VerifyData(c.suite.Hash, nil, c.transcript.Sum()); !bytes.Equal(message[4:], want) {
				c.Errorf("the server's Finished is %x, want %x", message[4:], want)
			}
			c.transcript.Add(message)
			return
		}
		c.transcript.Add(message)
	}
}

func (c *miniClient) clientFinished() {
	hash := c.transcript.Sum()
	c.main = c.handshake.Main()
	c.firstRead, c.firstWrite = c.main.ServerApplicationTrafficSecret(hash), c.main.ClientApplicationTrafficSecret(hash)
	c.exporter = c.main.ExporterMainSecret(hash)
	c.seal(22, wire.AppendVec24([]byte{20}, c.handshakeWrite.VerifyData(c.suite.Hash, nil, hash)))
	c.read, c.write = c.firstRead.Keys(c.suite), c.firstWrite.Keys(c.suite)
}

// keyUpdate asks for new keys in both directions (RFC 9846, section 4.7.3).
func (c *miniClient) keyUpdate() {
	c.seal(22, []byte{24, 0, 0, 1, 1})
	if answer := c.nextMessage(); !bytes.Equal(answer, []byte{24, 0, 0, 1, 0}) {
		c.Fatalf("the server answers %x to a KeyUpdate", answer)
	}
	nextRead, nextWrite := c.firstRead.Next(c.suite.Hash), c.firstWrite.Next(c.suite.Hash)
	c.read, c.write = nextRead.Keys(c.suite), nextWrite.Keys(c.suite)
}

func (c *miniClient) echo(text string) {
	c.seal(23, []byte(text))
	if typ, got := c.open(); typ != 23 || string(got) != text {
		c.Errorf("echo of %q is %q, type %d", text, got, typ)
	}
}

func (c *miniClient) exports(server *tls.Conn) {
	state := server.ConnectionState()
	for name, context := range exporterContexts {
		for _, n := range []int{0, 1, 32, 100, 255 * c.suite.Hash.Size()} {
			want, err := state.ExportKeyingMaterial("EXPERIMENTAL label", context, n)
			if err != nil {
				c.Fatal(err)
			}
			if got, err := c.exporter.Export("EXPERIMENTAL label", context, n); err != nil || !bytes.Equal(got, want) {
				c.Errorf("%d bytes, %s context: %x, %v, crypto/tls has %x", n, name, got, err, want)
			}
		}
	}
}

func (c *miniClient) send(record []byte) {
	if _, err := c.conn.Write(record); err != nil {
		c.Fatalf("send: %v", err)
	}
}

func (c *miniClient) seal(typ byte, content []byte) {
	n := len(content) + 1 + 16
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	c.send(newAEAD(c.T, c.write).Seal(bytes.Clone(head), xorNonce(c.write), append(bytes.Clone(content), typ), head))
}

// open reads the next encrypted record.
func (c *miniClient) open() (typ byte, content []byte) {
	head, body := readRecord(c.T, c.conn)
	if head[0] == 20 { // for middleboxes
		head, body = readRecord(c.T, c.conn)
	}
	plain, err := newAEAD(c.T, c.read).Open(nil, xorNonce(c.read), body, head)
	if err != nil {
		c.Fatalf("record %d does not open: %v", c.read.Seq-1, err)
	}
	plain = bytes.TrimRight(plain, "\x00")
	return plain[len(plain)-1], plain[:len(plain)-1]
}

func (c *miniClient) nextMessage() []byte {
	for len(c.messages) < 4 || len(c.messages) < 4+int(binary.BigEndian.Uint32(c.messages)&0xffffff) {
		typ, content := c.open()
		if typ != 22 {
			c.Fatalf("record of type %d: %x", typ, content)
		}
		c.messages = append(c.messages, content...)
	}
	n := 4 + int(binary.BigEndian.Uint32(c.messages)&0xffffff)
	message := c.messages[:n]
	c.messages = c.messages[n:]
	return message
}
