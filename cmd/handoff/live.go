package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/go-handoff/tls"
)

// live is what a server is doing now: its open connections, and what it has
// sent.
type live struct {
	sent atomic.Int64 // bytes of responses

	mutex  sync.Mutex
	open   map[*tls.Conn]struct{}
	rekeys uint64 // on connections that are closed
}

func (l *live) add(c *tls.Conn) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.open == nil {
		l.open = make(map[*tls.Conn]struct{})
	}
	l.open[c] = struct{}{}
}

func (l *live) remove(c *tls.Conn) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if _, ok := l.open[c]; ok {
		delete(l.open, c)
		l.rekeys += rekeys(c.Offload())
	}
}

func rekeys(o tls.Offload) uint64 { return o.TX.Rekeys + o.RX.Rekeys }

// tally is what live amounts to at one moment.
type tally struct {
	open, tx, rx int // connections: all, and those of which the kernel has a direction
	sent         int64
	rekeys       uint64 // that the kernel was given
}

func (l *live) tally() tally {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	t := tally{open: len(l.open), sent: l.sent.Load(), rekeys: l.rekeys}
	for c := range l.open {
		o := c.Offload()
		t.rekeys += rekeys(o)
		if o.TX.Where != tls.UserSpace {
			t.tx++
		}
		if o.RX.Where != tls.UserSpace {
			t.rx++
		}
	}
	return t
}

// String fits a terminal's line.
func (t tally) String() string {
	return fmt.Sprintf("%d open | TX %d kernel, %d user | RX %d kernel, %d user | %s sent | %d rekeys",
		t.open, t.tx, t.open-t.tx, t.rx, t.open-t.rx, bytesText(t.sent), t.rekeys)
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/(1<<10), 0
	for ; value >= 1<<10 && i < len(units)-1; i++ {
		value /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", value, units[i])
}

// statusLine is the last line of a terminal, which is drawn anew when it
// changes, and below everything else that is written. Elsewhere each change is
// a line of its own.
type statusLine struct {
	mutex    sync.Mutex
	w        io.Writer
	terminal bool
	width    func() int // of the terminal
	shown    string
}

func (p *process) newStatusLine() *statusLine {
	return &statusLine{w: p.stderr, terminal: isTerminal(p.stderr), width: func() int {
		width, _, err := term.GetSize(int(p.stderr.Fd()))
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}}
}

// eraseLine returns to the beginning of the line and erases it.
const eraseLine = "\r\x1b[K"

// Write writes what is to stand above the line, which is whole lines.
func (s *statusLine) Write(b []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.terminal || s.shown == "" {
		return s.w.Write(b)
	}
	// In one go, so that it does not flicker.
	if _, err := fmt.Fprintf(s.w, "%s%s%s", eraseLine, b, s.shown); err != nil {
		return 0, err
	}
	return len(b), nil
}

// show changes the line.
func (s *statusLine) show(text string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.terminal {
		text = text[:min(len(text), max(s.width()-1, 0))]
	}
	switch {
	case text == s.shown:
		return
	case s.terminal:
		fmt.Fprint(s.w, eraseLine, text)
	default:
		fmt.Fprintln(s.w, text)
	}
	s.shown = text
}

// end leaves the line as it is.
func (s *statusLine) end() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.terminal && s.shown != "" {
		fmt.Fprintln(s.w)
	}
	s.shown = ""
}

// statusInterval is the time between two looks at what goes on.
const statusInterval = 300 * time.Millisecond

// watch shows what l does, until stop. With very many connections it looks less
// often, as each look asks the kernel about all of them.
func (s *statusLine) watch(l *live) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			start := time.Now()
			s.show(l.tally().String())
			select {
			case <-time.After(max(statusInterval, 20*time.Since(start))):
			case <-end:
				s.show(l.tally().String())
				s.end()
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}
