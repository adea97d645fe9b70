package main

import (
	"bytes"
	"errors"
	"strconv"
	"testing"
)

func TestCPIO(t *testing.T) {
	var archive bytes.Buffer
	c := newCPIOWriter(&archive)
	c.device("dev/console", 5, 1)
	c.file("/a/b/init", 0o755, []byte("12345"))
	c.dir("a/b")
	c.file("a/empty", 0o600, nil)
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	want := []cpioEntry{
		{"dev", 0o040755, 0, 0, ""},
		{"dev/console", 0o020600, 5, 1, ""},
		{"a", 0o040755, 0, 0, ""},
		{"a/b", 0o040755, 0, 0, ""},
		{"a/b/init", 0o100755, 0, 0, "12345"},
		{"a/empty", 0o100600, 0, 0, ""},
		{"TRAILER!!!", 0, 0, 0, ""},
	}
	got := readCPIO(t, archive.Bytes())
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// The bytes of the shortest archive, from the kernel's buffer-format.rst.
func TestCPIOGolden(t *testing.T) {
	var archive bytes.Buffer
	c := newCPIOWriter(&archive)
	c.file("x", 0o644, []byte("hi"))
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	const want = "070701" + // magic
		"00000001" + "000081A4" + "00000000" + "00000000" + // inode, mode, uid, gid
		"00000001" + "00000000" + "00000002" + // links, time, size
		"00000000" + "00000000" + "00000000" + "00000000" + // devices
		"00000002" + "00000000" + "x\x00" + // length of the name, checksum, name
		"hi\x00\x00" +
		"070701" + "00000001" + "00000000" + "00000000" + "00000000" +
		"00000001" + "00000000" + "00000000" +
		"00000000" + "00000000" + "00000000" + "00000000" +
		"0000000B" + "00000000" + "TRAILER!!!\x00" + "\x00\x00\x00"
	if got := archive.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCPIOError(t *testing.T) {
	c := newCPIOWriter(brokenWriter{})
	c.file("x", 0o644, []byte("hi"))
	if err := c.close(); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

type cpioEntry struct {
	name               string
	mode, major, minor uint64
	content            string
}

// readCPIO reads an archive as the kernel's init/initramfs.c does.
func readCPIO(t *testing.T, b []byte) (entries []cpioEntry) {
	t.Helper()
	at := 0
	take := func(n int) string {
		if at+n > len(b) {
			t.Fatalf("the archive ends at %d, in an entry", len(b))
		}
		at += n
		return string(b[at-n : at])
	}
	for at < len(b) {
		if magic := take(6); magic != "070701" {
			t.Fatalf("magic %q at %d", magic, at-6)
		}
		var f [13]uint64
		for i := range f {
			var err error
			if f[i], err = strconv.ParseUint(take(8), 16, 32); err != nil {
				t.Fatal(err)
			}
		}
		name := take(int(f[11]))
		take(-at & 3)
		content := take(int(f[6]))
		take(-at & 3)
		entries = append(entries, cpioEntry{name[:len(name)-1], f[1], f[9], f[10], content})
	}
	return entries
}
