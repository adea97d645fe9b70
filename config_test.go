package tls

import (
	"bytes"
	"context"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/handshake"
	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/keyschedule"
	"github.com/go-handoff/tls/session"
)

// fill sets every exported field of the struct that p points to.
func fill(t *testing.T, p any) {
	t.Helper()
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Uint16, reflect.Uint32:
			f.SetUint(uint64(VersionTLS13))
		case reflect.Int:
			f.SetInt(1)
		case reflect.String:
			f.SetString("x")
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Array:
			f.Index(0).SetUint(1)
		case reflect.Func:
			f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value {
				var out []reflect.Value
				for i := range f.Type().NumOut() {
					out = append(out, reflect.Zero(f.Type().Out(i)))
				}
				return out
			}))
		case reflect.Interface:
			for _, x := range []any{rand.Reader, io.Discard, NewLRUClientSessionCache(1), stdtls.NewLRUClientSessionCache(1), session.NewServerCache(1, 0), handshake.StdProvider()} {
				if reflect.TypeOf(x).Implements(f.Type()) {
					f.Set(reflect.ValueOf(x))
				}
			}
			if f.IsNil() {
				t.Fatalf("nothing to put into %s", field.Name)
			}
		case reflect.Struct:
			f.Set(reflect.ValueOf(kernel.Policy{TX: kernel.Off}))
		default:
			t.Fatalf("%s has kind %v", field.Name, f.Kind())
		}
	}
}

// TestCloneCopiesAll checks that no field is forgotten, ours included.
func TestCloneCopiesAll(t *testing.T) {
	config := new(Config)
	fill(t, config)
	config.SetSessionTicketKeys([][32]byte{{1}})
	config.rotating, config.recordLimit = config.newKeyRing(), 5
	config.replays = session.NewAntiReplay(1)
	before, after := reflect.ValueOf(config).Elem(), reflect.ValueOf(config.Clone()).Elem()
	for i := range before.NumField() {
		name := before.Type().Field(i).Name
		if name == "guard" || name == "mutex" || name == "made" || name == "vouched" {
			continue
		}
		a, b := before.Field(i), after.Field(i)
		switch a.Kind() {
		case reflect.Func, reflect.Map, reflect.Slice, reflect.Pointer:
			if a.Pointer() != b.Pointer() {
				t.Errorf("%s is not copied", name)
			}
		default:
			if b.IsZero() {
				t.Errorf("%s is not copied", name)
			}
		}
	}
	if (*Config)(nil).Clone() != nil {
		t.Error("the clone of nil is something")
	}
}

// TestFromStdImportsAll checks that no field of crypto/tls's Config is lost.
func TestFromStdImportsAll(t *testing.T) {
	std := new(stdtls.Config)
	fill(t, std)
	reasons := map[string]string{"PreferServerCipherSuites": "has no effect in either package"}
	for _, field := range []string{
		"WrapSession", "UnwrapSession", "Renegotiation", "EncryptedClientHelloConfigList",
		"EncryptedClientHelloRejectionVerify", "EncryptedClientHelloKeys", "GetEncryptedClientHelloKeys",
	} {
		reasons[field] = "refused"
		_, err := FromStd(std)
		if ce := (*ConfigError)(nil); !errors.As(err, &ce) || ce.Field != field {
			t.Errorf("FromStd with %s: %v", field, err)
		}
		reflect.ValueOf(std).Elem().FieldByName(field).SetZero()
	}
	config, err := FromStd(std)
	if err != nil {
		t.Fatal(err)
	}
	from, to := reflect.ValueOf(std).Elem(), reflect.ValueOf(config).Elem()
	for i := range from.NumField() {
		field := from.Type().Field(i)
		if !field.IsExported() || reasons[field.Name] != "" {
			continue
		}
		if to.FieldByName(field.Name).IsZero() {
			t.Errorf("%s is lost", field.Name)
		}
	}
	if config, err := FromStd(nil); config == nil || err != nil {
		t.Errorf("FromStd(nil): %v, %v", config, err)
	}
}

func TestFromStdTicketKeys(t *testing.T) {
	std := stdServerConfig("P256")
	std.SetSessionTicketKeys([][32]byte{{1}})
	if ce := (*ConfigError)(nil); configTicketLen < 0 {
		t.Error("crypto/tls's ticket keys cannot be seen in this version of Go")
	} else if _, err := FromStd(std); !errors.As(err, &ce) {
		t.Errorf("FromStd with keys set: %v", err)
	}
	std = stdServerConfig("P256")
	connect(t, pipes, stdClientConfig(), std) // which makes keys of its own
	config, err := FromStd(std)
	if err != nil {
		t.Fatal(err)
	}
	if config.SessionTicketKey != [32]byte{} {
		t.Error("takes over the key that crypto/tls has made up")
	}
}

func TestFromStdWorks(t *testing.T) {
	std := stdServerConfig("P256")
	std.NextProtos = []string{"never"}
	std.GetConfigForClient = func(hello *ClientHelloInfo) (*stdtls.Config, error) {
		if hello.ServerName != testName {
			return nil, errors.New("wrong name")
		}
		other := stdServerConfig("RSA")
		other.NextProtos = []string{"proto"}
		return other, nil
	}
	server, err := FromStd(std)
	if err != nil {
		t.Fatal(err)
	}
	stdClient := stdClientConfig()
	stdClient.NextProtos = []string{"proto"}
	client, err := FromStd(stdClient)
	if err != nil {
		t.Fatal(err)
	}
	c, s := connect(t, pipes, client, server)
	echo(t, c, s)
	if state := c.ConnectionState(); state.NegotiatedProtocol != "proto" || state.PeerCertificates[0].PublicKeyAlgorithm != x509.RSA {
		t.Errorf("negotiated %q with %v", state.NegotiatedProtocol, state.PeerCertificates[0].PublicKeyAlgorithm)
	}
}

// TestConfigErrors checks that what cannot be honoured is refused, and by which
// role, before anything is sent.
func TestConfigErrors(t *testing.T) {
	tests := []struct {
		field          string
		change         func(*Config)
		client, server bool // who refuses
	}{
		{"Renegotiation", func(c *Config) { c.Renegotiation = RenegotiateFreelyAsClient }, true, true},
		{"Kernel", func(c *Config) { c.Kernel.TX = kernel.Require + 1 }, true, true},
		{"Kernel", func(c *Config) { c.Kernel.RX = 9 }, true, true},
		{"Kernel", func(c *Config) { c.Kernel.MoveTX = -3 }, true, true},
		{"Kernel", func(c *Config) { c.Kernel.MoveRX = -7 }, true, true},
		{"Kernel", func(c *Config) { c.Kernel.NoRekey = kernel.NoRekeyStay + 1 }, true, true},
		{"MaxVersion", func(c *Config) { c.MaxVersion = VersionTLS11 }, true, true},
		{"MaxVersion", func(c *Config) { c.MinVersion, c.MaxVersion = VersionTLS13, VersionTLS12 }, true, true},
		{"CurvePreferences", func(c *Config) { c.CurvePreferences = []CurveID{9999} }, true, true},
		{"CipherSuites", func(c *Config) { c.MaxVersion, c.CipherSuites = VersionTLS12, []uint16{TLS_RSA_WITH_RC4_128_SHA} }, true, true},
		{"NextProtos", func(c *Config) { c.NextProtos = []string{""} }, true, true},
		{"ServerName", func(c *Config) { c.ServerName = "" }, true, false},
		{"EncryptedClientHelloConfigList", func(c *Config) { c.EncryptedClientHelloConfigList = []byte{0} }, true, false},
		{"EncryptedClientHelloRejectionVerify", func(c *Config) { c.EncryptedClientHelloRejectionVerify = func(ConnectionState) error { return nil } }, true, false},
		{"EncryptedClientHelloKeys", func(c *Config) { c.EncryptedClientHelloKeys = []EncryptedClientHelloKey{{}} }, false, true},
		{"GetEncryptedClientHelloKeys", func(c *Config) {
			c.GetEncryptedClientHelloKeys = func(*ClientHelloInfo) ([]EncryptedClientHelloKey, error) { return nil, nil }
		}, false, true},
	}
	for _, test := range tests {
		config := serverConfig("P256")
		config.ServerName = testName
		test.change(config)
		for r, refuses := range map[role]bool{roleClient: test.client, roleServer: test.server} {
			c, _ := pipes(t)
			c.Close()
			err := newConn(c, config, r).Handshake()
			if ce := (*ConfigError)(nil); errors.As(err, &ce) != refuses || refuses && (ce.Field != test.field || !strings.Contains(err.Error(), test.field)) {
				t.Errorf("%s, role %v: %v", test.field, r, err)
			}
		}
	}
}

// TestNilConfig checks that a nil Config means the zero one.
func TestNilConfig(t *testing.T) {
	a, b := pipes(t)
	defer a.Close()
	b.Close()
	if ce := (*ConfigError)(nil); !errors.As(Client(a, nil).Handshake(), &ce) {
		t.Error("a client without a Config does not complain")
	}
	if err := Server(a, nil).Handshake(); err != io.EOF {
		t.Errorf("a server without a Config: %v", err)
	}
}

func TestCipherSuitePolicy(t *testing.T) {
	has := func(c *Config, id uint16) bool { return slices.Contains(c.cipherSuites(), id) }
	def := new(Config)
	if !has(def, TLS_AES_128_GCM_SHA256) || has(def, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA) || !has(def, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) {
		t.Errorf("default suites: %x", def.cipherSuites())
	}
	cbc := &Config{CipherSuites: []uint16{TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_RC4_128_SHA}}
	if !has(cbc, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA) || !has(cbc, TLS_CHACHA20_POLY1305_SHA256) || has(cbc, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) {
		t.Errorf("suites with CBC only: %x", cbc.cipherSuites())
	}
	one := &Config{CipherSuites: []uint16{TLS_AES_256_GCM_SHA384}}
	if !slices.Equal(one.cipherSuites(), []uint16{TLS_AES_256_GCM_SHA384}) {
		t.Errorf("one suite of TLS 1.3: %x", one.cipherSuites())
	}
}

func TestSuiteLists(t *testing.T) {
	for _, s := range CipherSuites() {
		mine := keyschedule.SuiteByID(s.ID)
		if mine == nil || s.Insecure || CipherSuiteName(s.ID) != mine.Name || !slices.Equal(s.SupportedVersions, []uint16{mine.Version}) {
			t.Errorf("CipherSuites has %+v", s)
		}
	}
	if got := len(CipherSuites()); got != len(keyschedule.Suites()) {
		t.Errorf("CipherSuites has %d, want %d", got, len(keyschedule.Suites()))
	}
	if len(InsecureCipherSuites()) != 0 {
		t.Error("InsecureCipherSuites has some")
	}
	if VersionName(VersionTLS13) != "TLS 1.3" {
		t.Errorf("TLS 1.3 is called %q", VersionName(VersionTLS13))
	}
}

func TestSNIHost(t *testing.T) {
	for name, want := range map[string]string{
		"example.com": "example.com", "example.com.": "example.com", "127.0.0.1": "", "::1": "", "[::1]": "",
		"[fe80::1%eth0]": "", "fe80::1%eth0": "", "": "",
	} {
		if got := sniHost(name); got != want {
			t.Errorf("sniHost(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestStdFields checks that all of crypto/tls's unexported fields are found in
// the Go version that this is built with.
func TestStdFields(t *testing.T) {
	if !stateExporter.known || !helloContext.known || !helloConfig.known || !requestContext.known || configTicketLen < 0 {
		t.Error("an unexported field of crypto/tls is not as expected")
	}
	type other struct{ ctx string }
	if f := stdField[other, context.Context]("ctx"); f.known {
		t.Error("a field of another type is taken for known")
	}
	wrong := other{"unchanged"}
	field[other, context.Context]{}.set(&wrong, context.Background())
	if wrong.ctx != "unchanged" {
		t.Error("an unknown field is written")
	}
	if stdFieldIndex[other]("ctx", reflect.Slice) >= 0 || stdFieldIndex[other]("none", reflect.Slice) >= 0 {
		t.Error("a field of another kind is taken for known")
	}
}

// TestContextInCallbacks checks what the unexported fields are set for.
func TestContextInCallbacks(t *testing.T) {
	type key struct{}
	client, server := clientConfig(), new(Config)
	good, other := testCert("P256"), testCert("RSA")
	server.ClientAuth = RequestClientCert
	server.MaxVersion = VersionTLS12
	server.CipherSuites = []uint16{TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	server.GetCertificate = func(hello *ClientHelloInfo) (*Certificate, error) {
		if hello.Context().Value(key{}) != "server" || hello.Conn == nil {
			t.Error("ClientHelloInfo without its context or connection")
		}
		if hello.SupportsCertificate(&other) == nil {
			t.Error("SupportsCertificate does not know the Config")
		}
		return &good, hello.SupportsCertificate(&good)
	}
	client.GetClientCertificate = func(info *CertificateRequestInfo) (*Certificate, error) {
		if info.Context().Value(key{}) != "client" {
			t.Error("CertificateRequestInfo without its context")
		}
		return &good, info.SupportsCertificate(&good)
	}
	c, s := pair(t, pipes, client, server)
	done := make(chan error, 1)
	go func() { done <- s.HandshakeContext(context.WithValue(context.Background(), key{}, "server")) }()
	if err := c.HandshakeContext(context.WithValue(context.Background(), key{}, "client")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestCallbackErrors checks that callers get back what their callbacks return,
// and find our alert in it; and that the peer gets the alert.
func TestCallbackErrors(t *testing.T) {
	mine := errors.New("no, thanks")
	tests := []struct {
		name   string
		client bool // whose callback it is
		change func(*Config)
		alert  string
	}{
		{"VerifyConnection", true, func(c *Config) { c.VerifyConnection = func(ConnectionState) error { return mine } }, "bad certificate"},
		{"VerifyConnection", false, func(c *Config) { c.VerifyConnection = func(ConnectionState) error { return mine } }, "bad certificate"},
		{"VerifyPeerCertificate", true, func(c *Config) {
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return mine }
		}, "bad certificate"},
		{"VerifyPeerCertificate", false, func(c *Config) {
			c.ClientAuth = RequestClientCert
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return mine }
		}, "bad certificate"},
		{"GetCertificate", false, func(c *Config) {
			c.GetCertificate = func(*ClientHelloInfo) (*Certificate, error) { return nil, mine }
		}, "internal error"},
		{"GetConfigForClient", false, func(c *Config) {
			c.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return nil, mine }
		}, "internal error"},
		{"WrapSession", false, func(c *Config) {
			c.WrapSession = func(ConnectionState, *SessionState) ([]byte, error) { return nil, mine }
		}, "internal error"},
	}
	for _, test := range tests {
		for _, v := range versions {
			t.Run(fmt.Sprintf("%s/client=%v/%s", test.name, test.client, VersionName(v)), func(t *testing.T) {
				client, server := clientConfig(), serverConfig("P256")
				client.ClientSessionCache = NewLRUClientSessionCache(0)
				server.MaxVersion = v
				if test.client {
					test.change(client)
				} else {
					test.change(server)
				}
				c, s := pair(t, sockets, client, server)
				ours, theirs := handshakes(c, s)
				if !test.client {
					if theirs == nil { // a TLS 1.3 client is done before the server
						_, theirs = c.Read(make([]byte, 1))
					}
					ours, theirs = theirs, ours
					if ours == nil {
						t.Fatal("the server does not fail")
					}
				}
				ae := AlertError(0)
				if !errors.Is(ours, mine) || ours.Error() != mine.Error() || !errors.As(ours, &ae) || !strings.Contains(ae.Error(), test.alert) {
					t.Errorf("our side: %v, with %v", ours, ae)
				}
				_ = theirs
			})
		}
	}
}

func TestVerificationError(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := clientConfig(), serverConfig("P256")
		client.RootCAs = makeAuthority("Other").pool
		server.MaxVersion = v
		c, s := pair(t, sockets, client, server)
		cerr, serr := handshakes(c, s)
		ve, ua, ae := (*CertificateVerificationError)(nil), x509.UnknownAuthorityError{}, AlertError(0)
		if !errors.As(cerr, &ve) || len(ve.UnverifiedCertificates) != 1 || !errors.As(cerr, &ua) || !errors.As(cerr, &ae) {
			t.Errorf("client: %v", cerr)
		}
		if !errors.As(serr, &ae) || !strings.Contains(serr.Error(), "remote error") {
			t.Errorf("server: %v", serr)
		}
	})
}

// TestCertificateChoice checks by what a server chooses among certificates.
func TestCertificateChoice(t *testing.T) {
	ca, keys := newAuthority(), testKeys()
	one, two := ca.issue(keys["P256"], "one.example"), ca.issue(keys["P384"], "two.example", "*.wild.example")
	rsa := ca.issue(keys["RSA"], "one.example")
	byName := map[string]*Certificate{"one.example": &two, "*.wild.example": &one}
	var asked string
	tests := []struct {
		name   string
		server Config
		client func(*Config)
		want   *Certificate
	}{
		{"by name", Config{Certificates: []Certificate{one, two}}, func(c *Config) { c.ServerName = "two.example" }, &two},
		{"by wildcard", Config{Certificates: []Certificate{one, two}}, func(c *Config) { c.ServerName = "a.wild.example" }, &two},
		{"first by default", Config{Certificates: []Certificate{one, two}}, func(c *Config) { c.ServerName = "none.example" }, &one},
		{"by suite", Config{Certificates: []Certificate{one, rsa}, MaxVersion: VersionTLS12, CipherSuites: []uint16{TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, func(c *Config) { c.ServerName = "one.example" }, &rsa},
		{"map", Config{Certificates: []Certificate{rsa, rsa}, NameToCertificate: byName}, func(c *Config) { c.ServerName = "ONE.example" }, &two},
		{"map, wildcard", Config{Certificates: []Certificate{rsa, rsa}, NameToCertificate: byName}, func(c *Config) { c.ServerName = "x.wild.example" }, &one},
		{"callback", Config{Certificates: []Certificate{rsa}, GetCertificate: func(h *ClientHelloInfo) (*Certificate, error) {
			asked = h.ServerName
			return &two, nil
		}}, func(c *Config) { c.ServerName = "two.example" }, &two},
		{"callback has none", Config{Certificates: []Certificate{rsa}, GetCertificate: func(*ClientHelloInfo) (*Certificate, error) {
			return nil, nil
		}}, func(c *Config) { c.ServerName = "two.example" }, &rsa},
		{"callback is for names", Config{Certificates: []Certificate{rsa}, GetCertificate: func(*ClientHelloInfo) (*Certificate, error) {
			return &two, nil
		}}, func(c *Config) { c.ServerName = "127.0.0.1" }, &rsa},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			client := &Config{InsecureSkipVerify: true}
			test.client(client)
			c, s := connect(t, pipes, client, &test.server)
			echo(t, c, s)
			if got := c.ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(got, test.want.Certificate[0]) {
				t.Error("wrong certificate")
			}
		})
	}
	if asked != "two.example" {
		t.Errorf("the callback was asked for %q", asked)
	}
}

func TestNoCertificate(t *testing.T) {
	for _, config := range []*Config{{}, {Certificates: []Certificate{{Certificate: [][]byte{{1}}, PrivateKey: "no key"}}}} {
		c, s := pair(t, sockets, clientConfig(), config)
		if cerr, serr := handshakes(c, s); cerr == nil || serr == nil {
			t.Errorf("client %v, server %v", cerr, serr)
		}
	}
}

func TestBuildNameToCertificate(t *testing.T) {
	config := &Config{Certificates: []Certificate{testCert("P256"), {Certificate: [][]byte{{1}}}, {}}}
	config.BuildNameToCertificate()
	if len(config.NameToCertificate) != 1 || config.NameToCertificate[testName] != &config.Certificates[0] {
		t.Errorf("%d names", len(config.NameToCertificate))
	}
}

func TestExternalPSK(t *testing.T) {
	psk := ExternalPSK{Identity: []byte("id"), Secret: []byte("0123456789abcdef0123456789abcdef"), Import: true}
	client := &Config{ExternalPSKs: []ExternalPSK{psk}, ExternalPSKOnly: true, MinVersion: VersionTLS13}
	server := &Config{MinVersion: VersionTLS13, ExternalPSKOnly: true, GetExternalPSK: func(_ context.Context, id []byte) (*ExternalPSK, error) {
		if string(id) != "id" {
			return nil, nil
		}
		return &psk, nil
	}}
	c, s := connect(t, pipes, client, server)
	echo(t, c, s)
	if state := c.ConnectionState(); len(state.PeerCertificates) > 0 || state.DidResume {
		t.Errorf("state %+v", state)
	}
	client.ExternalPSKs = []ExternalPSK{{Identity: []byte("other"), Secret: psk.Secret, Import: true}}
	c, s = pair(t, sockets, client, server)
	if cerr, serr := handshakes(c, s); cerr == nil || serr == nil {
		t.Errorf("an unknown key: client %v, server %v", cerr, serr)
	}
}

func TestCompressCertificates(t *testing.T) {
	client, server := clientConfig(), serverConfig("RSA")
	client.CompressCertificates, server.CompressCertificates = true, true
	c, s := connect(t, pipes, client, server)
	echo(t, c, s)
	if !c.(*Conn).engine.State().CertificateCompression {
		t.Error("the certificate came uncompressed")
	}
}

func TestStdProvider(t *testing.T) {
	client, server := clientConfig(), serverConfig("P256")
	client.Provider = handshake.StdProvider()
	c, s := connect(t, pipes, client, server)
	echo(t, c, s)
}

// TestConnectionStateBefore checks that nothing panics before a handshake.
func TestConnectionStateBefore(t *testing.T) {
	a, b := pipes(t)
	defer a.Close()
	defer b.Close()
	conn := Client(a, clientConfig())
	state := conn.ConnectionState()
	if state.HandshakeComplete {
		t.Error("complete before it began")
	}
	if _, err := state.ExportKeyingMaterial("label", nil, 10); err == nil {
		t.Error("keying material before a handshake")
	}
	if _, err := conn.ExportKeyingMaterial("label", nil, 10); err == nil {
		t.Error("keying material before a handshake")
	}
	if err := conn.VerifyHostname(testName); err != errNotComplete {
		t.Errorf("VerifyHostname: %v", err)
	}
}

// TestExportInCallback checks that a server's VerifyConnection can export.
func TestExportInCallback(t *testing.T) {
	client, server := clientConfig(), serverConfig("P256")
	var exported []byte
	server.VerifyConnection = func(state ConnectionState) error {
		var err error
		exported, err = state.ExportKeyingMaterial("label", nil, 10)
		return err
	}
	c, _ := connect(t, pipes, client, server)
	want, err := c.(*Conn).ExportKeyingMaterial("label", nil, 10)
	if err != nil || !bytes.Equal(exported, want) {
		t.Errorf("exported %x, want %x (%v)", exported, want, err)
	}
}

// TestSecretsDoNotPrint prints all that holds keys, in every way.
func TestSecretsDoNotPrint(t *testing.T) {
	client, server := clientConfig(), serverConfig("P256")
	secret := []byte("a very secret key of 32 bytes!!!")
	server.SessionTicketKey = [32]byte(secret)
	client.ClientSessionCache = NewLRUClientSessionCache(0)
	c, s := connect(t, sockets, client, server)
	echo(t, c, s)
	cs, ok := client.ClientSessionCache.Get(testName)
	if !ok {
		t.Fatal("no session")
	}
	_, state, err := cs.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{"ticket key": secret, "session": state.state.Secret.Bytes()}
	keys, err := c.(*Conn).ExportKeys()
	if err != nil {
		t.Fatal(err)
	}
	secrets["write key"], secrets["read key"] = keys.Write.Key(), keys.Read.Key()
	secrets["write secret"] = keys.WriteSecret.Bytes()
	pointers := []any{c, s, cs, state, keys}
	for _, v := range append(pointers, server, *keys, *state, *cs) {
		holders := []any{v, struct{ X any }{v}, []any{v}, map[string]any{"k": v}}
		if slices.Contains(pointers, v) {
			// Where fmt can call no method, pointers still help. A Config cannot
			// keep its SessionTicketKey behind one.
			holders = append(holders, struct{ x any }{v})
		}
		for _, holder := range holders {
			out := printEverything(t, holder)
			for name, secret := range secrets {
				if leaks(out, secret) {
					t.Errorf("%T in %T prints the %s", v, holder, name)
				}
			}
		}
	}
}

// printEverything prints v by every verb, as JSON and to a log.
func printEverything(t *testing.T, v any) string {
	t.Helper()
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%q", "%s", "%d", "%t", "%p"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	if js, err := json.Marshal(v); err == nil {
		out.Write(js)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
	return out.String()
}

// leaks finds secret in out as text, in hexadecimal or as a list of numbers.
func leaks(out string, secret []byte) bool {
	list := strings.Trim(fmt.Sprint(secret), "[]")
	gosyntax := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}")
	for _, s := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), list, gosyntax} {
		if strings.Contains(out, s) {
			return true
		}
	}
	return false
}

// TestSecretsWouldBeFound checks the check.
func TestSecretsWouldBeFound(t *testing.T) {
	secret := []byte{1, 200, 33, 44}
	if !leaks(printEverything(t, struct{ b []byte }{secret}), secret) || leaks(printEverything(t, "x"), secret) {
		t.Error("a printed secret is not found, or found where there is none")
	}
}

func TestTime(t *testing.T) {
	client, server := clientConfig(), serverConfig("P256")
	client.Time = func() time.Time { return time.Now().Add(100 * 24 * time.Hour) }
	c, s := pair(t, sockets, client, server)
	ci := x509.CertificateInvalidError{}
	if cerr, _ := handshakes(c, s); !errors.As(cerr, &ci) || ci.Reason != x509.Expired {
		t.Errorf("client: %v", cerr)
	}
}

// TestCertificateAuthorities chooses a server's certificate by who signed it,
// for clients that name authorities.
func TestCertificateAuthorities(t *testing.T) {
	other := makeAuthority("Other")
	certs := []Certificate{newAuthority().issue(testKeys()["P256"], testName), other.issue(testKeys()["P256"], testName)}
	conn := Server(nil, &Config{Certificates: certs})
	b := &binding{conn: conn, cfg: conn.config}
	hello := &handshake.ClientHelloInfo{
		ServerName:        testName,
		SupportedVersions: []uint16{VersionTLS13},
		SignatureSchemes:  []handshake.SignatureScheme{handshake.EcdsaSecp256r1Sha256},

		ServerCertificateTypes: []CertificateType{CertificateTypeX509},
	}
	for want, authorities := range map[int][][]byte{0: nil, 1: {other.cert.RawSubject}} {
		hello.CertificateAuthorities = authorities
		if got := b.bestCertificate(context.Background(), hello); got != &conn.config.Certificates[want] {
			t.Errorf("not certificate %d", want)
		}
	}
	hello.CertificateAuthorities = [][]byte{[]byte("nobody")}
	if got := b.bestCertificate(context.Background(), hello); got != &conn.config.Certificates[0] {
		t.Error("no certificate for a client that trusts nobody we know")
	}
	if issuedByOne(&Certificate{Certificate: [][]byte{{1}}}, hello.CertificateAuthorities) {
		t.Error("a damaged certificate was signed by somebody")
	}
}

func TestLoadX509KeyPair(t *testing.T) {
	cert := testCert("P256")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil || !bytes.Equal(got.Certificate[0], cert.Certificate[0]) {
		t.Errorf("%v", err)
	}
}

// TestCallbackAlert: a callback's AlertError is what the peer is sent; one that
// it wraps may be of another connection.
func TestCallbackAlert(t *testing.T) {
	for _, test := range []struct {
		err  error
		want alert.Description
	}{
		{AlertError(alert.UnknownCA), alert.UnknownCA},
		{fmt.Errorf("wrapped: %w", AlertError(alert.UnknownCA)), alert.BadCertificate},
	} {
		client := clientConfig()
		client.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return test.err }
		c, s := pair(t, sockets, client, serverConfig("P256"))
		clientErr, serverErr := handshakes(c, s)
		if !errors.Is(clientErr, test.err) {
			t.Errorf("client: %v, want %v", clientErr, test.err)
		}
		if ae := AlertError(0); !errors.As(serverErr, &ae) || alert.Description(ae) != test.want {
			t.Errorf("server: %v, want %v", serverErr, test.want)
		}
	}
}

// TestSignatureSchemes lets each side accept one scheme of the other.
func TestSignatureSchemes(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		client, server := clientConfig(), serverConfig("RSA")
		client.Certificates, client.MaxVersion = []Certificate{testCert("RSA")}, v
		client.SignatureSchemes = []SignatureScheme{stdtls.PSSWithSHA512}
		server.ClientAuth, server.SignatureSchemes = RequireAnyClientCert, []SignatureScheme{stdtls.PSSWithSHA384}
		client.ClientSessionCache = NewLRUClientSessionCache(0)
		for i := range 2 { // resumed, they are those of the session
			c, s := connect(t, sockets, client, server)
			echo(t, c, s)
			got, want := c.(*Conn).Details().PeerSignatureScheme, stdtls.PSSWithSHA512
			if got != want {
				t.Errorf("connection %d: server signed with %v, want %v", i, got, want)
			}
			if got, want := s.(*Conn).Details().PeerSignatureScheme, stdtls.PSSWithSHA384; got != want {
				t.Errorf("connection %d: client signed with %v, want %v", i, got, want)
			}
			if resumed := c.ConnectionState().DidResume; resumed != (i > 0) {
				t.Errorf("connection %d: resumed %v", i, resumed)
			}
			c.Close()
			s.Close()
		}
		server.Certificates = []Certificate{testCert("P256")}
		c, s := pair(t, sockets, client, server)
		_, err := handshakes(c, s)
		if ae := AlertError(0); !errors.As(err, &ae) || alert.Description(ae) != alert.HandshakeFailure {
			t.Errorf("nothing in common: %v", err)
		}
	})
}

// TestKeyUsage refuses certificates whose key may not sign (RFC 9846, section
// 4.5.1.2).
func TestKeyUsage(t *testing.T) {
	a := newAuthority()
	forEachVersion(t, func(t *testing.T, v uint16) {
		for usage, good := range map[x509.KeyUsage]bool{
			0: true, x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment: true, x509.KeyUsageKeyEncipherment: false,
		} {
			key := testKeys()["P256"]
			tmpl := &x509.Certificate{
				SerialNumber: big.NewInt(7), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
				DNSNames: []string{testName}, KeyUsage: usage,
			}
			der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
			if err != nil {
				t.Fatal(err)
			}
			client := clientConfig()
			client.MaxVersion = v
			c, s := pair(t, sockets, client, &Config{Certificates: []Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
			clientErr, serverErr := handshakes(c, s)
			if good != (clientErr == nil) {
				t.Errorf("usage %b: %v", usage, clientErr)
			}
			if ae := AlertError(0); !good && (!errors.As(serverErr, &ae) || alert.Description(ae) != alert.UnsupportedCertificate) {
				t.Errorf("usage %b: %v", usage, serverErr)
			}
		}
	})
}

// TestCertificateTypesUnknown: a type that nothing here can read is not offered,
// and none is offered twice.
func TestCertificateTypesUnknown(t *testing.T) {
	var ce *ConfigError
	for _, list := range [][]CertificateType{{1}, {77}, {CertificateTypeX509, 77}, {CertificateTypeX509, CertificateTypeX509}} {
		own, peers := clientConfig(), clientConfig()
		own.CertificateTypes, peers.PeerCertificateTypes = list, list
		if err := own.check(roleClient); !errors.As(err, &ce) || ce.Field != "CertificateTypes" {
			t.Errorf("CertificateTypes %v: %v", list, err)
		}
		if err := own.check(roleServer); err != nil {
			t.Errorf("a server's CertificateTypes: %v", err)
		}
		for _, r := range [...]role{roleClient, roleServer} {
			if err := peers.check(r); !errors.As(err, &ce) || ce.Field != "PeerCertificateTypes" {
				t.Errorf("PeerCertificateTypes %v: %v", list, err)
			}
		}
	}
}

// TestListsFollow checks that a Config makes the lists of its engines once, and again
// once it is another.
func TestListsFollow(t *testing.T) {
	c := new(Config)
	changes := []struct {
		name   string
		change func()
	}{
		{"MinVersion", func() { c.MinVersion = VersionTLS13 }},
		{"MaxVersion", func() { c.MinVersion, c.MaxVersion = 0, VersionTLS12 }},
		{"no CipherSuites", func() { c.CipherSuites = []uint16{} }},
		{"CipherSuites", func() { c.CipherSuites = []uint16{TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256} }},
		{"an element", func() { c.CipherSuites[0] = TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 }},
		{"CurvePreferences", func() { c.CurvePreferences = []CurveID{CurveP256} }},
		{"no SignatureSchemes", func() { c.SignatureSchemes = []SignatureScheme{} }},
		{"SignatureSchemes", func() { c.SignatureSchemes = []SignatureScheme{Ed25519} }},
	}
	for _, change := range changes {
		before := c.lists()
		if c.lists() != before {
			t.Errorf("before %s: made again", change.name)
		}
		change.change()
		after := c.lists()
		if after == before {
			t.Errorf("%s: the same as before", change.name)
		}
		want := c.Clone().lists()
		if !reflect.DeepEqual(after, want) {
			t.Errorf("%s: %+v, want %+v", change.name, after, want)
		}
	}
}

// TestHelloInfoIsOurs: what a callback does to the lists that it gets has no effect.
func TestHelloInfoIsOurs(t *testing.T) {
	forEachVersion(t, func(t *testing.T, v uint16) {
		spoil := func(h *ClientHelloInfo) {
			clear(h.CipherSuites)
			clear(h.SupportedCurves)
			clear(h.SupportedPoints)
			clear(h.SignatureSchemes)
			clear(h.SupportedProtos)
			clear(h.SupportedVersions)
			clear(h.Extensions)
		}
		client, server := clientConfig(), serverConfig("P256")
		client.MaxVersion = v
		client.NextProtos, server.NextProtos = []string{"a"}, []string{"a"}
		cert := &server.Certificates[0]
		server.CurvePreferences = []CurveID{CurveP384} // in TLS 1.3 a HelloRetryRequest
		server.GetConfigForClient = func(h *ClientHelloInfo) (*Config, error) { spoil(h); return nil, nil }
		server.GetCertificate = func(h *ClientHelloInfo) (*Certificate, error) { spoil(h); return cert, nil }
		_, s := connect(t, sockets, client, server)
		if proto := s.ConnectionState().NegotiatedProtocol; proto != "a" {
			t.Errorf("protocol %q", proto)
		}
	})
}
