//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/go-handoff/tls/interop/lab/job"
)

// rawConsole lets bytes through as they are: no carriage returns are added.
func rawConsole() error {
	termios, err := unix.IoctlGetTermios(1, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	termios.Oflag &^= unix.OPOST
	return unix.IoctlSetTermios(1, unix.TCSETS, termios)
}

func loadModules(paths []string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("module %s: %w", path, err)
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	return nil
}

// mount is a file system without a device.
type mount struct{ kind, at, options string }

func (m mount) do() error {
	if err := os.MkdirAll(m.at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil {
		return fmt.Errorf("mount of %s at %s: %w", m.kind, m.at, err)
	}
	return nil
}

// early are what the guest needs itself, and the command too.
var early = []mount{{"proc", "/proc", ""}, {"devtmpfs", "/dev", ""}}

// scratch are the directories in which the guest has a file system of its own,
// so that a command leaves nothing on the host by accident.
var scratch = []string{"/tmp", "/var/tmp", "/run", "/dev/shm"}

// enterRoot mounts what the command sees and goes there.
func enterRoot(j *job.Job) error {
	root := "/"
	if j.HostRoot {
		root = "/host"
		if err := (mount{"hostfs", root, "/"}).do(); err != nil {
			return err
		}
	}
	kept, err := openKept(root, j.Keep)
	if err != nil {
		return err
	}
	mounts := []mount{{"sysfs", "/sys", ""}, {"devpts", "/dev/pts", "ptmxmode=0666"}}
	if j.HostRoot {
		mounts = slices.Concat(early, mounts)
	}
	for _, dir := range scratch {
		mounts = append(mounts, mount{"tmpfs", dir, "mode=1777"})
	}
	for _, m := range mounts {
		m.at = filepath.Join(root, m.at)
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := bindKept(root, kept); err != nil {
		return err
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

// keptFile is something of the host below a scratch directory.
type keptFile struct {
	path string
	file *os.File
	dir  bool
}

// openKept opens what will be hidden.
func openKept(root string, paths []string) (kept []keptFile, err error) {
	hidden := func(path string) bool {
		return slices.ContainsFunc(scratch, func(dir string) bool { return strings.HasPrefix(path, dir+"/") })
	}
	for _, path := range paths {
		if !hidden(path) {
			continue
		}
		fd, err := unix.Open(filepath.Join(root, path), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		file := os.NewFile(uintptr(fd), path)
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		kept = append(kept, keptFile{path, file, info.IsDir()})
	}
	return kept, nil
}

// bindKept shows it again where it was. The shortest paths come first: one of
// them may be the directory of another.
func bindKept(root string, kept []keptFile) error {
	slices.SortFunc(kept, func(a, b keptFile) int { return len(a.path) - len(b.path) })
	for _, k := range kept {
		at := filepath.Join(root, k.path)
		if err := makePlace(at, k.dir); err != nil {
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", k.file.Fd()), at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind mount at %s: %w", at, err)
		}
	}
	return nil
}

func makePlace(at string, dir bool) error {
	if dir {
		return os.MkdirAll(at, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	return f.Close()
}

// lookUp finds the command in the PATH that it gets itself.
func lookUp(j *job.Job) (string, error) {
	for _, entry := range j.Env {
		if path, ok := strings.CutPrefix(entry, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return "", err
			}
		}
	}
	if err := os.Chdir(j.Dir); err != nil {
		return "", err
	}
	name, err := exec.LookPath(j.Args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", err
	}
	return filepath.Abs(name)
}
