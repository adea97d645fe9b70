package kernel

import (
	"errors"
	"net"
	"testing"

	"github.com/go-handoff/tls/keyschedule"
)

// TestClosedSocket: whatever is asked of a socket that is closed already, the
// answer is the net package's, and not a number of a system call.
func TestClosedSocket(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	sys, err := newLinuxSocket(conn.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for name, err := range map[string]error{
		"EnableTX":    sys.EnableTX(testKeys(t)),
		"EnableRX":    sys.EnableRX(testKeys(t)),
		"VerifyTX":    sys.VerifyTX(gcm13),
		"VerifyRX":    sys.VerifyRX(gcm13),
		"NextTX":      second(sys.NextTX()),
		"NextRX":      second(sys.NextRX()),
		"RefreshRX":   sys.RefreshRX(),
		"Receive":     second(sys.Receive(make([]byte, 1))),
		"SendControl": second(sys.SendControl(21, []byte{1, 0})),
		"SocketError": sys.SocketError(),
		"Unsent":      second(sys.Unsent()),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tx, rx := sys.Device(); tx || rx {
		t.Error("a device has what is closed")
	}
	if _, err := newLinuxSocket(new(net.TCPConn)); err == nil {
		t.Error("a socket that never was")
	}
}

func testKeys(t *testing.T) *keyschedule.TrafficKeys {
	t.Helper()
	secret := keyschedule.TrafficSecret{Secret: keyschedule.NewSecret(make([]byte, 32))}
	return secret.Keys(gcm13)
}

func second[T any](_ T, err error) error { return err }

// TestErrorsOfKinds: what errors mean is told by functions, not by their numbers.
func TestErrorsOfKinds(t *testing.T) {
	if !PeerClosed(&Refusal{Err: errNotConn}) || PeerClosed(errBadMessage) || PeerClosed(nil) {
		t.Error("PeerClosed")
	}
	if RulesLinux.String() != "Linux" || RulesFreeBSD.String() != "FreeBSD" || Rules(0).String() != "unknown" {
		t.Error("Rules")
	}
	r := refuse(RulesLinux, "enable TX", net.ErrClosed)
	if r.Reason != net.ErrClosed.Error() || !errors.Is(r, net.ErrClosed) || r.Op != "enable TX" {
		t.Errorf("refusal %+v", r)
	}
}
