package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/go-handoff/tls"
)

// source is one Go file of the repository.
type source struct {
	path   string // from the repository's root, with slashes
	text   []byte
	syntax *ast.File
	set    *token.FileSet
}

// dir is the file's directory, "." for the root.
func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// imports returns the import paths of the file.
func (s *source) imports() []string {
	var paths []string
	for _, spec := range s.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// isGenerated follows go.dev/s/generatedcode.
func (s *source) isGenerated() bool { return ast.IsGenerated(s.syntax) }

// walk calls f with the path of each file of the repository.
func walk(f func(name string) error) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".git") || d.Name() == ".lab" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		return f(name)
	})
}

var readSources = sync.OnceValues(func() (files []*source, err error) {
	set := token.NewFileSet()
	err = walk(func(name string) error {
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		files = append(files, &source{filepath.ToSlash(rel), text, syntax, set})
		return err
	})
	return files, err
})

// sources returns all Go files, nested modules' included.
func sources(t *testing.T) []*source {
	t.Helper()
	files, err := readSources()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files were found", len(files))
	}
	return files
}
