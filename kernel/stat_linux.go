package kernel

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
)

// Stat returns the kernel's counters of TLS by name, as in
// Documentation/networking/tls.rst, or errors.ErrUnsupported where it has none.
// They count all connections of the network namespace.
func Stat() (map[string]uint64, error) {
	b, err := os.ReadFile("/proc/net/tls_stat")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.ErrUnsupported
	}
	if err != nil {
		return nil, err
	}
	counters := map[string]uint64{}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) != 2 {
			continue
		}
		if n, err := strconv.ParseUint(string(f[1]), 10, 64); err == nil {
			counters[string(f[0])] = n
		}
	}
	return counters, nil
}
