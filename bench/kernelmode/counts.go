//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// counts are the system calls of a server between its two marks.
type counts struct {
	calls   map[string]int // by name, those that did something
	again   int            // those that did not, as they would have waited
	other   int            // the Go runtime's own: the scheduler, the poller, memory
	crossed int64          // bytes that were copied between program and kernel
}

// runtimeCalls are those that the Go runtime makes by itself.
var runtimeCalls = regexp.MustCompile(`^(futex|epoll_.*|nanosleep|clock_.*|sched_.*|rt_sig.*|sig.*|m(un|re)?map|madvise|mprotect|clone.?|getpid|gettid|tgkill|timer_.*|exit.*|restart_syscall|eventfd.*|set_robust_list|rseq|prctl|access|faccessat.?)$`)

// copying are the calls whose result is a number of bytes that were copied.
var copying = regexp.MustCompile(`^p?(read|write)(v|64)?$|^(recv|send)(msg|from|to)$`)

var (
	traceLine = regexp.MustCompile(`^\d+ +(?:<\.\.\. (\w+) resumed>|(\w+)\()`)
	traceEnd  = regexp.MustCompile(`= (-?\d+)(?: ([A-Z]+).*)?$`)
)

// count reads what strace has written, from the first mark to the next.
func count(path string) (*counts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &counts{calls: map[string]int{}}
	inside, ended := false, false
	lines := bufio.NewScanner(f)
	for lines.Scan() && !ended {
		line := lines.Text()
		switch {
		case strings.Contains(line, markBegin):
			inside = true
		case strings.Contains(line, markEnd):
			ended = true
		case inside:
			c.add(line)
		}
	}
	if !ended {
		return nil, fmt.Errorf("%s has no marks: %w", path, lines.Err())
	}
	return c, nil
}

// add counts a line, unless it is one that says only that a call has begun.
func (c *counts) add(line string) {
	m, end := traceLine.FindStringSubmatch(line), traceEnd.FindStringSubmatch(line)
	if m == nil || end == nil {
		return
	}
	name := m[1] + m[2]
	n, _ := strconv.ParseInt(end[1], 10, 64)
	switch {
	case runtimeCalls.MatchString(name):
		c.other++
		return
	case end[2] == "EAGAIN":
		c.again++
		return
	}
	c.calls[name]++
	if n > 0 && copying.MatchString(name) {
		c.crossed += n
	}
}

func (c *counts) total() (n int) {
	for _, k := range c.calls {
		n += k
	}
	return n
}

// countWay plays a way once, traced.
func countWay(name string, size int64, buffer int) (*counts, error) {
	dir, err := os.MkdirTemp("", "kernelmode-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	trace := filepath.Join(dir, "trace")
	if _, err := play(task{Way: name, Size: size, Buffer: buffer, Conns: 1}, trace); err != nil {
		return nil, err
	}
	return count(trace)
}

// countedSize is how much each way carries while it is traced.
const countedSize = 8 << 20

// countAll counts what needs no time: it is to be run in a kernel at full speed.
func countAll(r *report) error {
	for _, w := range ways {
		buffers := []int{bufferSize}
		if w.receives() {
			buffers = []int{4 << 10, 16 << 10, 64 << 10, 256 << 10}
		}
		for _, b := range buffers {
			c, err := countWay(w.name, countedSize, b)
			if err != nil {
				return err
			}
			r.add(calls, w.name, int64(b), float64(c.total())/(countedSize>>20))
			r.add(copies, w.name, int64(b), float64(c.crossed)/countedSize)
		}
	}
	for _, n := range []int{64 << 10, 256 << 10} {
		got, err := recordsPerRead(n)
		if err != nil {
			return err
		}
		r.add(records, "kernel TLS", int64(n), got)
	}
	tx, rx, err := medianMove(allocs)
	if err != nil {
		return err
	}
	r.add(moveAllocs, "sending", 0, tx)
	r.add(moveAllocs, "receiving", 0, rx)
	return countIdle(r)
}

// countIdle measures what idle connections hold.
func countIdle(r *report) error {
	const conns = 400
	n, err := idleStd(conns)
	if err != nil {
		return err
	}
	r.add(idle, "crypto/tls", 0, n)
	for _, p := range []struct {
		name   string
		tx, rx bool
	}{
		{"user space", false, false},
		{"the kernel sends", true, false},
		{"the kernel sends and receives", true, true},
	} {
		if n, err = idleOf(conns, p.tx, p.rx); err != nil {
			return err
		}
		r.add(idle, p.name, 0, n)
	}
	return nil
}
