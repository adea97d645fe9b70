//go:build unix

package tls

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/internal/alert"
	"github.com/go-handoff/tls/kernel"
)

// The scenarios of the Linux kernel's own tests of its TLS
// (tools/testing/selftests/net/tls.c), through a Conn: what must not be lost,
// reordered or taken for something else below it must not be above it either.

// starred are the cases that must be in the table. The others are about what a
// Conn does not use (MSG_PEEK, SO_RCVLOWAT and the like), or near to these.
const starred = `
	base_base bad_cipher recseq_wrap recvmsg_nopad_retry_iov rekey_rx rekey_tx
	sendfile send_then_sendfile multi_chunk_sendfile recv_max recv_small msg_more msg_more_then_cmsg
	sendmsg_fragmented sendmsg_large splice_from_pipe splice_to_pipe splice_cmsg_to_pipe
	splice_to_pipe_small splice_short single_send_multiple_recv multiple_send_single_recv
	recv_partial recv_nonblock bidir nonblocking mutliproc_even mutliproc_readers mutliproc_writers
	control_msg control_msg_nomerge data_control_data shutdown getsockopt
	rekey rekey_fail splice_rekey rekey_getsockopt rekey_poll_pending rekey_poll_delay
	data_data_data data_0ctrl_data 0data_0data_0data 0data_0data_ctrl 0data_0data_0ctrl
	0ctrl_0ctrl_0ctrl 0data_0data_data data_0data_0data
	bad_rec bad_auth bad_in_large_read bad_cmsg timeo poll_partial_rec
	tls_12_tx_max_payload_len non_established tls_v6ops prequeue data_steal`

// selftest is one case, under the name that it has in the kernel, misspelled or
// not.
type selftest struct {
	name string
	run  func(*stage)
	on   func(*stage) bool // where it makes sense, nil for everywhere
	// reason says why there is nothing to run.
	reason string
}

var selftests = []selftest{
	{name: "base_base", run: (*stage).oneDirection},
	{name: "bad_cipher", run: (*stage).unknownToKernels, on: gcm12},
	{name: "recseq_wrap", run: (*stage).limit},
	{name: "recvmsg_nopad_retry_iov", run: (*stage).padded, on: is13},
	{name: "rekey_rx", run: (*stage).rekeyRX, on: rekeys},
	{name: "rekey_tx", run: (*stage).rekeyTX, on: rekeys},

	{name: "sendfile", run: (*stage).sendfile},
	{name: "send_then_sendfile", run: (*stage).sendThenSendfile},
	{name: "multi_chunk_sendfile", run: (*stage).chunks},
	{name: "recv_max", run: (*stage).receiveMax},
	{name: "recv_small", run: (*stage).receiveSmall},
	{name: "msg_more", run: (*stage).oneRecord},
	{name: "msg_more_then_cmsg", run: (*stage).dataThenControl},
	{name: "sendmsg_fragmented", run: (*stage).fragmented},
	{name: "sendmsg_large", run: (*stage).largeBuffers},
	{name: "splice_from_pipe", run: (*stage).spliceFrom},
	{name: "splice_to_pipe", run: (*stage).spliceTo},
	{name: "splice_cmsg_to_pipe", run: (*stage).spliceControl},
	{name: "splice_to_pipe_small", run: (*stage).spliceToSlow},
	{name: "splice_short", run: (*stage).spliceShort},
	{name: "single_send_multiple_recv", run: (*stage).oneToMany},
	{name: "multiple_send_single_recv", run: (*stage).manyToOne},
	{name: "recv_partial", run: (*stage).receivePartial},
	{name: "recv_nonblock", run: (*stage).receiveNothing},
	{name: "bidir", run: (*stage).bothWays},
	{name: "nonblocking", run: (*stage).fill},
	{name: "mutliproc_even", run: func(s *stage) { s.crowd(6, 6) }},
	{name: "mutliproc_readers", run: func(s *stage) { s.crowd(4, 12) }},
	{name: "mutliproc_writers", run: func(s *stage) { s.crowd(12, 4) }},
	{name: "control_msg", run: (*stage).control},
	{name: "control_msg_nomerge", run: (*stage).controlTwice},
	{name: "data_control_data", run: (*stage).dataControlData},
	{name: "shutdown", run: (*stage).shutdown},
	{name: "getsockopt", run: (*stage).numbers},
	{name: "rekey", run: (*stage).rekey, on: rekeys},
	{name: "rekey_fail", run: (*stage).rekeyFails},
	{name: "splice_rekey", run: (*stage).spliceRekey, on: rekeys},
	{name: "rekey_getsockopt", run: (*stage).rekeyNumbers, on: rekeys},
	{name: "rekey_poll_pending", run: (*stage).rekeyPending, on: rekeys},
	{name: "rekey_poll_delay", run: (*stage).rekeyDelay, on: rekeys},

	// Of zero_len. Where the kernel hands up an empty control record, no peer may
	// have sent it (RFC 9846, section 5.1).
	{name: "data_data_data", run: func(s *stage) { s.lengths("11 11 11", 3, "timeout") }, on: gcm},
	{name: "data_0ctrl_data", run: func(s *stage) { s.lengths("11 c0 11", 1, "unexpected_message") }, on: gcm},
	{name: "0data_0data_0data", run: func(s *stage) { s.lengths("0 0 0", 0, "timeout") }, on: gcm},
	{name: "0data_0data_ctrl", run: func(s *stage) { s.lengths("0 0 c", 0, "EOF") }, on: gcm},
	{name: "0data_0data_0ctrl", run: func(s *stage) { s.lengths("0 0 c0", 0, "unexpected_message") }, on: gcm},
	{name: "0ctrl_0ctrl_0ctrl", run: func(s *stage) { s.lengths("c0 c0 c0", 0, "unexpected_message") }, on: gcm},
	{name: "0data_0data_data", run: func(s *stage) { s.lengths("0 0 11", 1, "timeout") }, on: gcm},
	{name: "data_0data_0data", run: func(s *stage) { s.lengths("11 0 0", 1, "timeout") }, on: gcm},

	{name: "bad_rec", run: (*stage).noRecord},
	{name: "bad_auth", run: (*stage).tampered},
	{name: "bad_in_large_read", run: (*stage).tamperedLast},
	{name: "bad_cmsg", run: (*stage).tamperedControl},
	{name: "timeo", run: (*stage).twoReadersTimeOut},
	{name: "poll_partial_rec", run: (*stage).partialRecord},

	{name: "tls_12_tx_max_payload_len", reason: "Conn has no record_size_limit extension (RFC 8449) that could ask for smaller records"},
	{name: "non_established", run: (*stage).peerHasClosed, on: onKernel},
	{name: "tls_v6ops", run: (*stage).ipv6, on: onKernel},
	{name: "prequeue", run: (*stage).prequeue},
	{name: "data_steal", run: (*stage).readersDuringMove},
}

// Where selftests make sense.
func is13(s *stage) bool     { return s.v == VersionTLS13 }
func rekeys(s *stage) bool   { return s.v == VersionTLS13 && s.g.rekey }
func onKernel(s *stage) bool { return !s.g.model }
func gcm(s *stage) bool      { return strings.Contains(s.suite.Name, "AES") }
func gcm12(s *stage) bool {
	return s.suite.ID == TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
}

// TestKernelSelftest runs every case on every kernel, in both versions and with
// each cipher that kernels know.
func TestKernelSelftest(t *testing.T) {
	grounds, file := kernelGrounds(t), streamFile(t)
	have := map[string]bool{}
	for _, test := range selftests {
		have[test.name] = true
		t.Run(test.name, func(t *testing.T) {
			if test.run == nil {
				t.Skip("NOT RUN: " + test.reason)
			}
			for _, g := range grounds {
				test.perform(t, g, file)
			}
		})
	}
	for name := range strings.FieldsSeq(starred) {
		if !have[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
}

func (test *selftest) perform(t *testing.T, g ground, file string) {
	for _, suite := range CipherSuites() {
		v := suite.SupportedVersions[0]
		if v == VersionTLS12 && (strings.Contains(suite.Name, "RSA_") || strings.Contains(suite.Name, "CBC")) {
			continue
		}
		s := &stage{g: g, v: v, suite: suite, file: file}
		if test.on == nil || test.on(s) {
			t.Run(g.name+"/"+suite.Name, func(t *testing.T) {
				s.T = t
				test.run(s)
			})
		}
	}
}

// stage is where a case is performed.
type stage struct {
	*testing.T
	g     ground
	v     uint16
	suite *CipherSuite
	file  string // has the stream
}

// configs are kernelConfigs with the stage's cipher.
func (s *stage) configs(policy kernel.Policy) (client, server *Config) {
	client, server = kernelConfigs(s.v, policy)
	client.CurvePreferences = []CurveID{X25519, CurveP256}
	client.CipherSuites = []uint16{s.suite.ID}
	return client, server
}

// ends returns a connection on which the kernel has everything.
func (s *stage) ends() (a, b *Conn) {
	s.Helper()
	client, server := s.configs(both)
	server.Kernel = both
	c, sv := connect(s.T, s.g.network, client, server)
	return c.(*Conn), sv.(*Conn)
}

// hostile returns a Conn of which the kernel has everything, and a peer that sends
// what a Conn would not.
func (s *stage) hostile() (*Conn, *secretPeer) {
	s.Helper()
	client, server := s.configs(both)
	return hostilePeer(s.T, s.g.network, client, server)
}

// open returns the stream's file.
func (s *stage) open() *os.File {
	s.Helper()
	f, err := os.Open(s.file)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = f.Close() })
	return f
}

// settle lets what was sent arrive.
func (s *stage) settle() { time.Sleep(2 * time.Millisecond) }

// write writes all of b.
func (s *stage) write(c io.Writer, b []byte) {
	s.Helper()
	if n, err := c.Write(b); n != len(b) || err != nil {
		s.Fatalf("Write: %d of %d, %v", n, len(b), err)
	}
}

// once makes one Read of size bytes.
func (s *stage) once(c io.Reader, size int, want []byte) {
	s.Helper()
	buf := make([]byte, size)
	if n, err := c.Read(buf); err != nil || !bytes.Equal(buf[:n], want) {
		s.Fatalf("Read: %d bytes, %v; want %d bytes", n, err, len(want))
	}
}

// full reads want, in as many calls as it takes.
func (s *stage) full(c io.Reader, want []byte) {
	s.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		s.Fatalf("read %d bytes of %d, %v, right %v", n, len(want), err, bytes.Equal(got[:n], want[:n]))
	}
}

// rest reads all there is, which must be want.
func (s *stage) rest(c io.Reader, want []byte) {
	s.Helper()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		s.Fatalf("read %d bytes of %d, %v", len(got), len(want), err)
	}
}

// beside runs f beside what follows, and returns what waits for it.
func (s *stage) beside(f func() error) (wait func()) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() {
		s.Helper()
		if err := <-done; err != nil {
			s.Error(err)
		}
	}
}

// timesOut has one Read fail because of its deadline, after which there is
// none that would matter.
func (s *stage) timesOut(c *Conn) {
	s.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1000)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		s.Fatalf("Read: %d, %v", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
}

// fails reads an alert's error, every time, and returns what comes before.
func (s *stage) fails(c *Conn, want string) (before []byte) {
	s.Helper()
	before, err := io.ReadAll(c)
	for range 2 {
		if ae := AlertError(0); !errors.As(err, &ae) || alert.Description(ae).String() != want {
			s.Fatalf("Read: %v, want %s", err, want)
		}
		_, err = c.Read(make([]byte, 100))
	}
	return before
}
