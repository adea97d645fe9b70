//go:build unix

package sessiontest

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// echoServer is a server of this test binary: it answers each line with how
// often it was started in its directory.
var echoServer = ServerCommand{
	Name: os.Args[0], Ports: 2,
	Args: func(dir string, ports []int) []string {
		return []string{"-test.run=^TestServed$", "--", dir, strconv.Itoa(ports[0])}
	},
	Ready: func(ctx context.Context, addr string) error {
		_, err := ask(ctx, addr)
		return err
	},
}

// TestServed is the child of the other tests.
func TestServed(t *testing.T) {
	if flag.NArg() != 2 {
		return // nothing to do in the parent
	}
	starts, err := os.OpenFile(filepath.Join(flag.Arg(0), "starts"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(starts)
	info, err := starts.Stat()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+flag.Arg(1))
	if err != nil {
		t.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			fmt.Fprintln(c, info.Size())
		}
		c.Close()
	}
}

// ask returns what the server at addr answers.
func ask(ctx context.Context, addr string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return "", err
	}
	fmt.Fprintln(c)
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestServer(t *testing.T) {
	s := StartServer(t, echoServer)
	answers := func(want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
		defer cancel()
		if got, err := ask(ctx, s.Addr); got != want || err != nil {
			t.Errorf("answer %q, %v, want %q", got, err, want)
		}
	}
	silent := func(what string) {
		t.Helper()
		for range 100 { // a signal may take a moment
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := ask(ctx, s.Addr); err != nil {
				return
			}
		}
		t.Errorf("%s, it answers", what)
	}
	answers("1")
	s.Pause()
	silent("paused")
	s.Continue()
	answers("1")
	s.Kill()
	silent("killed")
	s.Kill() // again
	s.Restart()
	answers("2")
	s.Pause()
	s.Restart() // while paused
	answers("3")
}

// TestServerEnds checks that a server does not outlive its test.
func TestServerEnds(t *testing.T) {
	var s *Server
	t.Run("Test", func(t *testing.T) { s = StartServer(t, echoServer) })
	if _, err := net.Dial("tcp", s.Addr); err == nil {
		t.Error("the server listens after its test")
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("its directory is left: %v", err)
	}
}

// failing is a test that is to fail.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (f *failing) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

// TestServerFails: who has not the command is told the package, and what a
// server says that does not start is shown.
func TestServerFails(t *testing.T) {
	for _, test := range []struct {
		command ServerCommand
		want    string
	}{
		{ServerCommand{Name: "no-such-server", Package: "the-package"}, "the-package"},
		{ServerCommand{
			Name:  "sh",
			Args:  func(string, []int) []string { return []string{"-c", "echo out of order"} },
			Ready: func(context.Context, string) error { return context.Canceled },
		}, "out of order"},
	} {
		f := &failing{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			StartServer(f, test.command)
		}()
		<-done
		if !strings.Contains(f.said, test.want) {
			t.Errorf("%s: %q does not say %q", test.command.Name, f.said, test.want)
		}
	}
}
