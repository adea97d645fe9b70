package session_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-handoff/tls/session"
	"github.com/go-handoff/tls/session/sessiontest"
)

// movable is a clock that tests move.
type movable struct{ offset atomic.Int64 }

func (c *movable) now() time.Time      { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *movable) add(d time.Duration) { c.offset.Add(int64(d)) }

func memory(capacity int) (*session.MemoryStore, *movable) {
	m, c := session.NewMemoryStore(capacity), new(movable)
	m.Time = c.now
	return m, c
}

func TestMemoryStore(t *testing.T) {
	sessiontest.TestStore(t, func(*testing.T) sessiontest.Fleet {
		m, c := memory(1000)
		return sessiontest.Fleet{A: m, B: m, TTL: 10 * time.Minute, Pass: func() { c.add(11 * time.Minute) }}
	})
}

// TestMemoryStoreBound floods a store: values make room, marks do not.
func TestMemoryStoreBound(t *testing.T) {
	const capacity = 100
	m, c := memory(capacity)
	ctx := t.Context()
	for i := range 100 * capacity {
		if err := m.Put(ctx, fmt.Sprint(i), []byte(strings.Repeat("v", 100)), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Get(ctx, "0"); got == nil || err != nil {
			t.Fatal("a value in use made room")
		}
		if m.Len() > capacity {
			t.Fatalf("%d values", m.Len())
		}
	}
	for i := range capacity {
		if added, err := m.Add(ctx, fmt.Sprint("mark", i), time.Minute); !added || err != nil {
			t.Fatal(added, err)
		}
	}
	if added, err := m.Add(ctx, "one more", time.Minute); added || !errors.Is(err, session.ErrFull) {
		t.Errorf("a mark too many: %v, %v", added, err)
	}
	if added, err := m.Add(ctx, "mark0", time.Minute); added || err != nil {
		t.Errorf("a mark made room: %v, %v", added, err)
	}
	c.add(time.Minute)
	if added, err := m.Add(ctx, "one more", time.Minute); !added || err != nil {
		t.Errorf("after the others expired: %v, %v", added, err)
	}
	if m.Len() != capacity+1 {
		t.Errorf("%d values and marks", m.Len())
	}
}

// TestMemoryStoreDeletedMark makes a mark, deletes it and makes it again: the
// end of the first must not end the second.
func TestMemoryStoreDeletedMark(t *testing.T) {
	m, c := memory(10)
	ctx := t.Context()
	for _, ttl := range []time.Duration{time.Minute, time.Hour} {
		if added, err := m.Add(ctx, "k", ttl); !added || err != nil {
			t.Fatal(added, err)
		}
		if ttl == time.Minute {
			if err := m.Delete(ctx, "k"); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.add(2 * time.Minute)
	if added, err := m.Add(ctx, "k", time.Hour); added || err != nil {
		t.Errorf("marked twice: %v, %v", added, err)
	}
	for i := 0; ; i++ { // deleting does not get around the bound
		if added, err := m.Add(ctx, "again", time.Hour); !added {
			if !errors.Is(err, session.ErrFull) || i > 10 {
				t.Errorf("after %d rounds: %v", i, err)
			}
			break
		}
		if err := m.Delete(ctx, "again"); err != nil {
			t.Fatal(err)
		}
	}
}
