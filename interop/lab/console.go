package main

import (
	"bytes"
	"io"

	"github.com/go-handoff/tls/interop/lab/job"
)

// console is what a machine prints. It lets the command's output through, line
// by line, and takes what the guest says about it out.
type console struct {
	to  io.Writer
	job *job.Job

	kernel  bytes.Buffer // what came before the command and after it
	begun   bool
	partial []byte // a line that has not ended
	newline bool   // ended the last line, and is written before the next
	status  int
	ended   bool // status is there
}

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		c.partial = append(c.partial, line...)
		rest = after
		if !whole {
			break
		}
		if err := c.line(c.partial); err != nil {
			return 0, err
		}
		c.partial = c.partial[:0]
	}
	return len(p), nil
}

// line takes a whole line, without its end.
func (c *console) line(line []byte) error {
	if !c.begun || c.ended {
		if string(line) == c.job.Begins() {
			c.begun = true
			return nil
		}
		_, err := c.kernel.Write(append(bytes.TrimRight(line, "\r"), '\n'))
		return err
	}
	if status, ok := c.job.ParseEnd(string(line)); ok {
		// The newline before it is the guest's.
		c.status, c.ended, c.newline = status, true, false
		return nil
	}
	return c.pass(line)
}

func (c *console) pass(line []byte) error {
	if c.newline {
		line = append([]byte{'\n'}, line...)
	}
	c.newline = true
	_, err := c.to.Write(line)
	return err
}

// close writes what is left of a command that was cut off, and the newline
// that was kept back.
func (c *console) close() error {
	switch {
	case c.begun && !c.ended && (c.newline || len(c.partial) > 0):
		return c.pass(c.partial)
	case !c.begun && len(c.partial) > 0:
		return c.line(c.partial)
	}
	return nil
}
