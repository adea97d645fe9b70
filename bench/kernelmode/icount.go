//go:build linux

package main

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	bulkSize   = 16 << 20
	bulkConns  = 3
	shortConns = 15
	bufferSize = 64 << 10
)

// shortSizes are those of responses on connections that send nothing else.
var shortSizes = []int64{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10}

// countInstructions measures the CPU time of servers. It is to be run where time
// is the number of instructions.
func countInstructions(r *report) error {
	for _, w := range ways {
		t := task{Way: w.name, Size: bulkSize, Buffer: bufferSize, Conns: bulkConns}
		s, err := play(t, "")
		if err != nil {
			return err
		}
		r.add(bulk, w.name, bulkSize, perMiB(s))
	}
	for _, w := range ways {
		if w.receives() || w.source {
			continue
		}
		for _, size := range shortSizes {
			t := task{Way: w.name, Size: size, Buffer: bufferSize, Conns: shortConns, Closing: true}
			s, err := play(t, "")
			if err != nil {
				return err
			}
			r.add(short, w.name, size, float64(median(s)))
		}
	}
	tx, rx, err := medianMove(instructions)
	if err != nil {
		return err
	}
	r.add(move, "sending", 0, tx)
	r.add(move, "receiving", 0, rx)
	r.about("AES-GCM in the kernel", gcmDriver())
	r.about("Go", runtime.Version())
	return nil
}

func perMiB(samples []sample) float64 { return float64(median(samples)) / (bulkSize >> 20) }

func median(samples []sample) time.Duration {
	slices.SortFunc(samples, func(a, b sample) int { return int(a.CPU - b.CPU) })
	return samples[len(samples)/2].CPU
}

// gcmDriver returns which AES-GCM the kernel prefers.
func gcmDriver() string {
	text, err := os.ReadFile("/proc/crypto")
	if err != nil {
		return err.Error()
	}
	best, priority := "none", ""
	for _, entry := range strings.Split(string(text), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(entry) {
			k, v, _ := strings.Cut(line, ":")
			fields[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
		if p := fields["priority"]; fields["name"] == "gcm(aes)" && (len(p) > len(priority) || len(p) == len(priority) && p > priority) {
			best, priority = fields["driver"], p
		}
	}
	return best
}
