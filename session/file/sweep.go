package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-handoff/tls/session"
)

const (
	// sweepEvery is how often what has expired is removed, while anything is put.
	sweepEvery = time.Minute
	// sweepPause is how long a store that is full of marks does not sweep again.
	sweepPause = time.Second
	// tempAge is how old a temporary file is that nobody can be writing any more.
	tempAge = time.Hour
	// batch is how many names are read, and how many marks removed, at a time.
	batch = 256
)

// reserve makes room for one file of a kind.
func (s *Store) reserve(ctx context.Context, kind *atomic.Int64, ttl time.Duration) error {
	if ttl <= 0 {
		return session.ErrTTL
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	age := s.sinceSweep() // first: a count from after that sweep says what it left
	fits := kind.Add(1) <= int64(s.capacity)
	switch {
	case fits && age < sweepEvery:
		return nil
	case !fits && age < sweepPause && kind == &s.marks:
		return session.ErrFull
	}
	unlock, err := s.lockSweep(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if kind.Load() > int64(s.capacity) || s.sinceSweep() >= sweepEvery { // nobody has swept meanwhile
		if err := s.sweep(ctx); err != nil {
			return err
		}
		kind.Add(1)
	}
	if kind == &s.marks && kind.Load() > int64(s.capacity) {
		return session.ErrFull
	}
	return nil
}

// sinceSweep returns how long ago the last sweep was.
func (s *Store) sinceSweep() time.Duration {
	last := s.swept.Load()
	age := time.Duration(s.now().UnixMilli()-last) * time.Millisecond
	if last == 0 || age < 0 {
		return sweepEvery // there was none, or the clock was set back
	}
	return age
}

// lockSweep waits until no other sweep of this process is under way.
func (s *Store) lockSweep(ctx context.Context) (unlock func(), err error) {
	select {
	case s.sweeping <- struct{}{}:
		return func() { <-s.sweeping }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Sweep removes what has expired, and values if there are too many. The store
// does it now and then when something is put into it.
func (s *Store) Sweep(ctx context.Context) error {
	unlock, err := s.lockSweep(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return s.sweep(ctx)
}

// found is what a sweep knows of a file.
type found struct {
	name  string
	until time.Time
}

func (s *Store) sweep(ctx context.Context) error {
	var values, marks []found
	err := s.list(ctx, func(f found) error {
		switch {
		case strings.HasPrefix(f.name, valuePrefix):
			values = append(values, f)
		case strings.HasPrefix(f.name, markPrefix):
			marks = append(marks, f)
		case strings.HasPrefix(f.name, tempPrefix):
			return s.sweepTemp(f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	left, err := s.sweepValues(ctx, values)
	if err != nil {
		return err
	}
	s.values.Store(int64(left))
	if left, err = s.sweepMarks(ctx, marks); err != nil {
		return err
	}
	s.marks.Store(int64(left))
	s.swept.Store(max(1, s.now().UnixMilli()))
	return nil
}

// list calls f for each file.
func (s *Store) list(ctx context.Context, f func(found) error) error {
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(batch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := f(found{e.Name(), info.ModTime()}); err != nil {
				return err
			}
		}
	}
}

// sweepTemp removes what a process that was killed has left. The time of a
// value that was being taken says when it expires, which is in the future.
func (s *Store) sweepTemp(f found) error {
	if now := time.Now(); now.Sub(f.until) < tempAge && !tooFar(now, f.until) {
		return nil
	}
	return unlessGone(s.root.RemoveAll(f.name))
}

// sweepValues removes the values that have expired, and if there is no room
// for another one then a quarter of the others, those that expire soonest.
func (s *Store) sweepValues(ctx context.Context, values []found) (left int, err error) {
	now := s.now()
	slices.SortFunc(values, func(a, b found) int { return a.until.Compare(b.until) })
	dead := slices.IndexFunc(values, func(f found) bool { return now.Before(f.until) })
	if dead < 0 {
		dead = len(values)
	}
	for len(values) > dead && tooFar(now, values[len(values)-1].until) {
		last := len(values) - 1
		if err := unlessGone(s.root.RemoveAll(values[last].name)); err != nil {
			return 0, err
		}
		values = values[:last]
	}
	if len(values)-dead >= s.capacity {
		dead = len(values) - s.capacity + max(1, s.capacity/4)
	}
	for i := range values[:dead] {
		if i%batch == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err := unlessGone(s.root.RemoveAll(values[i].name)); err != nil {
			return 0, err
		}
	}
	return len(values) - dead, nil
}

// sweepMarks removes the marks that have expired, and no others.
func (s *Store) sweepMarks(ctx context.Context, marks []found) (left int, err error) {
	left = len(marks)
	now := s.now()
	var dead []string
	for _, m := range marks {
		if !now.Before(m.until) || tooFar(now, m.until) {
			dead = append(dead, m.name)
		}
	}
	for names := range slices.Chunk(dead, batch) {
		gone, err := s.removeExpiredMarks(ctx, names...)
		if err != nil {
			return left, err
		}
		left -= len(gone)
	}
	return left, nil
}
