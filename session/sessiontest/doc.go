// Package sessiontest checks that an implementation of session.Store keeps what
// the interface promises.
package sessiontest
