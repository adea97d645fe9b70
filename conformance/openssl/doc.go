// Package openssl holds the tests of this stack against the openssl command,
// openssl s_server and openssl s_client: what both implement, in both roles. It
// has no code of its own.
//
// What the installed OpenSSL can do is found out by asking it, and what it
// lacks is printed at the end of the run (go test -v), with the number of rows
// that passed.
package openssl
