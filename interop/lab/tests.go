package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// testPackage is a package with tests.
type testPackage struct{ path, dir string }

// outcome is what became of a package's tests in a kernel.
type outcome struct {
	kernel, pkg             string
	passed, failed, skipped int
	took                    time.Duration
	err                     error // why this is a failure
}

// runTests runs the packages' tests in each kernel and prints a summary.
func (o *options) runTests(ctx context.Context) (status int, err error) {
	packages, err := o.listPackages(ctx)
	if err != nil {
		return exitLab, err
	}
	dir, err := os.MkdirTemp("", "lab-tests-*")
	if err != nil {
		return exitLab, err
	}
	defer os.RemoveAll(dir)
	var outcomes []outcome
	for _, k := range o.kernels {
		outcomes = append(outcomes, o.runIn(ctx, k, packages, dir)...)
		if ctx.Err() != nil {
			return exitLab, context.Cause(ctx)
		}
	}
	printSummary(os.Stdout, outcomes)
	for _, out := range outcomes {
		if out.err != nil {
			status = 1
		}
	}
	return status, nil
}

// listPackages finds the packages that the arguments name.
func (o *options) listPackages(ctx context.Context) (packages []testPackage, err error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-f", "{{.ImportPath}}\t{{.Dir}}"}, o.boot.args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		name, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		packages = append(packages, testPackage{name, dir})
	}
	return packages, nil
}

// runIn runs the tests in one kernel. The test programs stay in dir.
func (o *options) runIn(ctx context.Context, k kernel, packages []testPackage, dir string) (outcomes []outcome) {
	var err error
	b := o.boot
	if b.image, err = k.open(ctx, o.cache); err != nil {
		return []outcome{{kernel: k.name, pkg: "all", err: err}}
	}
	for _, p := range packages {
		fmt.Printf("=== KERNEL %s: %s\n", b.image.release, p.path)
		start := time.Now()
		out := outcome{kernel: b.image.release, pkg: p.path}
		var program string
		if program, out.err = o.compile(ctx, p, dir); out.err == nil {
			b.test(ctx, p, program, o.tests, &out)
		}
		out.took = time.Since(start).Round(100 * time.Millisecond)
		outcomes = append(outcomes, out)
	}
	return outcomes
}

// compile makes a package's test program in dir, if it is not there: without
// libraries, which an emulated machine does not have, unless the race detector
// needs them.
func (o *options) compile(ctx context.Context, p testPackage, dir string) (program string, err error) {
	program = filepath.Join(dir, strings.ReplaceAll(p.path, "/", "_")+".test")
	args, env := []string{"test", "-c"}, append(os.Environ(), "CGO_ENABLED=0")
	if o.race {
		args, env = append(args, "-race"), os.Environ()
	}
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", program, p.path)...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the tests do not build: %w\n%s", err, bytes.TrimSpace(out))
	}
	if _, err := os.Stat(program); err != nil {
		return "", errors.New("there are no tests")
	}
	return program, nil
}

// test runs one package's tests. In the lab there is kernel TLS, and tests may
// count on that.
func (b boot) test(ctx context.Context, p testPackage, program, pattern string, out *outcome) {
	// The tests' own limit is the lower one: it says where they hang.
	own := b.limit - b.limit/10
	b.args = []string{program, "-test.run=" + pattern, "-test.v", "-test.timeout=" + own.String()}
	b.dir, b.env = p.dir, append(slices.Clone(b.env), "HANDOFF_LAB=1")
	if b.image.flavor == userMode && os.Getenv("GOGC") == "" {
		b.env = append(b.env, "GOGC=20") // see userModeCommand
	}
	if data := filepath.Join(p.dir, "testdata"); b.image.flavor == emulated && isDir(data) {
		b.keep = append(slices.Clone(b.keep), data)
	}
	b.place()
	v := &verdicts{to: os.Stdout}
	status, err := b.run(ctx, v)
	v.close()
	out.passed, out.failed, out.skipped = v.passed, v.failed, v.skipped
	switch {
	case err != nil:
		out.err = err
	case status != 0:
		out.err = fmt.Errorf("exit status %d", status)
	case v.passed+v.failed == 0:
		out.err = errors.New("no test ran")
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// verdicts counts whole tests in what a test program prints, and lets through
// what is not about tests that begin or parts of tests that pass.
type verdicts struct {
	to                      io.Writer
	passed, failed, skipped int
	partial                 []byte
}

// Write implements io.Writer.
func (v *verdicts) Write(p []byte) (int, error) {
	v.partial = append(v.partial, p...)
	for {
		line, rest, whole := bytes.Cut(v.partial, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		v.partial = rest
		v.count(string(line))
		if !dull.Match(line) {
			if _, err := fmt.Fprintf(v.to, "%s\n", line); err != nil {
				return 0, err
			}
		}
	}
}

var dull = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME) |^ +--- PASS: `)

func (v *verdicts) count(line string) {
	switch {
	case strings.HasPrefix(line, "--- PASS: "):
		v.passed++
	case strings.HasPrefix(line, "--- FAIL: "):
		v.failed++
	case strings.HasPrefix(line, "--- SKIP: "):
		v.skipped++
	}
}

// close writes what is left.
func (v *verdicts) close() {
	if len(v.partial) > 0 {
		fmt.Fprintf(v.to, "%s\n", v.partial)
	}
}

func printSummary(w io.Writer, outcomes []outcome) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nKERNEL\tPACKAGE\tRESULT\tTESTS\tTIME")
	for _, out := range outcomes {
		result := "ok"
		if out.err != nil {
			result = "FAIL"
		}
		tests := fmt.Sprintf("%d passed", out.passed)
		if out.failed > 0 {
			tests += fmt.Sprintf(", %d failed", out.failed)
		}
		if out.skipped > 0 {
			tests += fmt.Sprintf(", %d skipped", out.skipped)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%v\n", out.kernel, out.pkg, result, tests, out.took)
	}
	t.Flush()
	for _, out := range outcomes {
		if out.err != nil {
			fmt.Fprintf(w, "FAIL: %s: %s: %v\n", out.kernel, out.pkg, out.err)
		}
	}
}
