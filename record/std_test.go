package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/keyschedule"
)

// tap is a connection that remembers what was written to it.
type tap struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (c *tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.sent = append(c.sent, b...)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// take returns what was written since the last call.
func (c *tap) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.sent
	c.sent = nil
	return b
}

// stdPair is a crypto/tls connection whose records and secrets are known.
type stdPair struct {
	client, server       *tls.Conn
	clientTap, serverTap *tap
	secrets              map[string][]byte // by key log label
	clientRandom         []byte
	serverRandom         []byte
}

func stdCertificate(t *testing.T, auth keyschedule.Auth) tls.Certificate {
	t.Helper()
	var c tls.Certificate
	var err error
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	var der []byte
	if auth == keyschedule.AuthRSA {
		key, _ := rsa.GenerateKey(rand.Reader, 2048)
		der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		c.PrivateKey = key
	} else {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		c.PrivateKey = key
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Certificate = [][]byte{der}
	return c
}

func newStdPair(t *testing.T, suite *keyschedule.Suite) *stdPair {
	t.Helper()
	a, b := net.Pipe()
	for _, c := range []net.Conn{a, b} { // a failure must not become a hang
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	p := &stdPair{clientTap: &tap{Conn: a}, serverTap: &tap{Conn: b}, secrets: map[string][]byte{}}
	var keyLog bytes.Buffer
	p.server = tls.Server(p.serverTap, &tls.Config{
		Certificates:           []tls.Certificate{stdCertificate(t, suite.Auth)},
		SessionTicketsDisabled: true,
	})
	p.client = tls.Client(p.clientTap, &tls.Config{
		InsecureSkipVerify:          true,
		MinVersion:                  suite.Version,
		MaxVersion:                  suite.Version,
		CipherSuites:                []uint16{suite.ID},
		KeyLogWriter:                &keyLog,
		DynamicRecordSizingDisabled: true,
	})
	t.Cleanup(func() { a.Close(); b.Close() })
	done := make(chan error, 1)
	go func() { done <- p.server.Handshake() }()
	if err := p.client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(keyLog.String()) {
		f := strings.Fields(line)
		p.clientRandom = unhex(t, f[1])
		p.secrets[f[0]] = unhex(t, f[2])
	}
	p.clientTap.take()
	p.serverRandom = p.serverTap.take()[HeaderLen+4+2:][:32] // in the ServerHello, the first message
	return p
}

// keys returns both directions' keys for application data.
func (p *stdPair) keys(suite *keyschedule.Suite) (client, server *keyschedule.TrafficKeys) {
	if suite.Version == keyschedule.VersionTLS13 {
		c := keyschedule.TrafficSecret{Secret: keyschedule.NewSecret(p.secrets["CLIENT_TRAFFIC_SECRET_0"])}
		s := keyschedule.TrafficSecret{Secret: keyschedule.NewSecret(p.secrets["SERVER_TRAFFIC_SECRET_0"])}
		return c.Keys(suite), s.Keys(suite)
	}
	master := keyschedule.NewSecret(p.secrets["CLIENT_RANDOM"])
	client, server = keyschedule.ResumeMasterSecret(suite.Hash, &master).Keys(suite, p.clientRandom, p.serverRandom)
	client.Seq, server.Seq = 1, 1 // Finished was record 0
	return client, server
}

// exchange has crypto/tls send in one direction, opens what it sent, and takes
// its place as the sender: the receiving crypto/tls must not see a difference.
func exchange(t *testing.T, from, to *tls.Conn, wire *tap, k *keyschedule.TrafficKeys) {
	t.Helper()
	read := func(n int) <-chan []byte {
		got := make(chan []byte, 1)
		go func() {
			b := make([]byte, n)
			n, _ := io.ReadFull(to, b)
			got <- b[:n]
		}()
		return got
	}
	in := pattern(3 * MaxPlaintext / 2)
	got := read(len(in))
	if _, err := from.Write(in); err != nil {
		t.Fatal(err)
	}
	checkBytes(t, "their own", <-got, in)
	o := NewOpener(k)
	checkBytes(t, "opened", openAll(t, o, wire.take(), ApplicationData), in)

	s := NewSealer(o.Release())
	if s.tls13() {
		s.SetPadding(func(n int) int { return n % 50 })
	}
	sealed := mustSeal(t, s, ApplicationData, append([]byte("ours: "), in...))
	got = read(len(in) + len("ours: "))
	if _, err := wire.Write(sealed); err != nil {
		t.Fatal(err)
	}
	checkBytes(t, "ours", <-got, append([]byte("ours: "), in...))
}

func TestCryptoTLS(t *testing.T) {
	forEachSuite(t, func(t *testing.T, suite *keyschedule.Suite) {
		p := newStdPair(t, suite)
		// crypto/tls chooses among the suites of TLS 1.3 by the machine it runs
		// on; what it chose takes the place of the others.
		if suite.Version == keyschedule.VersionTLS13 {
			suite = keyschedule.SuiteByID(p.client.ConnectionState().CipherSuite)
		}
		client, server := p.keys(suite)
		exchange(t, p.client, p.server, p.clientTap, client)
		exchange(t, p.server, p.client, p.serverTap, server)
	})
}
