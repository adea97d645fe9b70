// Package openssl plays cases of package bench with OpenSSL.
//
// A small C program does it (program/openssl.c), in memory, with both ends of a
// connection in one thread. It is built when it is needed: that takes a C
// compiler and the headers of OpenSSL 3.0 or later, in Debian the packages gcc
// and libssl-dev. gcc's own variables say where another OpenSSL is: CPATH has
// its headers, LIBRARY_PATH and LD_RUN_PATH its libraries.
//
// A handshake is what it is in package bench: new connections of contexts that
// exist, certificates verified by both ends that ask for one, a byte from the
// server to the client, a ticket only where sessions are resumed, and all of it
// freed. OpenSSL's defaults are left as they are, but for its session cache,
// which is off: the client keeps its session itself, and tickets need none.
package openssl

import (
	"bufio"
	"bytes"
	"context"
	_ "embed" // the program is in this one
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-handoff/tls/bench"
)

//go:embed program/openssl.c
var source []byte

// Program is the C program, which runs. It is not for concurrent use.
type Program struct {
	// Version is OpenSSL's, as in "OpenSSL 3.0.19 27 Jan 2026".
	Version string
	// Cannot are the cases that this OpenSSL has not what it takes for, with the
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

// Start builds the program and starts it. It runs until Close, or until ctx ends.
// flags are for the compiler.
func Start(ctx context.Context, flags ...string) (p *Program, err error) {
	dir, err := os.MkdirTemp("", "handoff-openssl")
	if err != nil {
		return nil, err
	}
	p = &Program{dir: dir, can: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
			p = nil
		}
	}()
	program, err := build(ctx, dir, flags)
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

// build compiles the program, and returns its name.
func build(ctx context.Context, dir string, flags []string) (string, error) {
	file, program := filepath.Join(dir, "openssl.c"), filepath.Join(dir, "openssl")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return "", err
	}
	args := slices.Concat([]string{"-O2"}, flags, []string{"-o", program, file, "-lssl", "-lcrypto"})
	out, err := exec.CommandContext(ctx, "cc", args...).CombinedOutput()
	switch {
	case err == nil:
		return program, nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("there is no C compiler (Debian: apt-get install gcc libc6-dev): %w", err)
	case bytes.Contains(out, []byte("openssl/")) && bytes.Contains(out, []byte("No such file")):
		return "", fmt.Errorf("there are no headers of OpenSSL (Debian: apt-get install libssl-dev): %w", err)
	}
	return "", fmt.Errorf("its program cannot be built: %w: %s", err, bytes.TrimSpace(out))
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
		p.err = errors.Join(errors.New("openssl: its program has ended"), p.out.Err())
	case strings.HasPrefix(p.out.Text(), "error "):
		p.err = errors.New("openssl: " + strings.TrimPrefix(p.out.Text(), "error "))
	}
	return p.out.Text(), p.err
}

// Err returns what ended the program, nil as long as it plays.
func (p *Program) Err() error { return p.err }

// Beside returns a case with OpenSSL as one more stack, if the program can play
// it.
func (p *Program) Beside(c bench.Case) bench.Case {
	if !p.can[c.Name] || p.err != nil {
		return c
	}
	open := c.Open
	c.More = slices.Concat(c.More, []bench.Stack{bench.OpenSSL})
	c.Open = func(s bench.Stack) (*bench.Player, error) {
		if s != bench.OpenSSL {
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
	return parse(line)
}

// parse reads figures as Go's benchmarks print them: "VALUE UNIT VALUE UNIT".
func parse(line string) (bench.Figures, error) {
	f, words := bench.Figures{}, strings.Fields(line)
	for ; len(words) >= 2; words = words[2:] {
		v, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			return nil, fmt.Errorf("openssl: %q: %w", line, err)
		}
		f[words[1]] = v
	}
	if len(f) == 0 || len(words) > 0 {
		return nil, fmt.Errorf("openssl: %q is no answer", line)
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
