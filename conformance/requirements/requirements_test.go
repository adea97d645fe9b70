package requirements

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write REQUIREMENTS.md anew")

// textsVar says where the texts of the RFCs are, as rfc9846.txt and so on: they
// are not ours to copy. For those of 9846 and 8449 it is the Markdown that their
// authors write.
const textsVar = "HANDOFF_RFC_TEXTS"

// TestComplete demands a row for each sentence and a sentence for each row, in the
// RFC's order.
func TestComplete(t *testing.T) {
	dir := os.Getenv(textsVar)
	if dir == "" {
		t.Skipf("THE ROWS ARE NOT COMPARED WITH THE RFCS: %s does not say where their texts are", textsVar)
	}
	for _, d := range documents {
		t.Run(d.name, func(t *testing.T) {
			want, err := d.sentences(dir)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := d.rows()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, want, rows)
		})
	}
}

// TestRows demands that what the rows name is there, and that no row is lost.
func TestRows(t *testing.T) {
	src := newSource()
	for _, d := range documents {
		t.Run(d.name, func(t *testing.T) {
			rows, err := d.rows()
			if err != nil {
				t.Fatal(err)
			}
			if got := digest(rows); got != d.all {
				t.Errorf("the sentences that have rows are not those that had: digest %s, want %s", got, d.all)
			}
			open := 0
			for _, r := range rows {
				for _, err := range r.problems(src) {
					t.Errorf("%s: %s\n\t%v", r.section, r.demand, err)
				}
				if r.kind() == "open" {
					open++
				}
			}
			if open != d.open {
				t.Errorf("%d rows are open, the table of documents says %d", open, d.open)
			}
		})
	}
}

// compare demands the same sentences on both sides, in the same order.
func compare(t *testing.T, want []sentence, rows []row) {
	t.Helper()
	type key struct{ section, mark string }
	left := make(map[key]int)
	for _, s := range want {
		left[key{s.section, s.mark()}]++
	}
	for _, r := range rows {
		k := key{r.section, r.mark}
		if left[k]--; left[k] < 0 {
			t.Errorf("%s: no such sentence, or one row too many: %s, %s", r.section, r.mark, r.demand)
		}
	}
	for i, s := range want {
		k := key{s.section, s.mark()}
		switch {
		case left[k] > 0:
			t.Errorf("%s: no row for %s: %s", s.section, k.mark, s.text)
		case i < len(rows) && !t.Failed() && (key{rows[i].section, rows[i].mark}) != k:
			t.Errorf("row %d is not in the RFC's order: %s", i+1, rows[i].demand)
		}
	}
}

// problems returns what is wrong with a row.
func (r row) problems(src *source) []error {
	var errs []error
	for _, ref := range list(r.by) {
		if err := src.declaration(ref); err != nil {
			errs = append(errs, err)
		}
	}
	for _, ref := range list(r.test) {
		if err := src.test(ref); err != nil {
			errs = append(errs, err)
		}
	}
	if r.demand == "?" {
		errs = append(errs, fmt.Errorf("what %s demands is not said", r.mark))
	}
	if (r.by == "-" || r.test == "-") && r.kind() == "" {
		errs = append(errs, fmt.Errorf("there is no code or no test, and the note %q has no kind", r.note))
	}
	if r.kind() == "user" && r.by == "-" {
		errs = append(errs, fmt.Errorf("no declaration whose documentation tells the user"))
	}
	if r.kind() == "untested" && r.by == "-" {
		errs = append(errs, fmt.Errorf("nothing is named that is untested"))
	}
	return errs
}

// TestReport compares REQUIREMENTS.md with the rows.
func TestReport(t *testing.T) {
	const name = "REQUIREMENTS.md"
	want, err := report()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not of these rows: go test ./conformance/requirements -update", name)
	}
}

// report writes all rows as Markdown.
func report() ([]byte, error) {
	var head, body bytes.Buffer
	head.WriteString("# What the RFCs demand\n\nMade of the files in testdata by `go test ./conformance/requirements -update`. ")
	head.WriteString("A row for each sentence with MUST, MUST NOT, REQUIRED, SHALL or SHALL NOT,\nwhich is told in our words: the RFCs have theirs.\n\n")
	head.WriteString("| RFC | sentences | code and test |")
	for _, k := range kinds {
		fmt.Fprintf(&head, " %s |", k.name)
	}
	head.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, d := range documents {
		rows, err := d.rows()
		if err != nil {
			return nil, err
		}
		counts := make(map[string]int)
		fmt.Fprintf(&body, "\n## %s\n\n| section | demand, in our words | by | test | note |\n|---|---|---|---|---|\n", d.title)
		for _, r := range rows {
			counts[r.kind()]++
			fmt.Fprintf(&body, "| %s | %s | %s | %s | %s |\n", r.section, cell(r.demand), links(r.by), links(r.test), cell(r.note))
		}
		fmt.Fprintf(&head, "| %s | %d | %d |", d.title, len(rows), counts[""])
		for _, k := range kinds {
			fmt.Fprintf(&head, " %d |", counts[k.name])
		}
		head.WriteString("\n")
	}
	head.WriteString("\n")
	for _, k := range kinds {
		fmt.Fprintf(&head, "- **%s**: %s\n", k.name, k.meaning)
	}
	return append(head.Bytes(), body.Bytes()...), nil
}

func cell(text string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text) }

func links(refs string) string {
	var all []string
	for _, ref := range list(refs) {
		all = append(all, link(ref))
	}
	return strings.Join(all, "<br>")
}
