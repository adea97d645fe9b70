package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// everyModule are the modules that kernel TLS needs, by the names that they
// have had: a kernel has some of them as modules, some built in, and of some
// it has never heard. The last ones are for ss and what asks as ss does, and
// for tests of both kinds of addresses.
var everyModule = []string{
	"aesni-intel", "gf128mul", "ghash-generic", "gcm", "ccm", "seqiv", "ctr", "cryptd",
	"chacha-generic", "chacha", "poly1305-generic", "chacha20poly1305",
	"tls", "hostfs", "inet-diag", "tcp-diag", "ipv6",
}

// modules are those of a kernel.
type modules struct {
	dir   string              // where modules.dep is
	files map[string]string   // by canonical name
	needs map[string][]string // files, by file, the closest first
	built map[string]bool     // into the kernel, by canonical name
}

// readModules reads what depmod wrote into dir.
func readModules(dir string) (*modules, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !os.IsNotExist(err) { // not all packages have it
		return nil, err
	}
	return parseModules(dir, string(dep), string(builtin))
}

// parseModules reads modules.dep and modules.builtin. The format is modprobe's:
// a file, a colon, and all the files that it needs, also indirectly.
func parseModules(dir, dep, builtin string) (*modules, error) {
	m := &modules{dir, map[string]string{}, map[string][]string{}, map[string]bool{}}
	for line := range strings.Lines(dep) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			return nil, fmt.Errorf("modules.dep has a line %q", line)
		}
		m.files[moduleName(file)] = file
		m.needs[file] = strings.Fields(needs)
	}
	for file := range strings.FieldsSeq(builtin) {
		m.built[moduleName(file)] = true
	}
	return m, nil
}

// moduleName returns the name that a file, or a name that was written in
// another way, has in the kernel.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// has reports whether there is a module, or was one before it was built in.
func (m *modules) has(name string) bool {
	_, ok := m.files[moduleName(name)]
	return ok || m.built[moduleName(name)]
}

// order returns the files of the named modules and of what they need, in an
// order in which they can be loaded. Those that the kernel does not have as
// modules are left out.
func (m *modules) order(names []string) (files []string) {
	for _, name := range names {
		file, ok := m.files[moduleName(name)]
		if !ok {
			continue
		}
		for _, f := range slices.Backward(append([]string{file}, m.needs[file]...)) {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files
}

// content returns the bytes of a module, unpacked.
func (m *modules) content(file string) ([]byte, error) {
	path := filepath.Join(m.dir, file)
	unpack, ok := map[string]string{".xz": "xz", ".zst": "zstd", ".gz": "gzip"}[filepath.Ext(file)]
	if !ok {
		return os.ReadFile(path)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(unpack, "-dcq", path)
	cmd.Stderr = &stderr
	content, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w %s", unpack, path, err, stderr.Bytes())
	}
	return content, nil
}
