package tls_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/record"
)

const hostileName = "hostile.example"

var hostileKey = sync.OnceValue(func() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// selfSigned makes a certificate that is good, with ballast in an extension that
// nobody knows.
func selfSigned(t testing.TB, ballast int) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "self"}, DNSNames: []string{hostileName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if ballast > 0 {
		id := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
		tmpl.ExtraExtensions = []pkix.Extension{{Id: id, Value: make([]byte, ballast)}}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, hostileKey().Public(), hostileKey())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: hostileKey()}, pool
}

// noGoroutineLeft lets the test fail if more goroutines run after it, and after
// the cleanups that are registered later, than before.
func noGoroutineLeft(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 500 { // those that have been told to end need a moment
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
	})
}

// hostilePair returns two connected sockets. A hang ends with an error.
func hostilePair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	for _, c := range []net.Conn{ours, theirs} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return ours, theirs
}

// checkAlert wants err to hold an alert: the one that we sent, or received.
func checkAlert(t *testing.T, what string, err error, want alert.Description) {
	t.Helper()
	ae := tls.AlertError(0)
	if !errors.As(err, &ae) || alert.Description(ae) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// checkRemote wants err to be what crypto/tls makes of an alert received.
func checkRemote(t *testing.T, err error, want alert.Description) {
	t.Helper()
	op := (*net.OpError)(nil)
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err.Error() != tls.AlertError(want).Error() {
		t.Errorf("the peer: %v, want %v", err, want)
	}
}

// scripted is a connection whose peer says what in says, whatever it is told.
type scripted struct {
	net.Conn
	in    io.Reader
	read  int
	wrote bytes.Buffer
}

func (s *scripted) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	s.read += n
	return n, err
}

func (s *scripted) Write(b []byte) (int, error)      { return s.wrote.Write(b) }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// endless repeats a sequence for ever, after a beginning.
type endless struct {
	begin, again []byte
	pos          int
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		if e.pos < len(e.begin) {
			b[i] = e.begin[e.pos]
		} else {
			b[i] = e.again[(e.pos-len(e.begin))%len(e.again)]
		}
		e.pos++
	}
	return len(b), nil
}

func plainRecord(typ record.ContentType, content ...byte) []byte {
	b := append([]byte{byte(typ), 3, 3}, binary.BigEndian.AppendUint16(nil, uint16(len(content)))...)
	return append(b, content...)
}

// roles are our side, against a script.
var roles = map[string]func(net.Conn) *tls.Conn{
	"client": func(c net.Conn) *tls.Conn { return tls.Client(c, &tls.Config{ServerName: hostileName}) },
	"server": func(c net.Conn) *tls.Conn {
		return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{{1}}, PrivateKey: hostileKey()}}})
	},
}

// TestEndless has peers that never stop. How much is read from them, and how
// much memory that takes, must not depend on their patience.
func TestEndless(t *testing.T) {
	noGoroutineLeft(t)
	claim := func(typ, a, b, c byte) []byte { return plainRecord(record.Handshake, typ, a, b, c) }
	tests := []struct {
		name    string
		in      endless
		want    alert.Description
		maxRead int
	}{
		{"empty handshake records", endless{again: plainRecord(record.Handshake)}, alert.UnexpectedMessage, 1 << 15},
		{"empty records within a message", endless{begin: plainRecord(record.Handshake, 1), again: plainRecord(record.Handshake)}, alert.UnexpectedMessage, 1 << 15},
		{"empty data", endless{begin: plainRecord(record.Handshake, 1), again: plainRecord(record.ApplicationData)}, alert.UnexpectedMessage, 1 << 15},
		{"warnings", endless{again: plainRecord(record.Alert, 1, byte(alert.UserCanceled))}, alert.UnexpectedMessage, 1 << 15},
		{"warnings within a message", endless{begin: plainRecord(record.Handshake, 1), again: plainRecord(record.Alert, 1, byte(alert.NoRenegotiation))}, alert.UnexpectedMessage, 1 << 15},
		{"ChangeCipherSpec within a message", endless{begin: plainRecord(record.Handshake, 1), again: plainRecord(record.ChangeCipherSpec, 1)}, alert.UnexpectedMessage, 1 << 15},
		{"records of the largest size", endless{again: []byte{22, 3, 3, 0xff, 0xff}}, alert.RecordOverflow, 1 << 15},
		{"records a byte too long", endless{again: []byte{22, 3, 3, 0x40, 1}}, alert.RecordOverflow, 1 << 15},
		{"ClientHello of 16 MiB to a server", endless{begin: claim(1, 0xff, 0xff, 0xff), again: plainRecord(record.Handshake, make([]byte, 1<<14)...)}, alert.IllegalParameter, 1 << 15},
		{"ServerHello of 16 MiB to a client", endless{begin: claim(2, 0xff, 0xff, 0xff), again: plainRecord(record.Handshake, make([]byte, 1<<14)...)}, alert.IllegalParameter, 1 << 15},
		{"Certificate of 16 MiB", endless{begin: claim(11, 0xff, 0xff, 0xff), again: plainRecord(record.Handshake, make([]byte, 1<<14)...)}, alert.UnexpectedMessage, 1 << 15},
		{"Certificate of 256 KiB in bytes", endless{begin: claim(11, 4, 0, 0), again: plainRecord(record.Handshake, 0)}, alert.UnexpectedMessage, 1 << 21},
		{"message of 64 KiB in bytes", endless{begin: claim(20, 1, 0, 0), again: plainRecord(record.Handshake, 0)}, alert.UnexpectedMessage, 1 << 19},
	}
	for _, test := range tests {
		for role, side := range roles {
			t.Run(test.name+"/"+role, func(t *testing.T) {
				want := test.want
				if strings.Contains(test.name, " to a ") && !strings.HasSuffix(test.name, role) {
					want = alert.UnexpectedMessage // whatever its length
				}
				in := test.in
				s := &scripted{in: &in}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				conn := side(s)
				err := conn.Handshake()
				runtime.ReadMemStats(&after)
				checkAlert(t, "Handshake", err, want)
				if s.read > test.maxRead {
					t.Errorf("read %d bytes", s.read)
				}
				// All that was ever allocated, garbage included.
				if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
					t.Errorf("allocated %d bytes", n)
				}
				if sent := s.wrote.Bytes(); !bytes.HasSuffix(sent, []byte{0, 2, 2, byte(want)}) {
					t.Errorf("the last thing sent is %x", sent[max(0, len(sent)-7):])
				}
				if err2 := conn.Handshake(); err2 != err {
					t.Errorf("second Handshake: %v", err2)
				}
			})
		}
	}
}

// TestGarbage plays random bytes to both roles, whole and as handshake records.
func TestGarbage(t *testing.T) {
	noGoroutineLeft(t)
	for seed := range uint64(400) {
		random := mathrand.NewChaCha8([32]byte(bytes.Repeat(binary.BigEndian.AppendUint64(nil, seed), 4)))
		garbage := make([]byte, 1+random.Uint64()%3000)
		_, _ = random.Read(garbage)
		switch seed % 4 {
		case 1:
			garbage = plainRecord(record.Handshake, garbage...)
		case 2: // a whole message
			hello := append([]byte{byte(1 + seed/4%2), 0}, binary.BigEndian.AppendUint16(nil, uint16(len(garbage)))...)
			garbage = plainRecord(record.Handshake, append(hello, garbage...)...)
		case 3: // of which the beginning is right
			hello := append([]byte{byte(1 + seed/4%2), 0}, binary.BigEndian.AppendUint16(nil, uint16(len(garbage)+2))...)
			garbage = plainRecord(record.Handshake, append(append(hello, 3, 3), garbage...)...)
		}
		for role, side := range roles {
			s := &scripted{in: bytes.NewReader(garbage)}
			err := side(s).Handshake()
			ae := tls.AlertError(0)
			_, isHeader := err.(tls.RecordHeaderError)
			if !isHeader && !errors.As(err, &ae) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("seed %d, %s: %v", seed, role, err)
			}
			if ae != 0 && !bytes.HasSuffix(s.wrote.Bytes(), []byte{0, 2, 2, byte(ae)}) {
				t.Errorf("seed %d, %s: %v, but no alert was sent", seed, role, err)
			}
		}
	}
}

// TestOldVersions checks that who speaks nothing that we speak learns why.
func TestOldVersions(t *testing.T) {
	noGoroutineLeft(t)
	cert, _ := selfSigned(t, 0)
	tests := []struct {
		name     string
		min, max uint16 // of the client
		ours     uint16 // our least version
	}{
		{"TLS 1.0", tls.VersionTLS10, tls.VersionTLS10, 0},
		{"TLS 1.1", tls.VersionTLS11, tls.VersionTLS11, 0},
		{"TLS 1.2, where that is off", tls.VersionTLS12, tls.VersionTLS12, tls.VersionTLS13},
	}
	for _, test := range tests {
		ours, theirs := hostilePair(t)
		client := stdtls.Client(theirs, &stdtls.Config{InsecureSkipVerify: true, MinVersion: test.min, MaxVersion: test.max})
		done := make(chan error, 1)
		go func() { done <- client.Handshake() }()
		err := tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: test.ours}).Handshake()
		checkAlert(t, test.name+": server", err, alert.ProtocolVersion)
		checkRemote(t, <-done, alert.ProtocolVersion)
	}
	body := append([]byte{3, 0}, make([]byte, 32)...)
	body = append(body, 0, 0, 4, 0, 0x0a, 0, 5, 1, 0) // no session, two suites, no compression
	ssl3 := plainRecord(record.Handshake, append([]byte{1, 0, 0, byte(len(body))}, body...)...)
	ssl3[2] = 0
	s := &scripted{in: bytes.NewReader(ssl3)}
	checkAlert(t, "SSL 3.0", roles["server"](s).Handshake(), alert.ProtocolVersion)
	if sent := s.wrote.Bytes(); len(sent) != 7 || !bytes.HasSuffix(sent, []byte{0, 2, 2, byte(alert.ProtocolVersion)}) {
		t.Errorf("SSL 3.0: sent %x", sent)
	}
}

// oneByte is a connection that gives one byte at a time, and sends its first
// record as many records of one byte.
type oneByte struct {
	net.Conn
	io.Reader
	cut bool
}

func newOneByte(c net.Conn) *oneByte { return &oneByte{Conn: c, Reader: iotest.OneByteReader(c)} }

func (o *oneByte) Read(b []byte) (int, error) { return o.Reader.Read(b) }

func (o *oneByte) Write(b []byte) (int, error) {
	if o.cut {
		return o.Conn.Write(b)
	}
	o.cut = true
	end := record.HeaderLen + int(binary.BigEndian.Uint16(b[3:]))
	var out []byte
	for _, x := range b[record.HeaderLen:end] {
		out = append(out, b[0], b[1], b[2], 0, 1, x)
	}
	if _, err := o.Conn.Write(append(out, b[end:]...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// TestOneByteAtATime checks that how the network, or the peer, cuts its bytes
// does not matter.
func TestOneByteAtATime(t *testing.T) {
	noGoroutineLeft(t)
	cert, pool := selfSigned(t, 0)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		a, b := hostilePair(t)
		server := tls.Server(newOneByte(a), &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version})
		client := tls.Client(newOneByte(b), &tls.Config{RootCAs: pool, ServerName: hostileName})
		done := make(chan error, 1)
		go func() {
			_, err := io.Copy(server, server)
			done <- errors.Join(err, server.CloseWrite())
		}()
		_, err := io.WriteString(client, "hello")
		if err := errors.Join(err, client.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(client); err != nil || string(got) != "hello" {
			t.Errorf("version %x: %q, %v", version, got, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// inserting sends something before its n-th record.
type inserting struct {
	net.Conn
	n      int
	insert []byte
}

func (i *inserting) Write(b []byte) (int, error) {
	var out []byte
	for rest := b; len(rest) > 0; {
		if i.n == 0 {
			out = append(out, i.insert...)
		}
		i.n--
		end := record.HeaderLen + int(binary.BigEndian.Uint16(rest[3:]))
		out, rest = append(out, rest[:end]...), rest[end:]
	}
	if _, err := i.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// TestInserted puts records between those of an honest handshake, which is that
// of crypto/tls: its end says which alert has arrived.
func TestInserted(t *testing.T) {
	noGoroutineLeft(t)
	ccs := plainRecord(record.ChangeCipherSpec, 1)
	warning := plainRecord(record.Alert, 1, byte(alert.UserCanceled))
	const v12, v13 = tls.VersionTLS12, tls.VersionTLS13
	tests := []struct {
		name    string
		version uint16
		role    string // who inserts
		before  int    // which of its records
		insert  []byte
		want    alert.Description
	}{
		{"a few ChangeCipherSpecs", v13, "server", 2, bytes.Repeat(ccs, 10), alert.CloseNotify},
		{"a few ChangeCipherSpecs", v13, "client", 1, bytes.Repeat(ccs, 10), alert.CloseNotify},
		{"many ChangeCipherSpecs", v13, "server", 2, bytes.Repeat(ccs, 1000), alert.UnexpectedMessage},
		{"many ChangeCipherSpecs", v13, "client", 1, bytes.Repeat(ccs, 1000), alert.UnexpectedMessage},
		{"early ChangeCipherSpec", v12, "server", 1, ccs, alert.UnexpectedMessage},
		{"early ChangeCipherSpec", v12, "client", 1, ccs, alert.UnexpectedMessage},
		{"second ChangeCipherSpec", v12, "client", 3, ccs, alert.BadRecordMAC},
		{"a few warnings", v12, "server", 1, bytes.Repeat(warning, 4), alert.CloseNotify},
		{"a few warnings", v12, "client", 1, bytes.Repeat(warning, 4), alert.CloseNotify},
		{"many warnings", v12, "server", 1, bytes.Repeat(warning, 1000), alert.UnexpectedMessage},
		{"many warnings", v12, "client", 1, bytes.Repeat(warning, 1000), alert.UnexpectedMessage},
		{"cleartext warning", v13, "client", 1, warning, alert.UnexpectedMessage},
		{"cleartext handshake", v13, "server", 2, plainRecord(record.Handshake, 8, 0, 0, 2, 0, 0), alert.UnexpectedMessage},
		{"cleartext handshake", v13, "client", 1, plainRecord(record.Handshake, 20, 0, 0, 0), alert.UnexpectedMessage},
		{"empty handshake records", v12, "server", 1, plainRecord(record.Handshake), alert.UnexpectedMessage},
		{"empty handshake records", v12, "client", 1, plainRecord(record.Handshake), alert.UnexpectedMessage},
		{"data", v12, "server", 1, plainRecord(record.ApplicationData, 1), alert.UnexpectedMessage},
		{"data", v12, "client", 1, plainRecord(record.ApplicationData, 1), alert.UnexpectedMessage},
		{"record of another key", v13, "server", 2, plainRecord(record.ApplicationData, make([]byte, 40)...), alert.BadRecordMAC},
		{"record of another key", v13, "client", 1, plainRecord(record.ApplicationData, make([]byte, 40)...), alert.BadRecordMAC},
		{"long record", v13, "client", 1, []byte{23, 3, 3, 0x41, 1}, alert.RecordOverflow},
		{"long record", v12, "server", 1, []byte{22, 3, 3, 0x40, 1}, alert.RecordOverflow},
		{"HTTP", v12, "server", 1, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), alert.UnexpectedMessage},
	}
	cert, pool := selfSigned(t, 0)
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s/%s/%x", test.name, test.role, test.version), func(t *testing.T) {
			a, b := hostilePair(t)
			b = &inserting{b, test.before, test.insert}
			ours, theirs := tls.Client(a, &tls.Config{RootCAs: pool, ServerName: hostileName}),
				stdtls.Server(b, &stdtls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: test.version})
			if test.role == "client" {
				ours, theirs = tls.Server(a, &tls.Config{Certificates: []tls.Certificate{cert}}),
					stdtls.Client(b, &stdtls.Config{RootCAs: pool, ServerName: hostileName, MaxVersion: test.version})
			}
			done := make(chan error, 1)
			go func() {
				_, err := io.ReadAll(theirs)
				done <- err
			}()
			err := ours.Handshake()
			if test.want == alert.CloseNotify { // it is to go well
				if err := errors.Join(err, ours.CloseWrite(), <-done); err != nil {
					t.Error(err)
				}
				return
			}
			if h := (tls.RecordHeaderError{}); !errors.As(err, &h) {
				checkAlert(t, "we", err, test.want)
			} else if h.Conn != nil {
				t.Errorf("a peer that speaks TLS is taken for one that does not: %v", err)
			}
			checkRemote(t, <-done, test.want)
		})
	}
}

// TestLargeCertificates sends certificates that are too large for us, large but
// broken, and large and good.
func TestLargeCertificates(t *testing.T) {
	noGoroutineLeft(t)
	good, pool := selfSigned(t, 0)
	tooLarge, broken := good, good
	tooLarge.Certificate = append(slices.Clone(good.Certificate), make([]byte, 256<<10))
	broken.Certificate = append(slices.Clone(good.Certificate), make([]byte, 200<<10))
	large, largePool := selfSigned(t, 200<<10)
	tests := []struct {
		name string
		cert tls.Certificate
		pool *x509.CertPool
		want alert.Description
	}{
		{"too large", tooLarge, pool, alert.IllegalParameter},
		{"broken", broken, pool, alert.DecodeError},
		{"good", large, largePool, alert.CloseNotify},
	}
	for _, test := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for role := range roles {
				t.Run(fmt.Sprintf("%s/%x/%s", test.name, version, role), func(t *testing.T) {
					a, b := hostilePair(t)
					ours := tls.Client(a, &tls.Config{RootCAs: test.pool, ServerName: hostileName})
					theirs := stdtls.Server(b, &stdtls.Config{Certificates: []tls.Certificate{test.cert}, MaxVersion: version})
					if role == "server" {
						ours = tls.Server(a, &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert})
						theirs = stdtls.Client(b, &stdtls.Config{
							RootCAs: pool, ServerName: hostileName, MaxVersion: version,
							GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &test.cert, nil },
						})
					}
					done := make(chan error, 1)
					go func() {
						_, err := io.ReadAll(theirs)
						done <- err
					}()
					err := ours.Handshake()
					if test.want == alert.CloseNotify {
						if err := errors.Join(err, ours.CloseWrite(), <-done); err != nil {
							t.Error(err)
						}
						return
					}
					go func() { _, _ = io.Copy(io.Discard, a) }() // so that the peer can write all of it
					checkAlert(t, "we", err, test.want)
					checkRemote(t, <-done, test.want)
				})
			}
		}
	}
}

// TestPostHandshakeFloods sends more and more of what is allowed after the
// handshake, by the keys of an honest one.
func TestPostHandshakeFloods(t *testing.T) {
	noGoroutineLeft(t)
	ticket := append([]byte{4, 0, 0, 17 + 32, 0, 0, 1, 0, 1, 2, 3, 4, 1, 9, 0, 32}, make([]byte, 32+2)...)
	ticket[3] = byte(len(ticket) - 4)
	update := []byte{24, 0, 0, 1, 0}
	tests := []struct {
		name    string
		role    string // ours
		message []byte
		packed  int // how many in a record
	}{
		{"tickets", "client", ticket, 1},
		{"tickets in one record", "client", ticket, 100},
		{"key updates", "client", update, 1},
		{"key updates", "server", update, 1},
		{"requests to update", "client", []byte{24, 0, 0, 1, 1}, 1},
		{"requests to update", "server", []byte{24, 0, 0, 1, 1}, 1},
	}
	for _, test := range tests {
		t.Run(test.name+"/"+test.role, func(t *testing.T) {
			cache := &countingCache{ClientSessionCache: tls.NewLRUClientSessionCache(0)}
			ours, keys, raw := exportedPeer(t, test.role, cache)
			sealer, secret := record.NewSealer(keys.Write), *keys.WriteSecret
			suite := keyschedule.SuiteByID(keys.CipherSuite)
			var flood []byte
			for range 100 {
				var err error
				if flood, err = sealer.Seal(flood, record.Handshake, bytes.Repeat(test.message, test.packed)); err != nil {
					t.Fatal(err)
				}
				if test.message[0] == 24 {
					secret = secret.Next(suite.Hash)
					sealer = record.NewSealer(secret.Keys(suite))
				}
			}
			go func() { _, _ = raw.Write(flood) }() // of which not all is read
			_, err := ours.Read(make([]byte, 1))
			checkAlert(t, "Read", err, alert.UnexpectedMessage)
			if cache.puts > 32 {
				t.Errorf("%d sessions were stored", cache.puts)
			}
			if got := lastAlert(t, raw, keys); got != alert.UnexpectedMessage {
				t.Errorf("the peer got %v", got)
			}
		})
	}
}

type countingCache struct {
	tls.ClientSessionCache
	puts int
}

func (c *countingCache) Put(key string, cs *tls.ClientSessionState) {
	c.puts++
	c.ClientSessionCache.Put(key, cs)
}

// exportedPeer makes a connection of TLS 1.3, and takes the keys out of the
// other end.
func exportedPeer(t *testing.T, role string, cache tls.ClientSessionCache) (ours *tls.Conn, keys *tls.ExportedKeys, raw net.Conn) {
	t.Helper()
	cert, pool := selfSigned(t, 0)
	a, b := hostilePair(t)
	client := tls.Client(a, &tls.Config{RootCAs: pool, ServerName: hostileName, ClientSessionCache: cache})
	server := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	ours, theirs, raw := client, server, b
	if role == "server" {
		ours, theirs, raw = server, client, a
	}
	keys, err := theirs.ExportKeys()
	if err != nil {
		t.Fatal(err)
	}
	return ours, keys, raw
}

// lastAlert reads records up to an alert, following key updates.
func lastAlert(t *testing.T, raw net.Conn, keys *tls.ExportedKeys) alert.Description {
	t.Helper()
	opener, secret := record.NewOpener(keys.Read), *keys.ReadSecret
	suite := keyschedule.SuiteByID(keys.CipherSuite)
	for {
		rec := make([]byte, record.HeaderLen, record.HeaderLen+record.MaxCiphertext13)
		if _, err := io.ReadFull(raw, rec); err != nil {
			t.Fatal(err)
		}
		n, err := opener.Need(rec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(raw, rec[record.HeaderLen:n]); err != nil {
			t.Fatal(err)
		}
		typ, content, err := opener.Open(nil, rec[:n])
		switch {
		case err != nil:
			t.Fatal(err)
		case typ == record.Alert && len(content) == 2 && content[0] == 2:
			return alert.Description(content[1])
		case typ == record.Handshake && content[0] == 24:
			secret = secret.Next(suite.Hash)
			opener = record.NewOpener(secret.Keys(suite))
		}
	}
}

// TestSlowPeers holds many connections to a listener half open: each costs
// little, all end with their context, and an honest client is served meanwhile.
func TestSlowPeers(t *testing.T) {
	noGoroutineLeft(t)
	const peers = 100
	cert, pool := selfSigned(t, 0)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, peers+1)
	accepted := make(chan net.Conn, peers+1)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
			go func() {
				defer c.Close()
				err := c.(*tls.Conn).HandshakeContext(ctx)
				if err == nil {
					_, _ = io.Copy(c, c)
				}
				results <- err
			}()
		}
	}()
	before := heap()
	// A hello that is whole but for its end, in a record that lacks it, or in one
	// that is whole.
	half := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 16000)...)
	fragment := plainRecord(record.Handshake, append([]byte{1, 0, 0xff, 0xff}, make([]byte, 16000)...)...)
	for i := range peers {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([][]byte{half, fragment}[i%2]); err != nil {
			t.Fatal(err)
		}
		<-accepted
	}
	honest, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: hostileName})
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(honest, "hello")
	if _, err2 := io.ReadFull(honest, make([]byte, 5)); err != nil || err2 != nil {
		t.Error(err, err2)
	}
	if err := honest.Close(); err != nil {
		t.Error(err)
	}
	if err := <-results; err != nil {
		t.Error(err)
	}
	if n := (heap() - before) / peers; n > 100<<10 {
		t.Errorf("a half-open connection takes %d bytes", n)
	}
	cancel()
	for range peers {
		if err := <-results; err != context.Canceled {
			t.Errorf("HandshakeContext: %v", err)
		}
	}
	l.Close()
	for range accepted {
	}
}

// heap returns how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestHalfHello stops in the middle of a good hello: a deadline ends that.
func TestHalfHello(t *testing.T) {
	noGoroutineLeft(t)
	var hello scripted
	hello.in = bytes.NewReader(nil)
	if err := roles["client"](&hello).Handshake(); err != io.EOF {
		t.Fatal(err)
	}
	for _, n := range []int{1, 5, 6, 100, hello.wrote.Len() - 1} {
		ours, theirs := hostilePair(t)
		if _, err := theirs.Write(hello.wrote.Bytes()[:n]); err != nil {
			t.Fatal(err)
		}
		if err := ours.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		conn := roles["server"](ours)
		if err := conn.Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes: %v", n, err)
		}
		conn.Close()
		if sent, err := io.ReadAll(theirs); len(sent) > 0 || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes: the peer got %x, %v", n, sent, err)
		}
	}
}

// TestAlertAfterUpdateRequest: a peer asks for new keys, and then breaks a rule
// of the handshake layer, before we have answered. It is owed an alert.
func TestAlertAfterUpdateRequest(t *testing.T) {
	for role := range roles {
		ours, keys, raw := exportedPeer(t, role, nil)
		rec, err := record.NewSealer(keys.Write).Seal(nil, record.Handshake, []byte{24, 0, 0, 1, 1})
		if err != nil {
			t.Fatal(err)
		}
		secret := *keys.WriteSecret
		suite := keyschedule.SuiteByID(keys.CipherSuite)
		secret = secret.Next(suite.Hash)
		if rec, err = record.NewSealer(secret.Keys(suite)).Seal(rec, record.Handshake, []byte{1, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Write(rec); err != nil {
			t.Fatal(err)
		}
		_, err = ours.Read(make([]byte, 1))
		checkAlert(t, "Read", err, alert.UnexpectedMessage)
		ours.Close() // so that the peer sees an end at once
		if got := lastAlert(t, raw, keys); got != alert.UnexpectedMessage {
			t.Errorf("the peer got %v", got)
		}
	}
}
