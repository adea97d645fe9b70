// Package archtest holds the tests of this module's shape: which package may
// import which, how long functions are, and that the source is formatted and
// finished. It has no code of its own.
//
// The tests read the source and not the build's list of packages, so that the
// files of every operating system are held to the same rules.
package archtest
