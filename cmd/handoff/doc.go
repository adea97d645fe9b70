// Command handoff serves, fetches and inspects over the TLS stack of
// github.com/go-handoff/tls. But for bench it never uses crypto/tls's
// protocol: what it shows is this stack at work with the stock net/http, curl,
// OpenSSL and anything else that speaks TLS 1.2 (RFC 5246) or TLS 1.3 (RFC 9846).
//
//	handoff serve DIR          serve a directory over HTTPS
//	handoff get URL            fetch a file over HTTPS
//	handoff connect HOST:PORT  show what a server negotiates, then pipe data
//	handoff demo               serve and fetch a file in one process
//	handoff handover           replace a server under an open download
//	handoff tickets WHERE      show or rotate the ticket keys that servers share
//	handoff probe              show what this kernel can do with TLS
//	handoff bench              measure this stack beside crypto/tls
//
// Data goes to standard output and everything else to standard error. An error
// is one line; the exit status is then 1, or 2 for a mistake in the command
// line, or 128 and the signal's number for what a signal ended (130 for
// Ctrl-C). If the environment variable SSLKEYLOGFILE names a file, the secrets of
// all connections are appended to it.
package main
