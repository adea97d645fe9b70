package archtest

import (
	"encoding/json"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers is who may import whom: the packages of the core, by directory, and
// the directories of this module that each may import. A package that is not
// here must not exist; it gets a row when it gets a place in the design.
var layers = map[string][]string{
	"internal/alert":  {},
	"internal/redact": {},
	"internal/wire":   {"internal/alert"},
	"internal/certs":  {},
	"keyschedule":     leaves(),
	"session":         leaves("keyschedule", "internal/certs"),
	// The engine uses session, which therefore does no I/O: stores that do are
	// below it, and so is what checks stores.
	"session/file":        leaves("session"),
	"session/sessiontest": leaves("session"),
	"record":              leaves("keyschedule"),
	"kernel":              leaves("keyschedule"),
	"handshake":           leaves("keyschedule", "session", "internal/certs"),
	".":                   leaves("keyschedule", "session", "session/file", "record", "kernel", "handshake"),
	"https":               leaves("."),
}

func leaves(more ...string) []string {
	return append([]string{"internal/alert", "internal/redact", "internal/wire"}, more...)
}

// tops may import everything, and nothing imports them. Their subdirectories
// belong to them.
var tops = []string{"interop", "conformance", "fuzz", "bench", "cmd", "internal/archtest"}

func isTop(dir string) bool {
	return slices.ContainsFunc(tops, func(top string) bool {
		return dir == top || strings.HasPrefix(dir, top+"/")
	})
}

// layerOf returns the row of layers for dir, or for kernel's helper of tests.
func layerOf(dir string) (allowed []string, ok bool) {
	if dir == "kernel/kerneltest" {
		return append(layers["kernel"], "kernel"), true
	}
	allowed, ok = layers[dir]
	return allowed, ok
}

// inModule returns the directory of an import path of this module.
func inModule(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// core returns the non-test files of the core module that are below the tops.
func core(t *testing.T) (files []*source) {
	t.Helper()
	nested := nestedModules(t)
	for _, s := range sources(t) {
		if !s.isTest() && !isTop(s.dir()) && !slices.ContainsFunc(nested, func(dir string) bool {
			return s.dir() == dir || strings.HasPrefix(s.dir(), dir+"/")
		}) {
			files = append(files, s)
		}
	}
	return files
}

// nestedModules returns the directories of the modules below the core's.
func nestedModules(t *testing.T) (dirs []string) {
	t.Helper()
	err := walk(func(name string) error {
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if filepath.Base(name) == "go.mod" && rel != "." {
			dirs = append(dirs, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range core(t) {
		allowed, ok := layerOf(s.dir())
		if !ok {
			t.Errorf("%s: package %s has no place in the design", s.path, s.dir())
			continue
		}
		seen[s.dir()] = true
		for _, p := range s.imports() {
			if dir, ok := inModule(p); ok && !slices.Contains(allowed, dir) {
				t.Errorf("%s imports %s", s.path, dir)
			}
		}
	}
	for _, dir := range []string{".", "handshake", "record", "keyschedule", "session"} {
		if !seen[dir] {
			t.Errorf("package %s was not looked at", dir)
		}
	}
}

// below returns the directories of dir and of all that it imports from this
// module, directly or not.
func below(t *testing.T, dir string) map[string]bool {
	t.Helper()
	reached := map[string]bool{dir: true}
	for grown := true; grown; {
		grown = false
		for _, s := range core(t) {
			for _, p := range s.imports() {
				if d, ok := inModule(p); ok && reached[s.dir()] && !reached[d] {
					reached[d], grown = true, true
				}
			}
		}
	}
	return reached
}

// isIO reports whether package p does I/O or belongs to a record layer.
func isIO(p string) bool {
	switch {
	case p == "net", p == "os", p == "syscall", p == "crypto/tls":
		return true
	case strings.HasPrefix(p, "net/"):
		return p != "net/netip" // addresses are plain data
	case strings.HasPrefix(p, "os/"), strings.HasPrefix(p, "golang.org/x/sys/"):
		return p != "golang.org/x/sys/cpu" // asks the processor, not the system
	case p == module+"/record", p == module+"/kernel":
		return true
	}
	return false
}

// The engine does no I/O, and has no clock and no randomness but its Config's.
// Package session is held to the first of these: of it the engine uses plain
// data, and its stores, which others use, default to the clock and randomness
// of the process.
func TestEngineDoesNoIO(t *testing.T) {
	engine := below(t, "handshake")
	if !engine["keyschedule"] || !engine["internal/alert"] {
		t.Fatalf("below handshake there is only %v", engine)
	}
	for _, s := range core(t) {
		if !engine[s.dir()] {
			continue
		}
		for _, p := range s.imports() {
			if isIO(p) {
				t.Errorf("%s imports %s", s.path, p)
			}
			if s.dir() != "session" && (p == "crypto/rand" || strings.HasPrefix(p, "math/rand")) {
				t.Errorf("%s imports %s: the engine's randomness comes from its Config", s.path, p)
			}
		}
		if s.dir() == "session" {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if name, ok := clock(n); ok {
				t.Errorf("%s: uses time.%s", s.set.Position(n.Pos()), name)
			}
			return true
		})
	}
}

// clock reports whether n is a function of package time that looks at the
// clock or waits.
func clock(n ast.Node) (name string, ok bool) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "time" {
		return "", false
	}
	switch sel.Sel.Name {
	case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker":
		return sel.Sel.Name, true
	}
	return "", false
}

// The record layers stand on the key schedule alone: what joins them to the
// engine is TrafficKeys.
func TestRecordLayersAreSiblings(t *testing.T) {
	for _, layer := range []string{"record", "kernel"} {
		for dir := range below(t, layer) {
			if dir != layer && dir != "keyschedule" && !strings.HasPrefix(dir, "internal/") {
				t.Errorf("%s reaches %s", layer, dir)
			}
		}
	}
	for _, s := range core(t) {
		if s.dir() == "record" && slices.Contains(s.imports(), "crypto/tls") {
			t.Errorf("%s imports crypto/tls", s.path)
		}
	}
}

// The leaves are what everything stands on, and stand on nothing themselves.
func TestLeavesAreStandard(t *testing.T) {
	for _, s := range core(t) {
		if !strings.HasPrefix(s.dir(), "internal/") {
			continue
		}
		for _, p := range s.imports() {
			if _, ok := inModule(p); !ok && strings.Contains(strings.SplitN(p, "/", 2)[0], ".") {
				t.Errorf("%s imports %s", s.path, p)
			}
		}
	}
}

// Nobody's program downloads more than these because it uses the core.
func TestDependencies(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Module  struct{ Path string }
		Require []struct{ Path string }
		Replace []struct{ Old, New struct{ Path string } }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if mod.Module.Path != module {
		t.Fatalf("module %s", mod.Module.Path)
	}
	allowed := []string{"golang.org/x/crypto", "golang.org/x/sys", "github.com/cloudflare/circl"}
	for _, r := range mod.Require {
		if !slices.Contains(allowed, r.Path) {
			t.Errorf("the core requires %s", r.Path)
		}
	}
	if len(mod.Replace) > 0 {
		t.Errorf("the core replaces %v, which its users would not see", mod.Replace)
	}
}
