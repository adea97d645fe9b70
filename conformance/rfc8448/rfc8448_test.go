package rfc8448

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"
)

// TestTraces counts: steps and fields are as many as the RFC has. That each
// field is as long as the RFC says is checked by the parser.
func TestTraces(t *testing.T) {
	want := map[string][2]int{
		Simple1RTT: {55, 109}, Resumed0RTT: {60, 125}, HelloRetryRequest: {54, 106},
		ClientAuthentication: {52, 101}, CompatibilityMode: {51, 102},
	}
	for _, trace := range Traces() {
		fields := 0
		for _, s := range trace.Steps {
			fields += len(s.Fields)
		}
		if got := [2]int{len(trace.Steps), fields}; got != want[trace.Name] {
			t.Errorf("%s: %d steps and fields, want %d", trace.Name, got, want[trace.Name])
		}
		delete(want, trace.Name)
	}
	if len(want) > 0 {
		t.Errorf("traces are missing: %v", want)
	}
}

// TestMessages: a message's own length field fits it, and so does a record's.
func TestMessages(t *testing.T) {
	for _, trace := range Traces() {
		for _, s := range trace.Steps {
			if rest, ok := strings.CutPrefix(s.What, "construct a"); ok && trace.Name+s.What != Resumed0RTT+"construct a ClientHello handshake message" {
				m := s.Bytes(strings.Fields(rest)[len(strings.Fields(rest))-3])
				if n := int(m[1])<<16 | int(m[2])<<8 | int(m[3]); n != len(m)-4 {
					t.Errorf("%s, %s: length field %d of %d bytes", trace.Name, s.What, n, len(m))
				}
			}
			if strings.HasPrefix(s.What, "send ") {
				r := s.Bytes("complete record")
				if n := int(r[3])<<8 | int(r[4]); n != len(r)-5 {
					t.Errorf("%s, %s: length field %d of %d bytes", trace.Name, s.What, n, len(r))
				}
			}
		}
	}
}

// TestKeyPairs: public keys belong to their private keys.
func TestKeyPairs(t *testing.T) {
	n := 0
	for _, trace := range Traces() {
		for _, s := range trace.Steps {
			if !strings.HasPrefix(s.What, "create an ephemeral") {
				continue
			}
			curve := ecdh.X25519()
			if strings.Contains(s.What, "P-256") {
				curve = ecdh.P256()
			}
			key, err := curve.NewPrivateKey(s.Bytes("private key"))
			if err != nil || !bytes.Equal(key.PublicKey().Bytes(), s.Bytes("public key")) {
				t.Errorf("%s, %s %s: %v", trace.Name, s.Who, s.What, err)
			}
			n++
		}
	}
	if n != 11 {
		t.Errorf("%d key pairs, want 11", n)
	}
}

// TestServerFlightOpens decrypts one record by hand: keys, nonce, additional
// data, inner content type.
func TestServerFlightOpens(t *testing.T) {
	for _, trace := range Traces() {
		keys := trace.Find(Server, "derive write traffic keys for handshake data", 0)
		nth := 1
		if trace.Name == HelloRetryRequest {
			nth = 2
		}
		s := trace.Find(Server, "send handshake record", nth)
		block, err := aes.NewCipher(keys.Bytes("key expanded"))
		if err != nil {
			t.Fatal(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		record := s.Bytes("complete record")
		plain, err := aead.Open(nil, keys.Bytes("iv expanded"), record[5:], record[:5])
		if err != nil || !bytes.Equal(plain, append(s.Bytes("payload"), 22)) {
			t.Errorf("%s: %v, %x", trace.Name, err, plain)
		}
	}
}

func TestServerKey(t *testing.T) {
	key := ServerKey()
	if err := key.Validate(); err != nil {
		t.Fatal(err)
	}
	step := Get("rsa-key").Find(Server, "RSA", 0)
	for name, got := range map[string][]byte{
		"exponent1": key.Precomputed.Dp.Bytes(), "exponent2": key.Precomputed.Dq.Bytes(), "coefficient": key.Precomputed.Qinv.Bytes(),
	} {
		if !bytes.Equal(got, step.Bytes(name)) {
			t.Errorf("%s: %x", name, got)
		}
	}
	const headLen = 4 + 1 + 3 + 3 // Certificate: header, context, list, entry
	trace := Get(Simple1RTT)
	message := trace.Find(Server, "construct a Certificate handshake", 0).Bytes("Certificate")
	cert, err := x509.ParseCertificate(message[headLen : len(message)-2])
	if err != nil || !key.PublicKey.Equal(cert.PublicKey) {
		t.Errorf("the certificate is not about the key: %v", err)
	}
	hash := transcriptHash(trace, "EncryptedExtensions", "Certificate")
	signed := sha256.Sum256([]byte(strings.Repeat(" ", 64) + "TLS 1.3, server CertificateVerify\x00" + string(hash)))
	signature := trace.Find(Server, "construct a CertificateVerify", 0).Bytes("CertificateVerify")[8:]
	if err := rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, signed[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		t.Errorf("CertificateVerify: %v", err)
	}
}

// transcriptHash covers both hellos and those messages of the server.
func transcriptHash(trace *Trace, messages ...string) []byte {
	h := sha256.New()
	h.Write(trace.Find(Client, "construct a ClientHello", 0).Bytes("ClientHello"))
	h.Write(trace.Find(Server, "construct a ServerHello", 0).Bytes("ServerHello"))
	for _, m := range messages {
		for _, s := range trace.Steps {
			if s.Who == Server && s.Fields[m] != nil {
				h.Write(s.Bytes(m))
			}
		}
	}
	return h.Sum(nil)
}

func TestFind(t *testing.T) {
	trace := Get(HelloRetryRequest)
	first, second := trace.Find(Client, "construct a ClientHello", 0), trace.Find(Client, "construct a ClientHello", 1)
	if len(first.Bytes("ClientHello")) != 180 || len(second.Bytes("ClientHello")) != 512 {
		t.Error("not the first and the second ClientHello")
	}
	// The client's own value comes after a step that only says "same as server".
	if s := trace.Find(Client, `calculate finished`, 0); s.What != `calculate finished "tls13 finished"` {
		t.Errorf("found %q", s.What)
	}
}

func TestPanics(t *testing.T) {
	trace := Get(Simple1RTT)
	for name, f := range map[string]func(){
		"unknown trace": func() { Get("simple-2rtt") },
		"unknown step":  func() { trace.Find(Client, "construct a ServerHello", 0) },
		"nth too large": func() { trace.Find(Client, "construct a ClientHello", 1) },
		"unknown field": func() { trace.Steps[0].Bytes("secret key") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestParseErrors(t *testing.T) {
	for name, in := range map[string]string{
		"unknown side":           "proxy: send",
		"no colon":               "client send",
		"field before a step":    "  key (1)\n    00",
		"field without a length": "client: x\n  key",
		"length without digits":  "client: x\n  key (one)",
		"bytes before a field":   "client: x\n    00",
		"odd digits":             "client: x\n  key (1)\n    000",
		"too few bytes":          "client: x\n  key (2)\n    00\n",
		"too few before a field": "client: x\n  key (2)\n    00\n  iv (0)",
		"too many before a step": "client: x\n  key (0)\n    00\nclient: y",
	} {
		if steps, err := parse([]byte(in)); err == nil {
			t.Errorf("%s: parsed as %v", name, steps)
		}
	}
}
