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
	// Stdin is the program's standard input.
	Stdin io.WriteCloser

	t    testing.TB
	cmd  *exec.Cmd
	out  *Transcript
	done chan struct{} // closed when it has ended and all it printed is in out
	err  error         // why it ended, once done is closed
}

// Start runs a command with a pipe to its standard input. The command must obey
// the context. What it prints goes to a transcript, unless one of the changes
// sends it elsewhere; if the test fails, the transcript is logged.
func Start(t testing.TB, command func(context.Context) *exec.Cmd, changes ...func(*exec.Cmd)) *Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	p := &Process{t: t, cmd: command(ctx), out: NewTranscript(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	for _, change := range changes {
		change(p.cmd)
	}
	var err error
	if p.Stdin, err = p.cmd.StdinPipe(); err == nil {
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

// Times waits until the process has printed text n times.
func (p *Process) Times(text string, n int) {
	p.t.Helper()
	p.until(text, func(out string) bool { return strings.Count(out, text) >= n })
}

// Match waits until what the process has printed matches, and returns the first
// match with its groups.
func (p *Process) Match(re *regexp.Regexp) []string {
	p.t.Helper()
	return re.FindStringSubmatch(p.until(re.String(), re.MatchString))
}

// Output returns what the process has printed so far.
func (p *Process) Output() string { return p.out.String() }

// until waits until the process has printed what satisfies done, and returns it.
func (p *Process) until(want string, done func(out string) bool) string {
	p.t.Helper()
	for {
		text, grown := p.out.Text()
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
	if _, err := io.WriteString(p.Stdin, line+"\n"); err != nil {
		p.t.Fatalf("typing %q: %v", line, err)
	}
}

// End closes standard input, waits for the end of the process and returns all it
// printed.
func (p *Process) End() string {
	p.t.Helper()
	_ = p.Stdin.Close() // it may have ended already
	<-p.done
	return p.out.String()
}

// Kill ends the process without giving it a chance to say goodbye.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err waits for the end of the process and returns how it exited.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Transcript is what has been written to it so far. Its methods may be called
// concurrently.
type Transcript struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed when text grows
}

// NewTranscript returns an empty one.
func NewTranscript() *Transcript { return &Transcript{grown: make(chan struct{})} }

// Write implements io.Writer.
func (o *Transcript) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.text.Write(b)
}

// Text returns the text, and a channel that is closed when there is more.
func (o *Transcript) Text() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.grown
}

// String returns the text.
func (o *Transcript) String() string {
	text, _ := o.Text()
	return text
}
