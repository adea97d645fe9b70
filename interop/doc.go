// Package interop runs the TLS tests of published programs with nothing changed
// but the import path of crypto/tls. It has no code of its own.
//
// The programs' sources come from the module cache at test time, are copied to
// a temporary directory and edited there. What a program's tests do with
// crypto/tls on the same machine, in the same copy, is the control: a test that
// passes there must pass here.
//
// RESULTS.md and RESULTS.html are about other programs: package matrix of
// conformance connects this stack to them.
package interop
