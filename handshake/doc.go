// Package handshake is the TLS 1.2 and 1.3 handshake as an engine without I/O.
//
// An [Engine] is one side of one connection. Handshake bytes go in by
// [Engine.Handle]; effects come out, in order, by [Engine.NextEvent]: bytes to
// send, and above all the traffic keys of each direction and epoch, with their
// sequence numbers. Who protects records with them is not the engine's
// business: it may be package record, a kernel, QUIC, or a proxy that only
// wants the secrets. It has no goroutine, no clock and no randomness but its
// [Config]'s, and it goes on working after the handshake, for session tickets
// and key updates, wherever the records are protected by then.
//
// The legal order of messages is data (table.go), the legal place of
// extensions too (ext.go). TLS 1.3 follows RFC 9846 (which replaced RFC 8446),
// TLS 1.2 follows RFC 5246 with RFC 7627, 5746, 5077 and 8422.
//
// Every error carries the alert that the peer is owed: see [AlertOf].
package handshake
