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
// With -tests it runs the tests of packages instead, in several kernels:
//
//	go run ./interop/lab -kernel 7.2,6.12,6.1 -tests '^TestKernel' ./kernel .
//
// Kernel 7.3 is one for virtual machines, in QEMU, which is slow. There the
// command sees no files but its program, its package's testdata, and what -keep
// names. With -icount the time in it is the number of instructions executed, so
// that what a program uses of it can be compared from run to run.
//
// The exit status is the command's, or 124 if the time limit stopped it, 125 if
// the lab failed, 126 if the command could not be started. go run makes a 1 of
// each that is not 0.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	status, err := launch(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, errLimit):
		fmt.Fprintln(os.Stderr, "lab: STOPPED:", err)
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	os.Exit(status)
}

// options is what the command line says.
type options struct {
	boot    boot // what does not depend on the kernel
	kernels []kernel
	cache   string
	tests   string // pattern; if it is set, the arguments are packages
	race    bool   // with the race detector
}

// launch does what the command line says.
func launch(ctx context.Context, args []string) (status int, err error) {
	o, err := parse(args)
	if err != nil {
		return exitLab, err
	}
	if o.tests != "" {
		return o.runTests(ctx)
	}
	return o.runCommand(ctx)
}

func parse(args []string) (*options, error) {
	o := &options{boot: boot{env: os.Environ()}}
	b := &o.boot
	flags := flag.NewFlagSet("lab", flag.ExitOnError)
	names := flags.String("kernel", kernels[0].name, "`version` of the kernel to boot; several, separated by commas, with -tests")
	flags.StringVar(&o.tests, "tests", "", "run the tests that match this `pattern`, of the packages that are the arguments")
	flags.BoolVar(&o.race, "race", false, "with -tests: use the race detector, which only the newest user mode kernel has the memory for")
	flags.IntVar(&b.memory, "mem", 1024, "memory of the machine, in `MiB`")
	flags.BoolVar(&b.icount, "icount", false, "in QEMU: the machine's time counts instructions, a nanosecond for each")
	flags.DurationVar(&b.limit, "timeout", 10*time.Minute, "time after which the machine is stopped")
	flags.StringVar(&b.dir, "dir", ".", "directory to run the command in")
	load := flags.String("modules", "", "more kernel modules to load, such as veth,sch_netem")
	keep := flags.String("keep", "", "more `paths` below /tmp that the command sees, separated by commas")
	flags.StringVar(&o.cache, "cache", "", "`directory` that kernels are kept in (default: .lab in the tree)")
	verbose := flags.Bool("v", false, "print what the kernel itself says")
	_ = flags.Parse(args) // exits at an error
	if b.args = flags.Args(); len(b.args) == 0 {
		return nil, errors.New("there is nothing to run: lab [flags] -- command [arguments], or lab -tests PATTERN [flags] packages")
	}
	if *verbose {
		b.verbose = os.Stderr
	}
	b.modules, b.keep = list(*load), list(*keep)
	return o, o.complete(list(*names))
}

func list(flag string) []string {
	return strings.FieldsFunc(flag, func(r rune) bool { return r == ',' })
}

// complete finds what the command line names.
func (o *options) complete(names []string) (err error) {
	if o.boot.tree, err = findTree(); err != nil {
		return err
	}
	if o.cache == "" {
		o.cache = filepath.Join(o.boot.tree, ".lab")
	}
	if o.cache, err = filepath.Abs(o.cache); err != nil {
		return err
	}
	if o.boot.dir, err = filepath.Abs(o.boot.dir); err != nil {
		return err
	}
	for _, name := range names {
		k, err := findKernel(name)
		if err != nil {
			return err
		}
		o.kernels = append(o.kernels, k)
	}
	if len(o.kernels) != 1 && o.tests == "" {
		return fmt.Errorf("a command runs in one kernel, not in %d", len(o.kernels))
	}
	return nil
}

// runCommand runs the command in the only kernel.
func (o *options) runCommand(ctx context.Context) (status int, err error) {
	b := o.boot
	if b.image, err = o.kernels[0].open(ctx, o.cache); err != nil {
		return exitLab, err
	}
	b.place()
	status, err = b.run(ctx, os.Stdout)
	switch {
	case errors.Is(err, errLimit):
		return exitLimit, err
	case err != nil:
		return exitLab, err
	}
	return status, nil
}

// place has the command see its own program, if it is given as a path, and its
// directory.
func (b *boot) place() {
	if b.image.flavor == userMode {
		b.keep = append(slices.Clone(b.keep), b.dir)
	}
	program := b.args[0]
	if !strings.Contains(program, "/") {
		return
	}
	if !filepath.IsAbs(program) {
		program = filepath.Join(b.dir, program)
	}
	b.keep = append(slices.Clone(b.keep), program)
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
