package main

import (
	"bytes"
	"testing"
	"testing/iotest"

	"github.com/go-handoff/tls/interop/lab/job"
)

func TestConsole(t *testing.T) {
	j := &job.Job{Marker: "lab-x:"}
	tests := []struct {
		name, in, out, kernel string
		begun, ended          bool
		status                int
	}{
		{"nothing", "", "", "", false, false, 0},
		{"no command", "Linux version\r\npanic", "", "Linux version\npanic\n", false, false, 0},
		{"whole", "boot\r\n\n" + j.Begins() + "\nhello\nworld\n\n" + j.Ends(3) + "\n\r\nPower down\r\n", "hello\nworld\n", "boot\n\n\nPower down\n", true, true, 3},
		{"no newline", "\n" + j.Begins() + "\nabc\n" + j.Ends(0) + "\n", "abc", "\n", true, true, 0},
		{"empty lines", "\n" + j.Begins() + "\n\n\na\r\n\n\n" + j.Ends(0) + "\n", "\n\na\r\n\n", "\n", true, true, 0},
		{"silent", "\n" + j.Begins() + "\n\n" + j.Ends(255) + "\n", "", "\n", true, true, 255},
		{"cut off", "\n" + j.Begins() + "\nabc\nde", "abc\nde", "\n", true, false, 0},
		{"cut off at a newline", "\n" + j.Begins() + "\nabc\n", "abc\n", "\n", true, false, 0},
		{"false status", "\n" + j.Begins() + "\nlab-y: exit status 1\n" + j.Marker + " exit status x\n", "lab-y: exit status 1\nlab-x: exit status x\n", "\n", true, false, 0},
		{"status before the command", j.Ends(1) + "\n", "", j.Ends(1) + "\n", false, false, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			c := &console{to: &out, job: j}
			in := iotest.OneByteReader(bytes.NewReader([]byte(test.in)))
			buf := make([]byte, 1)
			for n, err := in.Read(buf); err == nil; n, err = in.Read(buf) {
				if _, err := c.Write(buf[:n]); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.close(); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.out || c.kernel.String() != test.kernel {
				t.Errorf("output %q, kernel %q; want %q and %q", out.String(), c.kernel.String(), test.out, test.kernel)
			}
			if c.begun != test.begun || c.ended != test.ended || c.status != test.status {
				t.Errorf("begun %v, ended %v, status %d", c.begun, c.ended, c.status)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	const in = `=== RUN   TestA
=== RUN   TestA/part
    a_test.go:1: words
--- PASS: TestA (0.00s)
    --- PASS: TestA/part (0.00s)
--- FAIL: TestB (0.00s)
    --- FAIL: TestB/part (0.00s)
--- SKIP: TestC (0.00s)
FAIL`
	const want = `    a_test.go:1: words
--- PASS: TestA (0.00s)
--- FAIL: TestB (0.00s)
    --- FAIL: TestB/part (0.00s)
--- SKIP: TestC (0.00s)
FAIL
`
	var out bytes.Buffer
	v := &verdicts{to: &out}
	for _, part := range []string{in[:20], in[20:21], in[21:]} {
		if _, err := v.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	v.close()
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
	if v.passed != 1 || v.failed != 1 || v.skipped != 1 {
		t.Errorf("%d passed, %d failed, %d skipped", v.passed, v.failed, v.skipped)
	}
}
