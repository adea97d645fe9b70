//go:build unix

package tls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
	"github.com/go-handoff/tls/kernel/kerneltest"
	"github.com/go-handoff/tls/record"
)

// both has the kernel take both directions at once, or fail.
var both = kernel.Policy{TX: kernel.Require, RX: kernel.Require, MoveTX: kernel.AtOnce, MoveRX: kernel.AtOnce}

// onKernels runs f on each kernel that there is, in both versions.
func onKernels(t *testing.T, f func(t *testing.T, g ground, v uint16)) {
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			forEachVersion(t, func(t *testing.T, v uint16) { f(t, g, v) })
		})
	}
}

// kernelConfigs returns configs whose client follows the policy.
func kernelConfigs(v uint16, policy kernel.Policy) (client, server *Config) {
	client, server = clientConfig(), serverConfig("P256")
	client.Kernel = policy
	server.MaxVersion = v
	server.SessionTicketsDisabled = true
	return client, server
}

// wantPlaces checks where the directions of c are.
func wantPlaces(t *testing.T, c tlsConn, tx, rx Placement) {
	t.Helper()
	if o := c.(*Conn).Offload(); o.TX.Where != tx || o.RX.Where != rx {
		t.Errorf("TX %v, RX %v; want %v and %v", o.TX, o.RX, tx, rx)
	}
}

// TestKernelSuites moves both directions of both ends, with every suite that
// kernels know.
func TestKernelSuites(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, suite := range CipherSuites() {
			if suite.SupportedVersions[0] != v || v == VersionTLS12 && strings.Contains(suite.Name, "RSA_") || strings.Contains(suite.Name, "CBC") {
				continue
			}
			client, server := kernelConfigs(v, both)
			if v == VersionTLS12 {
				server.CipherSuites = []uint16{suite.ID}
			}
			server.Kernel = both
			c, s := connect(t, g.network, client, server)
			for range 3 {
				echo(t, c, s)
			}
			for _, conn := range []tlsConn{c, s} {
				wantPlaces(t, conn, KernelSoftware, KernelSoftware)
			}
			closeBoth(t, c, s)
		}
	})
}

// closeBoth ends a connection cleanly.
func closeBoth(t *testing.T, c, s tlsConn) {
	t.Helper()
	for _, conn := range []tlsConn{c, s} {
		if err := conn.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	}
	for _, conn := range []tlsConn{c, s} {
		if n, err := conn.Read(make([]byte, 1000)); n != 0 || err != io.EOF {
			t.Errorf("Read: %d, %v", n, err)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// TestKernelReasons checks that whoever stays in user space says why, and that
// Require makes it an error.
func TestKernelReasons(t *testing.T) {
	padded := func(c *Config) { c.RecordPadding = func(int) int { return 1 } }
	tests := []struct {
		name    string
		network network
		policy  kernel.Policy
		change  func(*Config)
		tx, rx  string
	}{
		{"default", modelNetwork(kernel.RulesLinux), kernel.Policy{}, nil, "first large ReadFrom", "does not want"},
		{"off", sockets, kernel.Policy{TX: kernel.Off}, nil, "does not want", "does not want"},
		{"none", modelNetwork(kernel.RulesLinux, kerneltest.Unavailable("no such thing")), kernel.Policy{RX: kernel.Auto}, nil, "no such thing", "no such thing"},
		{"bytes", modelNetwork(kernel.RulesLinux), kernel.Policy{MoveTX: kernel.AfterBytes(100)}, nil, "after 100 bytes", "does not want"},
		{"pipe", pipes, kernel.Policy{TX: kernel.Auto, RX: kernel.Auto, MoveTX: kernel.AtOnce}, nil, "not a TCP socket", "not a TCP socket"},
		{"padding", modelNetwork(kernel.RulesLinux), kernel.Policy{MoveTX: kernel.AtOnce}, padded, "RecordPadding", "does not want"},
		{"refused", refusing(), kernel.Policy{RX: kernel.Auto, MoveTX: kernel.AtOnce}, nil, " ", " "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, test.policy)
			if test.change != nil {
				test.change(client)
			}
			c, s := connect(t, test.network, client, server)
			echo(t, c, s)
			o := c.(*Conn).Offload()
			if o.TX.Where != UserSpace || o.RX.Where != UserSpace || !strings.Contains(o.TX.Reason, test.tx) || !strings.Contains(o.RX.Reason, test.rx) {
				t.Errorf("TX %v, RX %v", o.TX, o.RX)
			}
			if test.policy.MoveTX != kernel.AtOnce || test.name == "pipe" {
				return // nobody reads the alert from a pipe
			}
			client.Kernel.TX = kernel.Require
			c, s = pair(t, test.network, client, server)
			err, peerErr := handshakes(c, s)
			if refusal := (*kernel.Refusal)(nil); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "required") {
				t.Errorf("required: %v", err)
			}
			if peerErr == nil {
				_, peerErr = s.Read(make([]byte, 1))
			}
			if alertErr := AlertError(0); !errors.As(peerErr, &alertErr) || alertErr != AlertError(alert.InternalError) {
				t.Errorf("peer: %v", peerErr)
			}
		})
	}
}

// TestKernelRawAccess checks who may touch the socket.
func TestKernelRawAccess(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, kernel.Policy{TX: kernel.Require})
		c, _ := connect(t, g.network, client, server)
		if _, err := c.(*Conn).SyscallConn(); err != ErrUserSpace {
			t.Errorf("SyscallConn with one direction in user space: %v", err)
		}
		if _, err := c.(*Conn).ExportKeys(); err != ErrInKernel {
			t.Errorf("ExportKeys: %v", err)
		}
		client.Kernel = both
		c, _ = connect(t, g.network, client, server)
		if _, err := c.(*Conn).SyscallConn(); err == ErrUserSpace {
			t.Errorf("SyscallConn with both directions in the kernel: %v", err)
		}
	})
}

// TestKernelMoves moves each direction when its plan says so, and not earlier.
func TestKernelMoves(t *testing.T) {
	name := streamFile(t)
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, kernel.Policy{RX: kernel.Require, MoveTX: kernel.AfterBytes(10), MoveRX: kernel.AfterBytes(10)})
		c, s := connect(t, g.network, client, server)
		wantPlaces(t, c, UserSpace, UserSpace)
		echo(t, c, s) // 4 bytes each
		wantPlaces(t, c, UserSpace, UserSpace)
		for range 3 {
			echo(t, c, s)
		}
		wantPlaces(t, c, KernelSoftware, KernelSoftware)
		if o := c.(*Conn).Offload(); o.TX.Since < 3 || o.RX.Since < 3 || o.TX.Remaining == 0 {
			t.Errorf("TX %v, RX %v", o.TX, o.RX)
		}

		client, server = kernelConfigs(v, kernel.Policy{})
		c, s = connect(t, g.network, client, server)
		conn := c.(*Conn)
		for _, step := range []struct {
			n    int64
			want Placement
		}{{100, UserSpace}, {streamLen, KernelSoftware}, {100, KernelSoftware}} {
			file, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			done := make(chan error, 1)
			go func() {
				got := make([]byte, step.n)
				_, err := io.ReadFull(s, got)
				if err == nil && !bytes.Equal(got, stream()[:step.n]) {
					err = errors.New("wrong bytes")
				}
				done <- err
			}()
			if n, err := conn.ReadFrom(io.LimitReader(file, step.n)); n != step.n || err != nil {
				t.Fatalf("ReadFrom: %d, %v", n, err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			wantPlaces(t, c, step.want, UserSpace)
		}
	})
}

// TestKernelRequireClosed requires the kernel to receive from a peer that has
// closed its side already, for which no kernel takes keys: nothing is lost.
func TestKernelRequireClosed(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, kernel.Policy{TX: kernel.Off, RX: kernel.Require, MoveRX: kernel.AfterBytes(1)})
		c, peer := connectRaw(t, g.network, client, server, roleClient)
		peer.send(peer.seal(record.ApplicationData, []byte("one ")))
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		peer.send(peer.seal(record.ApplicationData, []byte("two ")), peer.seal(record.Alert, []byte{alertLevelWarning, byte(alert.CloseNotify)}))
		_ = peer.Close()
		time.Sleep(10 * time.Millisecond) // until the end of the stream is here
		if got, err := io.ReadAll(c); string(got) != "two " || err != nil {
			t.Errorf("%q, %v; RX %v", got, err, c.Offload().RX)
		}
	})
}

// TestKernelCopy moves with io.Copy, as programs write it, from a file and from a
// TCP connection.
func TestKernelCopy(t *testing.T) {
	name := streamFile(t)
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, kind := range []string{"file", "TCP connection"} {
			client, server := kernelConfigs(v, kernel.Policy{})
			c, s := connect(t, g.network, client, server)
			source := copySource(t, kind, name)
			go func() {
				if n, err := io.Copy(c, source); n != streamLen || err != nil {
					t.Errorf("%s: io.Copy: %d, %v", kind, n, err)
				}
				_ = c.CloseWrite()
			}()
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, stream()) {
				t.Errorf("%s: %d bytes, %v", kind, len(got), err)
			}
			if kind == "file" || !g.model { // a model's connection is none to splice to
				wantPlaces(t, c, KernelSoftware, UserSpace)
			}
		}
	})
}

// copySource returns something that has the stream.
func copySource(t *testing.T, kind, name string) io.Reader {
	t.Helper()
	if kind == "file" {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	from, to := sockets(t)
	t.Cleanup(func() { to.Close() })
	go func() {
		defer from.Close()
		_, _ = from.Write(stream())
	}()
	return to
}

// TestKernelKeyUpdate changes keys in both directions, from either side.
func TestKernelKeyUpdate(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if !g.rekey {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, both)
			server.Kernel = both
			c, s := connect(t, g.network, client, server)
			for i := range 10 {
				from := []tlsConn{c, s}[i%2]
				if err := from.(*Conn).KeyUpdate(t.Context()); err != nil {
					t.Fatal(err)
				}
				echo(t, c, s)
				echo(t, s, c)
			}
			for _, conn := range []tlsConn{c, s} {
				if o := conn.(*Conn).Offload(); o.TX.Rekeys != 10 || o.RX.Rekeys != 10 {
					t.Errorf("TX %v, RX %v", o.TX, o.RX)
				}
			}
			closeBoth(t, c, s)
		})
	}
}

// TestKernelNoRekey is the policy for kernels that cannot change keys.
func TestKernelNoRekey(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if g.rekey {
			continue
		}
		t.Run(g.name+"/asked", func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, kernel.Policy{MoveTX: kernel.AtOnce})
			c, s := connect(t, g.network, client, server)
			wantPlaces(t, c, KernelSoftware, UserSpace)
			if err := c.(*Conn).KeyUpdate(t.Context()); err != ErrNoRekey {
				t.Errorf("KeyUpdate: %v", err)
			}
			echo(t, c, s) // nothing has happened
			if err := s.(*Conn).KeyUpdate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := exchange(s, c, "under new keys"); err != nil { // RX is in user space
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("x")); err != ErrNoRekey {
				t.Errorf("Write: %v", err)
			}
			if n, err := s.Read(make([]byte, 10)); n != 0 || err != io.EOF {
				t.Errorf("peer's Read: %d, %v", n, err)
			}
		})
		t.Run(g.name+"/limit", func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, kernel.Policy{MoveTX: kernel.AtOnce})
			client.recordLimit = 5
			c, s := connect(t, g.network, client, server)
			wrote := 0
			var err error
			for err == nil && wrote < 100 {
				if _, err = c.Write([]byte("x")); err == nil {
					wrote++
				}
			}
			got, readErr := io.ReadAll(s)
			if err != ErrNoRekey || readErr != nil || len(got) != wrote || wrote == 0 || wrote > 5 {
				t.Errorf("wrote %d (%v), peer read %d (%v)", wrote, err, len(got), readErr)
			}
		})
		t.Run(g.name+"/forced", func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, kernel.Policy{RX: kernel.Require})
			c, s := connect(t, g.network, client, server)
			wantPlaces(t, c, UserSpace, KernelSoftware)
			echo(t, c, s)
			if _, err := s.Write([]byte("before")); err != nil {
				t.Fatal(err)
			}
			if err := s.(*Conn).KeyUpdate(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if string(got) != "before" || !errors.Is(err, ErrNoRekey) {
				t.Errorf("Read: %q, %v", got, err)
			}
			if alertErr := AlertError(0); !errors.As(readError(s), &alertErr) || alertErr != AlertError(alert.InternalError) {
				t.Errorf("the peer got %v", alertErr)
			}
		})
		t.Run(g.name+"/stay", func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, kernel.Policy{RX: kernel.Auto, MoveTX: kernel.AtOnce, NoRekey: kernel.NoRekeyStay})
			c, _ := connect(t, g.network, client, server)
			wantPlaces(t, c, UserSpace, UserSpace)
		})
	}
}

// TestKernelLimit12 uses a key of TLS 1.2 up, which nothing can replace.
func TestKernelLimit12(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS12, both)
			client.recordLimit = 6
			c, s := connect(t, g.network, client, server)
			n, err := c.Write(stream())
			got, readErr := io.ReadAll(s)
			if err != ErrRecordLimit || readErr != nil || n == 0 || n > 6*record.MaxPlaintext || !bytes.Equal(got, stream()[:n]) {
				t.Errorf("wrote %d (%v), peer read %d (%v)", n, err, len(got), readErr)
			}
		})
	}
}

func readError(c net.Conn) error {
	_, err := io.ReadAll(c)
	return err
}

// TestKernelTampered checks what becomes of records that the kernel refuses.
func TestKernelTampered(t *testing.T) {
	tests := []struct {
		name   string
		change func(rec []byte) []byte
		want   alert.Description
	}{
		{"ciphertext", func(rec []byte) []byte { rec[len(rec)-1] ^= 1; return rec }, alert.BadRecordMAC},
		{"length", func(rec []byte) []byte { rec[3] = 0xff; return rec }, alert.RecordOverflow},
		{"version", func(rec []byte) []byte { rec[1] = 7; return rec }, alert.ProtocolVersion},
	}
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, test := range tests {
			client, server := kernelConfigs(v, both)
			c, peer := connectRaw(t, g.network, client, server, roleClient)
			peer.send(peer.seal(record.ApplicationData, []byte("good")), test.change(peer.seal(record.ApplicationData, []byte("bad"))))
			got, err := io.ReadAll(c)
			if alertErr := AlertError(0); string(got) != "good" || !errors.As(err, &alertErr) || alertErr != AlertError(test.want) {
				t.Errorf("%s: %q, %v", test.name, got, err)
			}
			if g.name == "FreeBSD" && test.want != alert.BadRecordMAC {
				if rest, err := io.ReadAll(peer); len(rest) > 0 {
					t.Errorf("%s: peer got %d bytes, %v from a connection that the kernel drops", test.name, len(rest), err)
				}
			} else if typ, content := peer.receive(); typ != record.Alert || !bytes.Equal(content, []byte{alertLevelFatal, byte(test.want)}) {
				t.Errorf("%s: peer got %v %x", test.name, typ, content)
			}
			if _, again := c.Read(make([]byte, 1)); again == nil || again.Error() != err.Error() {
				t.Errorf("%s: second Read: %v", test.name, again)
			}
		}
	})
}

// TestKernelRecords sends what only a raw peer can, to a connection that reads
// through the kernel.
func TestKernelRecords(t *testing.T) {
	warning := []byte{alertLevelWarning, byte(alert.UserCanceled)}
	fatal := []byte{alertLevelFatal, byte(alert.AccessDenied)}
	long := bytes.Repeat([]byte("long"), record.MaxPlaintext/4)
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, size := range []int{1, 10, 255, 256, 20000} {
			client, server := kernelConfigs(v, both)
			c, peer := connectRaw(t, g.network, client, server, roleClient)
			done := make(chan struct{})
			go func() {
				defer close(done)
				peer.send(
					peer.seal(record.ApplicationData, nil), peer.seal(record.ApplicationData, []byte("one")),
					peer.seal(record.Alert, warning), peer.seal(record.ApplicationData, nil),
					peer.seal(record.ApplicationData, long), peer.seal(record.Alert, fatal),
				)
			}()
			var got []byte
			var err error
			for buf := make([]byte, size); err == nil; {
				var n int
				n, err = c.Read(buf)
				got = append(got, buf[:n]...)
			}
			if want := append([]byte("one"), long...); !bytes.Equal(got, want) {
				t.Errorf("reads of %d: got %d bytes", size, len(got))
			}
			if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Err != AlertError(alert.AccessDenied) {
				t.Errorf("reads of %d: %v", size, err)
			}
			<-done
		}
	})
}

// TestKernelTruncated checks that only close_notify is an end.
func TestKernelTruncated(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, cut := range []int{0, 3, 20} {
			client, server := kernelConfigs(v, both)
			c, peer := connectRaw(t, g.network, client, server, roleClient)
			peer.send(peer.seal(record.ApplicationData, []byte("whole")), peer.seal(record.ApplicationData, []byte("truncated"))[:cut])
			peer.Close()
			got, err := io.ReadAll(c)
			if string(got) != "whole" || err == nil || err == io.EOF {
				t.Errorf("cut at %d: %q, %v", cut, got, err)
			}
		}
	})
}

// TestKernelDeadlines lets calls time out, and goes on.
func TestKernelDeadlines(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, both)
		server.Kernel = both
		c, s := connect(t, g.network, client, server)
		isTimeout := func(op string, err error) {
			t.Helper()
			if e, ok := err.(net.Error); !ok || !e.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", op, err)
			}
		}
		for _, size := range []int{1, 1000} {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := c.Read(make([]byte, size))
			isTimeout("Read", err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		echo(t, c, s)

		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		sent := 0
		var err error
		for err == nil {
			var n int
			n, err = c.Write(stream()[:100000])
			sent += n
			if n < 100000 && err == nil {
				t.Fatal("short write without an error")
			}
		}
		isTimeout("Write", err)
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		done := make(chan error, 1)
		go func() {
			if _, err := c.Write([]byte("the end")); err != nil {
				done <- err
			}
			done <- c.CloseWrite()
		}()
		got, err := io.ReadAll(s)
		if err != nil || len(got) != sent+7 || !bytes.HasSuffix(got, []byte("the end")) {
			t.Errorf("%d bytes and %v, want %d", len(got), err, sent+7)
		}
		for i := 0; i < sent; i++ {
			if got[i] != stream()[i%100000] {
				// A write that timed out was cut, and the next began anew.
				if !bytes.HasPrefix(got[i:], []byte("the end")) {
					t.Errorf("wrong byte %d of %d", i, sent)
				}
				break
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestKernelClose closes right after writes to a slow reader, with send buffers
// of many sizes: what was accepted arrives.
func TestKernelClose(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		for _, buffer := range []int{0, 5000, 20000, 60000, 150000, 400000} {
			for _, n := range []int{1, 30000, 200000, streamLen} {
				closeAfter(t, g, v, buffer, n)
			}
		}
	})
}

func closeAfter(t *testing.T, g ground, v uint16, buffer, n int) {
	t.Helper()
	client, server := kernelConfigs(v, both)
	server.Kernel = both
	c, s := connect(t, g.network, client, server)
	if tcp, ok := c.(*Conn).NetConn().(*net.TCPConn); ok && buffer > 0 {
		_ = tcp.SetWriteBuffer(buffer)
	}
	done := make(chan error, 1)
	go func() {
		time.Sleep(2 * time.Millisecond)
		got, err := io.ReadAll(s)
		if err == nil && !bytes.Equal(got, stream()[:n]) {
			err = fmt.Errorf("%d bytes arrived", len(got))
		}
		done <- err
	}()
	if _, err := c.Write(stream()[:n]); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("%d bytes through a buffer of %d: %v", n, buffer, err)
	}
}

// TestKernelCloseUnblocks closes under a Read and a Write.
func TestKernelCloseUnblocks(t *testing.T) {
	onKernels(t, func(t *testing.T, g ground, v uint16) {
		client, server := kernelConfigs(v, both)
		c, _ := connect(t, g.network, client, server)
		done := make(chan error, 2)
		go func() {
			_, err := c.Read(make([]byte, 1000))
			done <- err
		}()
		go func() {
			var err error
			for err == nil {
				_, err = c.Write(stream())
			}
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		_ = c.Close()
		for range 2 {
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v", err)
			}
		}
	})
}

// fillUp writes until nothing more is taken, and returns how much that was. The
// deadline for writing has passed then.
func fillUp(t *testing.T, c net.Conn) (sent int) {
	t.Helper()
	for n := 1; n > 0; sent += n {
		_ = c.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
		var err error
		if n, err = c.Write(stream()); !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
			t.Fatal(err)
		}
	}
	return sent
}

// TestKernelKeyUpdateContext breaks a KeyUpdate off that cannot be sent.
func TestKernelKeyUpdateContext(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		if !g.rekey {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			client, server := kernelConfigs(VersionTLS13, both)
			c, s := connect(t, g.network, client, server)
			sent := fillUp(t, c)
			_ = c.SetWriteDeadline(time.Time{})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := c.(*Conn).KeyUpdate(ctx); err == nil {
				t.Error("KeyUpdate succeeds")
			}
			// The KeyUpdate is sent with what comes next.
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
			go func() {
				_, _ = c.Write([]byte("after"))
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(s)
			if err != nil || len(got) != sent+5 || !bytes.HasSuffix(got, []byte("after")) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, sent+5)
			}
		})
	}
}

// TestKernelLateWish lets a server learn only from the ClientHello that the kernel is
// to receive: by then it may have read more of the client's records than it needed.
func TestKernelLateWish(t *testing.T) {
	for _, g := range kernelGrounds(t) {
		forEachVersion(t, func(t *testing.T, v uint16) {
			client, server := kernelConfigs(v, kernel.Policy{TX: kernel.Off})
			late := server.Clone()
			late.Kernel.RX = kernel.Require
			server.GetConfigForClient = func(*ClientHelloInfo) (*Config, error) { return late, nil }
			c, s := pair(t, g.network, client, server)
			sent := bytes.Repeat([]byte("data"), 50000)
			written := make(chan error, 1)
			go func() {
				_, err := c.Write(sent)
				written <- err
			}()
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%s: %v, the same: %v", g.name, err, bytes.Equal(got, sent))
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			if o := s.(*Conn).Offload(); o.RX.Where == UserSpace {
				t.Errorf("%s: %v", g.name, o.RX)
			}
		})
	}
}
