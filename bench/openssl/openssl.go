// Package openssl plays cases of package bench with OpenSSL.
//
// A small C program does it (program/openssl.c), in memory, with both ends of a
// connection in one thread. It is built when it is needed: that takes a C
// compiler and the headers of OpenSSL 3.0 or later, in Debian the packages gcc
// and libssl-dev. It runs with newer libraries than those of the system, too.
//
// A handshake is what it is in package bench: new connections of contexts that
// exist, certificates verified by both ends that ask for one, a byte from the
// server to the client, a ticket only where sessions are resumed, and all of it
// freed. OpenSSL's defaults are left as they are, but for its session cache,
// which is off: the client keeps its session itself, and tickets need none.
package openssl

import (
	"bytes"
	"context"
	_ "embed" // the program is in this one
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/go-handoff/tls/bench"
	"github.com/go-handoff/tls/bench/beside"
)

//go:embed program/openssl.c
var source []byte

// Start builds the program and starts it. It runs until its Close, or until ctx
// ends. libraries is a directory with libssl.so.3 and libcrypto.so.3 to use in
// place of the system's, and with the dynamic loader of the C library that they
// need if it is another one; empty for the system's. flags are for the compiler.
func Start(ctx context.Context, libraries string, flags ...string) (*beside.Program, error) {
	return beside.Start(ctx, bench.OpenSSL, func(ctx context.Context, dir string) (string, error) {
		program, err := build(ctx, dir, flags)
		if err != nil || libraries == "" {
			return program, err
		}
		return wrap(dir, program, libraries)
	})
}

// wrap makes a script that runs the program with other libraries.
func wrap(dir, program, libraries string) (string, error) {
	libraries, err := filepath.Abs(libraries)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(libraries, "libssl.so.3")); err != nil {
		return "", err
	}
	loaders, err := filepath.Glob(filepath.Join(libraries, "ld-linux*.so.*"))
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH='%s' exec '%s' \"$@\"\n", libraries, program)
	if len(loaders) > 0 {
		text = fmt.Sprintf("#!/bin/sh\nexec '%s' --library-path '%s' '%s' \"$@\"\n", loaders[0], libraries, program)
	}
	script := filepath.Join(dir, "run")
	return script, os.WriteFile(script, []byte(text), 0o700)
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
