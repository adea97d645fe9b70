package main

import (
	"fmt"
	"os"
)

// openKeyLog opens the file that secrets are appended to, for programs such as
// Wireshark; an empty name means none. Only its owner may read a new one: it
// decrypts the connections.
func (p *process) openKeyLog(name string) (closeFile func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("SSLKEYLOGFILE: %w", err)
	}
	p.keyLog = f
	return func() { _ = f.Close() }, nil // each line was written by itself
}
