package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tree is where packages are unpacked, with all that they need: their programs
// run by its own dynamic loader and with its own C library, which may be newer
// or older than the system's.
type Tree struct {
	root      string
	loader    string
	libraries []string // directories
}

// Fetch returns the tree in dir, for which it fetches the packages if there is
// none. It appears when it is complete; of two that fetch at the same time, one
// wins. What is there stays as it is: to have newer versions, remove it.
func Fetch(ctx context.Context, dir, suite string, packages ...string) (*Tree, error) {
	if _, err := os.Stat(dir); err == nil {
		return openTree(dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	a, err := Open(ctx, suite, filepath.Join(work, "apt"))
	if err != nil {
		return nil, err
	}
	made := filepath.Join(work, "root")
	if err := a.unpackAll(ctx, made, packages...); err != nil {
		return nil, err
	}
	if err := os.Rename(made, dir); err != nil && !os.IsExist(err) {
		return nil, err
	}
	return openTree(dir)
}

// openTree finds the loader and the libraries. Older suites do not have all of
// them under usr.
func openTree(dir string) (*Tree, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t := &Tree{root: root}
	for _, lib := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"} {
		path := filepath.Join(root, lib)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		t.libraries = append(t.libraries, path)
		loader := filepath.Join(path, "ld-linux-x86-64.so.2")
		if _, err := os.Stat(loader); err == nil {
			t.loader = loader
		}
	}
	if t.loader == "" {
		return nil, fmt.Errorf("%s has no dynamic loader: it is not what was unpacked there; remove it to have it fetched again", dir)
	}
	return t, nil
}

// Command returns the command that runs one of the tree's programs, of usr/sbin or
// usr/bin. What the program would read of the system's configuration, it gets from
// the tree.
func (t *Tree) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	path := filepath.Join(t.root, "usr", "sbin", program)
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(t.root, "usr", "bin", program)
	}
	own := []string{"--library-path", strings.Join(t.libraries, ":"), path}
	cmd := exec.CommandContext(ctx, t.loader, append(own, args...)...)
	cmd.Env = append(os.Environ(),
		"OPENSSL_CONF="+filepath.Join(t.root, "etc", "ssl", "openssl.cnf"),
		"OPENSSL_MODULES="+filepath.Join(t.libraries[len(t.libraries)-1], "ossl-modules"),
		"PYTHONHOME="+filepath.Join(t.root, "usr"),
		"GNUTLS_SYSTEM_PRIORITY_FILE="+filepath.Join(t.root, "etc", "gnutls", "config"),
	)
	return cmd
}
