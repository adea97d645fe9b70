package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-handoff/tls/session"
)

const (
	// maxCalls is how many calls may be under way, those that were given up
	// included.
	maxCalls = 256
	// callTimeout bounds a call that nobody waits for.
	callTimeout = time.Second
)

// calls is a place for each call that may be under way.
type calls chan struct{}

func newCalls() calls { return make(calls, maxCalls) }

// call calls f and waits for it until ctx ends. f goes on beyond that: to end it
// within a handshake's budget of a few milliseconds would close its connection,
// and a new one may take longer than the budget, so that there never is one.
func call[T any](ctx context.Context, c calls, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case c <- struct{}{}:
	default:
		return none, session.ErrStoreBusy
	}
	done := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		v, err := f(ctx)
		<-c
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, wrap(r.err)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// wrap returns err as this package's. Redis repeats the arguments of a command
// that it does not know, which may be a value or a password.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch said, _, echoes := strings.Cut(text, ", with args"); {
	case echoes:
		return errors.New("session/redis: " + said)
	case strings.Contains(text, "OOM command not allowed"):
		return fmt.Errorf("session/redis: %w: %w", session.ErrFull, err)
	}
	return fmt.Errorf("session/redis: %w", err)
}

// milliseconds returns a time to live as Redis counts it, never less than d.
func milliseconds(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d%time.Millisecond != 0 {
		ms++
	}
	return ms
}
