// Package file keeps TLS sessions, and what seals them, in private files, so
// that they outlive the process and the processes of one machine share them.
//
// A [Ring] is a [session.RingSource] in one file. A [Store] is a [session.Store]
// in a directory. Several machines may share them through a file system whose
// locks and renames work among them.
package file
