package beside

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-handoff/tls/bench"
)

const stack bench.Stack = "script"

// script returns what builds a program of the shell, with which it begins.
func script(text string) func(context.Context, string) (string, error) {
	return func(_ context.Context, dir string) (string, error) {
		name := filepath.Join(dir, "program")
		return name, os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o700)
	}
}

const hello = "echo version Script 1.0; echo can A; echo cannot B it is too old; echo ready; "

func start(t *testing.T, text string) *Program {
	t.Helper()
	p, err := Start(t.Context(), stack, script(hello+text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlays(t *testing.T) {
	p := start(t, `while read name n; do echo "$n cpu-ns/op"; done; test -s $1 && test -s $2 && test -s $3`)
	if p.Version != "Script 1.0" || !slices.Equal(p.Can(), []string{"A"}) || !slices.Equal(p.Cannot, []Missing{{"B", "it is too old"}}) {
		t.Errorf("%+v", p)
	}
	open := func(bench.Stack) (*bench.Player, error) {
		return &bench.Player{Play: func(int) (bench.Figures, error) { time.Sleep(time.Millisecond); return nil, nil }}, nil
	}
	if c := p.Beside(bench.Case{Name: "B", Open: open}); len(c.More) != 0 {
		t.Error("a case that it cannot play")
	}
	r, err := bench.Run(t.Context(), p.Beside(bench.Case{Name: "A", Open: open}), bench.Options{Pairs: 3, Sample: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	if v := r.Values(stack, "cpu-ns/op"); len(v) != 3 || v[0] != float64(r.N) {
		t.Errorf("%v", v)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files are left: %v", err)
	}
}

// What a program fails with is its error from then on.
func TestFails(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"read line; echo error no memory; exit 1", "script: no memory"},
		{"read line; exit 1", "script: its program has ended"},
		{"read line; kill -9 $$", "script: its program has ended"},
		{"read line; echo; exit 1", "is no answer"},
		{"read line; echo x cpu-ns/op; exit 1", "invalid syntax"},
	} {
		p := start(t, test.text)
		if f, err := p.play("A", 1); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v", test.text, f, err)
		}
		if f, err := p.play("A", 1); err == nil {
			t.Errorf("%s: %v", test.text, f)
		}
		if p.Err() == nil || len(p.Beside(bench.Case{Name: "A"}).More) != 0 {
			t.Errorf("%s: a program that has ended plays", test.text)
		}
		var exit *exec.ExitError
		if err := p.Close(); !errors.As(err, &exit) {
			t.Errorf("%s: %v", test.text, err)
		}
	}
}

// A program that does not answer, or does not end, is ended.
func TestPatience(t *testing.T) {
	p := start(t, "exec sleep 60")
	old := patience
	patience = 10 * time.Millisecond
	t.Cleanup(func() { patience = old })
	if f, err := p.play("A", 1); err == nil {
		t.Errorf("%v", f)
	}
	if err := p.Close(); err == nil {
		t.Error("no error")
	}
}

// What cannot start says why, and leaves nothing.
func TestCannotStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for name, build := range map[string]func(context.Context, string) (string, error){
		"no compiler": func(context.Context, string) (string, error) { return "", errors.New("no compiler") },
		"too old":     script("echo error too old; exit 1"),
	} {
		if p, err := Start(t.Context(), stack, build); p != nil || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestParse(t *testing.T) {
	f, err := parse("12.5 cpu-ns/op 3 client-cpu-ns/op")
	if err != nil || !maps.Equal(f, bench.Figures{"cpu-ns/op": 12.5, "client-cpu-ns/op": 3}) {
		t.Errorf("%v, %v", f, err)
	}
	for _, line := range []string{"", "12.5", "x cpu-ns/op", "12.5 cpu-ns/op 3"} {
		if f, err := parse(line); err == nil {
			t.Errorf("%q: %v", line, f)
		}
	}
}
