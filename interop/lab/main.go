// Command lab runs a command inside a real kernel that it boots for it.
//
//	go run ./interop/lab -kernel 7.2 -- ./kernel.test -test.v
//	go run ./interop/lab -kernel 6.1 -- bash -c 'curl ... && ss -tie'
//
// The kernels are Debian's. They run as processes ("user mode Linux") at the
// processor's speed, are fetched once, and kept in the directory .lab of the
// tree. The command sees the host's files, and can change them; only /tmp,
// /var/tmp, /run and /dev/shm are its own and begin empty, but for the
// directory and the program of the command itself. It has the loopback network
// and no other, and one processor.
//
// The exit status is the command's, or 124 if the time limit stopped it, 125 if
// the lab failed, 126 if the command could not be started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Exit statuses that are the lab's own, as timeout(1) has them. Others are the
// command's.
const (
	exitLimit = 124
	exitLab   = 125
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status, err := launch(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errLimit):
		fmt.Fprintln(os.Stderr, "lab: STOPPED:", err)
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	os.Exit(status)
}

// launch does what the command line says.
func launch(ctx context.Context, args []string) (status int, err error) {
	b := &boot{}
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	name := flags.String("kernel", kernels[0].name, "version of the kernel to boot")
	flags.IntVar(&b.memory, "mem", 1024, "memory of the machine, in MiB")
	flags.DurationVar(&b.limit, "timeout", 10*time.Minute, "time after which the machine is stopped")
	flags.StringVar(&b.dir, "dir", "", "directory to run the command in (default: the current one)")
	load := flags.String("modules", "", "more kernel modules to load, such as veth,sch_netem")
	keep := flags.String("keep", "", "more files and directories below /tmp that the command sees, separated by commas")
	cache := flags.String("cache", "", "directory that kernels are kept in (default: .lab in the tree)")
	verbose := flags.Bool("v", false, "print what the kernel itself says")
	if err := flags.Parse(args); err != nil {
		return exitLab, err
	}
	if b.args = flags.Args(); len(b.args) == 0 {
		return exitLab, errors.New("there is no command to run: lab [flags] -- command [arguments]")
	}
	if b.tree, err = findTree(); err != nil {
		return exitLab, err
	}
	if *cache == "" {
		*cache = filepath.Join(b.tree, ".lab")
	}
	if *verbose {
		b.verbose = os.Stderr
	}
	b.modules, b.keep, b.env = list(*load), list(*keep), os.Environ()
	return b.start(ctx, *name, *cache)
}

func list(flag string) []string {
	return strings.FieldsFunc(flag, func(r rune) bool { return r == ',' })
}

// start boots the named kernel with the command of the command line.
func (b *boot) start(ctx context.Context, name, cache string) (status int, err error) {
	if err := b.place(); err != nil {
		return exitLab, err
	}
	k, err := findKernel(name)
	if err != nil {
		return exitLab, err
	}
	if b.image, err = k.open(ctx, cache); err != nil {
		return exitLab, err
	}
	status, err = b.run(ctx, os.Stdout)
	switch {
	case errors.Is(err, errLimit):
		return exitLimit, fmt.Errorf("%w: kernel %s was stopped after %v while it ran %q", err, b.image.release, b.limit, b.args)
	case err != nil:
		return exitLab, err
	}
	return status, nil
}

// place makes the directory absolute, and keeps it visible, and the program too
// if the command is a path.
func (b *boot) place() error {
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	b.dir = dir
	b.keep = append(b.keep, dir)
	if strings.Contains(b.args[0], "/") {
		program := b.args[0]
		if !filepath.IsAbs(program) {
			program = filepath.Join(dir, program)
		}
		b.keep = append(b.keep, program)
	}
	return nil
}

// findTree returns this module's directory, at or above the current one.
func findTree() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "interop", "lab", "guest")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the current directory is not in the tree of github.com/go-handoff/tls")
		}
	}
}
