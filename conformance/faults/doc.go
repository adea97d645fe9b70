// Package faults holds the tests of what a network, or who sits in it, can do to
// a connection at every one of its bytes: cut it, delay it, change it. It has no
// code of its own.
//
// A conversation in TLS 1.2 and one in TLS 1.3, with client certificates,
// tickets, data both ways, KeyUpdates and close_notify, is had once for every
// byte of either direction and for every fault. The two ends must then agree on
// what happened: all data, or the beginning of it and an error that says what
// went wrong. RESULTS.md counts.
//
// The conversation is the same, byte by byte, each time: keys, certificates, time
// and randomness are fixed. The network is a wire in memory that knows when both
// ends wait, so that a fault is there as long as it can matter, a deadline passes
// when there is nothing else to wait for, and nothing depends on how fast the
// machine is. Without the race detector every byte is tried; with it one in
// several, as the flag -stride says.
//
// Over TCP, with a proxy between the ends, the same is done at fewer bytes, in
// user space and, where there is kernel TLS, with all keys in the kernel:
// RESULTS-kernel.md. Beside all this there are peers that are hostile without a
// network's help: floods, half-open connections, and those that are slow.
package faults
