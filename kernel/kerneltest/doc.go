// Package kerneltest has models of the two kernels that have TLS, Linux and
// FreeBSD, for tests on any machine with Unix sockets.
//
// [Pair] and [Wrap] give a connection that behaves like a net.TCPConn until
// package kernel gives keys to it, and then as that kernel's socket would, on
// the wire and towards its caller. It follows each kernel to the letter where
// that matters to who uses it: how records are cut and merged, what a read sees
// of their types, what errors come how often, and what closing loses.
//
// A model panics where it is used in a way that no kernel would notice and no
// peer would forgive: a nonce that would be used twice, a write between a
// KeyUpdate and the new keys, keys given while somebody reads.
package kerneltest
