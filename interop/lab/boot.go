package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-handoff/tls/interop/lab/job"
)

// boot is one run of a kernel.
type boot struct {
	image   *image
	tree    string // this module's
	memory  int    // MiB
	icount  bool   // an emulated machine's time counts its instructions
	modules []string
	limit   time.Duration
	verbose io.Writer // gets what the kernel itself says

	args []string
	dir  string
	env  []string
	keep []string
}

// graceTime is how long what should have stopped is waited for.
const graceTime = 5 * time.Second

// errLimit is the error of a machine that was stopped at its time limit.
var errLimit = errors.New("the time limit has passed")

// run boots, runs the command with its output to w, and returns its exit
// status. An error means that the machine failed, and not the command.
func (b *boot) run(ctx context.Context, w io.Writer) (status int, err error) {
	dir, err := os.MkdirTemp("", "lab-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	j, err := b.job()
	if err != nil {
		return 0, err
	}
	guest, err := buildGuest(ctx, b.tree, dir)
	if err != nil {
		return 0, err
	}
	initrd := filepath.Join(dir, "initramfs.gz")
	if err := b.initramfs(initrd, j, guest); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.limit, errLimit)
	defer cancel()
	c := &console{to: w, job: j}
	cmd := b.emulatedCommand(ctx, initrd)
	if b.image.flavor == userMode {
		cmd = b.userModeCommand(ctx, dir, initrd)
	}
	err = b.watch(ctx, cmd, c)
	if b.verbose != nil {
		_, _ = b.verbose.Write(c.kernel.Bytes())
	}
	return c.status, err
}

// job returns what the guest is told.
func (b *boot) job() (*job.Job, error) {
	for _, name := range b.modules {
		if !b.image.modules.has(name) {
			return nil, fmt.Errorf("kernel %s has no module %s", b.image.release, name)
		}
	}
	return &job.Job{
		Marker:   "lab-" + rand.Text() + ":",
		Modules:  b.image.modules.order(slices.Concat(everyModule, b.modules)),
		HostRoot: b.image.flavor == userMode,
		Keep:     b.keep,
		Limit:    b.limit + graceTime,
		Args:     b.args,
		Dir:      b.dir,
		// The host's directory for temporary files may not be there.
		Env: slices.DeleteFunc(slices.Clone(b.env), func(entry string) bool { return strings.HasPrefix(entry, "TMPDIR=") }),
	}, nil
}

// watch runs the machine until it is off.
func (b *boot) watch(ctx context.Context, cmd *exec.Cmd, c *console) error {
	cmd.Stdout, cmd.Stderr = c, c
	// A machine may be several processes, which go together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = graceTime
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
	}
	if closeErr := c.close(); closeErr != nil {
		return closeErr
	}
	switch {
	case c.ended:
		return nil
	case errors.Is(context.Cause(ctx), errLimit):
		return fmt.Errorf("%w: kernel %s was stopped after %v while it ran %q", errLimit, b.image.release, b.limit, b.args)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !c.begun:
		return fmt.Errorf("kernel %s did not come up: %v\n%s", b.image.release, err, c.kernel.Bytes())
	}
	return fmt.Errorf("kernel %s went away before the command ended: %v", b.image.release, err)
}
