package main

import "fmt"

// part is what a process has sent of a file.
type part struct {
	PID      int
	Peer     string // the client's address
	Request  string
	From, To int64  // in the file
	Left     int64  // what it has not sent
	TX       string // where the records were protected
}

// String is a line of the log.
func (p part) String() string {
	text := fmt.Sprintf("%s %s %d bytes from %d, TX in %s", p.Peer, p.Request, p.To-p.From, p.From, p.TX)
	if p.Left > 0 {
		text += fmt.Sprintf(", %d not sent from here", p.Left)
	}
	return text
}
