// Package keyschedule turns shared secrets into traffic keys for TLS 1.3
// (RFC 9846, section 7) and TLS 1.2 (RFC 5246, sections 5, 6.3 and 8.1).
//
// It is the waist of this module: the handshake makes a [TrafficKeys] here and
// hands it to a record layer, in user space or in the kernel.
//
// The TLS 1.3 schedule is a chain of types, each with only the derivations
// that are legal at its stage, and each wiped when the next one is made:
//
//	         PSK                 (EC)DHE
//	          v                     v
//	0 -> HKDF-Extract = Early -> HKDF-Extract = Handshake -> HKDF-Extract = Main
//	          |                     |                            |
//	          +- binder key         +- client traffic            +- client traffic 0 -> 1 -> ...
//	          +- early traffic      +- server traffic            +- server traffic 0 -> 1 -> ...
//	          +- early exporter                                  +- exporter
//	                                                             +- resumption
//
// Secrets do not print: every fmt verb, JSON and slog show one fixed word.
package keyschedule
