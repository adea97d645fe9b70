//go:build unix

package tls

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// TestKernelTamperedWrite has a program that writes when the kernel has already
// found a record that it refuses, behind one that was read: Linux says so to the
// Write. It gets an error that says what is wrong, and the peer the alert, though
// nobody reads any more.
func TestKernelTamperedWrite(t *testing.T) {
	for name, tt := range map[string]struct {
		tamper func(rec []byte)
		want   alert.Description
	}{
		"content": {func(rec []byte) { rec[len(rec)-1] ^= 1 }, alert.BadRecordMAC},
		"length":  {func(rec []byte) { rec[3] = 0xff }, alert.RecordOverflow},
		"version": {func(rec []byte) { rec[2] = 1 }, alert.ProtocolVersion},
	} {
		t.Run(name, func(t *testing.T) { testTamperedWrite(t, tt.tamper, tt.want) })
	}
}

func testTamperedWrite(t *testing.T, tamper func([]byte), want alert.Description) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, both)
		c, peer := connectRaw(t, g.network, client, server, roleClient)
		good, bad := peer.seal(record.ApplicationData, []byte("good")), peer.seal(record.ApplicationData, []byte("bad"))
		tamper(bad)
		peer.send(good, bad)
		buf := make([]byte, 1000)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "good" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		_, err := c.Write([]byte("data"))
		if err == nil { // a kernel that tells the reader only
			_, err = c.Read(buf)
		}
		if ae := AlertError(0); !errors.As(err, &ae) || alert.Description(ae) != want {
			t.Errorf("%v, want %v", err, want)
		}
		if _, again := c.Write([]byte("data")); errors.Is(again, syscall.EPIPE) {
			return // FreeBSD has closed the connection
		} else if again != err {
			t.Errorf("second Write: %v, want %v", again, err)
		}
		if _, again := c.Read(buf); again != err {
			t.Errorf("Read after it: %v, want %v", again, err)
		}
		_ = c.Close()
		typ, content := peer.receive()
		if typ == record.ApplicationData {
			typ, content = peer.receive()
		}
		if typ != record.Alert || !bytes.Equal(content, []byte{alertLevelFatal, byte(want)}) {
			t.Errorf("the peer receives %v %x", typ, content)
		}
	})
}
