//go:build !unix

package bench

import "runtime"

// kernelName returns the system's name: its release is not known here.
func kernelName() string { return runtime.GOOS }
