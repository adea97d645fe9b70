//go:build !unix

package bench

import "time"

var started = time.Now()

// cpuTime returns how long this process has run: there is no portable CPU time.
func cpuTime() time.Duration { return time.Since(started) }
