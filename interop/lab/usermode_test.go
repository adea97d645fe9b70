package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"
)

// elfProgram returns the beginning of a program with one segment.
func elfProgram(t *testing.T, kind elf.ProgType, content string) []byte {
	t.Helper()
	const headers = 64 + 56
	var b bytes.Buffer
	for _, part := range []any{
		elf.Header64{
			Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
		},
		elf.Prog64{Type: uint32(kind), Off: headers, Filesz: uint64(len(content)), Memsz: uint64(len(content))},
		[]byte(content),
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestSetLoader(t *testing.T) {
	const before, after = "/lib64/ld-linux-x86-64.so.2\x00", "./" + umlLoader
	program := elfProgram(t, elf.PT_INTERP, before)
	size := len(program)
	if err := setLoader(program, after); err != nil {
		t.Fatal(err)
	}
	want := after + strings.Repeat("\x00", len(before)-len(after))
	if got := string(program[size-len(before):]); got != want || len(program) != size {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := setLoader(program, strings.Repeat("x", len(before))); err == nil {
		t.Error("a loader that does not fit gives no error")
	}
	if err := setLoader(elfProgram(t, elf.PT_LOAD, before), after); err == nil {
		t.Error("a program without a loader gives no error")
	}
	if err := setLoader([]byte("#!/bin/sh"), after); err == nil {
		t.Error("what is no program gives no error")
	}
}
