package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-handoff/tls/interop/debian"
)

// emulatedKernel is the file of a kernel that QEMU boots.
const emulatedKernel = "vmlinuz"

// fetchEmulated makes an image of Debian's own kernel for virtual machines.
// The package that is always the newest names the one that it stands for.
func fetchEmulated(ctx context.Context, a *debian.Archive, work, made string) error {
	needs, err := a.Depends(ctx, "linux-image-cloud-amd64")
	if err != nil {
		return err
	}
	const prefix = "linux-image-"
	i := slices.IndexFunc(needs, func(name string) bool { return strings.HasPrefix(name, prefix) })
	if i < 0 {
		return fmt.Errorf("linux-image-cloud-amd64 depends on %q, which is no kernel", needs)
	}
	release := strings.TrimPrefix(needs[i], prefix)
	root := filepath.Join(work, "root")
	if err := a.Unpack(ctx, root, "linux-binary-"+release, "linux-modules-"+release); err != nil {
		return err
	}
	unpacked := filepath.Join(root, "usr", "lib", "modules", release)
	if err := os.Rename(filepath.Join(unpacked, emulatedKernel), filepath.Join(made, emulatedKernel)); err != nil {
		return err
	}
	if err := depmod(ctx, filepath.Join(root, "usr"), release); err != nil {
		return err
	}
	return keepModules(unpacked, made)
}

// emulatedCommand starts an image in QEMU, which has no need of hardware help.
//
// Where instructions are counted, the machine's time is how many it has executed,
// in nanoseconds, and skips what it would have slept. So the time that a program
// has used repeats, whatever else the host does. String instructions count once
// for each step: without erms and fsrm the kernel copies by other means.
func (b *boot) emulatedCommand(ctx context.Context, initrd string) *exec.Cmd {
	args := []string{"-accel", "tcg", "-cpu", "max"}
	if b.icount {
		args = []string{"-accel", "tcg", "-cpu", "max,erms=off,fsrm=off", "-icount", "shift=0,sleep=off"}
	}
	args = append(args, "-m", fmt.Sprint(b.memory), "-nodefaults", "-no-reboot",
		"-display", "none", "-serial", "stdio",
		"-kernel", filepath.Join(b.image.dir, emulatedKernel), "-initrd", initrd,
		"-append", "console=ttyS0 quiet oops=panic panic=-1")
	return exec.CommandContext(ctx, "qemu-system-x86_64", args...)
}

// depmod writes modules.dep, which this kernel's packages leave to the machine
// that they are installed on.
func depmod(ctx context.Context, base, release string) error {
	out, err := exec.CommandContext(ctx, "depmod", "-b", base, release).CombinedOutput()
	if err != nil {
		return fmt.Errorf("depmod: %w %s", err, out)
	}
	return nil
}
