// Package job is what the lab's launcher and the program that it boots say to
// each other: what is to run, and how it ended.
package job

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Path is where a Job lies in the initramfs.
const Path = "/job.json"

// Job is one command for a kernel to run.
type Job struct {
	// Marker begins each line that the guest itself prints. It is random, so
	// that no command prints it by accident.
	Marker string
	// Modules are the files of kernel modules in the initramfs, dependencies
	// first.
	Modules []string
	// HostRoot says that the command sees the host's files through hostfs. If
	// it is false, it sees those of the initramfs.
	HostRoot bool
	// Keep are files and directories of the host that stay visible although
	// the guest has a file system of its own above them, as it has on /tmp.
	Keep []string

	// Limit is the time after which the machine turns itself off, in case that
	// the launcher is not there any more to do it.
	Limit time.Duration

	Args []string
	Dir  string
	Env  []string
}

// Encode returns the content of the file at Path.
func (j *Job) Encode() ([]byte, error) { return json.Marshal(j) }

// Decode reads the content of the file at Path.
func Decode(text []byte) (*Job, error) {
	j := new(Job)
	if err := json.Unmarshal(text, j); err != nil {
		return nil, fmt.Errorf("the job is not readable: %w", err)
	}
	return j, nil
}

const (
	begins = " begins"
	status = " exit status "
)

// Begins is the line that comes before the command's first byte of output. The
// kernel's words while it boots are above it.
func (j *Job) Begins() string { return j.Marker + begins }

// Ends is the line that comes after the command's last byte of output.
func (j *Job) Ends(code int) string { return j.Marker + status + strconv.Itoa(code) }

// ParseEnd returns the exit status in a line that Ends made.
func (j *Job) ParseEnd(line string) (code int, ok bool) {
	digits, ok := strings.CutPrefix(line, j.Marker+status)
	if !ok {
		return 0, false
	}
	code, err := strconv.Atoi(digits)
	return code, err == nil && code >= 0 && code <= 255
}
