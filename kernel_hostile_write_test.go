//go:build unix

package tls

import (
	"bytes"
	"errors"
	"testing"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/record"
)

// TestKernelTamperedWrite has a program that writes when the kernel has already
// found a record that it refuses, behind one that was read: Linux says so to the
// Write. It gets an error that says what is wrong, and the peer the alert, though
// nobody reads any more.
func TestKernelTamperedWrite(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, both)
		c, peer := connectRaw(t, g.network, client, server, roleClient)
		good, bad := peer.seal(record.ApplicationData, []byte("good")), peer.seal(record.ApplicationData, []byte("bad"))
		bad[len(bad)-1] ^= 1
		peer.send(good, bad)
		buf := make([]byte, 1000)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "good" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		_, err := c.Write([]byte("data"))
		if err == nil { // a kernel that tells the reader only
			_, err = c.Read(buf)
		}
		if ae := AlertError(0); !errors.As(err, &ae) || alert.Description(ae) != alert.BadRecordMAC {
			t.Errorf("%v, want bad_record_mac", err)
		}
		if _, again := c.Write([]byte("data")); again != err {
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
		if typ != record.Alert || !bytes.Equal(content, []byte{alertLevelFatal, byte(alert.BadRecordMAC)}) {
			t.Errorf("the peer receives %v %x", typ, content)
		}
	})
}
