//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernels that are measured in: one that runs at the processor's speed, and
// one that runs in QEMU.
const (
	fastKernel     = "7.2"
	emulatedKernel = "7.3"
)

// measure runs this program in the lab's kernels and writes what it has found.
func measure(ctx context.Context, path string) error {
	dir, err := os.MkdirTemp("", "kernelmode-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "kernelmode")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/go-handoff/tls/bench/kernelmode")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // an emulated machine has no libraries
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	counted, err := inLab(ctx, program, "counts", "-kernel", fastKernel)
	if err != nil {
		return err
	}
	instructions, err := inLab(ctx, program, "instructions", "-kernel", emulatedKernel, "-icount")
	if err != nil {
		return err
	}
	qemu, err := exec.CommandContext(ctx, "qemu-system-x86_64", "--version").Output()
	if err != nil {
		return err
	}
	version, _, _ := strings.Cut(string(qemu), "\n")
	return os.WriteFile(path, render(counted, instructions, version), 0o644)
}

// inLab runs this program in a kernel, and returns its figures.
func inLab(ctx context.Context, program, what string, flags ...string) (figures []figure, err error) {
	args := append([]string{"run", "github.com/go-handoff/tls/interop/lab"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "--", program, "-inside", what)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", what, err, out)
	}
	for line := range bytes.Lines(out) {
		var f figure
		if json.Unmarshal(line, &f) == nil && f.Kind != "" {
			figures = append(figures, f)
		}
	}
	return figures, nil
}

// release is what uname says.
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(u.Release[:])
}
