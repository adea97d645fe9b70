package faults

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-handoff/tls"
)

// row is what is counted together.
type row struct {
	version   uint16
	direction direction
	kind      kind
}

// counts is how often each outcome was seen, by who it was: the end that
// receives the faulty direction, and the end that sends it.
type counts struct {
	mutex sync.Mutex
	rows  map[row]*[2]map[string]int
}

func (c *counts) add(version uint16, f fault, o [2]*outcome, mine isOurs) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.rows == nil {
		c.rows = map[row]*[2]map[string]int{}
	}
	key := row{version, f.direction, f.kind}
	if c.rows[key] == nil {
		c.rows[key] = &[2]map[string]int{{}, {}}
	}
	for i, d := range []direction{f.direction.other(), f.direction} {
		c.rows[key][i][o[d].classify(d, mine[d])]++
	}
}

// groups merges outcomes for the table, which would be too long with each alert:
// tests have the rest in their logs.
func groups(m map[string]int) map[string]int {
	out := map[string]int{}
	for name, n := range m {
		switch {
		case strings.HasPrefix(name, sent):
			name = "alert sent"
		case strings.HasPrefix(name, received):
			name = "alert received"
		case name == broken:
			name = wasReset
		}
		out[name] += n
	}
	return out
}

// table is a table in Markdown.
func (c *counts) table() string {
	var b strings.Builder
	b.WriteString(tableHead)
	rows := slices.SortedFunc(maps.Keys(c.rows), func(a, b row) int {
		return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.direction, b.direction), cmp.Compare(a.kind, b.kind))
	})
	for _, r := range rows {
		n := 0
		for _, m := range c.rows[r][0] {
			n += m
		}
		fmt.Fprintf(&b, "| %s | %v | %v | %d | %s | %s |\n", tls.VersionName(r.version), r.direction, r.kind, n, list(groups(c.rows[r][0])), list(groups(c.rows[r][1])))
	}
	return b.String()
}

// alerts lists the alerts that were sent, all together.
func (c *counts) alerts() string {
	total := map[string]int{}
	for _, ends := range c.rows {
		for _, m := range ends {
			for name, n := range m {
				if alert, ok := strings.CutPrefix(name, sent); ok {
					total[alert] += n
				}
			}
		}
	}
	return list(total)
}

const (
	results   = "RESULTS.md"
	tableHead = "| version | direction | fault | connections | who receives it | who sends it |\n|---|---|---|---|---|---|\n"
)

const resultsHead = `# Faults at every byte

What became of conversations with a fault at each byte of either direction, this stack at both ends, in user space. Made by
"go test ./conformance/faults -run '^TestMatrix$' -update", see [doc.go](doc.go).

A conversation is "complete" for an end that got all data and the peer's close_notify. It is "closed by the peer" if that came earlier,
from a peer that had failed itself. "truncated" is io.ErrUnexpectedEOF, "not TLS" a RecordHeaderError, "timeout" the deadline: the bytes
waited for never come, as when a length was changed. All others end with an alert. Which ones of two that happen at the same time is
seen first, a reset or an end, depends on timing. No outcome was a hang, a panic, a wrong byte or an error of no known type.

Complete in spite of a change are only conversations where the legacy version of an unprotected record was changed, which says nothing
(RFC 9846, section 5.1), or where something came after the end.

`

var update = flag.Bool("update", false, "write "+results)

// checkResults compares the part of the results that does not depend on timing:
// the number of conversations of each row.
func (c *counts) checkResults(t *testing.T) {
	t.Helper()
	text := resultsHead + c.table() + "\nAlerts: " + c.alerts() + ".\n"
	if *update {
		if err := os.WriteFile(results, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	if firstColumns(string(old)) != firstColumns(text) {
		t.Errorf("%s counts other conversations: run this test with -update", results)
	}
}

func firstColumns(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if columns := strings.SplitN(line, "|", 6); len(columns) == 6 {
			fmt.Fprintln(&b, strings.Join(columns[:5], "|"))
		}
	}
	return b.String()
}

// list is outcomes with their numbers, the most frequent first.
func list(m map[string]int) string {
	var out []string
	for _, name := range slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(m[b]-m[a], cmp.Compare(a, b)) }) {
		out = append(out, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(out, ", ")
}
