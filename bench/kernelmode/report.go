//go:build linux

package main

import (
	"encoding/json"
	"io"
)

// The kinds of figures.
const (
	bulk       = "instructions per MiB"
	short      = "instructions per response"
	move       = "instructions to move"
	moveAllocs = "allocations to move"
	calls      = "system calls per MiB"
	copies     = "bytes copied per byte"
	records    = "records per read"
	idle       = "idle bytes"
	about      = "about"
)

// figure is one measured value, as a program in the lab prints it: a line of
// JSON.
type figure struct {
	Kind  string
	Name  string
	Size  int64   `json:",omitempty"`
	Value float64 `json:",omitempty"`
	Text  string  `json:",omitempty"`
}

// report is where figures go.
type report struct {
	out *json.Encoder
	err error
}

func newReport(w io.Writer) *report { return &report{out: json.NewEncoder(w)} }

func (r *report) write(f figure) {
	if r.err == nil {
		r.err = r.out.Encode(f)
	}
}

func (r *report) add(kind, name string, size int64, value float64) {
	r.write(figure{Kind: kind, Name: name, Size: size, Value: value})
}

func (r *report) about(name, text string) { r.write(figure{Kind: about, Name: name, Text: text}) }
