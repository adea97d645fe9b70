// Package sessiontest checks that implementations of session.Store and
// session.RingSource keep what the interfaces promise, and runs the servers that
// they need, with the faults that servers have.
package sessiontest
