package main

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// cpioWriter writes an archive in cpio's "newc" form, which is what a kernel
// unpacks as its first file system
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpioWriter struct {
	w       io.Writer
	written int64
	inode   int
	dirs    map[string]bool
	err     error
}

func newCPIOWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: w, dirs: map[string]bool{".": true}}
}

// Types of files, as in st_mode.
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
)

// file adds a file, and the directories to it. The first error stays and is
// close's.
func (c *cpioWriter) file(name string, perm uint32, content []byte) {
	c.entry(name, modeFile|perm, 0, 0, content)
}

// dir adds a directory, and those to it, if it is not there.
func (c *cpioWriter) dir(name string) {
	name = clean(name)
	if c.dirs[name] {
		return
	}
	c.dirs[name] = true
	c.entry(name, modeDir|0o755, 0, 0, nil)
}

// device adds a character device.
func (c *cpioWriter) device(name string, major, minor uint32) {
	c.entry(name, modeChar|0o600, major, minor, nil)
}

// close ends the archive.
func (c *cpioWriter) close() error {
	c.header("TRAILER!!!", 0, 0, 0, 0)
	c.pad()
	return c.err
}

func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

func (c *cpioWriter) entry(name string, mode, major, minor uint32, content []byte) {
	name = clean(name)
	if dir := path.Dir(name); dir != "." {
		c.dir(dir)
	}
	if int64(len(content)) > 1<<32-1 {
		c.fail(fmt.Errorf("%s is too long for a cpio archive", name))
		return
	}
	c.inode++
	c.header(name, mode, major, minor, len(content))
	c.write(content)
	c.pad()
}

// header writes the 110 bytes before each name, and the name.
func (c *cpioWriter) header(name string, mode, major, minor uint32, size int) {
	const owner, links, time, archiveMajor, archiveMinor, checksum = 0, 1, 0, 0, 0, 0
	c.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, owner, owner, links, time, size, archiveMajor, archiveMinor, major, minor, len(name)+1, checksum, name))
	c.pad()
}

// pad goes to the next multiple of 4 bytes.
func (c *cpioWriter) pad() {
	c.write(make([]byte, -c.written&3))
}

func (c *cpioWriter) write(b []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(b)
	c.written += int64(n)
	c.fail(err)
}

func (c *cpioWriter) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}
