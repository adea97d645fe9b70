package resumption

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// cell is one combination of a peer, a form of session and a situation.
type cell struct {
	situation string
	cannot    string // why there is no test; "" if there is one
	run       func(*testing.T) (resumed bool)
	outcome   string // R or F
}

// row is the cells of one peer and form.
type row struct {
	peer, form string
	cells      []*cell
}

// table is the rows of one role of ours.
type table struct {
	title, about string
	means        [][2]string // what the situations are
	rows         []*row
}

func serverTable() *table {
	t := &table{
		title: "Our server",
		about: "Their client gets a session from our server and comes back with it.",
	}
	for _, s := range situations {
		t.means = append(t.means, [2]string{s.name, s.means})
	}
	for _, c := range clients() {
		for _, f := range []form{ticket13, handle13, ticket12, handle12, cached12, stored12} {
			r := &row{peer: c.name, form: f.name}
			for i := range situations {
				s := &situations[i]
				r.cells = append(r.cells, &cell{situation: s.name, cannot: c.impossible(f, s), run: func(t *testing.T) bool { return s.run(t, c, f) }})
			}
			t.rows = append(t.rows, r)
		}
	}
	return t
}

func clientTable() *table {
	t := &table{
		title: "Our client",
		about: "Our client gets a session from their server and comes back with it.",
	}
	for _, s := range revisits {
		t.means = append(t.means, [2]string{s.name, s.means})
	}
	for _, p := range servers() {
		for _, f := range []form{ticket13, handle13, ticket12, cached12} {
			r := &row{peer: p.name, form: f.name}
			for i := range revisits {
				s := &revisits[i]
				r.cells = append(r.cells, &cell{situation: s.name, cannot: p.impossible(f, s), run: func(t *testing.T) bool { return s.run(t, p, f) }})
			}
			t.rows = append(t.rows, r)
		}
	}
	return t
}

// TestTable plays every cell, and compares what became of them with RESULTS.md.
func TestTable(t *testing.T) {
	tables := []*table{serverTable(), clientTable()}
	t.Run("cells", func(t *testing.T) {
		for _, tab := range tables {
			for _, r := range tab.rows {
				for _, c := range r.cells {
					if c.cannot == "" {
						t.Run(strings.Join([]string{tab.title, r.peer, r.form, c.situation}, "/"), c.test)
					}
				}
			}
		}
	})
	text, complete := markdown(tables)
	if t.Failed() || !complete {
		return // nothing to compare, or only what -run chose was played
	}
	const name = "RESULTS.md"
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(name); err != nil || string(old) != text {
		t.Errorf("%s is not what became of the tests (%v): run go test with -update and look at the difference", name, err)
	}
}

func (c *cell) test(t *testing.T) {
	t.Parallel()
	resumed := c.run(t)
	c.outcome = map[bool]string{true: "R", false: "F"}[resumed]
}

const preamble = `# Sessions with other stacks

What becomes of a client that comes back with a session. Each cell is played by ` + "`go test ./conformance/resumption`" + `, which
compares this file with what it saw; its ` + "`-update`" + ` writes it.

R: resumed. F: a full handshake, without an error. Both sides agree on which it was, data flowed in both directions, and whoever
demanded a certificate has its verified chain, in resumed connections too. A letter: there is no such test, for the reason below.

The forms of sessions: a *ticket* is sealed and holds the session; behind a *handle*, which is a ticket too, and behind a
*session ID* the server keeps it.
`

// markdown returns the tables as text, and whether all cells were played.
func markdown(tables []*table) (text string, complete bool) {
	var b strings.Builder
	b.WriteString(preamble)
	complete = true
	counts := map[string]int{}
	for _, tab := range tables {
		tab.write(&b)
		for _, r := range tab.rows {
			for _, c := range r.cells {
				complete = complete && (c.cannot != "" || c.outcome != "")
				counts[c.outcome]++
			}
		}
	}
	fmt.Fprintf(&b, "\nIn all %d cells with R and %d with F.\n", counts["R"], counts["F"])
	return b.String(), complete
}

func (tab *table) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| peer | form |", tab.title, tab.about)
	for _, m := range tab.means {
		fmt.Fprintf(b, " %s |", m[0])
	}
	fmt.Fprintf(b, "\n|---|---|%s\n", strings.Repeat(":-:|", len(tab.means)))
	notes := newNotes()
	for _, r := range tab.rows {
		if reason, ok := r.absent(); ok {
			notes.whole = append(notes.whole, fmt.Sprintf("%s, %s: %s", r.peer, r.form, reason))
			continue
		}
		fmt.Fprintf(b, "| %s | %s |", r.peer, r.form)
		for _, c := range r.cells {
			mark := c.outcome
			if c.cannot != "" {
				mark = notes.letter(c.cannot)
			}
			fmt.Fprintf(b, " %s |", mark)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nWhat is different when the client comes back:\n\n")
	for _, m := range tab.means {
		fmt.Fprintf(b, "- %s: %s\n", m[0], m[1])
	}
	notes.write(b)
}

// absent reports whether the peer has nothing of the form at all, and why.
func (r *row) absent() (reason string, ok bool) {
	for _, c := range r.cells {
		if c.cannot == "" {
			return "", false
		}
	}
	return r.cells[0].cannot, true
}

// notes are the reasons for which there are no tests.
type notes struct {
	letters map[string]string
	reasons []string
	whole   []string
}

func newNotes() *notes { return &notes{letters: map[string]string{}} }

func (n *notes) letter(reason string) string {
	if n.letters[reason] == "" {
		n.letters[reason] = string(rune('a' + len(n.reasons)))
		n.reasons = append(n.reasons, reason)
	}
	return n.letters[reason]
}

func (n *notes) write(b *strings.Builder) {
	b.WriteString("\nWhat there is no test of:\n\n")
	for _, reason := range n.reasons {
		fmt.Fprintf(b, "- %s: %s\n", n.letters[reason], reason)
	}
	for _, line := range n.whole {
		fmt.Fprintf(b, "- %s\n", line)
	}
}
