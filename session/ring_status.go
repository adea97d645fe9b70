package session

import (
	"encoding/hex"
	"fmt"
	"time"
)

// RingStatus is how a [KeyRing] is. It holds no secret.
type RingStatus struct {
	// Source names the ring's Source, "" for none.
	Source string
	Zone   string
	// Shared says that the keys are the Source's. A ring with a Source has
	// others, of its own, if it could never read it; or keys that were set.
	Shared bool
	// Keys are in this order: the next one, unless they were set; the one that
	// seals; old ones.
	Keys []KeyStatus
	// NextRotation is when the next key begins to seal; zero if the keys were
	// set. If it is past, the Source
	// has yet to be given a key after it.
	NextRotation time.Time
	// Loaded is when the Source could last be read.
	Loaded time.Time
	// Err is why the last attempt at the Source failed, and ErrSince when the
	// attempts began to; nil and zero if it went well.
	Err      error
	ErrSince time.Time
}

// KeyStatus is how one key of a [KeyRing] is.
type KeyStatus struct {
	// Name is how the name of the key begins, in hexadecimal.
	Name string
	Made time.Time // zero if the key was set
	// Since and Until are when the key began and ended to seal; zero for what
	// has not happened or is not known.
	Since, Until time.Time
	// Seals is how many tickets this ring has sealed with it.
	Seals uint64
}

// statusNameLen is how much of a name is shown: enough to tell keys apart.
const statusNameLen = 4

// Status tells how the ring is, without touching its Source. A ring that was
// not used yet has no keys.
func (r *KeyRing) Status() RingStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &r.looks
	s := RingStatus{Zone: r.Zone, Err: l.err, ErrSince: l.errSince}
	if good := l.good.Load(); good != 0 {
		s.Loaded = time.UnixMilli(good)
	}
	if r.Source != nil {
		s.Source = fmt.Sprintf("%T", r.Source)
		if named, ok := r.Source.(fmt.Stringer); ok {
			s.Source = named.String()
		}
	}
	keys := r.keys.Load()
	if keys == nil {
		return s
	}
	s.Shared = keys.shared.version != ""
	s.NextRotation = keys.until
	for i, key := range keys.keys {
		k := key.status(r.limit())
		if i > 0 && !keys.fixed {
			k.Until = keys.keys[i-1].started()
		}
		s.Keys = append(s.Keys, k)
	}
	return s
}

func (k *ticketKey) status(limit uint64) KeyStatus {
	return KeyStatus{
		Name:  hex.EncodeToString(k.name[:statusNameLen]),
		Made:  k.made,
		Since: k.started(),
		Seals: min(k.seals.Load(), limit),
	}
}

// started returns when the key began to seal, or zero.
func (k *ticketKey) started() time.Time {
	if since := k.since.Load(); since != 0 {
		return time.UnixMilli(since)
	}
	return time.Time{}
}
