//go:build unix

package fuzz

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/kernel"
)

const blobHead = 2 + 32 // version and salt

var adoptSecret = bytes.Repeat([]byte{7}, 32)

// blobAEAD is the sealing of blobs as its description says it, so that what is
// inside can be made by the fuzzer.
func blobAEAD(t testing.TB, head []byte) cipher.AEAD {
	t.Helper()
	key, err := hkdf.Key(sha256.New, adoptSecret, head[2:blobHead], "handoff connection handover", 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func openBlob(t testing.TB, blob []byte) []byte {
	t.Helper()
	plain, err := blobAEAD(t, blob).Open(nil, nil, blob[blobHead:], blob[:blobHead])
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func sealBlob(t testing.TB, plain []byte) []byte {
	t.Helper()
	head := make([]byte, blobHead)
	head[1] = 1
	if _, err := rand.Read(head[2:]); err != nil {
		t.Fatal(err)
	}
	return blobAEAD(t, head).Seal(bytes.Clone(head), nil, plain, head)
}

// adoptConfig stands still in time, so that blobs do not expire.
func adoptConfig() *tls.Config {
	return &tls.Config{
		Time: func() time.Time { return engineNow }, InsecureSkipVerify: true,
		Certificates: []tls.Certificate{{Certificate: engineCert.Chain, PrivateKey: engineCert.PrivateKey}},
		Kernel:       kernel.Policy{TX: kernel.Off, RX: kernel.Off},
	}
}

// detachOne returns a socket, and what is in a blob for it.
func detachOne(t testing.TB, version uint16, client bool) (*os.File, []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config := adoptConfig()
	config.MaxVersion = version
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := tls.Client(raw, config), tls.Server(peer, config)
	done := make(chan error, 1)
	go func() { done <- theirs.Handshake() }()
	if err := errors.Join(ours.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	if !client {
		ours, theirs = theirs, ours
	}
	go func() { _, _ = io.Copy(io.Discard, theirs.NetConn()) }()
	key, err := tls.NewHandoverKey(adoptSecret)
	if err != nil {
		t.Fatal(err)
	}
	file, blob, err := ours.Detach(key)
	if err != nil {
		t.Fatal(err)
	}
	return file, openBlob(t, blob)
}

// FuzzAdopt gives Adopt blobs that are not sealed, and blobs that are and that no
// Detach has made. The former are all refused. Of the latter some are
// connections; whatever they do, they do not panic, and do not hang.
func FuzzAdopt(f *testing.F) {
	var sockets []*os.File
	for i, kind := range []struct {
		version uint16
		client  bool
	}{{tls.VersionTLS13, true}, {tls.VersionTLS13, false}, {tls.VersionTLS12, true}, {tls.VersionTLS12, false}} {
		file, plain := detachOne(f, kind.version, kind.client)
		sockets = append(sockets, file)
		f.Add(byte(i), plain)
		f.Add(byte(i), plain[:len(plain)/2])
		conn, err := adopt(f, file, sealBlob(f, plain))
		if err != nil {
			f.Fatalf("what was not changed is refused: %v", err)
		}
		conn.NetConn().Close()
	}
	f.Fuzz(func(t *testing.T, which byte, plain []byte) {
		file := sockets[int(which)%len(sockets)]
		if _, err := adopt(t, file, plain); err == nil {
			t.Fatal("what is not sealed is adopted")
		}
		conn, err := adopt(t, file, sealBlob(t, plain))
		if err != nil {
			return
		}
		defer conn.NetConn().Close()
		useConn(t, conn)
	})
}

// adopt gives Adopt another descriptor of file, which stays as it is.
func adopt(t testing.TB, file *os.File, blob []byte) (*tls.Conn, error) {
	t.Helper()
	dup, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer dup.Close()
	again, err := dup.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	key, err := tls.NewHandoverKey(adoptSecret)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Adopt(again, blob, key, adoptConfig())
}

// useConn does what users do. Nobody answers, so reading times out if it does
// not fail.
func useConn(t *testing.T, conn *tls.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	conn.ConnectionState()
	conn.Details()
	_ = conn.Offload()
	_, _ = conn.ExportKeyingMaterial("label", nil, 32)
	_, _ = conn.Read(make([]byte, 1<<15))
	_, _ = conn.Write([]byte("data"))
	_ = conn.KeyUpdate(t.Context())
	key := tls.GenerateHandoverKey()
	file, blob, err := conn.Detach(key)
	if err != nil {
		return
	}
	next, err := tls.Adopt(file, blob, key, adoptConfig())
	if err != nil {
		t.Fatalf("what was adopted and detached is refused: %v", err)
	}
	_ = next.SetDeadline(time.Now().Add(time.Millisecond))
	_, _ = next.Read(make([]byte, 1))
	next.NetConn().Close()
}
