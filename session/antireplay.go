package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-handoff/tls/internal/redact"
)

// AgeTolerance is how far a ticket's age, as its client says it, may be off for
// early data to be accepted (RFC 9846, section 8.3): for clocks, and for the
// round trips in which ticket and ClientHello travelled.
const AgeTolerance = 10 * time.Second

// replayWindow is how long a ClientHello is remembered: while any server could
// find it fresh. That is from AgeTolerance before to AgeTolerance after the time
// that it names, by the clock of each server, and those may differ by maxSkew
// from what is right.
const replayWindow = 2*AgeTolerance + 2*maxSkew

// AntiReplay sees to it that servers accept the early data of one ClientHello
// once (RFC 9846, section 8.2): all of them that share its Store, if no two of
// their clocks differ by more than two minutes, and none is set back by as much.
// Where the Store is slow, full, down, or may have forgotten something, early
// data is rejected, and the handshake goes on without. The exported fields must
// not change once it is used.
//
// Servers that accept each other's tickets must share the Store, or each of them
// accepts the same ClientHello once. What makes servers strangers to each other
// is [KeyRing.Zone].
type AntiReplay struct {
	redact.Value

	// Store remembers ClientHellos for 140 seconds, as marks. It must not be
	// nil. A [MemoryStore] is for one process whose tickets are its own. Where a
	// store has a method Since() time.Time, as this one and session/file's have, it
	// remembers nothing from before then: what it could have is taken to be a
	// replay.
	Store Store
	// Budget is how long a handshake waits for the Store; 0 means 2
	// milliseconds.
	Budget time.Duration
	// Time returns the current time; nil means [time.Now].
	Time func() time.Time
	// OnError is told what goes wrong with the Store; nil means nobody is. It is
	// called by concurrent handshakes, which wait for it.
	OnError func(error)

	calls storeCalls
	own   bool // no ticket is older than the store
}

// NewAntiReplay returns one that remembers so many ClientHellos in memory, 65536 if
// capacity is less than 1. It is for tickets of this process only, under keys
// that were made after it and go nowhere else.
func NewAntiReplay(capacity int) *AntiReplay {
	if capacity < 1 {
		capacity = defaultHellos
	}
	return &AntiReplay{Store: NewMemoryStore(capacity), own: true}
}

// Own reports whether it is from [NewAntiReplay]: for tickets of this process only.
func (a *AntiReplay) Own() bool { return a.own }

// defaultHellos needs about ten megabytes, if there are as many in 140 seconds.
const defaultHellos = 1 << 16

const kindHello = "hello13:"

// errJustMade is why early data is rejected that somebody could have seen before
// the store was made.
var errJustMade = fmt.Errorf("%w: it was just made", ErrMarksLost)

// Accept reports whether the early data of a ClientHello may be accepted, and
// remembers that it was asked. ticket is the session that the ClientHello
// resumes, whose age was found to be within [AgeTolerance]. id is the same for
// each copy of the ClientHello and no other one, and nobody but its client can
// make another id for it: its verified binder.
//
// It is right for the tickets of a [Stateful] too, though each can be taken once
// only: a store that is restarted, or one that takes its place, may give back
// what was taken, but does not give out marks again that it may have lost.
func (a *AntiReplay) Accept(ctx context.Context, ticket *State, id []byte) bool {
	added, err := a.mark(ctx, ticket, storeKey(kindHello, string(id)))
	if err != nil && a.OnError != nil && ctx.Err() == nil {
		a.OnError(fmt.Errorf("session: early data: %w", err))
	}
	return added && err == nil && ctx.Err() == nil
}

func (a *AntiReplay) mark(ctx context.Context, ticket *State, key string) (bool, error) {
	if a.Store == nil {
		return false, errors.New("there is no store")
	}
	if s, ok := a.Store.(interface{ Since() time.Time }); ok && !a.own && forgotten(ticket.CreatedAt, s.Since(), a.now()) {
		return false, errJustMade
	}
	budget := a.Budget
	if budget <= 0 {
		budget = storeBudget
	}
	return within(ctx, a.Store, &a.calls, budget, func(ctx context.Context) (bool, error) {
		return a.Store.Add(ctx, key, replayWindow)
	})
}

func (a *AntiReplay) now() time.Time {
	if a.Time != nil {
		return a.Time()
	}
	return time.Now()
}

// forgotten reports whether a ClientHello with a ticket of that time may have been
// seen before its store began to remember: not if the ticket is younger, nor once
// all that was seen would be forgotten anyway. Tickets know their time to the
// millisecond.
func forgotten(ticket, since, now time.Time) bool {
	return ticket.Before(since.Truncate(time.Millisecond)) && now.Sub(since) <= replayWindow
}
