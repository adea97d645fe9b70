package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	temp := t.TempDir()
	r := handoff(t, nil, "TMPDIR="+temp, "demo")
	r.want(t, exitOK, "")
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// Which suite is best, and what the kernel can do, depends on the machine, and
	// with it how wide the columns are.
	text, reasons, _ := strings.Cut(r.stdout, "\n\n  user space: ")
	for _, m := range [][2]string{
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`TLS_[A-Z0-9_]+`, "TLS_SUITE"},
		{`user space|kernel since record \d+`, "PLACE"},
		{` {3,}`, "  "},
	} {
		text = regexp.MustCompile(m[0]).ReplaceAllString(text, m[1])
	}
	golden(t, "demo.golden", text+"\n")
	seen := map[string]bool{}
	for line := range strings.Lines("  user space: " + reasons) {
		if !strings.HasPrefix(line, "  user space: ") || seen[line] {
			t.Errorf("reasons:\n%s", reasons)
		}
		seen[line] = true
	}

	var negotiated []string
	for line := range strings.Lines(r.stdout) {
		if m := regexp.MustCompile(`^  \d  (TLS 1\.\d)  (\w+) +(TLS_\w+) `).FindStringSubmatch(line); m != nil {
			negotiated = append(negotiated, m[1]+" "+m[2])
			if strings.HasPrefix(m[3], "TLS_ECDHE_ECDSA_WITH_") != (m[1] == "TLS 1.2") {
				t.Errorf("%s of another version: %s", m[3], line)
			}
		}
	}
	if got := strings.Join(negotiated, ", "); got != "TLS 1.3 full, TLS 1.3 resumed, TLS 1.2 full, TLS 1.2 resumed" {
		t.Errorf("negotiated: %s", got)
	}
}

// Where the kernel has TLS, it sends the files.
func TestKernelDemo(t *testing.T) {
	needKernel(t)
	r := handoff(t, nil, "demo")
	r.want(t, exitOK, "")
	if n := len(regexp.MustCompile(`(?m)^  \d  8388608  matches  kernel since record \d+ `).FindAllString(r.stdout, -1)); n != 4 {
		t.Errorf("%d of 4 files were sent by the kernel:\n%s", n, r.stdout)
	}
}
