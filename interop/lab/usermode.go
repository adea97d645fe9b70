package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/go-handoff/tls/interop/debian"
)

// The files of a user mode kernel. It is a program, and its suite's C library
// lies beside it, as the system's may be older than what it was built with.
const (
	umlProgram = "linux.uml"
	umlLoader  = "ld-linux-x86-64.so.2"
	umlLibc    = "libc.so.6"
)

// fetchUserMode makes an image of Debian's package user-mode-linux.
func fetchUserMode(ctx context.Context, a *debian.Archive, work, made string) error {
	root := filepath.Join(work, "root")
	if err := a.Unpack(ctx, root, "user-mode-linux", "libc6"); err != nil {
		return err
	}
	for _, name := range []string{umlLoader, umlLibc} {
		// Older suites do not have it under usr.
		from, err := one(root, "*", "x86_64-linux-gnu", name)
		if err != nil {
			from, err = one(root, "usr", "*", "x86_64-linux-gnu", name)
		}
		if err != nil {
			return err
		}
		if err := os.Rename(from, filepath.Join(made, name)); err != nil {
			return err
		}
	}
	program, err := os.ReadFile(filepath.Join(root, "usr", "bin", umlProgram))
	if err != nil {
		return err
	}
	if err := setLoader(program, "./"+umlLoader); err != nil {
		return fmt.Errorf("%s: %w", umlProgram, err)
	}
	if err := os.WriteFile(filepath.Join(made, umlProgram), program, 0o755); err != nil {
		return err
	}
	unpacked, err := one(root, "usr", "lib", "uml", "modules", "*")
	if err != nil {
		return err
	}
	return keepModules(unpacked, made)
}

// setLoader changes the dynamic loader that a program asks for, in place.
// Giving the program to the loader as an argument is not enough: a user mode
// kernel executes itself again. The loader's path is relative, so that the
// cache can be moved.
func setLoader(program []byte, loader string) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		place := program[p.Off : p.Off+p.Filesz]
		if len(loader) >= len(place) {
			return fmt.Errorf("there is no room for the loader %q", loader)
		}
		clear(place)
		copy(place, loader)
		return nil
	}
	return errors.New("it asks for no loader")
}

// userModeCommand starts an image as a process. Its files are in dir.
//
// Each page that a program in it has touched may become a mapping of its own
// on the host, and of those a process has no more than the host's
// vm.max_map_count, 65530 by default. At the limit the program gets a
// segmentation fault, and the kernel says "UML ran out of memory on the host
// side!". The race detector's shadow memory comes close: small heaps help.
func (b *boot) userModeCommand(ctx context.Context, dir, initrd string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "./"+umlProgram,
		"mem="+fmt.Sprintf("%dM", b.memory), "initrd="+initrd, "uml_dir="+dir, "umid=guest",
		"con=null", "con0=null,fd:1", "quiet", "oops=panic")
	cmd.Dir = b.image.dir // the loader's path is relative
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+b.image.dir, "TMPDIR="+memoryDir(b.memory, dir))
	return cmd
}

// memoryDir returns where a user mode kernel's memory goes: a file that must
// not run out of space, as the kernel dies of that without a word, and that it
// must be able to execute from. Containers often have a shared memory file
// system that is neither.
func memoryDir(mebibytes int, fallback string) string {
	const (
		shm    = "/dev/shm"
		noExec = 8 // ST_NOEXEC
	)
	var s syscall.Statfs_t
	if err := syscall.Statfs(shm, &s); err != nil || s.Flags&noExec != 0 || uint64(s.Bavail)*uint64(s.Bsize)>>20 < uint64(mebibytes) {
		return fallback
	}
	return shm
}
