package tls

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"testing"
)

// rawKeyConfigs are configurations of both sides with raw public keys only, which
// know each other's.
func rawKeyConfigs(t *testing.T) (client, server *Config) {
	t.Helper()
	is := func(want string) func(crypto.PublicKey) error {
		return func(key crypto.PublicKey) error {
			if !testKeys()[want].Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
				return errors.New("another key")
			}
			return nil
		}
	}
	clientKey, err := NewRawPublicKey(testKeys()["Ed25519"])
	if err != nil {
		t.Fatal(err)
	}
	serverKey, err := NewRawPublicKey(testKeys()["P256"])
	if err != nil {
		t.Fatal(err)
	}
	raw := []CertificateType{CertificateTypeRawPublicKey}
	client = &Config{ServerName: testName, Certificates: []Certificate{clientKey}, PeerCertificateTypes: raw, VerifyPeerPublicKey: is("P256")}
	server = &Config{Certificates: []Certificate{serverKey}, ClientAuth: RequireAndVerifyClientCert, PeerCertificateTypes: raw, VerifyPeerPublicKey: is("Ed25519")}
	return client, server
}

func TestRawPublicKeys(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": VersionTLS12, "1.3": VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			client, server := rawKeyConfigs(t)
			client.MaxVersion = version
			client.ClientSessionCache = NewLRUClientSessionCache(1)
			for _, resumed := range []bool{false, true} {
				c, s := connect(t, sockets, client, server)
				echo(t, c, s)
				for side, want := range map[tlsConn]string{c: "P256", s: "Ed25519"} {
					d, state := side.(*Conn).Details(), side.ConnectionState()
					if d.PeerCertificateType != CertificateTypeRawPublicKey || !testKeys()[want].Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(d.PeerPublicKey) {
						t.Errorf("peer shows %v, a %T; want its %s key", d.PeerCertificateType, d.PeerPublicKey, want)
					}
					if state.DidResume != resumed || len(state.PeerCertificates) > 0 {
						t.Errorf("resumed %v, want %v; %d certificates", state.DidResume, resumed, len(state.PeerCertificates))
					}
				}
			}
			// A key that is not trusted any more ends a session, too.
			client.VerifyPeerPublicKey = func(crypto.PublicKey) error { return errors.New("revoked") }
			c, s := pair(t, sockets, client, server)
			if cerr, _ := handshakes(c, s); cerr == nil || cerr.Error() != "revoked" {
				t.Errorf("with a revoked key: %v", cerr)
			}
		})
	}
}

// TestRawPublicKeyOrCertificate: a server with both shows what its client takes.
func TestRawPublicKeyOrCertificate(t *testing.T) {
	raw, err := NewRawPublicKey(testKeys()["P256"])
	if err != nil {
		t.Fatal(err)
	}
	both := []Certificate{raw, testCert("P256")}
	for name, server := range map[string]*Config{
		"Certificates": {Certificates: both},
		"GetCertificate": {GetCertificate: func(h *ClientHelloInfo) (*Certificate, error) {
			i := slices.IndexFunc(both, func(c Certificate) bool { return FitsHello(h, &c) })
			if got := DetailsOfHello(h).CertificateTypes; len(got) == 0 {
				t.Error("nothing is known of what the client takes")
			}
			return &both[i], nil
		}},
	} {
		client := clientConfig()
		c, _ := connect(t, sockets, client, server)
		if got := c.(*Conn).Details().PeerCertificateType; got != CertificateTypeX509 {
			t.Errorf("%s: a client that says nothing is shown %v", name, got)
		}
		client.PeerCertificateTypes = []CertificateType{CertificateTypeRawPublicKey, CertificateTypeX509}
		client.VerifyPeerPublicKey = func(crypto.PublicKey) error { return nil }
		c, _ = connect(t, sockets, client, server)
		if got := c.(*Conn).Details().PeerCertificateType; got != CertificateTypeRawPublicKey {
			t.Errorf("%s: a client that takes raw public keys is shown %v", name, got)
		}
	}
}

// TestResumptionKeepsTypes: a client that takes raw public keys alone does not
// resume a session whose server showed a certificate, and does not know the
// extension.
func TestResumptionKeepsTypes(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": VersionTLS12, "1.3": VersionTLS13} {
		client, server := clientConfig(), stdServerConfig("P256")
		client.MaxVersion, client.ClientSessionCache = version, NewLRUClientSessionCache(1)
		c, s := connect(t, sockets, client, server)
		echo(t, c, s)
		client.PeerCertificateTypes = []CertificateType{CertificateTypeRawPublicKey}
		client.VerifyPeerPublicKey = func(crypto.PublicKey) error { return nil }
		c, s = pair(t, sockets, client, server)
		if cerr, _ := handshakes(c, s); cerr == nil {
			t.Errorf("%s: a certificate is taken, resumed %v", name, c.ConnectionState().DidResume)
		}
	}
}

// TestRawPublicKeyRequest: GetClientCertificate sees what it is asked for.
func TestRawPublicKeyRequest(t *testing.T) {
	client, server := rawKeyConfigs(t)
	own := client.Certificates[0]
	client.Certificates, client.CertificateTypes = nil, []CertificateType{CertificateTypeRawPublicKey}
	client.GetClientCertificate = func(r *CertificateRequestInfo) (*Certificate, error) {
		cert := testCert("P256")
		if RequestedCertificateType(r) != CertificateTypeRawPublicKey || !FitsRequest(r, &own) || FitsRequest(r, &cert) {
			t.Error("what the server asks for is told wrongly")
		}
		return &own, nil
	}
	connect(t, sockets, client, server)
}

// TestRawPublicKeyUnwanted: a server that does not know raw public keys asks for a
// certificate. A client that has none goes on without (RFC 9846, section 4.5.1), and
// who needs one refuses it.
func TestRawPublicKeyUnwanted(t *testing.T) {
	raw, err := NewRawPublicKey(testKeys()["P256"])
	if err != nil {
		t.Fatal(err)
	}
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := clientConfig(), stdServerConfig("P256")
		client.Certificates, client.MaxVersion, server.ClientAuth = []Certificate{raw}, v, RequestClientCert
		c, s := connect(t, sockets, client, server)
		echo(t, c, s)
		if n := len(s.ConnectionState().PeerCertificates); n > 0 {
			t.Errorf("the server has %d certificates", n)
		}
		server.ClientAuth = RequireAnyClientCert
		c, s = pair(t, sockets, client, server)
		if _, serr := handshakes(c, s); serr == nil {
			t.Error("a server that requires a certificate goes on without")
		}
	})
}

// TestRawPublicKeyNeedsVerifier: nothing is accepted that nobody can judge.
func TestRawPublicKeyNeedsVerifier(t *testing.T) {
	client, server := rawKeyConfigs(t)
	client.VerifyPeerPublicKey, server.VerifyPeerPublicKey = nil, nil
	var ce *ConfigError
	if err := Client(nil, client).HandshakeContext(context.Background()); !errors.As(err, &ce) || ce.Field != "VerifyPeerPublicKey" {
		t.Errorf("client: %v", err)
	}
	if err := Server(nil, server).HandshakeContext(context.Background()); !errors.As(err, &ce) || ce.Field != "VerifyPeerPublicKey" {
		t.Errorf("server: %v", err)
	}
	client.InsecureSkipVerify, server.ClientAuth = true, RequireAnyClientCert
	connect(t, sockets, client, server)
	for _, info := range []*ClientHelloInfo{{}, new(ClientHelloInfo)} {
		if d := DetailsOfHello(info); d.CertificateTypes != nil {
			t.Errorf("details of nobody's hello: %v", d)
		}
	}
}

// TestAbort: the peer learns why.
func TestAbort(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": VersionTLS12, "1.3": VersionTLS13} {
		client, server := clientConfig(), serverConfig("P256")
		client.MaxVersion = version
		c, s := connect(t, sockets, client, server)
		const accessDenied AlertError = 49
		for _, a := range []AlertError{0, 90, 100} {
			if err := s.(*Conn).Abort(a); err == nil {
				t.Errorf("%s: alert %d is taken for an error", name, a)
			}
		}
		echo(t, c, s)
		if err := s.(*Conn).Abort(accessDenied); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a := AlertError(0)
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &a) || a != accessDenied {
			t.Errorf("%s: the client reads %v", name, err)
		}
		if _, err := s.Write([]byte("more")); err == nil {
			t.Errorf("%s: writing goes on", name)
		}
		c, s = pair(t, sockets, client, server)
		if err := s.(*Conn).Abort(accessDenied); !errors.Is(err, errNotComplete) {
			t.Errorf("%s: before the handshake: %v", name, err)
		}
		c.Close()
	}
}

// TestCertificateCompressors: one of the application's own comes before zlib.
func TestCertificateCompressors(t *testing.T) {
	calls := 0
	own := CertificateCompressor{
		ID:       0xff77,
		Compress: func(b []byte) ([]byte, error) { calls++; return append([]byte{7}, b...), nil },
		Decompress: func(b []byte, size int) ([]byte, error) {
			if calls++; len(b) != size+1 || b[0] != 7 {
				return nil, errors.New("damaged")
			}
			return b[1:], nil
		},
	}
	client, server := clientConfig(), serverConfig("P256")
	client.CertificateCompressors, server.CertificateCompressors = []CertificateCompressor{own}, []CertificateCompressor{own}
	client.CompressCertificates, server.CompressCertificates = true, true
	c, _ := connect(t, sockets, client, server)
	if !c.(*Conn).Details().CertificateCompression || calls != 2 {
		t.Errorf("compressed %v, in %d calls", c.(*Conn).Details().CertificateCompression, calls)
	}
	server.CertificateCompressors = nil
	c, _ = connect(t, sockets, client, server)
	if !c.(*Conn).Details().CertificateCompression || calls != 2 {
		t.Error("zlib is not what is left")
	}
	server.CertificateCompressors = []CertificateCompressor{{ID: own.ID, Compress: func([]byte) ([]byte, error) { return nil, errors.New("no memory") }}}
	a, b := pair(t, sockets, client, server)
	if _, serr := handshakes(a, b); serr == nil {
		t.Error("a certificate that cannot be compressed is sent")
	}
}

// TestRawPublicKeyNeedsNoName: where only keys count, there is no name to check.
func TestRawPublicKeyNeedsNoName(t *testing.T) {
	client, server := rawKeyConfigs(t)
	client.ServerName = ""
	connect(t, sockets, client, server)
}
