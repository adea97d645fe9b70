package requirements

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A document is an RFC with its rows.
type document struct {
	name, title string
	read        func(text string) []block
	// all is a digest of the sentences' marks, so that no row is lost where the
	// RFC's text is not at hand.
	all string
	// open is how many rows still say that nobody has looked. It may only fall.
	open int
}

var documents = []document{
	{"rfc9846", "RFC 9846: TLS 1.3", markdownBlocks, "5b9e869a7f1d", 0},
	{"rfc5246", "RFC 5246: TLS 1.2", textBlocks, "1df8f4f37130", 0},
	{"rfc7627", "RFC 7627: extended master secret", textBlocks, "ef4a425522a2", 0},
	{"rfc8449", "RFC 8449: record size limit", markdownBlocks, "566c1f4e9974", 0},
}

// kinds are the reasons for which a row may lack a declaration or a test. A note
// begins with one of them, a colon, and says more.
var kinds = []struct{ name, meaning string }{
	{"definition", "a term, a summary of other sentences, or a heading of a list whose items have rows"},
	{"others", "a duty of application protocols, later specifications, middleboxes or certificate authorities"},
	{"user", "a duty of who uses this package, which the documentation of the declaration tells"},
	{"not offered", "of a feature that is optional and that we do not have"},
	{"absence", "a prohibition that we keep by having no code for it"},
	{"untested", "done, and no test of ours can tell it from its absence"},
	{"deviates", "we do otherwise, for the reason given"},
	{"open", "nobody has looked yet"},
}

// A row is what we say to a sentence: what it demands, in our words, and what
// does that. mark tells which sentence it is.
type row struct {
	section, mark, demand, by, test, note string
}

// mark is the beginning of the sentence's SHA-256.
func (s sentence) mark() string {
	sum := sha256.Sum256([]byte(s.text))
	return hex.EncodeToString(sum[:6])
}

// digest covers the marks of all rows, in their order.
func digest(rows []row) string {
	h := sha256.New()
	for _, r := range rows {
		fmt.Fprintln(h, r.section, r.mark)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// kind returns the kind that the row's note begins with.
func (r row) kind() string {
	name, _, ok := strings.Cut(r.note, ": ")
	for _, k := range kinds {
		if ok && name == k.name {
			return k.name
		}
	}
	return ""
}

// sentences extracts the document's sentences from its text in the directory dir.
func (d document) sentences(dir string) ([]sentence, error) {
	text, err := os.ReadFile(filepath.Join(dir, d.name+".txt"))
	if err != nil {
		return nil, err
	}
	return demands(d.read(string(text))), nil
}

// rows reads the document's rows, whose columns are separated by tabs.
func (d document) rows() ([]row, error) {
	f, err := os.Open(filepath.Join("testdata", d.name+".tsv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []row
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		c := strings.Split(lines.Text(), "\t")
		if len(c) != 6 || slices.Contains(c[:5], "") {
			return nil, fmt.Errorf("%s:%d: want section, mark, demand, by, test and note", f.Name(), n)
		}
		rows = append(rows, row{c[0], c[1], c[2], c[3], c[4], c[5]})
	}
	return rows, lines.Err()
}

// list splits a cell with several references; "-" stands for none.
func list(cell string) []string {
	if cell == "-" {
		return nil
	}
	return strings.Split(cell, "; ")
}
