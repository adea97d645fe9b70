package tls

import (
	"bytes"
	"crypto"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
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

// signedAgain returns a certificate of an RSA key's, signed again with a hash that
// crypto/x509 does not sign with.
func signedAgain(t *testing.T, der []byte, key *rsa.PrivateKey, hash crypto.Hash) []byte {
	t.Helper()
	algorithm := func(last int) pkix.AlgorithmIdentifier {
		return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, last}, Parameters: asn1.NullRawValue}
	}
	old, oldErr := asn1.Marshal(algorithm(11)) // sha256WithRSAEncryption
	number := map[crypto.Hash]int{crypto.MD5: 4, crypto.SHA1: 5}[hash]
	weak, newErr := asn1.Marshal(algorithm(number))
	cert, err := x509.ParseCertificate(der)
	if err := errors.Join(oldErr, newErr, err); err != nil {
		t.Fatal(err)
	}
	tbs := bytes.Replace(cert.RawTBSCertificate, old, weak, 1)
	h := hash.New()
	h.Write(tbs)
	sig, err := rsa.SignPKCS1v15(nil, key, hash, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	der, err = asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, algorithm(number), asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("signed again: %v", err)
	}
	return der
}

// TestMD5Certificates: a certificate that only a signature with MD5 or SHA-1 speaks
// for gets bad_certificate (RFC 9846, section 4.5.1.3), and one that nobody needs is
// passed over.
func TestMD5Certificates(t *testing.T) {
	for _, hash := range []crypto.Hash{crypto.MD5, crypto.SHA1} {
		t.Run(hash.String(), func(t *testing.T) { testWeakCertificates(t, hash) })
	}
}

func testWeakCertificates(t *testing.T, hash crypto.Hash) {
	key := testKeys()["RSA"].(*rsa.PrivateKey)
	root := selfSignedBy(t, key)
	good := root.issue(testKeys()["P256"], testName)
	old := signedAgain(t, good.Certificate[0], key, hash)
	oldRoot := signedAgain(t, root.cert.Raw, key, hash)
	inner := root.under("Inner CA")
	oldInner := signedAgain(t, inner.cert.Raw, key, hash)
	stranger := makeAuthority("Nobody's CA").issue(testKeys()["P256"], testName).Certificate[0]
	for _, tt := range []struct {
		name  string
		chain [][]byte
		want  alert.Description
	}{
		{"needed", [][]byte{old}, alert.BadCertificate},
		{"needed in between", [][]byte{inner.issue(testKeys()["P256"], testName).Certificate[0], oldInner}, alert.BadCertificate},
		{"not needed", [][]byte{good.Certificate[0], old}, alert.CloseNotify},
		{"root", [][]byte{good.Certificate[0], oldRoot}, alert.CloseNotify},
		{"root of a stranger", [][]byte{stranger, oldRoot}, alert.UnknownCA},
	} {
		for _, v := range versions {
			for _, prover := range []role{roleServer, roleClient} {
				cert := Certificate{Certificate: tt.chain, PrivateKey: testKeys()["P256"]}
				client, server := clientConfig(), serverConfig("P256")
				client.MaxVersion = v
				if prover == roleServer {
					client.RootCAs, server.Certificates = root.pool, []Certificate{cert}
				} else {
					server.ClientAuth, server.ClientCAs = RequireAndVerifyClientCert, root.pool
					client.GetClientCertificate = func(*CertificateRequestInfo) (*Certificate, error) { return &cert, nil }
				}
				checkVerdict(t, fmt.Sprintf("%s, %#x, role %d", tt.name, v, prover), client, server, prover, tt.want)
			}
		}
	}
	unverified := clientConfig()
	unverified.InsecureSkipVerify = true
	server := &Config{Certificates: []Certificate{{Certificate: [][]byte{old}, PrivateKey: testKeys()["P256"]}}}
	connect(t, sockets, unverified, server)
}

// selfSignedBy makes an authority of an RSA key.
func selfSignedBy(t *testing.T, key *rsa.PrivateKey) *authority {
	t.Helper()
	tmpl := *newAuthority().cert
	tmpl.Subject, tmpl.PublicKey = pkix.Name{CommonName: "RSA CA"}, nil
	tmpl.RawSubject, tmpl.SubjectKeyId, tmpl.AuthorityKeyId, tmpl.SignatureAlgorithm = nil, nil, nil, 0
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// checkVerdict wants the peer of the one who proves itself to send an alert, which
// close_notify is not, and to tell its application of the chain.
func checkVerdict(t *testing.T, name string, client, server *Config, prover role, want alert.Description) {
	t.Helper()
	c, s := pair(t, sockets, client, server)
	judge, judged := handshakes(c, s)
	if prover == roleClient {
		judge, judged = judged, judge
	}
	if judge != nil && judged == nil { // a client of TLS 1.3 learns of it later
		_, judged = c.Read(make([]byte, 1))
	}
	if want == alert.CloseNotify {
		if judge != nil {
			t.Errorf("%s: %v", name, judge)
		}
		return
	}
	ae, ve := AlertError(0), (*CertificateVerificationError)(nil)
	if !errors.As(judge, &ae) || alert.Description(ae) != want || !errors.As(judge, &ve) {
		t.Errorf("%s: %v, want %v", name, judge, want)
	}
	if op := (*net.OpError)(nil); !errors.As(judged, &op) || !errors.As(judged, &ae) || alert.Description(ae) != want {
		t.Errorf("%s: the peer got %v, want %v", name, judged, want)
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
