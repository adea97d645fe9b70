//go:build !linux

package bench

// cpuName returns no name: there is no common way to know it.
func cpuName() string { return "unknown CPU" }
