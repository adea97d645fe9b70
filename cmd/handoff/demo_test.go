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
	// Which suite is best depends on the machine, and with it how wide its
	// column is.
	text := r.stdout
	for mask, pattern := range map[string]string{
		"127.0.0.1:PORT": `127\.0\.0\.1:\d+`,
		"TLS_SUITE  ":    `TLS_[A-Z0-9_]+ +`,
		"cipher suite  ": `cipher suite +`,
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, mask)
	}
	golden(t, "demo.golden", text)

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
