package handshake

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
)

// stdCertificate makes a certificate for crypto/tls.
func stdCertificate(t *testing.T, key crypto.Signer) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example"}, DNSNames: []string{"example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{
		Certificate: [][]byte{der}, PrivateKey: key,
		OCSPStaple: []byte("staple"), SignedCertificateTimestamps: [][]byte{[]byte("one"), []byte("two")},
	}
}

// tappedConn remembers what is written to it.
type tappedConn struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (c *tappedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.sent = append(c.sent, b...)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// plainMessages returns the handshake messages before the first record that is
// not handshake, that is, before encryption begins.
func (c *tappedConn) plainMessages() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stream []byte
	for b := c.sent; len(b) > 5 && b[0] == 22; {
		n := 5 + readUint(b[3:5])
		stream = append(stream, b[5:n]...)
		b = b[n:]
	}
	var all [][]byte
	for len(stream) > 0 {
		n := 4 + readUint(stream[1:4])
		all = append(all, stream[:n])
		stream = stream[n:]
	}
	return all
}

// stdHandshake runs crypto/tls against itself and returns what each side sent.
// It needs a socket's buffers: around a HelloRetryRequest both sides write
// before they read.
func stdHandshake(t *testing.T, client, server *tls.Config) (fromClient, fromServer [][]byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ca, cb := &tappedConn{Conn: a}, &tappedConn{Conn: b}
	done := make(chan error, 1)
	go func() { done <- tls.Server(cb, server).Handshake() }()
	err = tls.Client(ca, client).Handshake()
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return ca.plainMessages(), cb.plainMessages()
}

var std12Parsers = map[handshakeType]func([]byte) (wireMessage, error){
	typeClientHello:        parserOf(parseClientHello),
	typeServerHello:        parserOf(parseServerHello),
	typeCertificate:        parserOf(parseCertificate12),
	typeCertificateStatus:  parserOf(parseCertificateStatus),
	typeServerKeyExchange:  parserOf(parseServerKeyExchange),
	typeCertificateRequest: parserOf(parseCertificateRequest12),
	typeServerHelloDone:    parserOf(parseServerHelloDone),
	typeClientKeyExchange:  parserOf(parseClientKeyExchange),
	typeCertificateVerify:  parserOf(parseCertificateVerify),
	typeNewSessionTicket:   parserOf(parseNewSessionTicket12),
}

// TestStdMessages12 parses what crypto/tls sends in a TLS 1.2 handshake, which
// is plain up to Finished, and sends it again.
func TestStdMessages12(t *testing.T) {
	for _, key := range []string{"RSA-2048", "P-256", "Ed25519"} {
		cert := stdCertificate(t, signingKeys()[key])
		fromClient, fromServer := stdHandshake(t,
			&tls.Config{
				InsecureSkipVerify: true, ServerName: "example", MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
				Certificates: []tls.Certificate{cert}, ClientSessionCache: tls.NewLRUClientSessionCache(1),
			},
			&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"http/1.1"}})
		parsed := map[handshakeType]wireMessage{}
		for _, raw := range slices.Concat(fromClient, fromServer) {
			typ := handshakeType(raw[0])
			m, err := std12Parsers[typ](raw[4:])
			if err != nil {
				t.Fatalf("%s: %v: %v", key, typ, err)
			}
			// Hellos have their extensions in another order.
			if typ != typeClientHello && typ != typeServerHello && !bytes.Equal(m.append(nil), raw) {
				t.Errorf("%s: %v marshaled again is not the same", key, typ)
			}
			parsed[typ] = m
		}
		if len(parsed) != len(std12Parsers) {
			t.Errorf("%s: %d kinds of messages, want %d", key, len(parsed), len(std12Parsers))
		}
		checkStdHello(t, parsed[typeClientHello].(*clientHello))
		hello := parsed[typeServerHello].(*serverHello)
		if hello.alpn != "http/1.1" || !hello.extendedMasterSecret || !hello.ticketSupported || !hello.ocspStapling ||
			!hello.secureRenegotiation || len(hello.scts) != 2 || !bytes.Equal(hello.random[24:], downgradeTLS12[:]) {
			t.Errorf("%s: ServerHello %+v", key, hello)
		}
		if err := checkExtensions(inServerHello12, hello.extensions, parsed[typeClientHello].(*clientHello).has); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		checkStdKeyExchange(t, parsed, cert)
	}
}

func checkStdHello(t *testing.T, m *clientHello) {
	if m.serverName != "example" || !slices.Equal(m.alpn, []string{"h2", "http/1.1"}) || !m.ocspStapling || !m.scts ||
		!m.extendedMasterSecret || !m.ticketSupported || !m.secureRenegotiation || len(m.signatureSchemes) == 0 ||
		len(m.supportedGroups) == 0 || !slices.Equal(m.pointFormats, []uint8{0}) {
		t.Errorf("ClientHello %+v", m)
	}
}

// checkStdKeyExchange verifies crypto/tls's signature of its ECDHE parameters,
// and that its share suits our key exchange.
func checkStdKeyExchange(t *testing.T, parsed map[handshakeType]wireMessage, cert tls.Certificate) {
	client, server := parsed[typeClientHello].(*clientHello), parsed[typeServerHello].(*serverHello)
	kx := parsed[typeServerKeyExchange].(*serverKeyExchange)
	pub := cert.PrivateKey.(crypto.Signer).Public()
	signed := slices.Concat(client.random[:], server.random[:], kx.appendParams(nil))
	if err := verify(pub, kx.scheme, signed, kx.signature); err != nil {
		t.Errorf("ServerKeyExchange: %v", err)
	}
	if _, _, err := DefaultProvider().KeyExchange(kx.group).Encapsulate(rand.Reader, kx.public); err != nil {
		t.Errorf("ServerKeyExchange: %v", err)
	}
	if chain := parsed[typeCertificate].(*certificate12).chain; !slices.EqualFunc(chain, cert.Certificate, bytes.Equal) {
		t.Errorf("chain %x", chain)
	}
	if ocsp := parsed[typeCertificateStatus].(*certificateStatus).ocsp; string(ocsp) != "staple" {
		t.Errorf("staple %q", ocsp)
	}
}

// TestStdReadsClientHello has crypto/tls read what we send.
func TestStdReadsClientHello(t *testing.T) {
	key, err := DefaultProvider().KeyExchange(X25519MLKEM768).Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m := &clientHello{
		legacyVersion: 0x0303, random: [32]byte{1, 2, 3}, sessionID: make([]byte, 32), cipherSuites: DefaultCipherSuites(),
		compressionMethods: []byte{0}, serverName: "example", ocspStapling: true, scts: true, supportedGroups: DefaultGroups(),
		pointFormats: []uint8{0}, signatureSchemes: DefaultSignatureSchemes(), signatureSchemesCert: pkcs1Schemes,
		alpn: []string{"h2", "http/1.1"}, extendedMasterSecret: true, compressCertificate: []certCompressionAlg{certCompressionZlib},
		ticketSupported: true, supportedVersions: []uint16{0x0304, 0x0303}, pskModes: []pskKeyExchangeMode{pskModeDHEKE},
		certificateAuthorities: [][]byte{{0x30, 0}}, secureRenegotiation: true, postHandshakeAuth: true,
		keyShares: []keyShareEntry{{X25519MLKEM768, key.Share()}, {X25519, key.(*hybridKey).curve.Share()}},
	}
	raw := m.append(nil)
	info := stdReadHello(t, raw)
	same := func(what string, got, want any) {
		if !sameValue(reflect.ValueOf(got), reflect.ValueOf(want)) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	same("server name", info.ServerName, m.serverName)
	same("cipher suites", info.CipherSuites, m.cipherSuites)
	same("protocols", info.SupportedProtos, m.alpn)
	same("points", info.SupportedPoints, m.pointFormats)
	same("versions", info.SupportedVersions, m.supportedVersions)
	same("extensions", info.Extensions, m.extensions)
	same("groups", info.SupportedCurves, as[tls.CurveID](m.supportedGroups))
	same("signature schemes", info.SignatureSchemes, as[tls.SignatureScheme](m.signatureSchemes))
}

func as[To, From ~uint16](v []From) []To {
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = To(x)
	}
	return out
}

var errSeenEnough = errors.New("seen enough")

func stdReadHello(t *testing.T, raw []byte) *tls.ClientHelloInfo {
	a, b := net.Pipe()
	defer a.Close()
	seen := make(chan *tls.ClientHelloInfo, 1)
	go func() {
		defer b.Close()
		defer close(seen)
		_ = tls.Server(b, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			seen <- info
			return nil, errSeenEnough
		}}).Handshake()
	}()
	record := append([]byte{22, 3, 1, byte(len(raw) >> 8), byte(len(raw))}, raw...)
	if _, err := a.Write(record); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = a.Read(make([]byte, 100)) }() // the alert, for a pipe has no buffer
	info := <-seen
	if info == nil {
		t.Fatal("crypto/tls did not accept the ClientHello")
	}
	return info
}

// TestStdHellos13 parses both hellos of a crypto/tls handshake for every group
// that it has, with and without a HelloRetryRequest.
func TestStdHellos13(t *testing.T) {
	cert := stdCertificate(t, signingKeys()["P-256"])
	for _, g := range DefaultGroups() {
		for _, retry := range []bool{false, true} {
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "example", MinVersion: tls.VersionTLS13}
			server := &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.CurveID(g)}}
			if !retry {
				client.CurvePreferences = server.CurvePreferences
			}
			fromClient, fromServer := stdHandshake(t, client, server)
			hello, err := parseClientHello(fromClient[0][4:])
			if err != nil {
				t.Fatalf("%v: %v", g, err)
			}
			answer, err := parseServerHello(fromServer[0][4:])
			if err != nil {
				t.Fatalf("%v: %v", g, err)
			}
			if want := retry && g != X25519MLKEM768 && g != X25519; answer.isRetry() != want {
				t.Errorf("%v: HelloRetryRequest: %v, want %v", g, answer.isRetry(), want)
			}
			where, group := inServerHello13, NamedGroup(0)
			if answer.isRetry() {
				where, group = inHelloRetryRequest, answer.selectedGroup
			} else {
				group = answer.keyShare.group
				// Of what the server sent, only a share of the right form passes.
				if _, err := answeringKey(t, g).Decapsulate(answer.keyShare.data); err != nil {
					t.Errorf("%v: %v", g, err)
				}
			}
			if group != g {
				t.Errorf("group %v, want %v", group, g)
			}
			if err := checkExtensions(where, answer.extensions, hello.has); err != nil {
				t.Errorf("%v: %v", g, err)
			}
		}
	}
}

func answeringKey(t *testing.T, g NamedGroup) PrivateKey {
	key, err := DefaultProvider().KeyExchange(g).Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestStdRefusesWhatWeRefuse changes a ClientHello byte by byte: what crypto/tls
// accepts must be no malformed message for us, except where we are stricter on
// purpose.
func TestStdRefusesWhatWeRefuse(t *testing.T) {
	m := &clientHello{
		legacyVersion: 0x0303, cipherSuites: []uint16{0x1301}, compressionMethods: []byte{0}, serverName: "a",
		supportedGroups: []NamedGroup{X25519}, signatureSchemes: ecdsaSchemes[:1], supportedVersions: []uint16{0x0304},
		alpn: []string{"h2"}, cookie: []byte{1}, pskModes: []pskKeyExchangeMode{pskModeDHEKE},
		keyShares: []keyShareEntry{{X25519, make([]byte, 32)}}, ocspStapling: true, pointFormats: []uint8{0},
	}
	raw := m.append(nil)
	fields := layout{exts: messageFormats[0].exts}
	fields.walk(messageFormats[0].layout, raw[4:], 4)
	for _, field := range fields.lengths {
		for _, delta := range []int{-1, 1} {
			bad := slices.Clone(raw)
			v := readUint(bad[field.at:][:field.size]) + delta
			if v < 0 {
				continue
			}
			writeUint(bad[field.at:][:field.size], v)
			_, err := parseClientHello(bad[4:])
			if ours := err == nil; ours != stdAccepts(bad) {
				t.Errorf("length at %d is %d: we accept %v (%v), crypto/tls does not agree", field.at, v, ours, alert.Of(err))
			}
		}
	}
}

func stdAccepts(raw []byte) bool {
	a, b := net.Pipe()
	seen := make(chan bool, 2)
	go func() {
		defer b.Close()
		_ = tls.Server(b, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			seen <- true
			return nil, errSeenEnough
		}}).Handshake()
		seen <- false
	}()
	_, _ = a.Write(append([]byte{22, 3, 1, byte(len(raw) >> 8), byte(len(raw))}, raw...))
	go func() {
		_, _ = a.Read(make([]byte, 100))
		a.Close()
	}()
	return <-seen
}
