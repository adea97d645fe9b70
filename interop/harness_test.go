package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	// The go command must not take an old result of these tests for one of
	// today's tree, which it does not see that the programs are built with.
	_ "github.com/go-handoff/tls"
)

const (
	stdPath = "crypto/tls"
	ourPath = "github.com/go-handoff/tls"
)

// checkout is a copy of a program's source.
type checkout struct {
	dir      string
	original map[string][]byte // of files that were rewritten
}

// checkOut copies a program out of the module cache, which is filled if need
// be, and lets it depend on this tree.
func checkOut(t *testing.T, p *program) *checkout {
	t.Helper()
	c := &checkout{dir: filepath.Join(t.TempDir(), "src")}
	cmd := goCommand(t, t.TempDir(), "mod", "download", "-json", p.path+"@"+p.version)
	out, err := cmd.Output()
	var module struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &module); err != nil || jsonErr != nil || module.Error != "" {
		t.Fatalf("%s@%s is not in the module cache and cannot be downloaded: %v %s", p.path, p.version, err, module.Error)
	}
	if module.Sum != p.sum {
		t.Fatalf("%s@%s has sum %s, not %s", p.path, p.version, module.Sum, p.sum)
	}
	copyTree(t, c.dir, module.Dir)
	tree, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	edit := goCommand(t, c.dir, "mod", "edit", "-require", ourPath+"@v0.0.0", "-replace", ourPath+"="+tree)
	if out, err := edit.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return c
}

// copyTree copies the files of the module cache, which are read-only there.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(to, rel), 0o755)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rewrite changes the import path in all files, and returns in how many.
func (c *checkout) rewrite(t *testing.T) int {
	t.Helper()
	c.original = make(map[string][]byte)
	err := filepath.WalkDir(c.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata") {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		changed, err := replaceImport(text)
		if err != nil || bytes.Equal(changed, text) {
			return err
		}
		c.original[name] = text
		return os.WriteFile(name, changed, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.original) == 0 {
		t.Fatal("no file imports crypto/tls")
	}
	return len(c.original)
}

// restore undoes rewrite.
func (c *checkout) restore(t *testing.T) {
	t.Helper()
	for name, text := range c.original {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// replaceImport changes the path of the import of crypto/tls, if there is one,
// and no other byte: the name of the package stays as it is.
func replaceImport(text []byte) ([]byte, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	changed := slices.Clone(text)
	for _, spec := range slices.Backward(file.Imports) { // so that offsets stay right
		if spec.Path.Value == strconv.Quote(stdPath) {
			from, to := set.Position(spec.Path.Pos()).Offset, set.Position(spec.Path.End()).Offset
			changed = slices.Replace(changed, from, to, []byte(strconv.Quote(ourPath))...)
		}
	}
	return changed, nil
}

// goCommand returns a go command that stands on nothing of the tree around it.
func goCommand(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	return cmd
}

// testID is the name of a test, or of a part of one.
type testID struct{ pkg, name string }

func (id testID) String() string { return id.pkg + " " + id.name }

// pattern returns what selects the test alone.
func (id testID) pattern() string {
	name, _, _ := strings.Cut(id.name, "/")
	return "^" + regexp.QuoteMeta(name) + "$"
}

const (
	pass = "pass"
	fail = "fail"
	skip = "skip"
)

// result is how a test ended, and what it printed.
type result struct {
	action string // empty if it did not end
	output []byte
}

// results are those of one run.
type results map[testID]result

// test runs tests and returns what became of each. That none ran is an error.
func (c *checkout) test(t *testing.T, args ...string) results {
	t.Helper()
	// vet comes from here, the programs from elsewhere: it says nothing about us.
	cmd := goCommand(t, c.dir, append([]string{"test", "-json", "-vet=off", "-count=1", "-timeout=60s"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output() // an error if a test failed, too
	r, build := parseResults(t, out)
	if r.count(pass)+r.count(fail) == 0 {
		t.Fatalf("no test ran: %v\n%s%s", err, build, stderr.Bytes())
	}
	return r
}

// parseResults reads what go test -json prints, and returns what is not about
// tests beside it.
func parseResults(t *testing.T, out []byte) (r results, rest []byte) {
	t.Helper()
	r = make(results)
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var ev struct{ Action, Package, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			rest = append(append(rest, lines.Bytes()...), '\n')
			continue
		}
		id := testID{ev.Package, ev.Test}
		res := r[id]
		switch {
		case ev.Test == "":
			rest = append(rest, ev.Output...)
			continue
		case ev.Action == "output":
			res.output = append(res.output, ev.Output...)
		case ev.Action == fail, ev.Action == pass, ev.Action == skip:
			res.action = ev.Action
		}
		r[id] = res
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return r, rest
}

func (r results) count(action string) (n int) {
	for _, res := range r {
		if res.action == action {
			n++
		}
	}
	return n
}

// find returns a test by its name alone.
func (r results) find(name string) (testID, bool) {
	for id := range r {
		if id.name == name {
			return id, true
		}
	}
	return testID{}, false
}

// lostIn returns the tests that pass in r and do not in other, whole tests only.
func (r results) lostIn(other results) (lost []testID) {
	for id, res := range r {
		whole := testID{id.pkg, strings.SplitN(id.name, "/", 2)[0]}
		if res.action == pass && other[id].action != pass && !slices.Contains(lost, whole) {
			lost = append(lost, whole)
		}
	}
	slices.SortFunc(lost, func(a, b testID) int { return strings.Compare(a.String(), b.String()) })
	return lost
}

func TestReplaceImport(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"single", "package p\nimport \"crypto/tls\"\n", "package p\nimport \"" + ourPath + "\"\n"},
		{"group", "package p\nimport (\n\t\"crypto\"\n\t\"crypto/tls\" // why\n)\n", "package p\nimport (\n\t\"crypto\"\n\t\"" + ourPath + "\" // why\n)\n"},
		{"named", "package p\nimport x \"crypto/tls\"\n", "package p\nimport x \"" + ourPath + "\"\n"},
		{"other", "package p\nimport \"crypto/tls/x\"\n// \"crypto/tls\"\nvar s = `import \"crypto/tls\"`\n", ""},
	}
	for _, test := range tests {
		want := test.want
		if want == "" {
			want = test.text
		}
		got, err := replaceImport([]byte(test.text))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
	if _, err := replaceImport([]byte("no Go")); err == nil {
		t.Error("no error for what is not Go")
	}
}

func TestResults(t *testing.T) {
	const out = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"why\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestC/part"}
{"Action":"run","Package":"p","Test":"TestHangs"}
{"Action":"output","Package":"p","Output":"panic"}
not JSON
{"Action":"fail","Package":"p"}
`
	got, rest := parseResults(t, []byte(out))
	if len(got) != 4 || got.count(pass) != 2 || got.count(fail) != 1 || string(rest) != "panicnot JSON\n" {
		t.Errorf("%v, %q", got, rest)
	}
	if b := got[testID{"p", "TestB"}]; b.action != fail || string(b.output) != "why\n" {
		t.Errorf("TestB: %v", b)
	}
	control := maps.Clone(got)
	for _, name := range []string{"TestA", "TestB", "TestC/part", "TestHangs", "TestGone"} {
		control[testID{"p", name}] = result{action: pass}
	}
	lost := control.lostIn(got)
	if want := []testID{{"p", "TestB"}, {"p", "TestGone"}, {"p", "TestHangs"}}; !slices.Equal(lost, want) {
		t.Errorf("lost %v, want %v", lost, want)
	}
	if lost := got.lostIn(control); len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
}
