// Package session remembers TLS sessions so that they can be resumed
// (RFC 9846, section 2.2; RFC 5246, section 7.3; RFC 5077).
//
// A [State] is one session. A [KeyRing] seals states into tickets, for servers
// that keep nothing; a [ServerCache] keeps them under an identifier; a
// [ClientCache] is where a client keeps what it got. A [Store] keeps bytes for a
// fleet or across restarts: a [Stateful] has a server's sessions there, and a
// [ClientStore] a client's.
//
// States hold secrets, and secrets are wiped by who owns them. The rule is the
// same everywhere in this package: what goes into a cache is copied and stays
// the caller's, and what comes out of one belongs to the caller.
package session
