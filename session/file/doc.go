// Package file keeps on disk what servers share of their sessions.
//
// A [Ring] is a [session.RingSource] in one private file, for the processes of
// one machine, or of several with a file system whose locks work among them.
package file
