// Package process runs other people's programs in tests, and reads and types
// what a person would.
package process

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Limit bounds the life of a process: one that hangs is killed, and what waits
// for it fails.
const Limit = 30 * time.Second

// Process is a program that runs until the test ends.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *transcript
	done  chan struct{} // closed when it has ended and all it printed is in out
	err   error         // why it ended, once done is closed
}

// Start runs a command with a pipe to its standard input. The command must obey
// the context. If the test fails, all that the program printed is logged.
func Start(t testing.TB, command func(context.Context) *exec.Cmd) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	p := &Process{t: t, cmd: command(ctx), out: newTranscript(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Logf("%s\n%s(%v)", strings.Join(p.cmd.Args, " "), p.out, p.err)
		}
	})
	return p
}

// Expect waits until the process has printed text, and returns all it printed.
func (p *Process) Expect(text string) string {
	p.t.Helper()
	return p.until(text, func(out string) bool { return strings.Contains(out, text) })
}

// Match waits until what the process has printed matches n times, and returns
// the last of these matches with its groups.
func (p *Process) Match(re *regexp.Regexp, n int) []string {
	p.t.Helper()
	find := func(out string) [][]string { return re.FindAllStringSubmatch(out, n) }
	out := p.until(re.String(), func(out string) bool { return len(find(out)) == n })
	return find(out)[n-1]
}

// until waits until the process has printed what satisfies done, and returns it.
func (p *Process) until(want string, done func(out string) bool) string {
	p.t.Helper()
	for {
		text, grown := p.out.read()
		if done(text) {
			return text
		}
		select {
		case <-grown:
			continue
		case <-p.done:
		}
		if text := p.out.String(); done(text) {
			return text
		}
		p.t.Fatalf("%s ended and did not print %.100q", p.cmd.Args[0], want)
	}
}

// Say types a line.
func (p *Process) Say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("typing %q: %v", line, err)
	}
}

// End closes standard input, waits for the end of the process and returns all it
// printed.
func (p *Process) End() string {
	p.t.Helper()
	_ = p.stdin.Close() // it may have ended already
	<-p.done
	return p.out.String()
}

// Kill ends the process without giving it a chance to say goodbye.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// transcript is what a process has printed so far.
type transcript struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed when text grows
}

func newTranscript() *transcript { return &transcript{grown: make(chan struct{})} }

func (o *transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.text.Write(b)
}

func (o *transcript) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.grown
}

func (o *transcript) String() string {
	text, _ := o.read()
	return text
}
