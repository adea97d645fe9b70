module github.com/go-handoff/tls/cmd/handoff

go 1.26.0

require (
	github.com/alecthomas/kong v1.17.0
	github.com/go-handoff/tls v0.0.0
	github.com/schollz/progressbar/v3 v3.19.1
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require (
	github.com/cloudflare/circl v1.6.5 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	golang.org/x/crypto v0.58.0 // indirect
)

replace github.com/go-handoff/tls => ../..
