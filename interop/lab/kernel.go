package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-handoff/tls/interop/debian"
)

// kernel is one that the lab can boot.
type kernel struct {
	name   string // its version, as far as it says what kernel TLS can do
	suite  string // of Debian
	flavor flavor
}

// flavor is the kind of machine that a kernel is for.
type flavor int

const (
	userMode flavor = iota // runs as a process, at the processor's speed
	emulated               // runs in QEMU
)

// kernels are all. The first is used if none is named. The names follow what Debian has: a suite
// that moves on gets a new name here.
var kernels = []kernel{
	{"7.2", "sid", userMode},
	{"6.12", "trixie", userMode},
	{"6.1", "bookworm", userMode},
	{"7.3", "trixie-backports", emulated},
}

func findKernel(name string) (kernel, error) {
	i := slices.IndexFunc(kernels, func(k kernel) bool { return k.name == name })
	if i < 0 {
		var names []string
		for _, k := range kernels {
			names = append(names, k.name)
		}
		return kernel{}, fmt.Errorf("there is no kernel %q, but there are %s", name, strings.Join(names, ", "))
	}
	return kernels[i], nil
}

// image is a kernel on the disk.
type image struct {
	kernel
	dir     string
	release string // as uname -r says
	modules *modules
}

// Files in an image's directory.
const (
	releaseFile = "release"
	modulesDir  = "modules"
)

// open returns the kernel's image, which it fetches if the cache has none.
func (k kernel) open(ctx context.Context, cache string) (*image, error) {
	dir := filepath.Join(cache, "kernels", k.name)
	release, err := os.ReadFile(filepath.Join(dir, releaseFile))
	if os.IsNotExist(err) {
		if err := k.fetch(ctx, dir); err != nil {
			return nil, err
		}
		release, err = os.ReadFile(filepath.Join(dir, releaseFile))
	}
	if err != nil {
		return nil, err
	}
	m, err := readModules(filepath.Join(dir, modulesDir))
	if err != nil {
		return nil, err
	}
	return &image{k, dir, string(release), m}, nil
}

// fetch makes the image's directory. It appears when it is complete; of two
// that fetch at the same time, one wins.
func (k kernel) fetch(ctx context.Context, dir string) error {
	fmt.Fprintf(os.Stderr, "lab: fetching kernel %s from Debian's %s\n", k.name, k.suite)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	a, err := debian.Open(ctx, k.suite, filepath.Join(work, "apt"))
	if err != nil {
		return err
	}
	made := filepath.Join(work, "image")
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	fetch := fetchUserMode
	if k.flavor == emulated {
		fetch = fetchEmulated
	}
	if err := fetch(ctx, a, work, made); err != nil {
		return err
	}
	if err := os.Rename(made, dir); err != nil && !os.IsExist(err) {
		return err
	}
	return nil
}

// keepModules moves the modules that were unpacked, and notes whose they are.
func keepModules(unpacked, made string) error {
	if err := os.WriteFile(filepath.Join(made, releaseFile), []byte(filepath.Base(unpacked)), 0o644); err != nil {
		return err
	}
	return os.Rename(unpacked, filepath.Join(made, modulesDir))
}

// one returns the only file that a pattern fits.
func one(pattern ...string) (string, error) {
	p := filepath.Join(pattern...)
	found, err := filepath.Glob(p)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: there are %d such files, not one", p, len(found))
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}
