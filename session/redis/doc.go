// Package redis keeps TLS sessions, and what seals them, in Redis or Valkey, for
// a fleet of servers.
//
// A [Ring] is a [session.RingSource] in one key. A [Store] is a [session.Store]
// under a prefix. Both take a client of github.com/redis/go-redis/v9: of one
// server, of a Sentinel or of a Cluster; [NewClient] makes one from a URL. The
// server must be Redis 5 or later, or Valkey. Its user needs the commands GET,
// GETRANGE, SET, STRLEN, DEL, TIME, INFO, EVAL and EVALSHA.
//
// # When Redis fails
//
// A call ends when its context does. What it asked for may go on for a second
// beside it, so that a connection which needs longer than a handshake's budget
// to be made, or to be answered, is there for the calls after it, and not thrown
// away again and again. At most 256 calls of one Store or Ring are under way;
// what is more fails with [session.ErrStoreBusy] at once. So while Redis hangs, a
// handshake waits for its budget or not at all, and when Redis is back the next
// call works.
//
// # Clients
//
// What matters in the options of a client that is not from NewClient:
//
//   - ContextTimeoutEnabled should be true. Otherwise calls that were given up
//     keep their connections for ReadTimeout, MaxRetries times over, and the
//     first ones after Redis is back find none.
//   - MaxRetries may be anything. A call that is made twice, because the answer
//     to the first was lost, does no harm: a session is not found, a mark counts
//     as made before, and a replacement of the keys knows itself.
//   - It must not read from replicas (ReadOnly, RouteByLatency, RouteRandomly).
//     They do not have yet what was just kept.
//   - A client of type *Ring, which finds another server for a key when one is
//     away, cannot make marks.
//
// The client writes to the standard logger of its own package: see SetLogger
// there.
//
// # What Redis may lose
//
// Sessions: their clients make full handshakes. Ring's key: rings that run put
// it back. Marks, which defend against the replay of early data, are what must
// not be lost silently: see [Store.Add].
//
// What is kept is sealed, and bound to its key. Who can read it learns how much
// there is and when it comes and goes; who can write to it can make servers
// forget sessions and marks, and so can have early data replayed, but can forge
// nothing. The names of keys are no secrets: package session hashes what it
// names them after.
package redis
