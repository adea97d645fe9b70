package requirements

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// root is the module's directory.
const root = "../.."

// A source looks up declarations and tests in the module.
type source struct {
	files map[string]map[string]string // of a file, each declaration's text
	tests map[string]tests             // of a directory
}

// tests are the test functions of a directory, and all strings in its tests.
type tests struct {
	functions map[string]bool
	strings   map[string]bool
}

func newSource() *source {
	return &source{files: make(map[string]map[string]string), tests: make(map[string]tests)}
}

// declaration checks a reference of the form
//
//	path/file.go:Name
//	path/file.go:Type.Method "part of its text"
func (s *source) declaration(ref string) error {
	place, snippet, quoted := strings.Cut(ref, ` "`)
	name, decl, ok := strings.Cut(place, ":")
	if !ok {
		return fmt.Errorf("%s: want file:declaration", ref)
	}
	decls, err := s.declarations(name)
	if err != nil {
		return err
	}
	text, ok := decls[decl]
	switch {
	case !ok:
		return fmt.Errorf("%s: %s has no such declaration", ref, name)
	case quoted && (!strings.HasSuffix(snippet, `"`) || !strings.Contains(text, strings.TrimSuffix(snippet, `"`))):
		return fmt.Errorf("%s: the declaration does not hold this text", ref)
	}
	return nil
}

// declarations parses a file, once.
func (s *source) declarations(name string) (map[string]string, error) {
	if d, ok := s.files[name]; ok {
		return d, nil
	}
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	decls := make(map[string]string)
	add := func(name string, n ast.Node) {
		decls[name] = string(text[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset])
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(receiver(d)+d.Name.Name, d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name.Name, spec)
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						add(n.Name, spec)
					}
				}
			}
		}
	}
	s.files[name] = decls
	return decls, nil
}

// receiver returns the name of a method's type and a dot.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	return t.(*ast.Ident).Name + "."
}

// test checks a reference of the form
//
//	directory:TestName
//	directory:TestName/name of a case
//
// where the name of a case is a string in the directory's tests.
func (s *source) test(ref string) error {
	dir, name, ok := strings.Cut(ref, ":")
	if !ok {
		return fmt.Errorf("%s: want directory:Test", ref)
	}
	function, sub, _ := strings.Cut(name, "/")
	all, err := s.testsOf(dir)
	switch {
	case err != nil:
		return err
	case !all.functions[function]:
		return fmt.Errorf("%s: there is no such test", ref)
	case sub != "" && !all.strings[sub]:
		return fmt.Errorf("%s: there is no such case", ref)
	}
	return nil
}

// testsOf parses the tests of a directory, once.
func (s *source) testsOf(dir string) (tests, error) {
	if t, ok := s.tests[dir]; ok {
		return t, nil
	}
	t := tests{make(map[string]bool), make(map[string]bool)}
	names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		return t, err
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return t, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && (strings.HasPrefix(n.Name.Name, "Test") || strings.HasPrefix(n.Name.Name, "Fuzz")) {
					t.functions[n.Name.Name] = true
				}
			case *ast.BasicLit:
				if v, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
					t.strings[v] = true
				}
			}
			return true
		})
	}
	s.tests[dir] = t
	return t, nil
}

// link makes a reference one to a file or directory, as seen from here.
func link(ref string) string {
	place, _, _ := strings.Cut(ref, ` "`)
	target, _, _ := strings.Cut(place, ":")
	return fmt.Sprintf("[%s](%s)", strings.ReplaceAll(ref, "|", `\|`), path.Join(root, target))
}
