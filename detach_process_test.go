//go:build unix

package tls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls/kernel"
)

// processVariable makes the test binary the second process.
const processVariable = "HANDOFF_TEST_ADOPTS"

// A message between the processes is a header, with which the descriptor goes,
// and the blob:
//
//	uint32 blob_length;
//	uint64 sent, received;
const messageHeaderLen = 4 + 8 + 8

// sendAway detaches p's connection and sends it to another process.
func (p *talker) sendAway(u *net.UnixConn, key *HandoverKey) error {
	f, blob, err := p.conn.Detach(key)
	if err != nil {
		return fmt.Errorf("Detach: %w", err)
	}
	defer f.Close()
	header := binary.BigEndian.AppendUint32(nil, uint32(len(blob)))
	header = binary.BigEndian.AppendUint64(header, p.sent)
	header = binary.BigEndian.AppendUint64(header, p.received)
	if _, _, err := u.WriteMsgUnix(header, unix.UnixRights(int(f.Fd())), nil); err != nil {
		return err
	}
	_, err = u.Write(blob)
	return err
}

// takeOver adopts the connection that comes next.
func (p *talker) takeOver(u *net.UnixConn, key *HandoverKey, config *Config) error {
	header, oob := make([]byte, messageHeaderLen), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := u.ReadMsgUnix(header, oob)
	if err != nil {
		return err
	}
	if n < len(header) {
		return io.ErrUnexpectedEOF
	}
	f, err := descriptorIn(oob[:oobn])
	if err != nil {
		return err
	}
	blob := make([]byte, binary.BigEndian.Uint32(header))
	if _, err := io.ReadFull(u, blob); err != nil {
		return err
	}
	p.sent = binary.BigEndian.Uint64(header[4:])
	p.received = binary.BigEndian.Uint64(header[12:])
	if p.conn, err = Adopt(f, blob, key, config); err != nil {
		f.Close()
		return fmt.Errorf("Adopt: %w", err)
	}
	return p.conn.SetDeadline(time.Now().Add(loadTimeout))
}

func descriptorIn(oob []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages", len(messages))
	}
	descriptors, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	if len(descriptors) != 1 {
		return nil, fmt.Errorf("%d descriptors", len(descriptors))
	}
	return os.NewFile(uintptr(descriptors[0]), "adopted"), nil
}

// TestDetachToProcess passes a connection to and fro between two processes,
// while both its sides send and receive all the time.
func TestDetachToProcess(t *testing.T) { detachToProcess(t, inUserSpace) }

// TestKernelDetachToProcess does so where the kernel has a direction or both.
func TestKernelDetachToProcess(t *testing.T) { detachToProcess(t, inKernel(t)) }

func detachToProcess(t *testing.T, policies map[string]kernel.Policy) {
	for name, configs := range loadConfigs(policies) {
		for _, who := range []string{"client", "server"} {
			t.Run(name+" "+who, func(t *testing.T) {
				c, s := connectTalkers(t, configs)
				wanderer, rester, config := c, s, configs[0]
				if who == "server" {
					wanderer, rester, config = s, c, configs[1]
				}
				errs := make(chan error, 1)
				go func() { errs <- rester.rest() }()
				if err := visit(t, wanderer, config); err != nil {
					t.Fatal(err)
				}
				rester.stop.Store(true)
				if err := errors.Join(wanderer.finish(), <-errs); err != nil {
					t.Fatal(err)
				}
				if err := wanderer.conn.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				checkTales(t, c, s)
			})
		}
	}
}

// visits is how often a connection changes processes: most often in the lab,
// where the kernel has both directions.
func visits(p kernel.Policy) int {
	switch {
	case p.TX != p.RX:
		return *moves / 5
	case p.TX == kernel.Require && os.Getenv("HANDOFF_LAB") != "":
		return *moves * 5
	}
	return *moves
}

// visit sends p to another process and takes it back, again and again.
func visit(t *testing.T, p *talker, config *Config) error {
	key := GenerateHandoverKey()
	u, stop := startProcess(t, key, config.Kernel, p)
	defer stop()
	for i := 0; i < visits(config.Kernel); i += 2 {
		if err := p.turn(rand.N(maxTurn)); err != nil {
			return fmt.Errorf("after %d moves: %w", i, err)
		}
		if err := p.sendAway(u, key); err != nil {
			return fmt.Errorf("after %d moves: %w", i, err)
		}
		if err := p.takeOver(u, key, config); err != nil {
			return fmt.Errorf("after %d moves: %w", i+1, err)
		}
	}
	return nil
}

// startProcess starts this binary again, to adopt what comes through u. stop
// ends it, and fails the test if it has anything to complain about.
func startProcess(t *testing.T, key *HandoverKey, policy kernel.Policy, p *talker) (u *net.UnixConn, stop func()) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(pair[0])
	said := new(strings.Builder)
	cmd := exec.Command(os.Args[0], "-test.run=^TestAdoptingProcess$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d %d", processVariable, policy.TX, policy.RX, p.tells, p.hears))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(string(key.Bytes())), said, said
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn), func() {
		conn.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other process: %v\n%s", err, said)
		}
	}
}

// TestAdoptingProcess is the second process of TestDetachToProcess. Its key comes
// by the standard input, its connections by descriptor 3.
func TestAdoptingProcess(t *testing.T) {
	settings := os.Getenv(processVariable)
	if settings == "" {
		t.Skip("this is the second process of TestDetachToProcess")
	}
	config, p := new(Config), new(talker)
	if _, err := fmt.Sscan(settings, &config.Kernel.TX, &config.Kernel.RX, &p.tells, &p.hears); err != nil {
		t.Fatal(err)
	}
	secret, err := io.ReadAll(os.Stdin)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewHandoverKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(os.NewFile(3, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	u := conn.(*net.UnixConn)
	for {
		switch err := p.takeOver(u, key, config); {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return
		case err != nil:
			t.Fatal(err)
		}
		if err := p.turn(rand.N(maxTurn)); err != nil {
			t.Fatal(err)
		}
		if err := p.sendAway(u, key); err != nil {
			t.Fatal(err)
		}
	}
}
