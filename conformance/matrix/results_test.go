package matrix

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
)

// results is what became of cells.
type results struct {
	mu     sync.Mutex
	Kernel string            `json:"kernel,omitempty"` // that it was played in
	Peers  map[string]string `json:"peers"`            // what they say they are
	Cells  map[string]string `json:"cells"`            // pass or fail
}

// Where the results are kept.
const (
	userFile   = "testdata/user.json"
	kernelFile = "testdata/kernel.json"
)

const (
	passed = "pass"
	failed = "fail"
)

func newResults(t *testing.T) *results {
	r := &results{Kernel: kernelRelease(), Peers: map[string]string{}, Cells: map[string]string{}}
	for _, p := range allPeers() {
		version, err := p.version()
		if err != nil {
			t.Fatal(err)
		}
		r.Peers[p.name] = version
	}
	return r
}

func (r *results) record(c cell, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Cells[c.String()] = failed
	if ok {
		r.Cells[c.String()] = passed
	}
}

// finish compares the results with those in a file, or writes that if it is told to
// and all cells were played. The programs may be newer ones than those of the file.
func (r *results) finish(t *testing.T, file string) {
	if *update && len(r.Cells) == len(cells()) {
		b, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	known := load(t, file)
	for cell, outcome := range r.Cells {
		if known.Cells[cell] != outcome {
			t.Errorf("%s: %s, and %s has %q", cell, outcome, file, known.Cells[cell])
		}
	}
}

func load(t *testing.T, file string) *results {
	b, err := os.ReadFile(file)
	r := &results{}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		t.Fatalf("%v (make interop writes it)", err)
	}
	return r
}

// kernelRelease is that of the lab's kernel, "" outside of it.
func kernelRelease() string {
	if os.Getenv("HANDOFF_LAB") == "" {
		return ""
	}
	return strings.TrimSpace(read("/proc/sys/kernel/osrelease"))
}
