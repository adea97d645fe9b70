package matrix

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// table is the cells of a role and a version.
type table struct {
	Title string
	Peers []column
	Rows  []row
}

// column is a peer.
type column struct{ Name, Version string }

// row is what becomes of a plan.
type row struct {
	Name, Means string
	Cells       []outcome
}

// outcome is what is in one place of a table: what became of the cell, or the
// letter of the reason why there is none.
type outcome struct{ User, Kernel, Letter, Reason string }

// page is all that the documents say.
type page struct {
	Tables  []table
	Reasons []reason
	Kernel  string
	Counts  map[string]int // of cells, by outcome
}

type reason struct{ Letter, Text string }

// newPage puts the results into tables.
func newPage(user, kernel *results) *page {
	pg, peers := &page{Kernel: kernel.Kernel, Counts: map[string]int{}}, allPeers()
	for _, role := range roles {
		for _, version := range versions {
			tab := table{}
			for _, peer := range peers {
				if peer.has(role) {
					tab.Peers = append(tab.Peers, column{peer.name, user.Peers[peer.name]})
				}
			}
			for _, p := range plans(version) {
				tab.Title = fmt.Sprintf("%s%s, TLS %s", strings.ToUpper(string(role[:1])), role[1:], p.dotted())
				r := row{Name: p.name, Means: p.means}
				for _, peer := range peers {
					if peer.has(role) {
						r.Cells = append(r.Cells, pg.outcome(cell{role: role, plan: p, peer: peer}, user, kernel))
					}
				}
				tab.Rows = append(tab.Rows, r)
			}
			pg.Tables = append(pg.Tables, tab)
		}
	}
	return pg
}

func (pg *page) outcome(c cell, user, kernel *results) outcome {
	if why := c.peer.cannot(c.role, c.plan); why != "" {
		pg.Counts["none"]++
		return outcome{Letter: pg.letter(why), Reason: why}
	}
	o := outcome{User: user.Cells[c.String()], Kernel: kernel.Cells[c.String()]}
	pg.Counts["user "+o.User]++
	pg.Counts["kernel "+o.Kernel]++
	return o
}

// letter returns the letter of a reason.
func (pg *page) letter(why string) string {
	for _, r := range pg.Reasons {
		if r.Text == why {
			return r.Letter
		}
	}
	letter := string(rune('a' + len(pg.Reasons)))
	pg.Reasons = append(pg.Reasons, reason{letter, why})
	return letter
}

const preamble = `# Interoperation with other people's programs

Each cell is a connection between this stack and a program, or two of them, with data in both directions. Every byte is compared,
and so is what both sides say of the connection, as far as the program says it: version, cipher suite, group, application protocol
(http/1.1, and none with nginx as a client), resumption, the client's certificate. ` + "`make interop`" + ` plays all of them and writes this page and
RESULTS.html, which has the same; ` + "`go test ./conformance/matrix`" + ` plays some of those in user space and compares.

U: passed, with our records in user space. K: passed, with both directions of ours in the kernel, Linux %s. FAIL: it did not.
A letter: there is no such connection, for the reason below.
`

// markdown returns the page as RESULTS.md.
func (pg *page) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, preamble, pg.Kernel)
	for _, tab := range pg.Tables {
		fmt.Fprintf(&b, "\n## %s\n\n| |", tab.Title)
		for _, p := range tab.Peers {
			fmt.Fprintf(&b, " %s |", p.Version)
		}
		fmt.Fprintf(&b, "\n|---|%s\n", strings.Repeat(":-:|", len(tab.Peers)))
		for _, r := range tab.Rows {
			fmt.Fprintf(&b, "| %s |", r.Name)
			for _, o := range r.Cells {
				fmt.Fprintf(&b, " %s |", o.mark())
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n## What the rows are\n\n")
	for _, r := range pg.Meanings() {
		fmt.Fprintf(&b, "- %s: %s\n", r.Name, r.Means)
	}
	b.WriteString("\n## What there is no connection for\n\n")
	for _, r := range pg.Reasons {
		fmt.Fprintf(&b, "- %s: %s\n", r.Letter, r.Text)
	}
	fmt.Fprintf(&b, "\n%s\n", pg.Summary())
	return b.String()
}

// Meanings returns one row of each name.
func (pg *page) Meanings() (list []row) {
	known := map[string]bool{}
	for _, tab := range pg.Tables {
		for _, r := range tab.Rows {
			if !known[r.Name] {
				list = append(list, r)
			}
			known[r.Name] = true
		}
	}
	return list
}

// Summary counts.
func (pg *page) Summary() string {
	c := pg.Counts
	return fmt.Sprintf("In user space %d cells pass and %d fail, in the kernel %d pass and %d fail; %d are no connections.",
		c["user "+passed], c["user "+failed], c["kernel "+passed], c["kernel "+failed], c["none"])
}

// mark is what a table of text shows.
func (o outcome) mark() string {
	if o.Letter != "" {
		return o.Letter
	}
	return map[string]string{passed: "U", failed: "FAIL"}[o.User] + " " + map[string]string{passed: "K", failed: "FAIL"}[o.Kernel]
}

//go:embed testdata/page.html
var pageHTML string

// html returns the page as RESULTS.html.
func (pg *page) html() (string, error) {
	tmpl, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = tmpl.Execute(&b, pg)
	return b.String(), err
}

// TestResults compares the documents with the results that are kept, or writes
// them, and demands that each cell has its result.
func TestResults(t *testing.T) {
	if os.Getenv("HANDOFF_LAB") != "" {
		t.Skip("the documents are compared outside of the lab")
	}
	user, kernel := load(t, userFile), load(t, kernelFile)
	for file, r := range map[string]*results{userFile: user, kernelFile: kernel} {
		for _, c := range cells() {
			if r.Cells[c.String()] != passed {
				t.Errorf("%s: %s has %q", c, file, r.Cells[c.String()])
			}
		}
		if len(r.Cells) != len(cells()) {
			t.Errorf("%s has %d cells, and there are %d", file, len(r.Cells), len(cells()))
		}
	}
	pg := newPage(user, kernel)
	html, err := pg.html()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"RESULTS.md": pg.markdown(), "RESULTS.html": html} {
		file := filepath.Join("..", "..", "interop", name)
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if read(file) != text {
			t.Errorf("%s is not what the results say: make interop writes it", name)
		}
	}
}
