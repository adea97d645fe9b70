package resumption

import "github.com/go-handoff/tls"

// form is a way in which sessions are named and kept.
type form struct {
	name    string
	version uint16
	kind    kind
}

type kind int

const (
	sealed kind = iota // in a ticket
	handle             // by the server, under a ticket that is a handle
	cached             // by the server, in memory, under a TLS 1.2 session ID
	stored             // by the server, in a store, under a TLS 1.2 session ID
)

var (
	ticket13 = form{"1.3 ticket", tls.VersionTLS13, sealed}
	handle13 = form{"1.3 handle", tls.VersionTLS13, handle}
	ticket12 = form{"1.2 ticket", tls.VersionTLS12, sealed}
	handle12 = form{"1.2 handle", tls.VersionTLS12, handle}
	cached12 = form{"1.2 session ID", tls.VersionTLS12, cached}
	stored12 = form{"1.2 session ID, store", tls.VersionTLS12, stored}
)

// byID reports whether a session ID and not a ticket names the session.
func (f form) byID() bool { return f.kind == cached || f.kind == stored }

// flag is OpenSSL's for the version.
func (f form) flag() string {
	if f.version == tls.VersionTLS12 {
		return "-tls1_2"
	}
	return "-tls1_3"
}

// priority is GnuTLS's for the version.
func (f form) priority() string {
	if f.version == tls.VersionTLS12 {
		return "NORMAL:-VERS-ALL:+VERS-TLS1.2"
	}
	return "NORMAL:-VERS-ALL:+VERS-TLS1.3"
}

// damage is what happens to a ticket, handle or session ID while its client has
// it.
type damage struct {
	name  string
	apply func(b []byte) []byte
}

// A ticket is a key's name, a salt and what is sealed; all of them are hit.
var (
	altered = []damage{
		{"first byte", flip(func(int) int { return 0 })},
		{"third quarter", flip(func(n int) int { return n * 3 / 4 })},
		{"byte 20", flip(func(n int) int { return min(20, n-1) })},
		{"last byte", flip(func(n int) int { return n - 1 })},
	}
	cut = []damage{
		{"to one byte", func(b []byte) []byte { return b[:1] }},
		{"by half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"by one byte", func(b []byte) []byte { return b[:len(b)-1] }},
	}
	longer  = []damage{{"by one byte", func(b []byte) []byte { return append(b, 0) }}}
	emptied = []damage{{"whole", func([]byte) []byte { return nil }}}
)

// flip returns what changes one bit of the byte at a place.
func flip(place func(n int) int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[place(len(b))] ^= 1
		return b
	}
}
