// Package std holds the tests of this stack against crypto/tls, over TCP and in
// both roles: what both implement. It has no code of its own.
package std
