package archtest

import (
	"bytes"
	"go/ast"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Bounds on the length of functions, in lines from "func" to "}". Tables are
// variables and do not count, and neither does generated code.
const (
	maxLines    = 80
	p95Lines    = 45
	medianLines = 12
)

func TestFunctionLength(t *testing.T) {
	var lengths []int
	for _, s := range sources(t) {
		if s.isTest() || s.isGenerated() {
			continue
		}
		for _, d := range s.syntax.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
			lengths = append(lengths, n)
			if n > maxLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, maxLines)
			}
		}
	}
	slices.Sort(lengths)
	median, p95 := lengths[len(lengths)/2], lengths[len(lengths)*95/100]
	t.Logf("%d functions: median %d, 95th percentile %d, longest %d lines", len(lengths), median, p95, lengths[len(lengths)-1])
	if median > medianLines {
		t.Errorf("the median function has %d lines, more than %d", median, medianLines)
	}
	if p95 > p95Lines {
		t.Errorf("the 95th percentile has %d lines, more than %d", p95, p95Lines)
	}
}

func TestGofmt(t *testing.T) {
	for _, s := range sources(t) {
		formatted, err := format.Source(s.text)
		if err != nil {
			t.Errorf("%s: %v", s.path, err)
		} else if !bytes.Equal(formatted, s.text) {
			t.Errorf("%s is not formatted", s.path)
		}
	}
}

// What is left for later is an issue, not a comment.
func TestNothingLeftForLater(t *testing.T) {
	marks := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	texts := regexp.MustCompile(`\.(go|md|sh|yml|mod)$|^Makefile$|^run$`)
	looked := 0
	err := walk(func(name string) error {
		if !texts.MatchString(filepath.Base(name)) {
			return nil
		}
		looked++
		text, err := os.ReadFile(name)
		for i, line := range bytes.Split(text, []byte("\n")) {
			if mark := marks.Find(line); mark != nil {
				t.Errorf("%s:%d: %s", name, i+1, mark)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked == 0 {
		t.Fatal("no files were found")
	}
}
