module github.com/go-handoff/tls/bench

go 1.26.0

require (
	github.com/go-handoff/tls v0.0.0
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0
)

require github.com/cloudflare/circl v1.6.5 // indirect

replace github.com/go-handoff/tls => ../
