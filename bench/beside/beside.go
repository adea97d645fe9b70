// Package beside runs programs that play cases of package bench with stacks that
// are not in Go.
//
// Such a program has three arguments: PEM files with a certificate, its key and
// the root to trust. The first lines of its output say which stack it has, and
// what it can play:
//
//	version TEXT
//	can NAME
//	cannot NAME REASON
//	ready
//
// Then it answers each line "NAME N" of its input by one with figures of N
// operations, "VALUE UNIT VALUE UNIT", until the input ends. What fails ends it,
// after a line "error TEXT".
package beside

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-handoff/tls/bench"
)

// Program is one that runs. It is not for concurrent use.
type Program struct {
	// Stack is what it plays with.
	Stack bench.Stack
	// Version says which one that is, as in "OpenSSL 3.0.19 27 Jan 2026".
	Version string
	// Cannot are the cases that this version has not what it takes for, with the
	// reason of each.
	Cannot []Missing

	can    map[string]bool
	dir    string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
	err    error
}

// Missing is a case that cannot be played, and why.
type Missing struct{ Case, Reason string }

// patience is how long the program may take for an answer.
var patience = time.Minute

// Start has a program built, in a directory of its own, and starts it. It runs
// until Close, or until ctx ends.
func Start(ctx context.Context, s bench.Stack, build func(ctx context.Context, dir string) (string, error)) (p *Program, err error) {
	dir, err := os.MkdirTemp("", "handoff-beside")
	if err != nil {
		return nil, err
	}
	p = &Program{Stack: s, dir: dir, can: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	program, err := build(ctx, dir)
	if err != nil {
		return p, err
	}
	chain, key, root, err := bench.CertificatePEM()
	if err != nil {
		return p, err
	}
	var files []string
	for i, text := range [][]byte{chain, key, root} {
		files = append(files, filepath.Join(dir, strconv.Itoa(i)+".pem"))
		if err := os.WriteFile(files[i], text, 0o600); err != nil {
			return p, err
		}
	}
	return p, p.start(ctx, program, files)
}

// start starts the program, and hears what it can do.
func (p *Program) start(ctx context.Context, program string, files []string) (err error) {
	cmd := exec.CommandContext(ctx, program, files...)
	cmd.Stderr = &p.stderr
	if p.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	for {
		line, err := p.hear()
		if err != nil {
			return err
		}
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "version":
			p.Version = rest
		case "can":
			p.can[rest] = true
		case "cannot":
			name, reason, _ := strings.Cut(rest, " ")
			p.Cannot = append(p.Cannot, Missing{name, reason})
		case "ready":
			return nil
		}
	}
}

// hear returns the next line of what the program says.
func (p *Program) hear() (string, error) {
	if p.err != nil {
		return "", p.err
	}
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	switch {
	case !p.out.Scan():
		p.err = errors.Join(fmt.Errorf("%s: its program has ended", p.Stack), p.out.Err())
	case strings.HasPrefix(p.out.Text(), "error "):
		p.err = fmt.Errorf("%s: %s", p.Stack, strings.TrimPrefix(p.out.Text(), "error "))
	}
	return p.out.Text(), p.err
}

// Err returns what ended the program, nil as long as it plays.
func (p *Program) Err() error { return p.err }

// Can returns the names of the cases that it can play, sorted.
func (p *Program) Can() []string { return slices.Sorted(maps.Keys(p.can)) }

// Beside returns a case with the program's as one more stack, if the program can play
// it.
func (p *Program) Beside(c bench.Case) bench.Case {
	if !p.can[c.Name] || p.err != nil {
		return c
	}
	open := c.Open
	c.More = slices.Concat(c.More, []bench.Stack{p.Stack})
	c.Open = func(s bench.Stack) (*bench.Player, error) {
		if s != p.Stack {
			return open(s)
		}
		return &bench.Player{Play: func(n int) (bench.Figures, error) { return p.play(c.Name, n) }}, nil
	}
	return c
}

func (p *Program) play(name string, n int) (bench.Figures, error) {
	if _, err := fmt.Fprintln(p.in, name, n); err != nil {
		p.err = err
		return nil, err
	}
	line, err := p.hear()
	if err != nil {
		return nil, err
	}
	f, err := parse(line)
	if err != nil {
		p.err = err
	}
	return f, err
}

// parse reads figures as Go's benchmarks print them: "VALUE UNIT VALUE UNIT".
func parse(line string) (bench.Figures, error) {
	f, words := bench.Figures{}, strings.Fields(line)
	for ; len(words) >= 2; words = words[2:] {
		v, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			return nil, fmt.Errorf("beside: %q: %w", line, err)
		}
		f[words[1]] = v
	}
	if len(f) == 0 || len(words) > 0 {
		return nil, fmt.Errorf("beside: %q is no answer", line)
	}
	return f, nil
}

// Close ends the program, and returns an error if it failed.
func (p *Program) Close() error {
	var err error
	if p.cmd != nil {
		_ = p.in.Close()
		timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		err = p.cmd.Wait()
		timer.Stop()
		if err != nil && p.stderr.Len() > 0 {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(p.stderr.Bytes()))
		}
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
