//go:build !linux

package bench

// systemCalls would return how many calls of the read and of the write family
// this process has made, if that could be told.
func systemCalls() (reads, writes float64, ok bool) { return 0, 0, false }

// residentBytes would return how much of this process is in memory.
func residentBytes() (n float64, ok bool) { return 0, false }
