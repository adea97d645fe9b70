//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"

	tls "github.com/go-handoff/tls"
)

// play has a server process do its task, is its client, and returns what the
// server says. With a trace, strace writes what the process does to that file.
func play(t task, trace string) (samples []sample, err error) {
	w, err := wayOf(t.Way)
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	command := []string{"/proc/self/exe"}
	if trace != "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		command = []string{"strace", "-f", "-s", "32", "-o", trace, self}
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), serveEnv+"="+string(arg))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	samples, err = attend(bufio.NewReader(out), w, t)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if waitErr := cmd.Wait(); err == nil {
		err = waitErr
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", t.Way, err)
	}
	return samples, err
}

// serveEnv tells a process that it is to be a server: a test's own flags leave no
// room for that.
const serveEnv = "KERNELMODE_SERVE"

// attend is the client of a server process.
func attend(out *bufio.Reader, w way, t task) (samples []sample, err error) {
	addr, err := out.ReadString('\n')
	if err != nil {
		return nil, errSilent
	}
	addr = strings.TrimSpace(addr)
	for range t.Conns {
		if err := useOne(addr, w, t); err != nil {
			return nil, err
		}
		line, err := out.ReadBytes('\n')
		if err != nil {
			return nil, errSilent
		}
		var s sample
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// useOne is one connection. Both processes are one program's, so there is nobody
// to verify.
func useOne(addr string, w way, t task) error {
	tcp, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer tcp.Close()
	c := tcp
	if w.stack != plain {
		c = tls.Client(tcp, &tls.Config{InsecureSkipVerify: true, Kernel: policy(false, false)})
		defer c.Close()
	}
	if w.source {
		source, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer source.Close()
		go func() { _, _ = source.Write(make([]byte, t.Size)) }()
	}
	one := make([]byte, 1)
	if _, err := io.ReadFull(c, one); err != nil {
		return err
	}
	if _, err := c.Write(one); err != nil {
		return err
	}
	if w.receives() {
		if _, err := c.Write(make([]byte, t.Size)); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, c)
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<18))
	return complete(n, t.Size, err)
}
