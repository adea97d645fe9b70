package requirements

import (
	"fmt"
	"regexp"
	"strings"
)

// A sentence is one that demands something, with the section where it stands.
type sentence struct {
	section string
	text    string
}

// A block is a paragraph or an item of a list, with its lines joined.
type block struct {
	section string
	text    string
}

var (
	demand = regexp.MustCompile(`\b(MUST|SHALL|REQUIRED)\b`)
	// A sentence ends before a space and what can begin the next one.
	sentenceEnd = regexp.MustCompile(`[.?!]["')]*\s+["'(]*[A-Z\[]`)
	// These are no ends.
	abbreviation = regexp.MustCompile(`(?:\b(?:i\.e|e\.g|cf|vs|Sec|Dr|et al)\.)$`)
	spaces       = regexp.MustCompile(`\s+`)
)

// demands returns the sentences of the blocks that demand something.
func demands(blocks []block) []sentence {
	var all []sentence
	for _, b := range blocks {
		for _, text := range split(spaces.ReplaceAllString(strings.TrimSpace(b.text), " ")) {
			if demand.MatchString(text) {
				all = append(all, sentence{b.section, text})
			}
		}
	}
	return all
}

// split cuts a paragraph into sentences.
func split(text string) []string {
	var all []string
	start := 0
	for from := 0; ; {
		at := sentenceEnd.FindStringIndex(text[from:])
		if at == nil {
			return append(all, text[start:])
		}
		end := from + at[0] + strings.IndexByte(text[from+at[0]:], ' ')
		if !abbreviation.MatchString(text[start:end]) {
			all = append(all, text[start:end])
			start = end + 1
		}
		from = end + 1
	}
}

// A builder gathers lines to blocks.
type builder struct {
	blocks  []block
	section string
	lines   []string
}

// add appends a line, which a hyphen at the end of the last one joins.
func (b *builder) add(line string) {
	line = strings.TrimSpace(line)
	if last := len(b.lines) - 1; last >= 0 && strings.HasSuffix(b.lines[last], "-") {
		b.lines[last] += line
		return
	}
	b.lines = append(b.lines, line)
}

// end finishes the block.
func (b *builder) end() {
	if len(b.lines) > 0 {
		b.blocks = append(b.blocks, block{b.section, strings.Join(b.lines, " ")})
		b.lines = nil
	}
}

var (
	markdownHeading = regexp.MustCompile(`^(#+) (.*?) *(?:\{#([\w.-]+)[^}]*\})?$`)
	markdownItem    = regexp.MustCompile(`^\s*(?:[-*+:]|\d+\.) +`)
	reference       = regexp.MustCompile(`\{\{[!?]?([^}]*)\}\}`)
	superscript     = regexp.MustCompile(`<sup>(.*?)</sup>`)
)

// A numbering counts headings as the published RFC does: digits, and letters for the first place of an appendix.
type numbering struct {
	counts   []int
	appendix bool
}

// next returns the number of a heading of the level.
func (n *numbering) next(level int) string {
	for len(n.counts) < level {
		n.counts = append(n.counts, 0)
	}
	n.counts = n.counts[:level]
	n.counts[level-1]++
	number := fmt.Sprint(n.counts[0])
	if n.appendix {
		number = string(rune('A' + n.counts[0] - 1))
	}
	for _, count := range n.counts[1:] {
		number += fmt.Sprintf(".%d", count)
	}
	return number
}

// markdownBlocks reads an RFC in the Markdown that its authors write.
func markdownBlocks(text string) []block {
	var b builder
	var number numbering
	anchors := make(map[string]string)
	listing, begun := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		switch {
		case line == "--- middle":
			begun = true
		case line == "--- back":
			b.end()
			number = numbering{appendix: true}
		case !begun:
		case strings.HasPrefix(strings.TrimSpace(line), "~~~"), strings.HasPrefix(line, "```"):
			b.end()
			listing = !listing
		case listing:
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "{:"):
			b.end()
		case markdownHeading.MatchString(line):
			b.end()
			m := markdownHeading.FindStringSubmatch(line)
			b.section = number.next(len(m[1]))
			anchors[m[3]] = b.section
		default:
			if item := markdownItem.FindString(line); item != "" {
				b.end()
				line = line[len(item):]
			}
			b.add(line)
		}
	}
	b.end()
	return resolve(b.blocks, anchors)
}

// resolve puts what a reader sees in place of references and marks.
func resolve(blocks []block, anchors map[string]string) []block {
	for i := range blocks {
		text := reference.ReplaceAllStringFunc(blocks[i].text, func(ref string) string {
			name := reference.FindStringSubmatch(ref)[1]
			if section, ok := anchors[name]; ok {
				return "Section " + section
			}
			return "[" + name + "]"
		})
		blocks[i].text = superscript.ReplaceAllString(text, "^$1")
	}
	return blocks
}

var (
	// The foot of a page, and the head of the next.
	pageFoot    = regexp.MustCompile(`^\S.*\[Page \d+\]$`)
	pageHead    = regexp.MustCompile(`^RFC \d+ .*\d{4}$`)
	textHeading = regexp.MustCompile(`^(?:Appendix )?(\d+(?:\.\d+)*|[A-Z](?:\.\d+)*)\. +\S`)
	textItem    = regexp.MustCompile(`^ +(?:[-*o+]|\d+\.|\(\d+\)) +`)
	tocLine     = regexp.MustCompile(`(?:\. ?){4,}`)
	indentation = regexp.MustCompile(`^ *`)
)

// textBlocks reads an RFC as it was published in pages.
func textBlocks(text string) []block {
	var b builder
	turned := false // a page has ended since the last line
	indent := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \r\n\f")
		switch {
		case strings.HasPrefix(line, "\f"), pageHead.MatchString(line), tocLine.MatchString(line):
		case pageFoot.MatchString(line):
			turned = true
		case line == "":
			if !turned && !open(b.lines) {
				b.end()
			} else if !turned {
				// Either a blank line, or the first of those above a foot: the next line tells.
				b.lines = append(b.lines, "\x00")
			}
		case textHeading.MatchString(line):
			b.dropBreaks()
			b.end()
			b.section = textHeading.FindStringSubmatch(line)[1]
			turned = false
		default:
			now := len(indentation.FindString(line))
			item := textItem.FindString(line)
			goesOn := turned && item == "" && now == indent
			if b.dropBreaks() && !goesOn || item != "" {
				b.end()
			}
			b.add(line[len(item):])
			indent, turned = max(now, len(item)), false
		}
	}
	b.dropBreaks()
	b.end()
	return b.blocks
}

// open reports whether the lines end within a sentence.
func open(lines []string) bool {
	if len(lines) == 0 {
		return false
	}
	last := lines[len(lines)-1]
	return last != "" && !strings.ContainsAny(last[len(last)-1:], ".:;")
}

// dropBreaks removes the marks of blank lines, and reports whether there were any.
func (b *builder) dropBreaks() bool {
	had := false
	for len(b.lines) > 0 && b.lines[len(b.lines)-1] == "\x00" {
		b.lines, had = b.lines[:len(b.lines)-1], true
	}
	return had
}
