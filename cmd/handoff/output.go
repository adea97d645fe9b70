package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// output is where a download goes.
type output struct {
	io.Writer
	file   *os.File // nil for standard output
	target string   // the file's name in the end; empty if it has it already
}

// createOutput opens a file that appears under its name when it is committed.
// No name, or "-", is standard output. What exists and is no regular file, such
// as a device or a pipe, is written to directly.
func (p *process) createOutput(name string) (*output, error) {
	if name == "" || name == "-" {
		return &output{Writer: p.stdout}, nil
	}
	mode := fs.FileMode(0o666)
	if info, err := os.Stat(name); err == nil {
		if !info.Mode().IsRegular() {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			return &output{Writer: f, file: f}, err
		}
		mode = info.Mode().Perm()
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return nil, err
		}
	}
	part := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%s.part", filepath.Base(name), rand.Text()[:8]))
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		e.Path = name // which is what the user knows
	}
	return &output{Writer: f, file: f, target: name}, err
}

// commit makes the output final.
func (o *output) commit() error {
	if o.file == nil {
		return nil
	}
	if err := o.file.Close(); err != nil {
		return err
	}
	if o.target == "" {
		return nil
	}
	return os.Rename(o.file.Name(), o.target)
}

// discard removes an output that was not committed.
func (o *output) discard() {
	if o.file == nil || o.file.Close() != nil {
		return // what is closed was committed
	}
	if o.target != "" {
		_ = os.Remove(o.file.Name())
	}
}
