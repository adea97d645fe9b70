package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// ServerCommand says how to run a real server.
type ServerCommand struct {
	// Name is the command, and Package the Debian package that has it.
	Name, Package string
	// Ports is how many ports it listens on; less than one means one.
	Ports int
	// Args returns its arguments. It is to listen on these ports of 127.0.0.1,
	// and to keep what it keeps in dir, which exists.
	Args func(dir string, ports []int) []string
	// Ready returns nil once the server at the first port does its work. It is
	// called until it does.
	Ready func(ctx context.Context, addr string) error
}

// Server is a server that runs as a child of the test, with faults at will. It
// is gone when the test ends. Its methods must not be called concurrently.
type Server struct {
	// Addr is the address of its first port, the same after each restart.
	Addr string
	// Dir is where it keeps what it keeps.
	Dir string

	t       testing.TB
	command ServerCommand
	path    string
	ports   []int
	process *os.Process // nil if it does not run
	exited  chan struct{}
}

var errEnded = errors.New("it ended")

const (
	// startAttempts is how often a server is started that finds its ports taken.
	startAttempts = 5
	// readyTimeout is how long a server may take to do its work.
	readyTimeout = 30 * time.Second
	readyPause   = 10 * time.Millisecond
)

// StartServer starts a server on free ports, in a directory of its own, and
// waits until it is ready.
func StartServer(t testing.TB, command ServerCommand) *Server {
	t.Helper()
	path := lookCommand(t, command)
	s := &Server{Dir: t.TempDir(), t: t, command: command, path: path}
	t.Cleanup(s.Kill)
	s.startAt(func() []int { return freePorts(t, max(command.Ports, 1)) })
	return s
}

// lookCommand finds the command, also where servers are that users do not call.
func lookCommand(t testing.TB, command ServerCommand) string {
	t.Helper()
	path, err := exec.LookPath(command.Name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin"} {
		if err == nil {
			return path
		}
		path, err = exec.LookPath(filepath.Join(dir, command.Name))
	}
	if err != nil {
		t.Fatalf("there is no command %s: install the Debian package %s", command.Name, command.Package)
	}
	return path
}

// Kill ends the server at once, as a crash does. What it has kept stays.
func (s *Server) Kill() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("killing %s: %v", s.command.Name, err)
	}
	<-s.exited
	s.process = nil
}

// Restart starts the server again, on the same ports and in the same directory,
// and waits until it is ready. If it still runs, it is killed before.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.startAt(func() []int { return s.ports })
}

// startAt starts the server on these ports, which somebody may just have taken.
func (s *Server) startAt(ports func() []int) {
	s.t.Helper()
	var err error
	for range startAttempts {
		s.ports = ports()
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports[0]))
		if err = s.start(); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// start starts the server and waits until it is ready.
func (s *Server) start() error {
	log, err := os.CreateTemp(s.Dir, "log-")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.path, s.command.Args(s.Dir, s.ports)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // most are killed
		close(exited)
	}()
	s.process, s.exited = cmd.Process, exited
	if err := s.awaitReady(); err != nil {
		s.Kill()
		said, readErr := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("%s: %w: %.4000s", s.command.Name, err, said), readErr)
	}
	return nil
}

func (s *Server) awaitReady() error {
	ctx, cancel := context.WithTimeout(s.t.Context(), readyTimeout)
	defer cancel()
	for {
		err := s.command.Ready(ctx, s.Addr)
		select {
		case <-s.exited:
			return errEnded
		case <-time.After(readyPause):
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("it is not ready: %w", err)
		}
	}
}

// Ports that a system gives to clients are above these. A port of theirs could
// be taken when a server wants to have it again.
const firstPort, lastPort = 20000, 32000

// given holds the ports that servers of this process have had.
var given sync.Map

// freePorts returns ports of 127.0.0.1 that nobody listens on.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		port := firstPort + rand.N(lastPort-firstPort)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		if _, used := given.LoadOrStore(port, true); !used {
			ports = append(ports, port)
		}
	}
	t.Fatal("there are no free ports on 127.0.0.1")
	return nil
}
