package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-handoff/tls/interop/lab/job"
)

// initramfs writes the first file system of a machine to path: the guest
// program, the job, the modules that the job names, and for a machine that has
// no other files also those that the job keeps.
func (b *boot) initramfs(path string, j *job.Job, guest []byte) (err error) {
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
	if err := b.fill(c, j, guest); err != nil {
		return err
	}
	if err := c.close(); err != nil {
		return err
	}
	return z.Close()
}

func (b *boot) fill(c *cpioWriter, j *job.Job, guest []byte) error {
	text, err := j.Encode()
	if err != nil {
		return err
	}
	c.device("dev/console", 5, 1)
	c.file("init", 0o755, guest)
	c.file(job.Path, 0o644, text)
	for _, path := range j.Modules {
		content, err := b.image.modules.content(path)
		if err != nil {
			return err
		}
		c.file(path, 0o644, content)
	}
	if j.HostRoot {
		return nil
	}
	c.dir(j.Dir)
	for _, path := range j.Keep {
		if err := addTree(c, path); err != nil {
			return err
		}
	}
	return nil
}

// addTree adds a file, or a directory with what is in it, under the path that
// it has on the host.
func addTree(c *cpioWriter, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			c.dir(path)
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		c.file(path, uint32(info.Mode().Perm()), content)
		return err
	})
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
