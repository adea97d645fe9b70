// Package etcd keeps the ticket keys that servers share in etcd.
//
// A [Ring] is a [session.RingSource] under one key of etcd. It holds a watch, so
// that each server has the others' changes at once, and asks etcd itself only
// now and then: a [session.KeyRing] may look at it every second ([session.KeyRing.Poll]).
// What is kept is sealed by the KeyRing; etcd and whoever reads it learn no key.
//
// It works with etcd 3.4 and later.
package etcd
