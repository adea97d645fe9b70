// Package record protects and unprotects TLS records: TLS 1.3 (RFC 9846,
// section 5) and TLS 1.2 (RFC 5246, section 6.2).
//
// A [Sealer] turns bytes to send into records, an [Opener] turns received
// records back. Each serves one direction for one epoch: it takes the
// [keyschedule.TrafficKeys] of that epoch, is their only user, and counts
// records in them, so that a key never leaves without its sequence number.
// [Sealer.Release] and [Opener.Release] end it and give the keys back, for
// another record layer to go on with. The zero values protect nothing, as it
// is before the first keys.
//
// Neither type does I/O, allocates per record, or may be used by two
// goroutines at once. On the wire a record is a header and a fragment:
//
//	          0      1        3        5
//	          +------+--------+--------+--------------------------------------+
//	          | type | 03  03 | length | fragment                             |
//	          +------+--------+--------+--------------------------------------+
//
//	plaintext                          | content                              |
//	TLS 1.3, type is 23                | content | type | zeros   |  tag (16) | encrypted up to the tag
//	TLS 1.2 AES-GCM                    | nonce (8) | content     |  tag (16) |
//	TLS 1.2 ChaCha20-Poly1305          | content                 |  tag (16) |
//	TLS 1.2 AES-CBC                    | IV (16) | content | MAC (20) | pad   | encrypted after the IV
package record
