// Package resumption holds the tests of sessions between this stack and others:
// which programs resume which sessions, in both versions and both roles, and
// that what cannot be resumed costs a full handshake and nothing else. It has no
// code of its own.
//
// The programs are OpenSSL, GnuTLS and curl of two releases of Debian, which
// package peers fetches, and the crypto/tls of the installed Go. RESULTS.md is
// what became of each combination; the test writes it with -update.
package resumption
