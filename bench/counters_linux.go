package bench

import (
	"bytes"
	"os"
	"strconv"
)

// systemCalls returns how many calls of the read and of the write family this
// process has made (proc_pid_io(5), syscr and syscw), sendfile and splice among
// them, if that can be told.
func systemCalls() (reads, writes float64, ok bool) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, 0, false
	}
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		n, err := strconv.ParseFloat(string(value), 64)
		if err != nil {
			continue
		}
		switch string(name) {
		case "syscr":
			reads = n
		case "syscw":
			writes, ok = n, true
		}
	}
	return reads, writes, ok
}

// residentBytes returns how much of this process is in memory.
func residentBytes() (n float64, ok bool) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseFloat(string(fields[1]), 64)
	return pages * float64(os.Getpagesize()), err == nil
}
