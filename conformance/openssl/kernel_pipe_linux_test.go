package openssl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls"
	"github.com/go-handoff/tls/conformance/internal/pki"
	"github.com/go-handoff/tls/conformance/internal/process"
)

// console is an openssl whose standard input and output are compared with the
// other end of a connection.
type console struct {
	*process.Process
	stdout *process.Transcript
	mark   string // what is printed after it is compared
	want   []byte // what must have been printed since
}

// noise is what openssl prints between data. No data contains it.
var noise = regexp.MustCompile(`SSL_do_handshake -> 1\n|([Rr]ead|[Ww]rite) ([RWX] )?BLOCK\n`)

// begin sends a mark.
func (c *console) begin(conn *tls.Conn, seed uint64) error {
	c.mark, c.want = fmt.Sprintf("BEGIN %d\n", seed), nil
	_, err := conn.Write([]byte(c.mark))
	return errors.Join(err, c.shows(nil))
}

// shows waits until openssl has printed what it has received, b at last.
func (c *console) shows(b []byte) error {
	c.want = append(c.want, b...)
	for {
		text, grown := c.stdout.Text()
		_, after, begun := strings.Cut(text, c.mark)
		if begun && len(after) >= len(c.want) && noise.ReplaceAllString(after, "") == string(c.want) {
			return nil
		}
		select {
		case <-grown:
		case <-c.Done():
			return fmt.Errorf("openssl has ended, and not printed what was sent: %.100q", after)
		}
	}
}

// types writes b to standard input and waits until openssl has read it, so that
// it reads nothing else together with it.
func (c *console) types(b []byte) error {
	if _, err := c.Stdin.Write(b); err != nil {
		return err
	}
	for {
		n, err := unread(c.Stdin.(*os.File))
		if n == 0 || err != nil {
			return err
		}
		select {
		case <-c.Done():
			return errors.New("openssl has ended, and not read what was typed")
		case <-time.After(100 * time.Microsecond):
		}
	}
}

// unread returns how much nobody has read yet of what was written to a pipe.
func unread(pipe *os.File) (n int, err error) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failure error
	err = raw.Control(func(fd uintptr) { n, failure = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n, errors.Join(err, failure)
}

// dialogue is a connection with an openssl in the terminal.
type dialogue struct {
	*trial
	console *console
	conn    *tls.Conn
	sender  *sender
	reads   *rand.Rand
	update  bool // keys may change, and openssl listens to commands
}

func (r *trial) dialogue(c *console, conn *tls.Conn, commands bool) (*dialogue, error) {
	s, err := r.sender(conn)
	if err != nil {
		return nil, err
	}
	update := commands && r.rekey && conn.ConnectionState().Version == tls13.id
	return &dialogue{r, c, conn, s, r.source(2), update}, c.begin(conn, r.seed)
}

// hold exchanges data in both directions at once, several times, with new keys
// in between that either end or both have started.
func (d *dialogue) hold() error {
	for range 1 + d.rnd.IntN(4) {
		for d.update && d.rnd.IntN(2) == 0 {
			if err := d.newKeys(); err != nil {
				return err
			}
		}
		if err := d.exchange(); err != nil {
			return err
		}
	}
	return nil
}

// newKeys has either end change keys, and in some cases ask the other to do so.
func (d *dialogue) newKeys() error {
	switch d.rnd.IntN(3) {
	case 0:
		return d.conn.KeyUpdate(context.Background())
	case 1:
		return d.console.types([]byte("K\n")) // and asks
	default:
		return d.console.types([]byte("k\n"))
	}
}

func (d *dialogue) exchange() error {
	from, to := theText().lines(d.rnd, d.size())
	list := calls(d.rnd, from, to, d.update)
	start, end := theText().lines(d.rnd, d.size())
	typed := theText().bytes[start:end]
	errs := make(chan error, 3)
	go func() { errs <- d.sender.send(list) }()
	go func() { errs <- d.typed(typed) }()
	go func() { errs <- receiveExactly(d.conn, d.reads, typed) }()
	err := d.console.shows(theText().bytes[from:to])
	for range cap(errs) {
		if err != nil {
			_ = d.conn.NetConn().Close() // ends whoever still waits
		}
		err = errors.Join(err, <-errs)
	}
	return err
}

// typed types b in pieces.
func (d *dialogue) typed(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), 1<<14)
		if err := d.console.types(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// close ends the connection, ours being the first end to say so, and checks that
// the other says so too.
func (d *dialogue) close() error {
	err := d.conn.CloseWrite()
	err = errors.Join(err, d.receive(d.conn, nil), d.conn.Close())
	d.sender.close()
	return err
}

// answer is close after openssl has ended the connection.
func (d *dialogue) answer() error {
	err := errors.Join(d.receive(d.conn, nil), d.conn.CloseWrite(), d.conn.Close())
	d.sender.close()
	return err
}

// TestKernelClient connects openssl s_client to a server of ours.
func TestKernelClient(t *testing.T) {
	for _, commands := range []bool{false, true} {
		t.Run(map[bool]string{false: "quiet", true: "commands"}[commands], func(t *testing.T) {
			count(t)
			rekey := needKernel(t).Rekey.OK
			ts := newTrials(t, rekey)
			for _, seed := range seeds(1, 1, uint64(*kernelPipes)) {
				if err := ts.client(t, ts.trial(seed), commands); err != nil {
					t.Fatalf("%v\nagain: go test -run '^%s$' -kernel.seed %d", err, t.Name(), seed)
				}
			}
			ts.tally.check(t, rekey && commands)
		})
	}
}

// client makes a run with an s_client.
func (ts *trials) client(t *testing.T, r *trial, commands bool, hows ...how) error {
	l := listen(t, r.shape(serverConfig(pki.P256)))
	c := &console{stdout: process.NewTranscript()}
	args := []string{"-quiet"}
	if commands {
		args = nil
	}
	c.Process = l.client(args, append(hows, stdoutTo(c.stdout))...)
	conn, err := l.try()
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	d, err := r.dialogue(c, conn, commands)
	if err == nil {
		err = d.hold()
	}
	if err != nil {
		return fmt.Errorf("%w\n%v", err, conn.Offload())
	}
	ts.tally.add(conn)
	if commands && r.rnd.IntN(2) == 0 {
		if err := c.Stdin.Close(); err != nil {
			return err
		}
		return d.answer()
	}
	return d.close()
}

// TestKernelServer connects to an openssl s_server that listens to commands.
func TestKernelServer(t *testing.T) {
	count(t)
	rekey := needKernel(t).Rekey.OK
	ts := newTrials(t, rekey)
	const share = 10
	for first := uint64(1); first <= max(uint64(*kernelPipes), *kernelSeed); first += share {
		list := seeds(first, 1, share)
		if len(list) == 0 {
			continue
		}
		c := &console{stdout: process.NewTranscript()}
		s := startServer(t, append(identity(pki.P256), "-cipher", "ALL"), stdoutAlsoTo(c.stdout))
		c.Process = s.Process
		for _, seed := range list {
			r := ts.trial(seed)
			if err := ts.server(r, c, s.addr); err != nil {
				t.Fatalf("%v\nagain: go test -run '^%s$' -kernel.seed %d", err, t.Name(), seed)
			}
		}
		s.Kill()
	}
	ts.tally.check(t, rekey)
}

// stdoutAlsoTo sends a copy of standard output to w.
func stdoutAlsoTo(w io.Writer) how {
	return func(cmd *exec.Cmd) { cmd.Stdout = io.MultiWriter(cmd.Stdout, w) }
}

// server makes a run with an s_server.
func (ts *trials) server(r *trial, c *console, addr string) error {
	conn, err := connectTo(addr, r.shape(clientConfig()))
	if err != nil {
		return err
	}
	defer conn.Close()
	d, err := r.dialogue(c, conn, true)
	if err == nil {
		err = d.hold()
	}
	if err != nil {
		return fmt.Errorf("%w\n%v", err, conn.Offload())
	}
	ts.tally.add(conn)
	return d.close()
}
