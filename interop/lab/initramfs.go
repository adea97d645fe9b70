package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-handoff/tls/interop/lab/job"
)

// initramfs writes the first file system of a machine to path: the guest
// program, the job, and the modules that the job names.
func initramfs(path string, j *job.Job, guest []byte, m *modules) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	c := newCPIOWriter(z)
	if err := fill(c, j, guest, m); err != nil {
		return err
	}
	if err := c.close(); err != nil {
		return err
	}
	return z.Close()
}

func fill(c *cpioWriter, j *job.Job, guest []byte, m *modules) error {
	text, err := j.Encode()
	if err != nil {
		return err
	}
	c.device("dev/console", 5, 1)
	c.file("init", 0o755, guest)
	c.file(job.Path, 0o644, text)
	for _, path := range j.Modules {
		content, err := m.content(path)
		if err != nil {
			return err
		}
		c.file(path, 0o644, content)
	}
	return nil
}

// buildGuest compiles the guest program, which depends on no library.
func buildGuest(ctx context.Context, tree, dir string) ([]byte, error) {
	path := filepath.Join(dir, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./interop/lab/guest")
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the guest program does not build: %w\n%s", err, bytes.TrimSpace(out))
	}
	return os.ReadFile(path)
}
